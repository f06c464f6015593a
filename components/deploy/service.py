"""A version's InferenceService: brought up, waited for, asked."""

from __future__ import annotations

import contextlib
import time
from dataclasses import replace

from components.cluster import INFERENCE_SERVICE, Cluster, ClusterConflict, Object
from components.deploy.deployment import SERVED_NAME, DeployError
from components.deploy.objects import (
    DIGEST,
    ROUTE_LABEL,
    VERSION_LABEL,
    Release,
    graph_arguments,
    graph_of,
    inference_service,
    ready,
)
from components.deploy.reach import CONTAINER, POD_LABEL, Reach
from components.deploy.settings import RolloutSettings
from components.deploy.smoke import AnswerCheck, SmokeFailed, check_answers
from components.deploy.target import KserveTarget

LOG_LINES = 3
WRITE_ATTEMPTS = 10
INITIALISER = "storage-initializer"


class Services:
    """The InferenceServices of a target.

    Args:
        cluster: The target's namespace.
        target: Whose.
        reach: How this process gets to them.
        settings: How patient.
    """

    def __init__(
        self, cluster: Cluster, target: KserveTarget, reach: Reach, settings: RolloutSettings
    ) -> None:
        self._cluster = cluster
        self._target = target
        self._reach = reach
        self._settings = settings

    def get(self, version: str) -> Object | None:
        """Returns a version's service; None where there is none."""
        return self._cluster.get(INFERENCE_SERVICE, self._target.service(version))

    def delete(self, version: str) -> None:
        """Deletes a version's service; one that is gone is deleted."""
        self._cluster.delete(INFERENCE_SERVICE, self._target.service(version))

    def delete_others(self, version: str) -> None:
        """Deletes every service of the target but this version's."""
        for service in self._cluster.find(INFERENCE_SERVICE, {ROUTE_LABEL: self._target.name}):
            other = service["metadata"]["labels"].get(VERSION_LABEL, "")
            if other != version:
                self._cluster.delete(INFERENCE_SERVICE, service["metadata"]["name"])

    def completed(self, release: Release, stable: str) -> Release:
        """Returns the release over the graph of the version that serves, where it leaves it open.

        Args:
            release: The version.
            stable: The version that serves; empty for none.
        """
        if release.graph_uri is not None:
            return release
        serving = self.get(stable) if stable else None
        return replace(release, graph_uri=graph_of(serving) if serving else "")

    def bring_up(self, release: Release, run: str) -> AnswerCheck:
        """Creates a version's service where there is none, waits for it and asks it.

        Args:
            release: The version, completed.
            run: Who asks.

        Raises:
            DeployError: It is not Ready in time, or its name is another model's.
            SmokeFailed: It is Ready and does not answer as it should.
        """
        name = self._target.service(release.version)
        body = inference_service(self._target, release, self._settings, run)
        deadline = time.monotonic() + self._settings.ready_timeout_s
        made = self._cluster.create(INFERENCE_SERVICE, body)
        while made["metadata"].get("deletionTimestamp") and time.monotonic() < deadline:
            time.sleep(self._settings.poll_s)  # an earlier attempt's, on its way out
            made = self._cluster.create(INFERENCE_SERVICE, body)
        held = (made["metadata"].get("annotations") or {}).get(DIGEST)
        if held != release.content_sha256:
            raise DeployError(
                f"InferenceService {name} holds another model, {held}",
                fix=f"delete it where nobody needs it: kubectl delete inferenceservice {name}",
            )
        return self.check(release)

    def check(self, release: Release) -> AnswerCheck:
        """Waits until a version's service is Ready over the release's graph, and asks it.

        Raises:
            DeployError: It is not Ready in time.
            SmokeFailed: It is Ready and does not answer as it should.
        """
        self._move_to_graph(release)
        self._await_ready(release.version)
        url = self._reach.service(self._target.service(release.version))
        deadline = time.monotonic() + self._settings.settle_s
        while True:
            try:
                check = check_answers(url, SERVED_NAME, with_graph=bool(release.graph_uri))
                break
            except SmokeFailed:
                if time.monotonic() > deadline:
                    raise
                time.sleep(self._settings.poll_s)
        if check.model != release.model:
            raise SmokeFailed(
                f"it answers as model {check.model}, registered is {release.model}", where=url
            )
        return check

    def _move_to_graph(self, release: Release) -> None:
        """Gives a service that was made over another graph the release's."""
        for _ in range(WRITE_ATTEMPTS):
            service = self.get(release.version)
            if service is None or graph_of(service) == release.graph_uri:
                return
            service["spec"]["predictor"]["model"]["args"] = graph_arguments(release.graph_uri)
            with contextlib.suppress(ClusterConflict):  # its status, mostly: KServe writes it
                self._cluster.replace(INFERENCE_SERVICE, service)
        raise ClusterConflict(
            "it changes all the time",
            where=f"InferenceService {self._target.service(release.version)}",
        )

    def _await_ready(self, version: str) -> None:
        deadline = time.monotonic() + self._settings.ready_timeout_s
        while True:
            service = self.get(version)
            is_ready, said = ready(service) if service else (False, "it is gone")
            if is_ready:
                return
            if time.monotonic() > deadline:
                raise DeployError(self._not_ready(version, said))
            time.sleep(self._settings.poll_s)

    def _not_ready(self, version: str, said: str) -> str:
        """Says why, from KServe, the events and the pods' last lines."""
        name = self._target.service(version)
        told = [f"{name} is not Ready after {self._settings.ready_timeout_s:g} s ({said})"]
        pods = self._cluster.pods({POD_LABEL: name})
        if not pods:
            told += self._cluster.events(name)[-1:]
        for pod in pods:
            known = pod.metadata.name
            told += [f"pod {known}: {line}" for line in self._cluster.events(known)[-2:]]
            # What serves says nothing before it is started: then the download is what fails.
            for container, before in ((CONTAINER, True), (CONTAINER, False), (INITIALISER, False)):
                tail = self._cluster.log_tail(known, LOG_LINES, container, previous=before)
                if lines := [line for line in tail.split("\n") if line.strip()]:
                    told.append(f"{container} says: {' | '.join(lines)}")
                    break
        return "; ".join(told)

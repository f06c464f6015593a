"""Kubeflow Pipelines as the commands use it: versions by content, runs, recurring runs.

Whatever is made is looked for first, and again after a call that was cut off or lost a race: it is
there once, however often it is asked for. Runs and recurring runs are handed out as the API has
them (`V2beta1Run`, `V2beta1RecurringRun`).
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from pipelines.kfp_api import CONNECT_FOR_S, RETRY_FOR_S, Access, KfpApi, KfpMissing

PAGE_SIZE = 200
ENDABLE = ("PENDING", "RUNNING", "PAUSED", "RUNTIME_STATE_UNSPECIFIED")
UNDER_WAY = (*ENDABLE, "CANCELING")
SUCCEEDED = "SUCCEEDED"


@dataclass(frozen=True, slots=True)
class Version:
    """A version of a pipeline on the backend.

    Attributes:
        pipeline_id: The pipeline's.
        version_id: Its own.
        name: `sha-…`, by content.
        created: Whether it was uploaded just now.
    """

    pipeline_id: str
    version_id: str
    name: str
    created: bool = False


class PipelinesClient:
    """Versions, runs and recurring runs on one backend.

    Every call raises `kfp_api.KfpError` or one of its kinds: refused, missing, away for too long.

    Args:
        access: Where it is.
        retry_for_s: How long a server that is away is waited for.
        connect_for_s: The same before it has ever answered.
    """

    def __init__(
        self,
        access: Access,
        *,
        retry_for_s: float = RETRY_FOR_S,
        connect_for_s: float = CONNECT_FOR_S,
    ) -> None:
        import kfp_server_api as kfp

        self.access = access
        self._api = KfpApi(access, retry_for_s, connect_for_s)
        self._kfp = kfp
        self._experiments = kfp.ExperimentServiceApi(self._api.client)
        self._pipelines = kfp.PipelineServiceApi(self._api.client)
        self._uploads = kfp.PipelineUploadServiceApi(self._api.client)
        self._runs = kfp.RunServiceApi(self._api.client)
        self._recurring = kfp.RecurringRunServiceApi(self._api.client)
        self._space = {"namespace": access.namespace} if access.namespace else {}

    def experiment(self, name: str) -> str:
        """Returns the id of the experiment of that name, made where it is missing."""
        listing = self._experiments.experiment_service_list_experiments
        made = self._api.ensure(
            f"make experiment {name}",
            lambda: self._named("experiments", name, listing, **self._space),
            self._experiments.experiment_service_create_experiment,
            experiment=self._kfp.V2beta1Experiment(display_name=name, **self._space),
        )
        return str(made.experiment_id)

    def find_pipeline(self, name: str) -> str | None:
        """Returns the id of the pipeline of that name, or None."""
        found = self._pipeline(name)
        return None if found is None else str(found.pipeline_id)

    def upload(self, package: Path, pipeline: str, version: str) -> Version:
        """Returns the pipeline's version of that name, uploaded where it is missing.

        Args:
            package: The compiled pipeline.
            pipeline: The pipeline's name.
            version: The version's, which belongs to its content.
        """
        owner = self._api.ensure(
            f"make pipeline {pipeline}",
            lambda: self._pipeline(pipeline),
            self._pipelines.pipeline_service_create_pipeline,
            pipeline=self._kfp.V2beta1Pipeline(display_name=pipeline, name=pipeline, **self._space),
        ).pipeline_id
        known = self._version(owner, version)
        made = known or self._api.ensure(
            f"upload {pipeline} {version}",
            lambda: self._version(owner, version),
            self._uploads.upload_pipeline_version,
            fresh=True,
            uploadfile=str(package),
            name=version,
            pipelineid=owner,
        )
        return Version(owner, made.pipeline_version_id, version, created=known is None)

    def newest_version(self, pipeline_id: str) -> Version | None:
        """Returns the version that was uploaded last, or None where there is none."""
        page = self._api.call(
            "list versions",
            self._pipelines.pipeline_service_list_pipeline_versions,
            pipeline_id=pipeline_id,
            page_size=1,
            sort_by="created_at desc",
        )
        for found in page.pipeline_versions or ():
            return Version(pipeline_id, found.pipeline_version_id, found.display_name)
        return None

    def read_version(self, reference: Any) -> Any:
        """Returns the version (`V2beta1PipelineVersion`) that a run or recurring run names."""
        return self._api.call(
            f"read version {reference.pipeline_version_id}",
            self._pipelines.pipeline_service_get_pipeline_version,
            pipeline_id=reference.pipeline_id,
            pipeline_version_id=reference.pipeline_version_id,
        )

    def start_run(
        self, name: str, version: Version, parameters: Mapping[str, Any], experiment: str, why: str
    ) -> Any:
        """Starts one run; steps are cached as the package says.

        Args:
            name: As the page shows it.
            version: What runs.
            parameters: Values by name; the package's defaults for the others.
            experiment: Its id.
            why: What the page shows as the run's description.

        Returns:
            The run.
        """
        request = f"{why} (request {uuid.uuid4()})"
        return self._api.ensure(
            f"start run {name}",
            lambda: next(self.runs(equals("description", request)), None),
            self._runs.run_service_create_run,
            fresh=True,
            run=self._kfp.V2beta1Run(
                display_name=name,
                description=request,
                experiment_id=experiment,
                pipeline_version_reference=self._reference(version),
                runtime_config=self._kfp.V2beta1RuntimeConfig(parameters=dict(parameters)),
            ),
        )

    def run(self, run_id: str) -> Any:
        """Returns a run with its steps."""
        return self._api.call(f"read run {run_id}", self._runs.run_service_get_run, run_id=run_id)

    def runs(self, *predicates: Mapping[str, Any]) -> Iterator[Any]:
        """Returns the runs that fit, newest first."""
        return self._pages(
            "runs",
            self._runs.run_service_list_runs,
            filter=_filter(predicates),
            sort_by="created_at desc",
            **self._space,
        )

    def runs_of(self, pipeline_id: str, *predicates: Mapping[str, Any]) -> list[Any]:
        """Returns a pipeline's runs that fit, of whichever version, newest first."""
        return [
            run
            for run in self.runs(*predicates)
            if (at := run.pipeline_version_reference) and at.pipeline_id == pipeline_id
        ]

    def end_run(self, run_id: str) -> None:
        """Ends a run; one that has ended stays as it is."""

        def ending() -> Any:
            run = self.run(run_id)
            return run if run.state not in ENDABLE else None

        terminate = self._runs.run_service_terminate_run
        self._api.ensure(f"end run {run_id}", ending, terminate, run_id=run_id)

    def pod_log(self, run_id: str, pod: str) -> str:
        """Returns what a pod of a run wrote; empty where it is gone or was never there."""
        return self._api.text(f"/apis/v1alpha1/runs/{run_id}/nodes/{quote(pod, safe='')}/log")

    def recurring_runs(self, name: str) -> list[Any]:
        """Returns the recurring runs of that name, oldest first."""
        found = self._pages(
            "recurring_runs",
            self._recurring.recurring_run_service_list_recurring_runs,
            filter=_filter([equals("display_name", name)]),
            **self._space,
        )
        named = [each for each in found if each.display_name == name]
        return sorted(named, key=lambda each: (each.created_at, each.recurring_run_id))

    def create_recurring_run(
        self, name: str, version: Version, parameters: Mapping[str, Any], experiment: str, cron: str
    ) -> Any:
        """Makes a recurring run: enabled, one at a time, catching up on nothing.

        Args:
            name: As the page shows it.
            version: What runs.
            parameters: Values by name.
            experiment: Its id.
            cron: Six fields.

        Returns:
            The recurring run.
        """
        kfp, request = self._kfp, f"{version.name} (request {uuid.uuid4()})"

        def find() -> Any:
            made = (each for each in self.recurring_runs(name) if each.description == request)
            return next(made, None)

        return self._api.ensure(
            f"schedule {name}",
            find,
            self._recurring.recurring_run_service_create_recurring_run,
            fresh=True,
            recurring_run=kfp.V2beta1RecurringRun(
                display_name=name,
                description=request,
                experiment_id=experiment,
                pipeline_version_reference=self._reference(version),
                runtime_config=kfp.V2beta1RuntimeConfig(parameters=dict(parameters)),
                trigger=kfp.V2beta1Trigger(cron_schedule=kfp.V2beta1CronSchedule(cron=cron)),
                mode=kfp.RecurringRunMode.ENABLE,
                no_catchup=True,
                max_concurrency="1",
            ),
        )

    def enable_recurring_run(self, recurring_run_id: str) -> None:
        """Lets a recurring run start runs again."""
        self._api.call(
            "enable the recurring run",
            self._recurring.recurring_run_service_enable_recurring_run,
            recurring_run_id=recurring_run_id,
        )

    def delete_recurring_run(self, recurring_run_id: str) -> bool:
        """Deletes a recurring run; False where it was gone."""
        try:
            self._api.call(
                "delete the recurring run",
                self._recurring.recurring_run_service_delete_recurring_run,
                recurring_run_id=recurring_run_id,
            )
        except KfpMissing:
            return False
        return True

    def _reference(self, version: Version) -> Any:
        return self._kfp.V2beta1PipelineVersionReference(
            pipeline_id=version.pipeline_id, pipeline_version_id=version.version_id
        )

    def _pipeline(self, name: str) -> Any:
        listing = self._pipelines.pipeline_service_list_pipelines
        return self._named("pipelines", name, listing, **self._space)

    def _version(self, pipeline_id: str, name: str) -> Any:
        listing = self._pipelines.pipeline_service_list_pipeline_versions
        return self._named("pipeline_versions", name, listing, pipeline_id=pipeline_id)

    def _named(self, items: str, name: str, listing: Any, **query: Any) -> Any:
        found = self._pages(items, listing, filter=_filter([equals("display_name", name)]), **query)
        # A database may compare without case.
        return next((each for each in found if each.display_name == name), None)

    def _pages(self, items: str, listing: Any, **query: Any) -> Iterator[Any]:
        what, token = f"list {items.replace('_', ' ')}", ""
        while True:
            page = self._api.call(what, listing, page_token=token, page_size=PAGE_SIZE, **query)
            yield from getattr(page, items) or ()
            token = page.next_page_token
            if not token:
                return


def equals(key: str, value: str) -> dict[str, Any]:
    """Returns the predicate of things whose field is this value."""
    return {"operation": "EQUALS", "key": key, "stringValue": value}


def holds(key: str, value: str) -> dict[str, Any]:
    """Returns the predicate of things whose field has this value in it."""
    return {"operation": "IS_SUBSTRING", "key": key, "stringValue": value}


def in_states(states: Iterable[str]) -> dict[str, Any]:
    """Returns the predicate of runs in one of these states."""
    return {"operation": "IN", "key": "state", "stringValues": {"values": list(states)}}


def _filter(predicates: Iterable[Mapping[str, Any]]) -> str:
    given = list(predicates)
    # The server decodes it once more than HTTP does.
    return quote(json.dumps({"predicates": given})) if given else ""


def moment(value: datetime | None) -> datetime | None:
    """Returns a time of the API's; None for its zero, which stands for none yet."""
    return value if value is not None and value.timestamp() > 0 else None

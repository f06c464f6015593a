"""Deploys a registered version wherever it is told to, and then makes it champion."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

from components.cluster import Cluster
from components.deploy.deployment import deploy_model
from components.deploy.objects import Release
from components.deploy.reach import InCluster, Reach
from components.deploy.replay import replay_tickets
from components.deploy.rollout import PROMOTED, UNCHANGED, Asked, Record, RolledBack, Rollout
from components.deploy.settings import RolloutSettings
from components.deploy.target import is_cluster, parse_target
from components.registry import CONTENT_TAG, ModelRegistry, RegisteredVersion
from components.storage import output_file
from kg_schema.errors import DeskGraphError, InputError

ROLLOUT_TAG = "rollout"
RECORD_NAME = "rollout.json"
"""The last roll-out's record, among the files that were registered with the version."""


@dataclass(frozen=True, slots=True)
class DeployRequest:
    """What is to serve, and where.

    Attributes:
        name: The registered model's name.
        version: The registered version.
        target: `http://127.0.0.1:PORT` (the supervisor) or `kserve://…` (see `parse_target`).
        tracking_uri: MLflow's.
        graph_uri: Address of the graph; empty for none, None for what serves already.
        shards: Whose validation tickets are replayed; None replays none.
        run: Who asks (see `Asked.run`).
        at_once: See `Asked.at_once`.
    """

    name: str
    version: str
    target: str
    tracking_uri: str
    graph_uri: str | None = ""
    shards: Path | None = None
    run: str = ""
    at_once: bool = False


def deploy_version(
    request: DeployRequest,
    settings: RolloutSettings = RolloutSettings(),  # noqa: B008 - frozen
    *,
    out: str = "",
    cluster: Cluster | None = None,
    reach: Reach | None = None,
) -> str:
    """Deploys a registered version; the champion alias moves when it serves all of the traffic.

    Args:
        request: What and where.
        settings: Of a roll-out on a cluster.
        out: Where the record (JSON) is written, whatever comes of it; empty writes none. Kubeflow
            uploads nothing of a step that fails, so the registry keeps one too, if it can.
        cluster: The target's namespace; by default the configured cluster's.
        reach: How Services and replicas are reached; by default as a pod reaches them.

    Returns:
        The address that answers now.

    Raises:
        InputError: The target is none, or there is no such version.
        RolledBack: The version did worse than the old one, which serves again.
        DeskGraphError: It was not deployed; what served before still serves.
    """
    registry = ModelRegistry(request.tracking_uri)
    row = registry.version(request.name, request.version)
    promote = partial(registry.promote, row.name, row.version)
    record = Record(row.version)
    try:
        if not is_cluster(request.target):
            deployed = deploy_model(
                row.location, row.name, row.version, request.target, request.graph_uri or ""
            )
            promote()
            record.outcome = PROMOTED
            return deployed.url
        target = parse_target(request.target)
        cluster = cluster or Cluster(target.namespace)
        shards, most = request.shards, settings.replay
        tickets = replay_tickets(shards, most) if shards is not None and most else ()
        rollout = Rollout(
            target,
            _release(row, request.graph_uri),
            cluster,
            reach or InCluster(cluster),
            settings,
            Asked(tickets, promote, request.run, request.at_once),
            record,
        )
        rollout.roll_out()
        if ROLLOUT_TAG in row.tags:  # of an earlier attempt, which failed
            with contextlib.suppress(DeskGraphError):
                registry.note(row.name, row.version, ROLLOUT_TAG, PROMOTED)
        return target.url
    except RolledBack as error:
        with contextlib.suppress(DeskGraphError):  # the roll-back is what is to be told
            registry.note(row.name, row.version, ROLLOUT_TAG, str(error))
        raise
    finally:
        told = {"target": request.target, "name": row.name, **asdict(record)}
        text = json.dumps(told, indent=1) + "\n"
        if record.lines and record.outcome != UNCHANGED:
            registry.keep(row, RECORD_NAME, text)
        if out:
            with output_file(out) as path:
                path.write_text(text, encoding="utf-8")


def _release(row: RegisteredVersion, graph_uri: str | None) -> Release:
    scheme = urlsplit(row.location).scheme
    if scheme in ("", "file"):
        raise InputError(
            f"version {row.version} lies on one machine, where no pod can read it",
            where=row.location,
            fix="give the registry an artifact root on s3://",
        )
    digest = row.tags.get(CONTENT_TAG, "")
    if not digest:
        raise DeskGraphError(
            f"version {row.version} has no tag {CONTENT_TAG}", where=row.name, fix="register it"
        )
    return Release(row.version, row.location, digest, graph_uri)

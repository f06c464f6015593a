"""`deskgraph watch`: starts a retraining where the graph's policies are not the champion's.

It looks once and ends; a CronJob runs it every minute. What is decided stands on what the backend
knows, so that it may be ended at any moment, and two may run at once.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from components.registry import recorded_fingerprint
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.policies import read_fingerprint
from kg_schema.progress import format_duration
from pipelines.client import UNDER_WAY, PipelinesClient, Version, holds, in_states, moment
from pipelines.registry import read_champion
from pipelines.schedule import ENABLED, parameters_of

BACK_OFF_S = 3600.0
"""How long after a run for the same policies no other is started, whatever came of it."""
SETTLE_S = 2.0
"""The backend tells whole seconds: after this long two that started at once see each other."""

Say = Callable[[str], None]


@dataclass(frozen=True)
class Watch:
    """What is compared, and what is started.

    Attributes:
        graph: The graph.
        tracking_uri: The registry.
        model: The registered model's name; empty where there is one only.
        pipeline: The retraining pipeline's name on the page.
        schedule: Its recurring run's name, whose version, parameters and experiment are taken.
            Disabled, it stops the watch too.
        back_off_s: See `BACK_OFF_S`.
    """

    graph: GraphSettings
    tracking_uri: str
    model: str
    pipeline: str
    schedule: str
    back_off_s: float = BACK_OFF_S


def check(client: PipelinesClient, watch: Watch, say: Say, settle_s: float = SETTLE_S) -> str:
    """Compares once, and starts a run where that is due.

    Args:
        client: The backend.
        watch: What is compared and started.
        say: Takes the one line of the result.
        settle_s: See `SETTLE_S`.

    Returns:
        The id of the run that was started; empty where none was.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        RegistryError: The registry cannot be reached.
        KfpError: The backend refuses or is away.
        InputError: No retraining is scheduled, there is no registry, or the model has to be named.
    """
    current = read_fingerprint(watch.graph)
    champion = read_champion(watch.tracking_uri, watch.model)
    if champion is None:
        say("nothing to compare: there is no champion yet")
        return ""
    trained = recorded_fingerprint(champion)
    if not trained:
        say("nothing to compare: the champion was trained without a graph")
        return ""
    if trained == current:
        say(f"nothing changed (fingerprint {current})")
        return ""
    changed = f"policies changed: {trained} -> {current}"
    owner = client.find_pipeline(watch.pipeline)
    if owner is None:
        raise InputError(
            f"{changed}, and no retraining pipeline is there",
            where=watch.pipeline,
            fix="upload and schedule it with `deskgraph schedule`",
        )
    recurring = _recurring(client, watch, owner, changed)
    if recurring.status != ENABLED:
        say(f"{changed}; left alone: {watch.schedule} is {recurring.status.lower()}")
        return ""
    if under_way := client.runs_of(owner, in_states(UNDER_WAY)):
        say(f"{changed}; a run is under way: {_told(under_way[0])}")
        return ""
    prefix = f"{watch.pipeline}-policies-"
    if reason := _too_soon(client, owner, prefix, current, watch.back_off_s):
        say(f"{changed}; {reason}")
        return ""
    run = _start(client, recurring, owner, prefix + current, changed)
    time.sleep(settle_s)
    if first := _earlier(client.runs_of(owner, in_states(UNDER_WAY)), run):
        client.end_run(run.run_id)
        say(f"{changed}; a run is under way: {_told(first)}; ended {run.run_id}, started beside it")
        return ""
    say(f"{changed}; started run {_told(run)}")
    return str(run.run_id)


def _recurring(client: PipelinesClient, watch: Watch, owner: str, changed: str) -> Any:
    """The recurring run that says what to train on: of several an enabled one, the oldest."""
    found = [
        each
        for each in client.recurring_runs(watch.schedule)
        if (at := each.pipeline_version_reference) and at.pipeline_id == owner
    ]
    if not found:
        raise InputError(
            f"{changed}, and nothing is scheduled that says what to train on",
            where=watch.schedule,
            fix="schedule it with `deskgraph schedule`",
        )
    return next((each for each in found if each.status == ENABLED), found[0])


def _start(client: PipelinesClient, recurring: Any, owner: str, name: str, why: str) -> Any:
    at = recurring.pipeline_version_reference
    if at.pipeline_version_id:
        version = Version(owner, at.pipeline_version_id, client.read_version(at).display_name)
    elif (newest := client.newest_version(owner)) is not None:
        version = newest
    else:
        raise InputError(
            "the retraining pipeline has no version",
            where=recurring.display_name,
            fix="upload one with `deskgraph schedule`",
        )
    parameters, experiment = parameters_of(recurring), recurring.experiment_id
    return client.start_run(name, version, parameters, experiment, why)


def _too_soon(
    client: PipelinesClient, owner: str, prefix: str, current: str, back_off_s: float
) -> str:
    """Why no other run for the same policies is due yet; empty where one is.

    Policies that changed to others and back in between count as changed.
    """
    runs = client.runs_of(owner, holds("display_name", prefix))
    last = max(runs, key=_ended, default=None)
    if last is None or last.display_name != prefix + current:
        return ""
    left_s = (_ended(last) - datetime.now(UTC)).total_seconds() + back_off_s
    if left_s <= 0:
        return ""
    next_one = f"the next in {format_duration(left_s)}"
    return f"a run for them {last.state.lower()}: {_told(last)}; {next_one}"


def _ended(run: Any) -> datetime:
    return moment(run.finished_at) or run.created_at


def _earlier(under_way: list[Any], run: Any) -> Any:
    """The run that came before this one, by the backend's time, then by id; None for none."""
    others = (each for each in under_way if each.run_id != run.run_id)
    before = [each for each in others if _order(each) < _order(run)]
    return min(before, key=_order, default=None)


def _order(run: Any) -> tuple[datetime, str]:
    return run.created_at, run.run_id


def _told(run: Any) -> str:
    return f"{run.display_name} ({run.run_id})"

"""`deskgraph schedule`: one recurring run on the backend, brought to what is asked for.

Recurring runs cannot be changed: another one is made, and then the old one deleted. Whoever is
interrupted in between leaves two, and the next call one.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from kg_schema.errors import DeskGraphError, InputError
from pipelines.client import PipelinesClient, Version
from pipelines.cron import EXAMPLE, ZONE, ZONE_NOTE, Cron, parse_cron
from pipelines.kfp_api import KfpMissing

ENABLED = "ENABLED"

Say = Callable[[str], None]


@dataclass(frozen=True)
class Schedule:
    """What is asked for.

    Attributes:
        name: The recurring run's name; there is one of it.
        version: What it runs.
        parameters: Values by name; the package's defaults for the others.
        experiment: The experiment's id.
        cron: When.
    """

    name: str
    version: Version
    parameters: Mapping[str, Any]
    experiment: str
    cron: Cron


def reconcile(client: PipelinesClient, wanted: Schedule, say: Say) -> str:
    """Brings the backend to exactly one recurring run of this name, with this content.

    Args:
        client: The backend.
        wanted: What is asked for.
        say: Takes each line of the result.

    Returns:
        Its id.

    Raises:
        KfpError: The backend refuses or is away; the same call again goes on.
    """
    before = client.recurring_runs(wanted.name)
    if any(_same(each, wanted) for each in before):
        done = "nothing to do, it is there"
    else:
        done = "replaced" if before else "created"
        client.create_recurring_run(
            wanted.name, wanted.version, wanted.parameters, wanted.experiment, wanted.cron.text
        )
    # Read again: where two calls meet, both keep the same one, the oldest.
    found = client.recurring_runs(wanted.name)
    kept = next((each for each in found if _same(each, wanted)), None)
    if kept is None:
        raise DeskGraphError("is gone again", where=wanted.name, fix="schedule it once more")
    if kept.status != ENABLED:
        client.enable_recurring_run(kept.recurring_run_id)
        done = "enabled again"
    others = [each for each in found if each.recurring_run_id != kept.recurring_run_id]
    for other in others:
        client.delete_recurring_run(other.recurring_run_id)
    if before and others and done.startswith("nothing"):
        done = f"{len(others)} of the same name deleted"
    say(f"{wanted.name}: {done}")
    say(f"  runs {wanted.version.name} at {describe(wanted.cron)}")
    return str(kept.recurring_run_id)


def remove(client: PipelinesClient, name: str, say: Say) -> None:
    """Deletes every recurring run of a name; runs under way go on."""
    found = client.recurring_runs(name)
    for each in found:
        client.delete_recurring_run(each.recurring_run_id)
    say(f"{name}: deleted" if found else f"{name}: nothing to remove")


def show(client: PipelinesClient, name: str, say: Say) -> None:
    """Says what recurring runs of a name there are."""
    found = client.recurring_runs(name)
    if not found:
        say(f"{name}: not scheduled")
    for each in found:
        say(f"{name}: {each.status.lower()}, {each.recurring_run_id}")
        say(f"  runs {_version_of(client, each)} at {_times(_cron(each))}")
        for parameter, value in sorted(parameters_of(each).items()):
            say(f"  {parameter} = {value}")


def describe(cron: Cron, now: datetime | None = None) -> str:
    """Returns an expression with its zone and the next time it comes."""
    coming = cron.next_after(now or datetime.now(UTC))
    told = f"{coming:%Y-%m-%d %H:%M:%S} {ZONE}" if coming else "never"
    return f'"{cron.text}", next {told} ({ZONE_NOTE})'


def parameters_of(recurring: Any) -> dict[str, Any]:
    """Returns the values that a recurring run hands to its runs."""
    config = recurring.runtime_config
    return dict(config.parameters or {}) if config else {}


def _same(recurring: Any, wanted: Schedule) -> bool:
    reference = recurring.pipeline_version_reference
    return (
        reference is not None
        and reference.pipeline_version_id == wanted.version.version_id
        and recurring.experiment_id == wanted.experiment
        and _cron(recurring) == wanted.cron.text
        and parameters_of(recurring) == dict(wanted.parameters)
        and bool(recurring.no_catchup)
        and int(recurring.max_concurrency) == 1
    )


def _version_of(client: PipelinesClient, recurring: Any) -> str:
    reference = recurring.pipeline_version_reference
    if reference is None:
        return "an inlined package"
    if not reference.pipeline_version_id:
        return "the newest version"
    try:
        return str(client.read_version(reference).display_name)
    except KfpMissing:
        return f"a version that is gone ({reference.pipeline_version_id})"


def _times(cron: str) -> str:
    """When it comes; whoever made it elsewhere may have given what `parse_cron` refuses."""
    if not cron:
        return "other times"
    try:
        return describe(parse_cron(cron))
    except InputError as error:
        return f'"{cron}" ({error.what}; {EXAMPLE})'


def _cron(recurring: Any) -> str:
    trigger = recurring.trigger
    found = trigger.cron_schedule if trigger else None
    return str(found.cron) if found and found.cron else ""

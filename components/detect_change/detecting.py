"""Compares what there is now with what the champion stands on, and says what is different."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

import httpx

from components.detect_change.drift import compare
from components.detect_change.settings import DetectSettings
from components.digests import default_model_name, digest_labels, digest_locations
from components.registry import (
    STAMP_SUFFIX,
    ModelRegistry,
    RegisteredVersion,
    find_champion,
    recorded,
    recorded_fingerprint,
)
from components.storage import localise
from components.tickets import TicketColumns, TicketReader
from components.traffic import REFERENCE_NAME, TRAFFIC_TAG, Reference, Traffic, read_metrics
from kg_schema.connection import GraphSettings
from kg_schema.policies import read_fingerprint
from kg_schema.policy_changes import policy_changes

Outcome = Literal["changed", "same", "not judged"]

REFERENCE = f"selection/{REFERENCE_NAME}"
"""Where a reference lies among a registered version's files."""
DETECTED_TAG = "detected_at"
NAMED = 5
"""How many intents or changes a sentence names before it counts the rest."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Inputs:
    """What a training would read, by location; see `build_training`'s parameters of these names.

    Attributes:
        graph_uri: Bolt address of the graph; empty where the training has no graph.
        traffic: Addresses of the servers' metrics, separated by commas or blanks; empty for none.
    """

    tickets: str
    tracking_uri: str
    test_tickets: str = ""
    unlabelled: str = ""
    text_column: str = "text"
    label_column: str = "intent"
    task: str = "intent"
    model_name: str = ""
    graph_uri: str = ""
    traffic: str = ""

    @property
    def name(self) -> str:
        """Of the registered model."""
        return self.model_name or default_model_name(self.tickets, self.task)


@dataclass(frozen=True)
class Check:
    """One thing that was compared.

    Attributes:
        what: Its name.
        outcome: `not judged` where it was not looked at, or there is too little to tell.
        said: A plain sentence.
    """

    what: str
    outcome: Outcome
    said: str


@dataclass(frozen=True)
class Detection:
    """What was found.

    Attributes:
        model_name: The registered model.
        champion: Its champion's version; empty where there is none.
        checks: Everything that was compared.
        stamps: Tags that say what was seen: to be recorded on the champion that comes of it,
            so that the next pass compares with this and not with something read later.
    """

    model_name: str
    champion: str
    checks: tuple[Check, ...]
    stamps: Mapping[str, str]

    @property
    def reasons(self) -> list[str]:
        """Why to train; nothing where nothing changed."""
        return [check.said for check in self.checks if check.outcome == "changed"]

    @property
    def changed(self) -> bool:
        """Whether to train."""
        return bool(self.reasons)


def detect_change(inputs: Inputs, settings: DetectSettings | None = None) -> Detection:
    """Compares policies, intents, tickets and live traffic with what the champion stands on.

    What cannot be read is an error and never "no change"; only of live traffic it is a warning,
    since a server may be down for reasons of its own.

    Args:
        inputs: What a training would read.
        settings: Thresholds of drift.

    Raises:
        InputError: A location holds nothing, or tickets cannot be used.
        RegistryError: The registry cannot be reached.
        GraphUnavailable: The graph cannot be reached.
        GraphTimeout: The graph does not answer.
        GraphQueryError: The graph refuses a read.
    """
    settings = settings or DetectSettings()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    tickets = digest_locations(inputs.tickets, inputs.test_tickets, inputs.unlabelled)
    intents = _intents(inputs)
    stamps = {"tickets": tickets, "intents": digest_labels(intents)}
    champion = find_champion(inputs.tracking_uri, inputs.name)
    if champion is None:
        # The graph is not read: its files may not be in it before the first training.
        checks = [Check("champion", "changed", f"{inputs.name} has no champion yet")]
    else:
        stamps["graph"] = read_fingerprint(_graph(inputs)) if inputs.graph_uri else ""
        checks = [
            _check_policies(champion, stamps["graph"], inputs),
            _check_tickets(champion, tickets),
        ]
    tags = {f"{tag}{STAMP_SUFFIX}": value for tag, value in stamps.items() if value}
    if champion is not None and inputs.task == "intent":
        reference = _reference(champion, inputs)
        checks.insert(1, _check_intents(champion, intents, reference))
        drift, baseline = _check_traffic(champion, reference, inputs, settings)
        checks += drift
        tags |= {TRAFFIC_TAG: baseline} if baseline else {}
    return Detection(
        model_name=inputs.name,
        champion=champion.version if champion else "",
        checks=tuple(checks),
        stamps={**tags, DETECTED_TAG: now},
    )


def _graph(inputs: Inputs) -> GraphSettings:
    return GraphSettings.from_env(inputs.graph_uri)


def _intents(inputs: Inputs) -> set[str]:
    """Returns the intents of the tickets, those of separate test tickets included."""
    if inputs.task != "intent":
        return set()
    columns = TicketColumns(inputs.text_column, inputs.label_column)
    places = [place for place in (inputs.tickets, inputs.test_tickets) if place]
    return {
        ticket.intent
        for place in places
        for ticket in TicketReader(localise(place), columns)
        if ticket.intent is not None
    }


def _reference(champion: RegisteredVersion, inputs: Inputs) -> Reference | None:
    """Returns what was kept beside the champion; None of one registered before any was."""
    if not champion.tags.get("intents"):
        return None
    place = ModelRegistry(inputs.tracking_uri).artifact(champion, REFERENCE)
    return Reference.read(localise(place))


def _check_policies(champion: RegisteredVersion, now: str, inputs: Inputs) -> Check:
    what, before = "policies and promotions", recorded_fingerprint(champion)
    if not now:
        return Check(what, "not judged", "this run has no graph")
    if now == before:
        return Check(what, "same", f"what holds today is what held, fingerprint {now}")
    if not before:
        return Check(what, "changed", "the champion was trained without a graph")
    since = champion.tags.get(DETECTED_TAG) or champion.created_at
    events = [each for each in policy_changes(_graph(inputs)) if each.recorded_at >= since]
    named = _listed([each.version for each in events])
    said = f"what policies and promotions say today changed, fingerprint {before} is now {now}"
    return Check(what, "changed", f"{said} (new since: {named})" if named else said)


def _check_intents(
    champion: RegisteredVersion, intents: set[str], reference: Reference | None
) -> Check:
    if digest_labels(intents) == recorded(champion, "intents"):
        return Check("intents", "same", f"the same {len(intents)} intents")
    if reference is None:
        return Check("intents", "changed", "the champion does not say which intents it knows")
    known = set(reference.labels)
    new, gone = sorted(intents - known), sorted(known - intents)
    parts = [f"new intents in the tickets: {_listed(new)}"] if new else []
    parts += [f"intents gone from the tickets: {_listed(gone)}"] if gone else []
    # Back to what the champion knows, after a stamp that said otherwise.
    return Check("intents", "changed", "; ".join(parts) or "intents are back in the tickets")


def _check_tickets(champion: RegisteredVersion, now: str) -> Check:
    before = recorded(champion, "tickets")
    if now == before:
        return Check("tickets", "same", f"the same tickets, digest {now}")
    said = f"the tickets changed, digest {before or 'none'} is now {now}"
    return Check("tickets", "changed", said)


def _check_traffic(
    champion: RegisteredVersion,
    reference: Reference | None,
    inputs: Inputs,
    settings: DetectSettings,
) -> tuple[list[Check], str]:
    """Returns the checks, and the traffic to compare with from now on where it has drifted."""
    what = "live traffic"
    addresses = inputs.traffic.replace(",", " ").split()
    if not addresses:
        return [Check(what, "not judged", "no server was named")], ""
    if reference is None or reference.traffic is None:
        return [Check(what, "not judged", "the champion keeps no traffic to compare with")], ""
    live, checks = _live_traffic(addresses, settings)
    before = reference.traffic
    if stamped := champion.tags.get(TRAFFIC_TAG):
        before = Traffic.parse(json.loads(stamped), TRAFFIC_TAG)
    compared = compare(before, live, settings)
    if not compared:
        said = f"{live.tickets:,} tickets answered, fewer than {settings.min_tickets:,}"
        return [*checks, Check(what, "not judged", said)], ""
    for each in compared:
        moved = f"moved by {each.value:.3f}, limit {each.limit:.3f}: {each.said}"
        if each.drifted:
            checks.append(Check(each.name, "changed", f"live traffic drifted: {each.name} {moved}"))
        else:
            checks.append(Check(each.name, "same", moved))
    if not any(each.drifted for each in compared):
        return checks, ""
    return checks, json.dumps(replace(live, spread=before.spread).as_json())


def _live_traffic(addresses: list[str], settings: DetectSettings) -> tuple[Traffic, list[Check]]:
    """Adds up what the servers say; one that says nothing is a warning."""
    live, checks = Traffic({}), []
    for address in addresses:
        try:
            response = httpx.get(address, timeout=settings.timeout_s, trust_env=False)
            response.raise_for_status()
            live += read_metrics(response.text)
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            logger.warning("%s: no metrics: %s", address, type(error).__name__)
            reason = f"{address} tells no metrics ({type(error).__name__})"
            checks.append(Check("live traffic", "not judged", reason))
    return live, checks


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more

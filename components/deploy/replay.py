"""Tickets asked again: directly, to compare two versions, and through the gateway as traffic."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from components.deploy.smoke import SMOKE_TICKET
from components.deploy.target import KserveTarget
from serving.contracts import MAX_TEXT_CHARACTERS
from serving.telemetry import probe_headers

TIMEOUT_S = 20.0
ENOUGH_FAILED = 10
"""So many requests without an answer say enough: each may have taken the whole time-out."""
PREDICT = "/v1/models/deskgraph:predict"


@dataclass(frozen=True, slots=True)
class ReplayTicket:
    """A ticket to ask again.

    Attributes:
        text: What it says.
        intent: What it is known to be about; empty where nobody knows.
    """

    text: str
    intent: str = ""


SMOKE = (ReplayTicket(SMOKE_TICKET),)


def replay_tickets(shards: Path, most: int) -> list[ReplayTicket]:
    """Returns validation tickets of a shards directory, evenly spaced.

    Raises:
        ManifestError: The directory is not whole.
    """
    from components.shards import read_split

    rows = read_split(shards, "validation").select(["text", "intent"]).to_pylist()
    usable = [
        row for row in rows if row["text"].strip() and len(row["text"]) <= MAX_TEXT_CHARACTERS
    ]
    taken = min(most, len(usable))
    chosen = [usable[index * len(usable) // taken] for index in range(taken)]
    return [ReplayTicket(row["text"], row["intent"] or "") for row in chosen]


@dataclass
class Agreement:
    """How two versions answered the same tickets.

    Attributes:
        asked: Tickets that were sent to both.
        compared: Of them, those that the old one answered.
        agreed: The same intent and the same facts, or the new one alone names the known intent.
        corrected: Of them, those that the new one alone got right.
        failed: Tickets that the new one did not answer.
        old_failed: Tickets that the old one did not answer.
        changes: How often which intent of the old one became which of the new one.
    """

    asked: int = 0
    compared: int = 0
    agreed: int = 0
    corrected: int = 0
    failed: int = 0
    old_failed: int = 0
    changes: Counter[str] = field(default_factory=Counter)

    @property
    def share(self) -> float | None:
        """Of the tickets compared, the share on which they agree; None without any."""
        return self.agreed / self.compared if self.compared else None

    def add(
        self, ticket: ReplayTicket, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None
    ) -> None:
        """Counts one ticket's two answers; None is none."""
        self.asked += 1
        self.failed += new is None
        self.old_failed += old is None
        if old is None or "intent" not in old:
            return  # nothing to compare with: no answer, or a free text
        self.compared += 1
        if new is None:
            return
        before, after = old["intent"]["label"], new["intent"]["label"]
        if before == after and _facts(old) == _facts(new):
            self.agreed += 1
        elif ticket.intent and before != ticket.intent and after == ticket.intent:
            self.agreed += 1
            self.corrected += 1
        else:
            self.changes[f"{before} -> {after}" if before != after else f"{before}: facts"] += 1


def compare(client: httpx.Client, tickets: Sequence[ReplayTicket], old: str, new: str) -> Agreement:
    """Asks both versions each ticket, directly, until too many get no answer of the new one.

    An old one that answers as little is asked no more, and the new one is asked alone.

    Args:
        client: What asks.
        tickets: What to ask.
        old: Address of the old version's Service.
        new: Address of the new one's.
    """
    agreement = Agreement()
    for ticket in tickets:
        before = None
        if agreement.old_failed < ENOUGH_FAILED:
            before, _ = _ask(client, f"{old}{PREDICT}", ticket)
        after, _ = _ask(client, f"{new}{PREDICT}", ticket)
        agreement.add(ticket, before, after)
        if agreement.failed >= ENOUGH_FAILED:
            break
    return agreement


class Gateway:
    """Requests as a customer sends them, counted by the version that answers.

    Args:
        client: What sends them.
        target: The gateway and the hostname.
        models: Versions by the digest that their answers tell.
        tickets: What to ask, over and over.

    Attributes:
        counts: Answers by version, `?` for one that is not known, and `failed`.
        failure: What the last failure was.
    """

    def __init__(
        self,
        client: httpx.Client,
        target: KserveTarget,
        models: Mapping[str, str],
        tickets: Iterator[ReplayTicket],
    ) -> None:
        self._client = client
        self._url = f"{target.url}{PREDICT}"
        self._host = target.hostname
        self._models = models
        self._tickets = tickets
        self.counts: Counter[str] = Counter()
        self.failure = ""

    def send(self, number: int) -> Counter[str]:
        """Sends so many tickets, one after the other, and returns who answered these.

        Ends early where too many get no answer.
        """
        sent: Counter[str] = Counter()
        for _ in range(number):
            answer, failure = _ask(self._client, self._url, next(self._tickets), self._host)
            if answer is None:
                self.failure = failure
                sent["failed"] += 1
                if sent["failed"] >= ENOUGH_FAILED:
                    break
            else:
                model = (answer.get("versions") or {}).get("model") or ""
                sent[self._models.get(model, "?")] += 1
        self.counts += sent
        return sent


def _ask(
    client: httpx.Client, url: str, ticket: ReplayTicket, host: str = ""
) -> tuple[dict[str, Any] | None, str]:
    """Returns the answer, or None and what was wrong."""
    body = {"instances": [{"text": ticket.text}]}
    headers = {**probe_headers(), **({"host": host} if host else {})}
    try:
        response = client.post(url, json=body, headers=headers, timeout=TIMEOUT_S)
        if response.status_code != 200:
            return None, f"HTTP {response.status_code}"
        answer: dict[str, Any] = response.json()["predictions"][0]
    except httpx.HTTPError as error:
        return None, type(error).__name__
    except (ValueError, KeyError, IndexError, TypeError):
        return None, "no answer of the protocol"
    return answer, ""


def _facts(answer: Mapping[str, Any]) -> set[str]:
    return {fact for claim in answer["answer"]["claims"] for fact in claim["facts"]}

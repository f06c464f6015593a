"""Writes what a company promises anew: a version, the end of the last one, the event, at once.

Two times are kept. `valid_from` and `valid_to`, both included, say on which days a version holds;
`recorded_at` and `superseded_at` say from when until when the graph said so. Of one policy no day
has two versions. A new version begins after the last one began, and ends it the day before; or
it begins on the first day of a version and corrects that one, which stays on record, marked, and
is no longer read.

What a change ends or marks keeps the content hash of what its source said. So loading the same
files again changes nothing back. A file that says something new of the version does, or is refused
where the version would then hold on a day that another one has.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from kg_schema import statements
from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from kg_schema.ontology import check_value
from kg_schema.policies import FINGERPRINT_TEMPLATE, digest, today
from kg_schema.rows import content_hash
from kg_schema.templates import find_template, load_templates
from kg_schema.write_lock import WriteLock
from kg_schema.writer import GraphWriter, Run

SOURCE_ID = "policy"

Kind = Literal["begins", "supersedes", "corrects"]


@dataclass(frozen=True)
class PolicyVersion:
    """One version of a policy.

    Attributes:
        id: Business id, `<policy>@<version>`.
        version: Its number; the order in which versions were recorded.
        text: What it says.
        valid_from: First day it holds, ISO.
        valid_to: Last day it holds; None while none is known.
        recorded_at: Since when the graph says it.
        superseded_at: When the graph learned that another follows it or stands for it.
        corrected_by: Id of the version that stands for it.
    """

    id: str
    version: int
    text: str
    valid_from: str
    valid_to: str | None = None
    recorded_at: str | None = None
    superseded_at: str | None = None
    corrected_by: str | None = None

    def holds(self, day: str) -> bool:
        """Whether it is in force on a day."""
        if self.corrected_by is not None:
            return False
        return self.valid_from <= day and (self.valid_to is None or day <= self.valid_to)


@dataclass(frozen=True)
class PolicyChange:
    """A change of a policy, done or planned.

    Attributes:
        policy: The policy's id.
        kind: Nothing held on the day before, or it follows a version, or replaces one.
        version: The new version.
        previous: The version it ends or corrects, as it was.
        fingerprint: What the graph promises today, with the change in it; empty on a dry run.
    """

    policy: str
    kind: Kind
    version: PolicyVersion
    previous: PolicyVersion | None
    fingerprint: str = ""

    @property
    def title(self) -> str:
        """In words, such as `PO_RETURN@2 supersedes PO_RETURN@1`."""
        return f"{self.version.id} {self.kind}{f' {self.previous.id}' if self.previous else ''}"


@dataclass(frozen=True)
class ChangeEvent:
    """A change as it stands on record, with the fingerprint written in the same transaction."""

    recorded_at: str
    kind: str
    version: str
    previous: str | None
    valid_from: str
    fingerprint: str


def plan_change(
    policy: str, versions: Sequence[PolicyVersion], text: str, valid_from: date, now: datetime
) -> PolicyChange | None:
    """What setting a text from a day on means; None where it is said on that day already.

    Args:
        policy: The policy's id.
        versions: All its versions.
        text: What it is to say.
        valid_from: First day.
        now: The time of recording.

    Raises:
        InputError: A later version follows: two would hold on one day.
    """
    day = valid_from.isoformat()
    current = sorted(
        (one for one in versions if one.corrected_by is None), key=lambda one: one.valid_from
    )
    previous = next((one for one in reversed(current) if one.valid_from[: len(day)] <= day), None)
    corrects = previous is not None and previous.valid_from[: len(day)] == day
    if current and not corrects and current[-1].valid_from[: len(day)] > day:
        later = current[-1]
        raise InputError(
            f"a version from {day} on would overlap {later.id}, which holds from "
            f"{later.valid_from} on",
            where=policy,
            fix="begin after that day, or on the first day of the version to correct",
        )
    if previous is not None and previous.text == text and (corrects or previous.holds(day)):
        return None
    number = max((one.version for one in versions), default=0) + 1
    new = PolicyVersion(
        id=f"{policy}@{number}",
        version=number,
        text=text,
        valid_from=day,
        valid_to=previous.valid_to if previous is not None and corrects else None,
        recorded_at=now.isoformat(timespec="seconds"),
    )
    if previous is None or not (corrects or previous.holds(day)):
        return PolicyChange(policy, "begins", new, None)
    return PolicyChange(policy, "corrects" if corrects else "supersedes", new, previous)


def applied(versions: Sequence[PolicyVersion], change: PolicyChange) -> list[PolicyVersion]:
    """The versions as they are after a change."""
    return [
        *(_after(one, change) if one == change.previous else one for one in versions),
        change.version,
    ]


def _after(previous: PolicyVersion, change: PolicyChange) -> PolicyVersion:
    new = change.version
    if change.kind == "corrects":
        return replace(previous, superseded_at=new.recorded_at, corrected_by=new.id)
    last = date.fromisoformat(new.valid_from) - timedelta(days=1)
    return replace(previous, superseded_at=new.recorded_at, valid_to=last.isoformat())


def set_policy(
    settings: GraphSettings,
    policy: str,
    text: str,
    valid_from: date | None = None,
    *,
    source_id: str = SOURCE_ID,
    dry_run: bool = False,
) -> PolicyChange | None:
    """Writes a policy's text from a day on; all of it or nothing.

    Args:
        settings: The database.
        policy: The policy's id.
        text: What it is to say; white space around it is dropped.
        valid_from: First day; today by default.
        source_id: Who says it.
        dry_run: Plans and writes nothing.

    Returns:
        What changed; None where the policy says this text on that day already.

    Raises:
        InputError: There is no such policy, the text is empty, or a later version follows.
        WriteLockError: Another process writes to the database, for longer than one waits.
        GraphUnavailable: The database cannot be reached.
        GraphQueryError: The database refuses a write.
    """
    said = _checked(text, policy)
    day = valid_from or today()
    with GraphWriter(settings) as writer:
        change = plan_change(policy, _versions(writer, policy), said, day, datetime.now(UTC))
        if change is None or dry_run:
            return change
        # A load under way might write the very version that this ends.
        with WriteLock(settings) as lock:
            work = _Change(policy, said, day, source_id, lock)
            return writer.transact(work, what="set a policy")


def _checked(text: str, policy: str) -> str:
    try:
        return str(check_value("string", text.strip(), "the text"))
    except ValueError:
        raise InputError("the text is empty or too long", where=policy) from None


@dataclass(frozen=True)
class _Change:
    """One transaction under the write lock: reads the versions, plans, and writes."""

    policy: str
    text: str
    valid_from: date
    source_id: str
    lock: WriteLock

    def __call__(self, run: Run) -> PolicyChange | None:
        self.lock.require_within(run)
        if not run(statements.lock_policy(), {"policy": self.policy}):
            raise _unknown(self.policy)
        versions = _parsed(run(statements.policy_versions(), {"policy": self.policy}))
        now = datetime.now(UTC)
        change = plan_change(self.policy, versions, self.text, self.valid_from, now)
        if change is None:
            return None
        self._write(run, change)
        day = {"as_of": today().isoformat()}
        found = find_template(FINGERPRINT_TEMPLATE, load_templates())
        done = replace(change, fingerprint=digest(run(found.text, day)))
        run(statements.record_change(), {"props": _event(done)})
        return done

    def _write(self, run: Run, change: PolicyChange) -> None:
        new = change.version
        if change.previous is not None:
            after = _after(change.previous, change)
            end = {"id": after.id, "recorded_at": after.superseded_at}
            if change.kind == "corrects":
                marked = {**end, "corrected_by": after.corrected_by}
                run(statements.correct_policy_version(), marked)
            else:
                run(statements.close_policy_version(), {**end, "valid_to": after.valid_to})
        props = {
            "id": new.id,
            "name": f"{self.policy}, version {new.version}",
            "version": new.version,
            "text": new.text,
            "valid_from": new.valid_from,
            "valid_to": new.valid_to,
            "recorded_at": new.recorded_at,
            "sha256": hashlib.sha256(new.text.encode()).hexdigest(),
        }
        held = {key: value for key, value in props.items() if value is not None}
        given = {
            "policy": self.policy,
            "props": {**held, **self._bookkeeping(held, new)},
            "edge": self._bookkeeping({}, new),
        }
        run(statements.create_policy_version(), given)

    def _bookkeeping(self, props: Mapping[str, object], new: PolicyVersion) -> dict[str, object]:
        return {
            "source_ids": [self.source_id],
            "content_hash": content_hash(props),
            "loaded_at": new.recorded_at,
            "batch_id": hashlib.sha256(new.id.encode()).hexdigest()[:12],
        }


def _event(change: PolicyChange) -> dict[str, object]:
    new = change.version
    props = {
        "id": f"CE_{new.id}",
        "name": change.title,
        "kind": change.kind,
        "policy": change.policy,
        "version": new.id,
        "previous": change.previous.id if change.previous else None,
        "valid_from": new.valid_from,
        "recorded_at": new.recorded_at,
        "fingerprint": change.fingerprint,
    }
    return {key: value for key, value in props.items() if value is not None}


def policy_history(settings: GraphSettings, policy: str) -> list[PolicyVersion]:
    """All versions of a policy in the order recorded, those that were corrected included.

    Raises:
        InputError: There is no such policy.
        GraphUnavailable: The database cannot be reached.
    """
    with GraphWriter(settings) as writer:
        return _versions(writer, policy)


def policy_changes(
    settings: GraphSettings, policy: str | None = None, limit: int = 20
) -> list[ChangeEvent]:
    """The latest changes, newest first; of one policy where it is named.

    Raises:
        GraphUnavailable: The database cannot be reached.
    """
    given = {"policy": policy, "limit": limit}
    with GraphWriter(settings) as writer:
        rows = writer.read(statements.change_events(), given, what="read changes")
    return [ChangeEvent(**row) for row in rows]


def _versions(writer: GraphWriter, policy: str) -> list[PolicyVersion]:
    given = {"policy": policy}
    if not writer.read(statements.policy_name(), given, what="find a policy"):
        raise _unknown(policy)
    return _parsed(writer.read(statements.policy_versions(), given, what="read versions"))


def _unknown(policy: str) -> InputError:
    return InputError("no such policy", where=policy, fix="load it first, with what it covers")


def _parsed(rows: Sequence[Mapping[str, Any]]) -> list[PolicyVersion]:
    keys = [field.name for field in fields(PolicyVersion)]
    return [PolicyVersion(**{key: row[key] for key in keys}) for row in rows]

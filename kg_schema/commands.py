"""What `deskgraph graph …` does: plain functions that write lines and return an exit code.

Errors pass as the typed errors they are; the command line makes one line of them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

from kg_schema import statements
from kg_schema.client import GraphClient
from kg_schema.connection import START_FIX, GraphSettings
from kg_schema.drawing import draw_ontology
from kg_schema.drift import find_drift
from kg_schema.errors import InputError
from kg_schema.load import Counts, LoadOptions, load_graph_files
from kg_schema.local import attach, start_server
from kg_schema.migrate import migrate, pending
from kg_schema.ontology import load_ontology
from kg_schema.policies import fingerprint, today
from kg_schema.policy_changes import (
    PolicyVersion,
    policy_changes,
    policy_history,
    set_policy,
)
from kg_schema.prune import PruneReport, withdraw_source
from kg_schema.writer import GraphWriter

Write = Callable[[str], object]

DONE = 0
DRIFTED = 1
REFUSED = 1


def find_graph(uri: str = "", data_dir: str | Path = "") -> GraphSettings:
    """The graph a command works on: a data folder's server, an address, or NEO4J_URI.

    Raises:
        InputError: No server runs on the folder, or no address is given.
    """
    if not data_dir:
        return GraphSettings.from_env(uri or None)
    server = attach(data_dir)
    if server is None:
        raise InputError("no server runs on this folder", where=str(data_dir), fix=START_FIX)
    return server.settings()


def start(write: Write, *, data_dir: str | Path, engine: str = "embedded", port: int = 0) -> int:
    """Starts a folder's server and says how to reach it; one that runs already is fine."""
    server = start_server(engine, data_dir, port)
    write(f"{server.engine} graph server {server.pid} runs; its data is in {server.data_dir}")
    for key, value in server.environment().items():
        if key == "NEO4J_PASSWORD":
            value = f'"$(cat {server.data_dir / "password"})"'
        write(f"export {key}={value}")
    return DONE


def stop(write: Write, *, data_dir: str | Path) -> int:
    """Stops a folder's server; with none running there is nothing to do."""
    server = attach(data_dir)
    if server is None:
        write(f"no graph server runs on {data_dir}")
        return DONE
    server.stop()
    write(f"graph server {server.pid} has ended")
    return DONE


def migrate_graph(write: Write, settings: GraphSettings, *, ontology: Path | None = None) -> int:
    """Applies the pending migrations and names them."""
    with GraphWriter(settings) as writer:
        report = migrate(writer, load_ontology(ontology))
    applied = ", ".join(report.applied) or "nothing"
    write(f"applied on {report.engine}: {applied}; stood already: {len(report.unchanged)}")
    return DONE


def load(
    write: Write,
    settings: GraphSettings,
    paths: Sequence[str | Path],
    *,
    source_id: str = "",
    ontology: Path | None = None,
    mapping: Path | None = None,
    options: LoadOptions | None = None,
) -> int:
    """Loads files and says what became of them; the first path names the source by default."""
    if not paths:
        raise InputError("no graph file is named")
    report = load_graph_files(
        paths,
        settings,
        source_id=source_id or Path(paths[0]).name,
        ontology=load_ontology(ontology),
        mapping=mapping,
        options=options,
    )
    verb = "would be" if report.dry_run else "were"
    for what, counts in (("nodes", report.nodes), ("relationships", report.relationships)):
        write(_counted(what, verb, counts))
    if report.quarantined:
        write(f"{report.quarantined:,} rows could not be loaded:")
        for row in report.bad_rows:
            write(f"  {row.place}: {row.reason}")
    return DONE if report.pruned is None else _say_pruned(write, report.pruned)


def withdraw(write: Write, settings: GraphSettings, source_id: str, *, dry_run: bool) -> int:
    """Takes back everything that a source says, and nothing that another says too."""
    return _say_pruned(write, withdraw_source(settings, source_id, dry_run=dry_run))


def _say_pruned(write: Write, report: PruneReport) -> int:
    """Says what was taken back; 1 where that was refused."""
    if report.refused:
        write(f"nothing of {report.source_id} was pruned: {report.refused}")
        return REFUSED
    verb = "would be" if report.dry_run else "were"
    for what, counts in (("nodes", report.nodes), ("relationships", report.relationships)):
        held = f", {counts.held:,} held" if counts.held else ""
        write(
            f"{what} that {report.source_id} no longer says: {counts.removed:,} {verb} removed, "
            f"{counts.shared:,} stay with other sources{held}"
        )
    if report.held:
        write("held by a relationship that is still said:")
        for node in report.held:
            write(f"  {node}")
    return DONE


def _counted(what: str, verb: str, counts: Counts) -> str:
    return (
        f"{counts.total:,} {what}: {counts.created:,} {verb} created, {counts.changed:,} changed, "
        f"{counts.unchanged:,} stood already ({counts.rows_per_s:,.0f}/s)"
    )


def policy_set(
    write: Write,
    settings: GraphSettings,
    policy: str,
    text: str | Path,
    *,
    valid_from: str = "",
    dry_run: bool = False,
) -> int:
    """Sets a policy's text from a day on, today by default; the same text again is no change.

    Args:
        write: Takes each line of the result.
        settings: The graph.
        policy: Its id.
        text: What it says from then on, or the file that tells it.
        valid_from: First day, ISO; empty for today.
        dry_run: Plans and writes nothing.

    Returns:
        The exit code.

    Raises:
        InputError: The file cannot be read, or the change does not fit.
    """
    if isinstance(text, Path):
        try:
            text = text.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            problem = f"cannot read it ({type(error).__name__})"
            raise InputError(problem, where=str(text)) from None
    day = _day(valid_from) if valid_from else today()
    change = set_policy(settings, policy, text, day, dry_run=dry_run)
    if change is None:
        write(f"{policy} says this on {day} already; nothing was written")
        return DONE
    would = "would be written: " if dry_run else ""
    write(f"{would}{change.title}, valid {_span(change.version)}")
    if change.fingerprint:
        write(f"fingerprint {change.fingerprint}")
    return DONE


def policy_show(write: Write, settings: GraphSettings, policy: str) -> int:
    """Says all versions of a policy, in the order in which they were recorded."""
    for one in policy_history(settings, policy):
        fate = f"corrected by {one.corrected_by}" if one.corrected_by else "superseded"
        ended = f", {fate} {one.superseded_at}" if one.superseded_at else ""
        write(f"{one.id}  {_span(one)}  recorded {one.recorded_at or 'at an unknown time'}{ended}")
        write(f"    {' '.join(one.text.split())}")
    return DONE


def policy_events(write: Write, settings: GraphSettings, policy: str = "") -> int:
    """Says the latest changes of policies, newest first, each with its fingerprint."""
    events = policy_changes(settings, policy or None)
    for event in events:
        previous = f" {event.previous}" if event.previous else ""
        write(
            f"{event.recorded_at}  {event.version} {event.kind}{previous}, valid from "
            f"{event.valid_from}  fingerprint {event.fingerprint}"
        )
    if not events:
        write("no change is on record")
    return DONE


def _span(version: PolicyVersion) -> str:
    return f"{version.valid_from}..{version.valid_to or ''}"


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InputError("no day, such as 2026-07-01", where=f"--valid-from {text}") from None


def status(write: Write, settings: GraphSettings, *, ontology: Path | None = None) -> int:
    """Says which engine answers, its migrations, what it holds and its policy fingerprint."""
    with GraphWriter(settings) as writer:
        engine = writer.engine()
        missing, standing = pending(writer, load_ontology(ontology))
        nodes = writer.read(statements.labels_in_use(), what="count nodes")
        edges = writer.read(statements.types_in_use(), what="count relationships")
    write(f"engine       {engine} at {settings.address}")
    write(f"migrations   {len(standing)} applied, {len(missing)} pending")
    for what, rows in (("nodes", nodes), ("edges", edges)):
        for row in sorted(rows, key=lambda row: str(row["name"])):
            write(f"{what:<12} {row['name']:<20} {row['total']:>10,}")
    write(f"policies     fingerprint {asyncio.run(_fingerprint(settings))}")
    return DONE


async def _fingerprint(settings: GraphSettings) -> str:
    async with GraphClient(settings) as client:
        return await fingerprint(client)


def draw(write: Write, out: Path, *, ontology: Path | None = None) -> int:
    """Writes the picture of an ontology."""
    picture = draw_ontology(load_ontology(ontology))
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        out.write_text(picture, encoding="utf-8")
    except OSError as error:
        problem = f"cannot write it ({type(error).__name__})"
        raise InputError(problem, where=str(out)) from None
    write(f"wrote {out}")
    return DONE


def check(write: Write, settings: GraphSettings, *, ontology: Path | None = None) -> int:
    """Compares the database with ontology and migrations; 1 where something drifted."""
    with GraphWriter(settings) as writer:
        drift = find_drift(writer, load_ontology(ontology))
    for line in drift:
        write(line)
    if not drift:
        write("database, ontology and migrations agree")
    return DRIFTED if drift else DONE

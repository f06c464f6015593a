"""The findings as a page for a person: Markdown."""

from __future__ import annotations

from components.detect_change.detecting import Check, Detection
from components.markdown import cell

ORDER = ("changed", "not judged", "same")


def findings_page(found: Detection) -> str:
    """Returns what was compared with the champion, and what follows from it."""
    against = f"version {found.champion}" if found.champion else "no champion"
    verdict = "something changed: a training follows" if found.changed else "nothing changed"
    rows = sorted(found.checks, key=lambda check: ORDER.index(check.outcome))
    stamps = [f"| `{cell(tag)}` | `{cell(value)}` |" for tag, value in found.stamps.items()]
    return "\n".join(
        [
            f"# {found.model_name}: {verdict}",
            "",
            f"Compared with {against}.",
            "",
            "| what | outcome | in words |",
            "|---|---|---|",
            *(_row(check) for check in rows),
            "",
            "Recorded on the champion that comes of a training:",
            "",
            "| tag | value |",
            "|---|---|",
            *stamps,
            "",
        ]
    )


def _row(check: Check) -> str:
    mark = f"**{check.outcome}**" if check.outcome == "changed" else check.outcome
    return f"| {check.what} | {mark} | {cell(check.said)} |"

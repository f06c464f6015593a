"""The report's lineage: what the numbers were made of, so that they can be made again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

DIGEST_CHARACTERS = 16


def dataset_line(measured: Mapping[str, Any], shards: Mapping[str, Any]) -> str:
    """Says in one sentence what was trained on."""
    rows = shards["rows"]
    task = (
        f"{len(shards['labels'])} intents" if measured["task"] == "intent" else "answers to tickets"
    )
    return (
        f"{task}; {rows['train']:,} tickets to train on, {rows['validation']:,} to choose by, "
        f"{rows['test']:,} to test on, after {_removed(shards)}."
    )


def lineage_items(
    measured: Mapping[str, Any],
    selected: Mapping[str, Any],
    answered: Mapping[str, Any],
    shards: Mapping[str, Any],
) -> list[dict[str, Any]]:
    """Returns names and values of everything the result depends on."""
    machine, model = measured["machine"], selected["model"]
    libraries = ", ".join(f"{name} {each}" for name, each in machine["libraries"].items())
    skipped = answered.get("skipped")
    items = [
        _item(
            "tickets", *(f"{each['uri']} {_digest(each['sha256'])}" for each in shards["source"])
        ),
        _item("data set", shards["dataset_id"]),
        _item("shards", _digest(measured["shards_sha256"])),
        _item("set aside", f"{_removed(shards)}; see quarantine.jsonl in the shards", code=False),
        _item("chosen model", _digest(model["sha256"]), model["location"]),
        _item("base model", str(model.get("base_model", "not recorded"))),
        _item(
            "seeds",
            f"shards {shards['seed']}, intervals {measured['settings']['seed']}",
            code=False,
        ),
        _item(
            "machine",
            f"{machine['cpu']}, {machine['cores']} cores, load {machine['load_average']}, "
            f"{' '.join(machine['cpu_flags']) or 'no vector extensions listed'}",
            code=False,
        ),
        _item("libraries", f"Python {machine['python']}, {libraries}", code=False),
    ]
    if skipped:
        items.append(_item("skipped", f"answers with the graph: {skipped}", code=False))
    return items


def _removed(shards: Mapping[str, Any]) -> str:
    parts = [
        (shards["duplicates_removed"], "repeated texts"),
        (shards["conflicts"], "texts with contradicting labels"),
        (shards["removed_for_test"], "texts of the test file"),
        (shards["quarantined"], "rows that could not be used"),
    ]
    said = ", ".join(f"{number:,} {what}" for number, what in parts if number)
    return f"leaving out {said}" if said else "leaving nothing out"


def _item(name: str, *lines: str, code: bool = True) -> dict[str, Any]:
    return {"name": name, "lines": list(lines), "code": code}


def _digest(sha256: str) -> str:
    return f"sha256:{sha256[:DIGEST_CHARACTERS]}"

"""What the cluster's company knows: the samples, without one policy at first, then with it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from samples import sample_path

NEW_INTENT = "gift_card_terms"
NEW_POLICY = "PO_GIFT"
REWORDED = "PO_SHIP"
# Few enough for pods that share two cores; policies, faults, products and a handful of others.
INTENTS = (
    "shipping_policy", "return_window", "refund_timing", "warranty_coverage", "slow_charging",
    "no_sound", "overheating", "error_code_help", "product_price", "compare_products",
    "order_status", "out_of_scope", NEW_INTENT,
)  # fmt: skip


def write_tickets(out: Path, *, with_new: bool, session: str) -> Path:
    """Writes tickets of the chosen intents as one JSON Lines file; one ticket names the session."""
    wanted = {intent for intent in INTENTS if with_new or intent != NEW_INTENT}
    rows = [row for row in _rows("tickets") if row["intent"] in wanted]
    rows[0] = {**rows[0], "text": f"{rows[0]['text']} (case {session})"}
    return _write(out / "tickets.jsonl", rows)


def write_graph(out: Path, *, with_new: bool) -> Path:
    """Writes the graph's files into a folder; without the new policy and its versions at first."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [row for row in _rows("graph") if with_new or not _of_the_new_policy(row)]
    _write(out / "nodes.jsonl", (row for row in rows if "label" in row))
    _write(out / "relationships.jsonl", (row for row in rows if "type" in row))
    return out


def write_new_policy(out: Path) -> Path:
    """Writes what the new policy adds to the graph, alone."""
    out.mkdir(parents=True, exist_ok=True)
    rows = [row for row in _rows("graph") if _of_the_new_policy(row)]
    assert rows
    _write(out / "nodes.jsonl", (row for row in rows if "label" in row))
    _write(out / "relationships.jsonl", (row for row in rows if "type" in row))
    return out


def _of_the_new_policy(row: dict[str, Any]) -> bool:
    ids = [row["id"]] if "label" in row else [row["start"]["id"], row["end"]["id"]]
    return any(each.split("@")[0] == NEW_POLICY for each in ids)


def _rows(kind: str) -> list[dict[str, Any]]:
    files = sorted(sample_path(kind).glob("*.jsonl"))
    return [json.loads(line) for path in files for line in path.read_text("utf-8").splitlines()]


def _write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path

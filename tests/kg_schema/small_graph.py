"""A company small enough to read, and a digest of everything a database holds of it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from kg_schema.writer import GraphWriter

NODES: list[dict[str, Any]] = [
    {"label": "Product", "id": "P_X200", "props": {"name": "X-200", "price_eur": 499}},
    {"label": "Product", "id": "P_X300", "props": {"name": "X-300", "aliases": ["x300"]}},
    {"label": "Feature", "id": "F_PD30", "props": {"name": "PD 3.0", "kind": "protocol"}},
    {"label": "ErrorCode", "id": "E1001", "props": {"name": "E1001", "meaning": "no charge"}},
    {"label": "Solution", "id": "S_005", "props": {"name": "Use a PD charger", "topic": "t"}},
    {
        "label": "Article",
        "id": "AR_1",
        "props": {"name": "Fast charging", "body": "See E-1001.", "topic": "slow_charging"},
    },
    {"label": "Policy", "id": "PO_RETURN", "props": {"name": "Returns", "topic": "return_window"}},
    {
        "label": "PolicyVersion",
        "id": "PO_RETURN@1",
        "props": {
            "name": "Returns 1",
            "version": 1,
            "text": "Within 14 days.",
            "valid_from": "2025-01-01",
            "valid_to": "2025-12-31",
        },
    },
    {
        "label": "PolicyVersion",
        "id": "PO_RETURN@2",
        "props": {
            "name": "Returns 2",
            "version": 2,
            "text": "Within 30 days.",
            "valid_from": "2026-01-01",
        },
    },
]


def edge(kind: str, start: str, end: str, **props: Any) -> dict[str, Any]:
    """A relationship row; ends as `Label/id`."""
    ends = [dict(zip(("label", "id"), one.split("/"), strict=True)) for one in (start, end)]
    return {"type": kind, "start": ends[0], "end": ends[1], "props": props}


EDGES = [
    edge("SUPPORTS_FEATURE", "Product/P_X200", "Feature/F_PD30"),
    edge("RESOLVED_BY", "ErrorCode/E1001", "Solution/S_005", priority=1),
    edge("APPLIES_TO", "Solution/S_005", "Product/P_X200"),
    edge("ABOUT", "Article/AR_1", "Product/P_X300"),
    edge("HAS_VERSION", "Policy/PO_RETURN", "PolicyVersion/PO_RETURN@1"),
    edge("HAS_VERSION", "Policy/PO_RETURN", "PolicyVersion/PO_RETURN@2"),
]


def graph_digest(writer: GraphWriter, *, with_times: bool = False) -> str:
    """A digest of all nodes and relationships; of when they were loaded only if asked."""
    nodes = writer.read(
        "MATCH (n) WHERE NOT n:SchemaMigration AND NOT n:WriteLock "
        "RETURN labels(n) AS at, properties(n) AS props",
        what="digest",
    )
    edges = writer.read(
        "MATCH (a)-[r]->(b) RETURN [labels(a)[0], a.id, type(r), labels(b)[0], b.id] AS at, "
        "properties(r) AS props",
        what="digest",
    )
    if not with_times:
        for row in [*nodes, *edges]:
            row["props"].pop("loaded_at")
    lines = sorted(json.dumps(row, sort_keys=True) for row in [*nodes, *edges])
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()

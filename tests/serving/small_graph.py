"""A graph small enough to hold in one's head, in the row form that the loader reads."""

from __future__ import annotations

from typing import Any

Row = dict[str, Any]

NODES: dict[str, dict[str, Row]] = {
    "Category": {"C_PHONE": {"name": "phones"}, "C_AUDIO": {"name": "earbuds and headphones"}},
    "Feature": {
        "F_PD30": {
            "name": "USB Power Delivery 30 W",
            "kind": "protocol",
            "value": "30 W",
            "aliases": ["PD 30 W"],
        },
        "F_IP67": {"name": "IP67 water protection", "kind": "protection", "value": "IP67"},
        "F_NFC": {"name": "NFC payments", "kind": "connectivity", "aliases": ["NFC"]},
    },
    "Product": {
        "P_X200": {
            "name": "X-200 phone",
            "aliases": ["X-200", "X200"],
            "category": "C_PHONE",
            "price_eur": 499.0,
            "released": "2025-03-05",
            "latest_firmware": "5.3.1",
            "warranty_months": 24,
            "stock": "in_stock",
            "weight_g": 178,
            "battery_mah": 4800,
            "colors": ["black", "silver"],
        },
        "P_X300": {
            "name": "X-300 phone",
            "aliases": ["X-300", "X300"],
            "category": "C_PHONE",
            "price_eur": 799.0,
            "released": "2026-02-11",
            "latest_firmware": "6.0.3",
            "warranty_months": 36,
            "stock": "in_stock",
            "weight_g": 192,
            "battery_mah": 5200,
            "colors": ["black", "blue"],
        },
        "P_MURAIR": {
            "name": "Murmur Air earbuds",
            "aliases": ["Murmur Air"],
            "category": "C_AUDIO",
            "price_eur": 99.0,
            "released": "2025-03-05",
            "latest_firmware": "2.4.1",
            "warranty_months": 12,
            "stock": "out_of_stock",
            "weight_g": 42,
            "colors": ["white"],
        },
    },
    "Accessory": {
        "A_CH65": {
            "name": "65 W GaN charger",
            "aliases": ["65W GaN charger"],
            "kind": "charger",
            "price_eur": 39.0,
            "stock": "in_stock",
        },
        "A_CH30": {
            "name": "Volt 30 charger",
            "aliases": [],
            "kind": "charger",
            "price_eur": 25.0,
            "stock": "in_stock",
        },
        "A_CASEX": {
            "name": "Clear case for X-300",
            "aliases": ["Clear case"],
            "kind": "case",
            "price_eur": 19.0,
            "stock": "in_stock",
        },
    },
    "Symptom": {
        "SY_001": {
            "name": "fast charging does not start",
            "aliases": ["charges slowly", "no fast charge"],
            "description": "The phone charges, but only at normal speed.",
            "topic": "slow_charging",
        },
        "SY_002": {
            "name": "screen flickers at low brightness",
            "aliases": ["flickering display"],
            "description": "The display flickers when the brightness is low.",
            "topic": "screen_flicker",
        },
        "SY_003": {
            "name": "one earbud is silent",
            "aliases": ["no sound on one side"],
            "description": "Sound comes from one earbud only.",
            "topic": "no_sound",
        },
    },
    "ErrorCode": {
        "E1001": {
            "name": "E1001",
            "meaning": "Charging negotiation failed",
            "aliases": ["E-1001"],
        }
    },
    "Solution": {
        "S_001": {
            "name": "Clean the charging port",
            "summary": "Remove lint from the charging port and use the original cable.",
            "topic": "slow_charging",
        },
        "S_002": {
            "name": "Update the charging firmware",
            "summary": "Install the latest firmware and restart.",
            "topic": "slow_charging",
        },
        "S_003": {
            "name": "Reset the display driver",
            "summary": "Reset the display settings.",
            "topic": "screen_flicker",
        },
    },
    "Step": {
        "ST_001_1": {"name": "switch off", "text": "Switch the phone off."},
        "ST_001_2": {"name": "clean", "text": "Clean the port with a dry wooden pick."},
        "ST_001_3": {"name": "retry", "text": "Charge with a 30 W cable for 10 minutes."},
        "ST_002_1": {"name": "update", "text": "Open Settings and install the update."},
        "ST_003_1": {"name": "reset", "text": "Open Settings and reset the display."},
    },
    "Policy": {
        "PO_RETURN": {"name": "Return policy", "topic": "return_window", "rule": "order_date"},
        "PO_RETURN_AUDIO": {
            "name": "Return policy for audio",
            "topic": "return_window",
            "rule": "order_date",
        },
        "PO_SHIP": {"name": "Shipping policy", "topic": "shipping_policy", "rule": "now"},
    },
    "PolicyVersion": {
        "PO_RETURN@1": {
            "name": "Return policy, version 1",
            "version": 1,
            "text": "You can return a product within 14 days of delivery.",
            "valid_from": "2024-01-01",
            "valid_to": "2026-03-14",
            "recorded_at": "2024-01-01",
        },
        "PO_RETURN@2": {
            "name": "Return policy, version 2",
            "version": 2,
            "text": "You can return a product within 30 days of delivery.",
            "valid_from": "2026-03-15",
            "recorded_at": "2026-03-01",
        },
        "PO_RETURN_AUDIO@1": {
            "name": "Return policy for audio, version 1",
            "version": 1,
            "text": "Earbuds can be returned within 7 days if the seal is unbroken.",
            "valid_from": "2024-01-01",
            "recorded_at": "2024-01-01",
        },
        "PO_SHIP@1": {
            "name": "Shipping policy, version 1",
            "version": 1,
            "text": "Shipping is free above 50 EUR.",
            "valid_from": "2024-01-01",
            "recorded_at": "2024-01-01",
        },
    },
    "Promotion": {
        "PR_SPRING": {
            "name": "Spring promotion",
            "code": "SPRING15",
            "aliases": ["spring sale"],
            "discount_percent": 15,
            "valid_from": "2026-03-01",
            "valid_to": "2026-05-31",
            "terms": "15 percent off phones.",
        },
        "PR_STUDENT": {
            "name": "Student coupon",
            "code": "STUDENT10",
            "aliases": ["student discount"],
            "discount_percent": 10,
            "valid_from": "2026-01-01",
            "valid_to": "2026-12-31",
            "terms": "10 percent off for students.",
        },
        "PR_OUTLET": {
            "name": "Outlet deal",
            "code": "OUTLET20",
            "aliases": [],
            "discount_percent": 20,
            "valid_from": "2026-01-01",
            "valid_to": "2026-12-31",
            "terms": "20 percent off last year's models.",
        },
    },
    "Customer": {
        "CU_0001": {"name": "Customer 1", "email": "one@example.org", "tier": "basic"},
        "CU_0002": {"name": "Customer 2", "email": "two@example.org", "tier": "gold"},
    },
    "Order": {
        "O_100001": {
            "name": "Order 100001",
            "placed_on": "2026-03-10",
            "status": "delivered",
            "delivered_on": "2026-03-13",
            "total_eur": 499.0,
        },
        "O_100002": {
            "name": "Order 100002",
            "placed_on": "2026-04-10",
            "status": "shipped",
            "total_eur": 99.0,
        },
    },
    "Article": {
        "AR_001": {
            "name": "Reset your password",
            "topic": "password_reset",
            "body": "Open the log-in page and choose Forgot password. A link comes by e-mail.",
        },
        "AR_002": {
            "name": "Set up the X-200 phone",
            "topic": "setup_guide",
            "body": "Insert the SIM card. Switch the phone on and follow the assistant.",
        },
    },
}

Edge = tuple[str, tuple[str, str], tuple[str, str], Row]


def _edge(start: str, kind: str, end: str, **props: Any) -> Edge:
    return kind, _ref(start), _ref(end), props


def _ref(node_id: str) -> tuple[str, str]:
    return next((label, node_id) for label, nodes in NODES.items() if node_id in nodes)


EDGES: list[Edge] = [
    _edge("P_X200", "IN_CATEGORY", "C_PHONE"),
    _edge("P_X300", "IN_CATEGORY", "C_PHONE"),
    _edge("P_MURAIR", "IN_CATEGORY", "C_AUDIO"),
    _edge("P_X200", "SUPPORTS_FEATURE", "F_PD30"),
    _edge("P_X200", "SUPPORTS_FEATURE", "F_IP67"),
    _edge("P_X300", "SUPPORTS_FEATURE", "F_PD30"),
    _edge("P_X300", "SUPPORTS_FEATURE", "F_NFC"),
    _edge("P_X200", "COMPATIBLE_WITH", "A_CH65", min_firmware="5.2.0"),
    _edge("P_X200", "COMPATIBLE_WITH", "A_CH30"),
    _edge("P_X300", "COMPATIBLE_WITH", "A_CASEX"),
    _edge("A_CH65", "COMPATIBLE_WITH", "F_PD30"),
    _edge("P_X200", "HAS_SYMPTOM", "SY_001"),
    _edge("P_X200", "HAS_SYMPTOM", "SY_002"),
    _edge("P_MURAIR", "HAS_SYMPTOM", "SY_003"),
    _edge("E1001", "INDICATES", "SY_001"),
    _edge("E1001", "RESOLVED_BY", "S_002", priority=1),
    _edge("SY_001", "RESOLVED_BY", "S_001", priority=1),
    _edge("SY_001", "RESOLVED_BY", "S_002", priority=2),
    _edge("SY_002", "RESOLVED_BY", "S_003", priority=1),
    _edge("S_001", "HAS_STEP", "ST_001_1", order=1),
    _edge("S_001", "HAS_STEP", "ST_001_2", order=2),
    _edge("S_001", "HAS_STEP", "ST_001_3", order=3),
    _edge("S_002", "HAS_STEP", "ST_002_1", order=1),
    _edge("S_003", "HAS_STEP", "ST_003_1", order=1),
    _edge("ST_001_1", "NEXT", "ST_001_3", when="it stays dark"),
    _edge("S_001", "APPLIES_TO", "P_X200"),
    _edge("S_003", "APPLIES_TO", "P_X200"),
    _edge("PO_RETURN", "HAS_VERSION", "PO_RETURN@1"),
    _edge("PO_RETURN", "HAS_VERSION", "PO_RETURN@2"),
    _edge("PO_RETURN_AUDIO", "HAS_VERSION", "PO_RETURN_AUDIO@1"),
    _edge("PO_RETURN_AUDIO", "COVERS", "C_AUDIO"),
    _edge("PO_SHIP", "HAS_VERSION", "PO_SHIP@1"),
    _edge("PR_SPRING", "COVERS", "C_PHONE"),
    _edge("PR_OUTLET", "COVERS", "P_X200"),
    _edge("PR_SPRING", "COMBINES_WITH", "PR_STUDENT"),
    _edge("PR_SPRING", "EXCLUDES", "PR_OUTLET"),
    _edge("CU_0001", "PLACED", "O_100001"),
    _edge("CU_0002", "PLACED", "O_100002"),
    _edge("O_100001", "CONTAINS", "P_X200", quantity=1, price=499.0),
    _edge("O_100002", "CONTAINS", "P_MURAIR", quantity=1, price=99.0),
    _edge("AR_002", "ABOUT", "P_X200"),
]


def node_rows() -> list[Row]:
    """Rows of nodes.jsonl."""
    return [
        {"label": label, "id": node_id, "props": props}
        for label, nodes in NODES.items()
        for node_id, props in nodes.items()
    ]


def relationship_rows() -> list[Row]:
    """Rows of relationships.jsonl."""
    return [
        {
            "type": kind,
            "start": {"label": start[0], "id": start[1]},
            "end": {"label": end[0], "id": end[1]},
            "props": props,
        }
        for kind, start, end, props in EDGES
    ]

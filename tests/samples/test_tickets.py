from __future__ import annotations

import re
from collections import Counter

from samples.generate.cases import INTENTS
from samples.generate.catalogue import HELD_OUT
from samples.generate.surface import normalised
from tests.samples.corpus import graph, tickets, words_of

KEYS = {
    *("ticket_id", "text", "turns", "intent", "language", "created_at", "customer_id"),
    *("entities", "resolution"),
}


def test_there_are_enough_different_tickets_of_every_intent() -> None:
    texts = {normalised(" ".join(words_of(row))) for row in tickets()}
    assert len(texts) == len(tickets()) >= 6_000
    counts = Counter(row["intent"] for row in tickets())
    known = {intent for intents in INTENTS.values() for intent in intents}
    assert set(counts) == known | {"out_of_scope"}
    assert len(known) == 56
    assert min(counts.values()) >= 80
    assert 380 <= counts["out_of_scope"] <= 480


def test_rows_keep_the_ticket_contract() -> None:
    assert len({row["ticket_id"] for row in tickets()}) == len(tickets())
    for row in tickets():
        assert set(row) <= KEYS
        assert ("text" in row) != ("turns" in row)
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:00Z", row["created_at"])
        assert all(text == text.strip() != "" for text in words_of(row))
        if "turns" in row:
            assert [turn["role"] for turn in row["turns"]] == ["user", "agent", "user"]


def test_entities_stand_where_they_say() -> None:
    for row in tickets():
        for entity in row["entities"]:
            text = row["turns"][entity["turn"]]["text"] if "turns" in row else row["text"]
            assert text[entity["start"] : entity["end"]] == entity["text"] != ""
            assert (entity["label"], entity["id"]) in graph().nodes


def test_texts_are_short_enough_to_train_on() -> None:
    lengths = sorted(sum(len(text.split()) for text in words_of(row)) for row in tickets())
    assert lengths[len(lengths) // 2] <= 20
    assert lengths[-1] <= 60


def test_kinds_of_tickets_are_all_there() -> None:
    rows = tickets()
    assert 0.06 <= sum("turns" in row for row in rows) / len(rows) <= 0.10
    in_scope = [row for row in rows if row["intent"] != "out_of_scope"]
    unanswered = [row for row in in_scope if "resolution" not in row]
    assert 200 <= len(unanswered) <= 600
    spoken = " ".join(text for row in unanswered for text in words_of(row)).lower()
    assert "z-900" in spoken
    assert "e9999" in spoken


def test_somebody_asks_for_an_order_that_is_not_theirs() -> None:
    owners = {order[1]: customer[1] for customer, order in graph().pairs("PLACED")}
    asked = [
        (row, entity["id"])
        for row in tickets()
        for entity in row["entities"]
        if entity["label"] == "Order"
    ]
    foreign = [row for row, order in asked if row.get("customer_id") != owners[order]]
    assert len(foreign) >= 5
    assert all("resolution" not in row for row in foreign)


def test_held_out_products_occur_nowhere() -> None:
    products = graph().of("Product")
    assert len(HELD_OUT) >= 12
    assert set(products) >= HELD_OUT
    names = {
        name.casefold()
        for product_id in HELD_OUT
        for name in (products[product_id]["name"], *products[product_id]["aliases"])
    }
    pattern = re.compile(
        rf"(?<!\w)(?:{'|'.join(sorted(map(re.escape, names), key=len, reverse=True))})(?!\w)"
    )
    for row in tickets():
        said = [*words_of(row), row.get("resolution", {}).get("answer", "")]
        assert not any(pattern.search(text.casefold()) for text in said), row
        assert not HELD_OUT.intersection(entity["id"] for entity in row["entities"])


def test_resolutions_say_something_and_name_solutions_that_exist() -> None:
    troubles = set(INTENTS["troubleshooting"])
    for row in tickets():
        resolution = row.get("resolution")
        if resolution is None:
            continue
        assert len(resolution["answer"].split()) >= 4
        assert all(("Solution", key) in graph().nodes for key in resolution["solution_ids"])
        assert bool(resolution["solution_ids"]) == (row["intent"] in troubles)


def test_policy_answers_are_those_of_their_day() -> None:
    texts = {
        props["text"]: (props["valid_from"], props.get("valid_to", "9999"))
        for props in graph().of("PolicyVersion").values()
    }
    dated = 0
    for row in tickets():
        span = texts.get(row.get("resolution", {}).get("answer", ""))
        of_an_order = re.search(r"\b20\d\d\b", " ".join(words_of(row)))
        if span is not None and row["intent"] in INTENTS["policy"] and not of_an_order:
            dated += 1
            assert span[0] <= row["created_at"][:10] <= span[1]
    assert dated >= 900

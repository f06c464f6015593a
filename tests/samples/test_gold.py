from __future__ import annotations

import itertools
import re
from collections import Counter
from functools import cache

import pytest
from rapidfuzz import fuzz, process

from samples.generate.cases import INTENTS, NOUNS
from samples.generate.catalogue import HELD_OUT
from samples.generate.frames import read_frames
from samples.generate.surface import normalised
from samples.generate.tickets import FRAME_FILES
from samples.generate.unanswerable import UNKNOWN_PRODUCTS
from tests.samples.corpus import Row, gold, graph, tickets, words_of


def _answerable() -> list[Row]:
    return [row for row in gold() if row["answerable"]]


def test_there_are_150_different_questions_a_problem_type() -> None:
    assert Counter(row["problem_type"] for row in gold()) == dict.fromkeys(INTENTS, 150)
    assert len({row["question_id"] for row in gold()}) == 600
    texts = {normalised(" ".join(words_of(row))) for row in gold()}
    assert len(texts) == 600
    asked = {normalised(" ".join(words_of(row))) for row in tickets()}
    assert texts.isdisjoint(asked)


@pytest.mark.parametrize("problem_type", INTENTS)
def test_every_intent_is_asked_and_belongs_to_its_problem_type(problem_type: str) -> None:
    rows = [row for row in gold() if row["problem_type"] == problem_type]
    assert {r["intent"] for r in rows} - {"out_of_scope"} == set(INTENTS[problem_type])
    assert sum(not row["answerable"] for row in rows) == 18
    assert all(not r["answerable"] for r in rows if r["intent"] == "out_of_scope")


def test_facts_are_in_the_graph() -> None:
    edges = {("/".join(start), kind, "/".join(end)) for kind, start, end, _ in graph().edges}
    for row in gold():
        assert bool(row["facts"]) or not row["answerable"] or row["answer"]["must_not"] == ["yes,"]
        for subject, predicate, value in row["facts"]:
            label, _, node_id = subject.partition("/")
            if (subject, predicate, value) in edges:
                continue
            stored = graph().nodes[label, node_id][predicate]
            assert value in (stored if isinstance(stored, list) else [str(stored)]), row


def test_entities_and_recommendations_exist() -> None:
    ids = {node_id for _, node_id in graph().nodes}
    for row in gold():
        spoken = " ".join(words_of(row))
        for entity in row["entities"]:
            assert (entity["label"], entity["id"]) in graph().nodes
            assert entity["text"] in spoken
        assert set(row["recommendations"]) <= ids
        assert len(set(row["recommendations"])) == len(row["recommendations"])


def test_right_words_are_in_the_facts_and_wrong_ones_are_not() -> None:
    for row in _answerable():
        known = " ".join(part for fact in row["facts"] for part in fact)
        known += " ".join(
            str(graph().nodes[tuple(part.split("/", 1))].get(key, ""))
            for fact in row["facts"]
            for part in (fact[0], fact[2])
            if tuple(part.split("/", 1)) in graph().nodes
            for key in ("name", "value", "terms", "text")
        )
        known += " ".join(graph().nodes[e["label"], e["id"]]["name"] for e in row["entities"])
        known = known.replace("_", " ").casefold()
        assert row["answer"]["must"], row
        needed = [words.casefold().removesuffix(" months") for words in row["answer"]["must"]]
        assert all(words in known for words in needed), row
        assert all(len(words) <= 60 for words in row["answer"]["must"])
        right = " ".join(row["answer"]["must"]).casefold()
        assert not any(words.casefold() in right for words in row["answer"]["must_not"])


def test_recommended_solutions_fit_the_product_and_come_by_priority() -> None:
    applies = graph().pairs("APPLIES_TO")
    priority = {
        (start, end): props["priority"]
        for kind, start, end, props in graph().edges
        if kind == "RESOLVED_BY"
    }
    checked = 0
    for row in _answerable():
        if row["problem_type"] != "troubleshooting":
            continue
        refs = [(entity["label"], entity["id"]) for entity in row["entities"]]
        cause = next(ref for ref in refs if ref[0] in ("Symptom", "ErrorCode"))
        solutions = [("Solution", key) for key in row["recommendations"]]
        ranks = [priority[cause, solution] for solution in solutions]
        assert ranks == sorted(ranks)
        for product in (ref for ref in refs if ref[0] == "Product"):
            assert all((solution, product) in applies for solution in solutions)
            checked += 1
    assert checked >= 100


def test_policy_questions_read_the_version_of_their_day() -> None:
    """With an as-of day and no day of an order, that day lies within the version's span."""
    older = 0
    for row in _answerable():
        if row["problem_type"] != "policy":
            continue
        versions = [f[2].partition("/")[2] for f in row["facts"] if f[1] == "HAS_VERSION"]
        assert len(versions) == 1
        props = graph().nodes["PolicyVersion", versions[0]]
        older += "valid_to" in props
        if "order" not in " ".join(words_of(row)).lower() and "as_of" not in row:
            dated = re.search(r"\d{4}", " ".join(words_of(row)))
            assert dated or "valid_to" not in props
    assert older >= 15


def test_closed_orders_are_asked_for_by_somebody_else() -> None:
    owners = {order[1]: customer[1] for customer, order in graph().pairs("PLACED")}
    foreign = 0
    for row in gold():
        for entity in row["entities"]:
            if entity["label"] == "Order":
                own = owners[entity["id"]] == row["customer_id"]
                assert own == row["answerable"]
                foreign += not own
    assert foreign >= 4


def test_half_of_the_questions_are_about_held_out_products() -> None:
    contents = graph().pairs("CONTAINS")
    new_orders = {order[1] for order, product in contents if product[1] in HELD_OUT}
    about = [
        row
        for row in gold()
        if any(e["id"] in HELD_OUT or e["id"] in new_orders for e in row["entities"])
    ]
    assert len(about) >= 300
    named = {e["id"] for row in gold() for e in row["entities"]} & HELD_OUT
    assert named == HELD_OUT


def test_some_are_conversations_and_some_have_a_day() -> None:
    assert sum("turns" in row for row in gold()) >= 40
    assert sum("as_of" in row for row in gold()) >= 40


@cache
def _names() -> re.Pattern[str]:
    """Everything that fills a slot, longest first."""
    names = {name for kind in FILLERS for name in read_frames("out_of_scope")[kind]}
    names |= {*NOUNS.values(), *UNKNOWN_PRODUCTS, *read_frames("gold")["unknown_product"]}
    for label in ("Product", "Accessory", "Promotion", "Symptom", "Feature", "ErrorCode"):
        for props in graph().of(label).values():
            names |= {props["name"], *props.get("aliases", [])}
    ordered = sorted((normalised(name) for name in names), key=len, reverse=True)
    return re.compile(rf"\b(?:{'|'.join(map(re.escape, ordered))}|order \d+|o_\d+|e\d{{4}})\b")


FILLERS = ("brand", "thing", "city", "ache", "dish", "subject")


def _skeleton(text: str) -> str:
    """A text without what fills slots: `my * has a *`."""
    return _names().sub("*", normalised(text))


def _open(wording: str) -> str:
    """The skeleton of a frame's wording, its slots open."""
    return _skeleton(re.sub(r"\{\w+\}", " zzslot ", wording)).replace("zzslot", "*")


def _expanded(frame: str) -> list[str]:
    """Every wording of a frame, its slots as they are."""
    parts = re.split(r"\(([^()]*/[^()]*)\)", frame)
    options = [part.split("/") if index % 2 else [part] for index, part in enumerate(parts)]
    return ["".join(words) for words in itertools.product(*options)]


@cache
def _ticket_skeletons() -> list[str]:
    frames = [
        frame
        for name in (*FRAME_FILES, "shared")
        for section, rows in read_frames(name).items()
        if section not in FILLERS
        for frame in rows
    ]
    made = {_open(text) for frame in frames for text in _expanded(frame)}
    return sorted(made)


def test_no_gold_frame_is_a_ticket_frame() -> None:
    ours = [f for section in read_frames("gold").values() for f in section if "{" in f]
    theirs = set(_ticket_skeletons())
    for frame in ours:
        for text in _expanded(frame):
            assert (
                _skeleton(re.sub(r"\{\w+\}", " zzslot ", text)).replace("zzslot", "*") not in theirs
            )


def test_no_gold_question_is_a_filled_ticket_frame() -> None:
    theirs = set(_ticket_skeletons())
    for row in gold():
        for text in words_of(row):
            sentences = [text, *re.split(r"(?<=[.?!])\s+", text)]
            assert not theirs.intersection(_skeleton(part) for part in sentences), text


def test_no_gold_question_paraphrases_a_ticket_frame_word_by_word() -> None:
    theirs = [text for text in _ticket_skeletons() if len(text.split()) >= 5]
    ours = [_skeleton(text) for row in gold() for text in words_of(row)]
    ours = [text for text in ours if len(text.split()) >= 5]
    for text in sorted(set(ours)):
        best = process.extractOne(text, theirs, scorer=fuzz.ratio, score_cutoff=76)
        assert best is None, (text, best)

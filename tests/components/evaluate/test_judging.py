"""An answer is judged by what it says, cites and recommends, not by what it thinks of itself."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from components.evaluate.gold import GoldQuestion, read_gold
from components.evaluate.judging import Judged, is_right, judge_answer, judge_text, numbers
from components.evaluate.tables import answer_tables
from kg_schema.errors import InputError
from serving.contracts import (
    Answer,
    AnswerText,
    Claim,
    EntityLink,
    Fact,
    IntentPrediction,
    Recommendation,
    Versions,
)

ROW: dict[str, Any] = {
    "question_id": "G1",
    "text": "How much is the X-200?",
    "problem_type": "faq",
    "answerable": True,
    "intent": "product_price",
    "entities": [{"label": "Product", "id": "P_X200", "text": "X-200"}],
    "facts": [["Product/P_X200", "price_eur", "499.0"]],
    "recommendations": ["P_X200", "P_X300"],
    "answer": {"must": ["499"], "must_not": ["799"]},
}
GOLD = GoldQuestion.model_validate(ROW)
PRICE = Fact(
    id="f1",
    subject="Product/P_X200",
    predicate="price_eur",
    object="499.0",
    subject_name="X-200 phone",
)


def _answer(text: str, *claims: Claim, abstained: bool = False) -> Answer:
    return Answer(
        intent=IntentPrediction(label="product_price", confidence=0.9),
        problem_type="faq",
        entities=(
            EntityLink(text="X-200", id="P_X200", label="Product", score=1.0, method="exact"),
            EntityLink(text="phone", id="C_PHONE", label="Category", score=0.7, method="fuzzy"),
        ),
        recommendations=(
            Recommendation(id="P_X300", kind="product", title="X-300", score=0.5, why=("f1",)),
        ),
        answer=AnswerText(text=text, claims=claims, abstained=abstained),
        facts=(PRICE,),
        as_of=date(2026, 3, 1),
        versions=Versions(),
    )


def test_a_right_answer_says_all_it_must_and_nothing_it_must_not() -> None:
    assert is_right(GOLD, "It costs 499.00 EUR.", abstained=False)
    assert not is_right(GOLD, "It costs 499 EUR, not 799.", abstained=False)
    assert not is_right(GOLD, "It is cheap.", abstained=False)
    assert not is_right(GOLD, "", abstained=True)
    hopeless = GOLD.model_copy(update={"answerable": False})
    assert is_right(hopeless, "", abstained=True)
    assert not is_right(hopeless, "It costs 499 EUR.", abstained=False)


def test_claims_links_citations_and_recommendations_are_counted() -> None:
    judged = judge_answer(
        GOLD, _answer("It costs 499 EUR.", Claim(text="It costs 499 EUR.", facts=("f1",))), 5.0
    )
    assert (judged.right, judged.intent_right) == (True, True)
    assert (judged.claims, judged.unsupported) == (1, 0)
    assert judged.linked == (1, 2, 1)
    assert judged.cited == (1, 1, 1)
    assert judged.found_at == (0, 1)


@pytest.mark.parametrize(
    "claim",
    [
        Claim(text="It costs 498 EUR.", facts=("f1",)),
        Claim(text="It is nice.", facts=()),
        Claim(text="It costs 499 EUR.", facts=("f1", "unknown")),
    ],
)
def test_a_claim_its_facts_do_not_carry_is_unsupported(claim: Claim) -> None:
    assert judge_answer(GOLD, _answer("x", claim), 5.0).unsupported == 1


def test_numbers_are_compared_as_numbers() -> None:
    assert numbers("1,299.00 EUR on 2026-03-05") == {1299.0, 2026.0, 3.0, 5.0}
    assert numbers("E1001 and 5.3") == {1001.0, 5.3}


def test_text_without_a_graph_is_held_against_the_gold_facts() -> None:
    judged = judge_text(GOLD, "product_price", "It costs 499 EUR. Delivery takes 4 days.", 1.0)
    assert judged.right
    assert (judged.claims, judged.unsupported) == (2, 1)
    assert judge_text(GOLD, "x", None, 1.0).abstained


def _judged(*, right: bool = True, answerable: bool = True, abstained: bool = False) -> Judged:
    judged = judge_answer(
        GOLD, _answer("It costs 499 EUR.", Claim(text="It costs 499 EUR.", facts=("f1",))), 5.0
    )
    return replace(judged, right=right, answerable=answerable, abstained=abstained)


def test_tables_sum_up_by_type_and_over_all() -> None:
    other = replace(_judged(right=False, abstained=True), problem_type="policy")
    hopeless = replace(_judged(answerable=False, abstained=True), problem_type="policy")
    wrong = replace(_judged(right=False), found_at=())
    pairs = [(wrong, _judged()), (_judged(), other), (wrong, hopeless)]
    pairs = [
        (replace(one, problem_type=two.problem_type, answerable=two.answerable), two)
        for one, two in pairs
    ]
    tables = answer_tables(pairs, seed=1)
    assert tables["types"]["faq"]["gain_points"]["value"] == 100
    assert tables["types"].keys() == {"faq", "policy"}
    arm = tables["overall"]["with_graph"]
    assert arm["accuracy"]["value"] == pytest.approx(2 / 3)
    assert (arm["abstention_precision"], arm["abstention_recall"]) == (0.5, 1.0)
    assert arm["coverage"] == 0.5
    assert arm["entity_f1"] == pytest.approx(2 / 3)
    assert arm["recommendation_recall_at_1"] == pytest.approx(1.0)
    assert arm["recommendation_recall_at_5"] == pytest.approx(0.5)
    assert arm["recommendation_mrr"] == 1.0
    assert tables["overall"]["without_graph"]["abstention_recall"] == 0.0


def test_gold_files_are_read_in_order_and_broken_ones_refused(tmp_path: Path) -> None:
    turns = [{"role": "user", "text": "How much?"}, {"role": "agent", "text": "Which one?"}]
    second = {**ROW, "question_id": "G2", "turns": turns, "as_of": "2026-03-01"}
    (tmp_path / "b.jsonl").write_text(json.dumps({**second, "text": None}))
    (tmp_path / "a.jsonl").write_text(json.dumps(ROW) + "\n\n")
    first, last = read_gold(tmp_path)
    assert (first.question_id, last.question_id) == ("G1", "G2")
    assert last.ticket.as_of == date(2026, 3, 1)
    assert last.ticket.content.startswith("How much?")
    assert read_gold(tmp_path / "a.jsonl")[0].principal.role == "anonymous"


@pytest.mark.parametrize(
    "change",
    [
        {"problem_type": "riddle"},
        {"answer": {"must": []}},
        {"facts": [["a", "b"]]},
        {"text": None},
        {"turns": [{"who": "user"}]},
    ],
)
def test_a_row_that_is_no_gold_question_is_named(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps({**ROW, **change}) + "\n")
    with pytest.raises(InputError, match=r"gold\.jsonl:2: no gold question"):
        read_gold(path)


def test_no_gold_questions_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no gold questions"):
        read_gold(tmp_path)

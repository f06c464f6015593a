import pytest

from kg_schema.errors import InputError
from kg_schema.templates import load_templates
from serving.contracts import EntityLink, IntentPrediction, ScoredIntent
from serving.decision import decide, problem_type_of
from serving.plans import default_plans, load_plans

PLANS = default_plans()


def links(**found):
    return {
        label: [EntityLink(text=i, id=i, label=label, score=1, method="id") for i in ids]
        for label, ids in found.items()
    }


def test_every_template_of_a_plan_exists():
    named = {name for plan in PLANS.intents.values() for name in plan.reads}
    assert named | set(PLANS.fallback.reads) <= set(load_templates())


def test_every_need_has_a_question():
    labels = {label for plan in PLANS.intents.values() for need in plan.needs for label in need}
    assert labels <= set(PLANS.questions)


@pytest.mark.parametrize(
    ("intent", "linked", "missing"),
    [
        ("slow_charging", {"Product": 1, "Symptom": 1}, ()),
        ("slow_charging", {"ErrorCode": 1}, ()),
        ("slow_charging", {"Product": 1}, ("Symptom",)),
        ("combine_promotions", {"Promotion": 1}, ("Promotion",)),
        ("compare_products", {"Product": 2}, ()),
        ("shipping_policy", {}, ()),
    ],
)
def test_what_is_missing(intent, linked, missing):
    plan = PLANS.intents[intent]
    assert plan.missing(linked) in (missing, ("ErrorCode",) if missing else missing)


def unsure(label, confidence, *others):
    return IntentPrediction(
        label=label,
        confidence=confidence,
        alternatives=tuple(ScoredIntent(label=o, confidence=c) for o, c in others),
    )


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ({"ErrorCode": ["E1001"], "Product": ["P_X200"]}, "error_code_help"),
        ({"Promotion": ["PR_SPRING", "PR_STUDENT"]}, "combine_promotions"),
        ({"Product": ["P_X200"]}, "product_price"),
        ({}, "out_of_scope"),
    ],
)
def test_what_is_linked_breaks_ties(found, expected):
    prediction = unsure(
        "product_price",
        0.3,
        ("error_code_help", 0.25),
        ("combine_promotions", 0.25),
        ("out_of_scope", 0.2),
    )
    decided = decide(prediction, links(**found), PLANS)
    assert decided.label == expected
    assert expected not in [other.label for other in decided.alternatives]


def test_a_sure_intent_stays():
    prediction = unsure("product_price", 0.95, ("error_code_help", 0.05))
    assert decide(prediction, links(ErrorCode=["E1001"]), PLANS) is prediction


def test_problem_types_of_intents_without_a_plan_follow_the_entities():
    assert problem_type_of(PLANS.intents["slow_charging"], {}) == "troubleshooting"
    assert problem_type_of(None, links(Order=["O_1"])) == "multi_entity"
    assert problem_type_of(None, links(ErrorCode=["E1"])) == "troubleshooting"
    assert problem_type_of(None, links(Policy=["PO"])) == "policy"
    assert problem_type_of(None, {}) == "faq"


@pytest.mark.parametrize(
    "text", ["a: [", "version: 1", "version: 1\nintents: {a: {problem_type: wrong}}"]
)
def test_a_plans_file_that_does_not_hold_is_refused(tmp_path, text):
    path = tmp_path / "plans.yaml"
    path.write_text(text)
    with pytest.raises(InputError):
        load_plans(path)
    with pytest.raises(InputError):
        load_plans(tmp_path / "absent.yaml")

"""Which plan to follow: the intent, and where it is unsure, what the ticket names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from serving.contracts import EntityLink, IntentPrediction, ProblemType, ScoredIntent
from serving.plans import Plan, Plans

SURE = 0.6
OUT_OF_SCOPE = "out_of_scope"
"""What a ticket is counted as that no intent is meant by, whatever a data set calls it."""
SPECIFIC_LABELS = ("ErrorCode", "Promotion", "Order", "Accessory", "Product")
UNWANTED_FACTOR = 0.3
UNSATISFIED_FACTOR = 0.2


def decide(
    prediction: IntentPrediction, links: Mapping[str, Sequence[EntityLink]], plans: Plans
) -> IntentPrediction:
    """Re-orders an unsure prediction by how well each intent's plan fits what is linked.

    Each probability is multiplied by the plausibility of the links under the intent: a factor for
    a specific entity that the plan has no use for, one for each need that is not linked. A sure
    prediction (0.6 or more) stays as it is.

    Returns:
        The prediction, its label the intent to follow; confidences are the classifier's own.
    """
    if prediction.confidence >= SURE:
        return prediction
    scored = [ScoredIntent(label=prediction.label, confidence=prediction.confidence)]
    scored += prediction.alternatives
    best = max(scored, key=lambda item: item.confidence * plausibility(item.label, links, plans))
    rest = tuple(item for item in scored if item.label != best.label)
    return IntentPrediction(label=best.label, confidence=best.confidence, alternatives=rest)


def seen_intent(prediction: IntentPrediction, threshold: float, plans: Plans) -> ScoredIntent:
    """What the classifier alone saw: its likeliest intent, or out of scope.

    Args:
        prediction: As predicted, or as `decide` re-ordered it.
        threshold: A confidence below it means that no intent is meant.
        plans: What names the intents that nothing here answers.

    Returns:
        The intent with its confidence; its label is OUT_OF_SCOPE where it is one of the plans' or
        unsure.
    """
    likeliest = max((prediction, *prediction.alternatives), key=lambda each: each.confidence)
    outside = likeliest.confidence < threshold or likeliest.label in plans.out_of_scope
    label = OUT_OF_SCOPE if outside else likeliest.label
    return ScoredIntent(label=label, confidence=likeliest.confidence)


def plausibility(label: str, links: Mapping[str, Sequence[EntityLink]], plans: Plans) -> float:
    """How well an intent's plan fits the links, 0 to 1; 1 where it has no plan."""
    plan = plans.intents.get(label)
    if plan is None:
        return 1.0
    unwanted = sum(1 for name in SPECIFIC_LABELS if links.get(name) and not plan.wants(name))
    missing = sum(1 for name in plan.missing(counts(links)) if name != "Symptom")
    return UNWANTED_FACTOR**unwanted * UNSATISFIED_FACTOR**missing


def counts(links: Mapping[str, Sequence[EntityLink]]) -> dict[str, int]:
    """How many nodes of each label are linked."""
    return {label: len(found) for label, found in links.items() if found}


def problem_type_of(plan: Plan | None, links: Mapping[str, Sequence[EntityLink]]) -> ProblemType:
    """The plan's problem type; without a plan the one that the linked entities suggest."""
    if plan is not None:
        return plan.problem_type
    if links.get("Order") or links.get("Promotion"):
        return "multi_entity"
    if links.get("ErrorCode") or links.get("Symptom"):
        return "troubleshooting"
    return "policy" if links.get("Policy") else "faq"

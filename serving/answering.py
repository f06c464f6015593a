"""From facts to an answer: claims that hold, in words and numbered steps, or an honest no."""

from __future__ import annotations

from collections.abc import Sequence

from serving.composers import COMPOSERS
from serving.composition import Composition
from serving.contracts import AnswerText, Claim, Fact, Recommendation
from serving.facts import FactSet
from serving.grounding import Grounded, check_claims
from serving.linking import Linker
from serving.phrases import Draft, render

MAX_FACTS = 120
HAND_OVER = "I am handing this over to a colleague, with what I found."


def compose(c: Composition, linker: Linker) -> Grounded:
    """Makes the plan's claims and checks each against the facts that it cites."""
    drafts = list(COMPOSERS[c.plan.compose](c))
    for phrase in c.plan.say:
        drafts += render(phrase, c.facts, c.linked)
    return check_claims(drafts, linker)


def answer_text(drafts: Sequence[Draft]) -> AnswerText:
    """Writes claims as sentences of one paragraph, and runs of steps as numbered lines."""
    paragraphs: list[str] = []
    number = 0
    for draft in drafts:
        if draft.step:
            number += 1
            paragraphs.append(f"{number}. {draft.text}")
        elif number or not paragraphs:
            paragraphs.append(draft.text)
            number = 0
        else:
            paragraphs[-1] += f" {draft.text}"
    claims = tuple(Claim(text=d.text, facts=tuple(f.id for f in d.facts)) for d in drafts)
    return AnswerText(text="\n".join(paragraphs), claims=claims)


def abstention(reason: str, question: str = "") -> AnswerText:
    """Says that there is no answer, asking for what would make one possible."""
    return AnswerText(text=question or HAND_OVER, abstained=True, reason=reason)


def evidence(
    facts: FactSet, answer: AnswerText, recommendations: Sequence[Recommendation]
) -> tuple[Fact, ...]:
    """Facts to send: those cited, those behind recommendations, then others read, to a bound."""
    cited = [fact_id for claim in answer.claims for fact_id in claim.facts]
    behind = [fact_id for item in recommendations for fact_id in item.why]
    needed = dict.fromkeys([*cited, *behind])
    others = [fact.id for fact in facts if fact.id not in needed]
    room = max(MAX_FACTS - len(needed), 0)
    return tuple(facts[fact_id] for fact_id in [*needed, *others[:room]])

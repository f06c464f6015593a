"""Gold questions on the sample graph with the intent given: what linking and plans are worth."""

import json
from collections import Counter
from pathlib import Path

import pytest

from kg_schema.client import GraphClient
from serving.assistant import Assistant, AssistantSettings
from serving.contracts import IntentPrediction, Ticket
from serving.conversation import Turn
from serving.grounding import unsupported
from serving.knowledge import KnowledgeCache
from serving.principal import Principal

GOLD = Path(__file__).parents[2] / "samples" / "data" / "gold"
TYPES = ("faq", "troubleshooting", "policy", "multi_entity")
EVERY = 3  # asks each third question; all of them take a minute
LEAST_RIGHT = 0.92


class GivenIntent:
    version = "given"
    out_of_scope_threshold = 0.0

    def predict(self, texts):
        return [IntentPrediction(label="out_of_scope", confidence=1.0) for _ in texts]


def questions(problem_type):
    lines = (GOLD / f"{problem_type}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines][::EVERY]


def asked(question):
    turns = [Turn(**turn) for turn in question.get("turns", [])]
    ticket = Ticket(text=question.get("text"), turns=turns, as_of=question.get("as_of"))
    customer = question.get("customer_id")
    return ticket, Principal.customer(customer) if customer else Principal.anonymous()


def is_right(question, answer):
    if not question["answerable"]:
        return answer.answer.abstained
    said = answer.answer.text.casefold()
    wanted, wrong = question["answer"]["must"], question["answer"]["must_not"]
    return (
        not answer.answer.abstained
        and all(part.casefold() in said for part in wanted)
        and not any(part.casefold() in said for part in wrong)
    )


@pytest.mark.parametrize("problem_type", TYPES)
async def test_given_the_intent_answers_are_right_and_carried_by_facts(sample_graph, problem_type):
    score, wrong = Counter(), []
    async with GraphClient(sample_graph.settings()) as client:
        linker = (await KnowledgeCache(client, 600).get(60)).linker
        settings = AssistantSettings(graph_deadline_s=60, catalogue_ttl_s=600)
        async with Assistant(GivenIntent(), client, settings) as assistant:
            for question in questions(problem_type):
                ticket, principal = asked(question)
                answer = await assistant.answer_with_intent(ticket, principal, question["intent"])
                facts = {fact.id: fact for fact in answer.facts}
                for claim in answer.answer.claims:
                    cited = [facts[each] for each in claim.facts]
                    assert cited and not unsupported(claim.text, cited, linker), claim.text
                orders = {f.subject for f in answer.facts if f.subject.startswith("Order/")}
                assert not orders or principal.customer_id
                assert len(orders) <= 1
                right = is_right(question, answer)
                score["right"] += right
                score["asked"] += 1
                if not right:
                    wrong.append((question["question_id"], answer.answer.text[:200]))
    assert score["right"] >= LEAST_RIGHT * score["asked"], (score, wrong)

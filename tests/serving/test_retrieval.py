import asyncio
import re
from dataclasses import replace
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema.client import GraphUnavailable
from kg_schema.templates import load_templates
from serving.contracts import EntityLink
from serving.dates import Period
from serving.principal import Principal
from serving.retrieval import (
    ReadContext,
    bind,
    escape_lucene,
    is_personal,
    lucene_query,
    overlap,
    read_facts,
)
from tests.serving.conftest import fact_row

OURS = sorted(set(load_templates()) - {"policy_fingerprint"})
ASKED = {"catalogue", "product_symptoms"}  # read by the assistant itself, with its own parameters


def link(label, node_id):
    return EntityLink(text=node_id, id=node_id, label=label, score=1, method="id")


def context(principal=None, period=None, **links):
    return ReadContext(
        text="my E-1001 (again)",
        topic="return_window",
        as_of=date(2026, 11, 20),
        period=period,
        principal=principal or Principal.customer("CU_0001"),
        links={label: [link(label, each) for each in ids] for label, ids in links.items()},
        categories=("C_PHONE",),
        vector=VECTOR,
        vector_model="m",
    )


VECTOR = (0.6, 0.8)
EVERYTHING = {
    "Product": ["P_X200", "P_X300"],
    "Accessory": ["A_CH65"],
    "Symptom": ["SY_001"],
    "ErrorCode": ["E1001"],
    "Promotion": ["PR_SPRING", "PR_STUDENT"],
    "Order": ["O_100001"],
    "Feature": ["F_NFC"],
}


def test_there_are_at_least_the_twelve_kinds_of_reads():
    assert len(OURS) >= 18


@pytest.mark.parametrize("name", OURS)
def test_templates_are_bounded_and_start_personal_reads_at_the_customer(name):
    template = load_templates()[name]
    names = {parameter.name for parameter in template.parameters}
    assert "limit" in names or name == "product_profile"
    body = "\n".join(line for line in template.text.splitlines() if not line.startswith("//"))
    # What leaves out articles about somebody's own things names these labels and reads none.
    body = body.replace("(:Customer|Order|Ticket)", "")
    if "Order" in body or "Customer" in body:
        assert is_personal(template)
        for segment in body.split("UNION ALL"):
            assert segment.strip().startswith("MATCH (k:Customer {id: $customer_id})-[:PLACED]->")


@pytest.mark.parametrize("name", [name for name in OURS if name not in ASKED])
def test_with_everything_linked_every_template_can_be_bound(name):
    template = load_templates()[name]
    parameters = bind(template, context(**EVERYTHING))
    assert parameters is not None
    assert template.bind(parameters) == parameters | (
        {"vector": list(VECTOR)} if "vector" in parameters else {}
    )


def test_without_a_customer_personal_templates_are_left_out():
    anonymous = context(Principal.anonymous(), **EVERYTHING)
    templates = load_templates().values()
    personal = [template for template in templates if is_personal(template)]
    assert len(personal) == 5
    assert [bind(template, anonymous) for template in personal] == [None] * 5


def test_a_period_widens_the_days_of_a_policy_read():
    period = Period(date(2026, 3, 1), date(2026, 3, 31), "last March")
    bound = bind(load_templates()["policy_as_of"], context(period=period))
    assert bound is not None
    assert (bound["from_date"], bound["to_date"]) == ("2026-03-01", "2026-11-20")


class Search:
    """Finds the articles that it is told for each template."""

    templates = load_templates()

    def __init__(self, **found):
        self.found, self.asked = found, []

    async def read(self, template, parameters=None, *, deadline_s=None):
        self.asked.append(template)
        return [
            fact_row("Article", name, "body", value=f"{name} {template}", rank=9)
            for name in self.found.get(template, "")
        ]


async def test_words_and_meaning_make_one_ranking():
    graph = Search(articles_by_text="abc", articles_by_vector="dcb", neighbourhood="x")
    names = ("articles_by_text", "articles_by_vector", "neighbourhood")
    facts = await read_facts(graph, names, context(Product=["P_X200"]), deadline_s=2)
    # Found by both, b at places 2 and 3 and c at 3 and 2; then the one that words alone put first.
    assert [fact.subject for fact in facts] == [f"Article/{name}" for name in "bcax"]


async def test_without_an_encoder_words_alone_find_articles():
    graph = Search(articles_by_text="abc")
    plain = replace(context(), vector=None, vector_model=None)
    facts = await read_facts(graph, ("articles_by_text", "articles_by_vector"), plain, 2)
    assert graph.asked == ["articles_by_text"]
    assert [fact.subject for fact in facts] == ["Article/a", "Article/b", "Article/c"]


async def test_a_neighbourhood_keeps_to_its_tokens():
    graph = Search(neighbourhood=[f"{i:04d}" + "x" * 400 for i in range(20)])
    facts = await read_facts(graph, ("neighbourhood",), context(Product=["P_X200"]), 2)
    assert 0 < len(facts) < 6


class Recorder:
    templates = load_templates()

    def __init__(self, error=None):
        self.calls, self.error, self.together, self.most = [], error, 0, 0

    async def read(self, template, parameters=None, *, deadline_s=None):
        self.calls.append((template, deadline_s))
        self.together += 1
        self.most = max(self.most, self.together)
        await asyncio.sleep(0.01)
        self.together -= 1
        if self.error:
            raise self.error
        return [fact_row("Product", "P_X200", template, value="1")]


async def test_reads_go_out_together_and_their_facts_keep_the_plans_order():
    graph = Recorder()
    names = ("product_profile", "customer_order", "product_features")
    facts = await read_facts(
        graph, names, context(Principal.anonymous(), Product=["P_X200"]), deadline_s=2
    )
    assert [fact.predicate for fact in facts] == ["product_profile", "product_features"]
    assert graph.most == 2
    assert {deadline for _, deadline in graph.calls} == {2}


async def test_an_outage_is_told():
    graph = Recorder(GraphUnavailable("down"))
    with pytest.raises(GraphUnavailable):
        await read_facts(graph, ("product_profile",), context(Product=["P_X200"]), deadline_s=2)


def test_lucene_operators_are_words_like_others():
    assert lucene_query("my E-1001 AND (not) foo:bar!") == r"e\-1001 foo bar"
    assert lucene_query("is it my own") == "own"
    assert lucene_query("?! ()") == ""


@given(st.text(max_size=400))
def test_no_unescaped_lucene_syntax_is_left(text):
    for word in (escape_lucene(text), lucene_query(text)):
        assert not re.search(r'(?<!\\)(?:\\\\)*[+\-!(){}\[\]^"~*?:/&|]', word)
    assert len(lucene_query(text).split()) <= 24


@given(st.text(max_size=50), st.text(max_size=50))
def test_overlap_is_a_share(text, other):
    assert 0 <= overlap(text, other) <= 1

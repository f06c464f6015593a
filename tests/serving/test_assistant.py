"""Whole answers: a real model file, a real graph server, the package's own plans."""

import asyncio
from datetime import date

import pytest

from kg_schema.client import GraphClient, GraphSettings, GraphUnavailable
from serving.assistant import Assistant, AssistantSettings
from serving.contracts import Ticket
from serving.conversation import Turn
from serving.grounding import unsupported
from serving.intent import IntentModel
from serving.principal import Principal
from tests.serving.keyword_model import keyword_model

OWNER, OTHER = Principal.customer("CU_0001"), Principal.customer("CU_0002")
NOBODY = Principal.anonymous()
SETTINGS = AssistantSettings(graph_deadline_s=30)


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory):
    return keyword_model(tmp_path_factory.mktemp("models") / "intent")


@pytest.fixture
async def assistant(model_dir, small_graph):
    async with Assistant.open(model_dir, small_graph, SETTINGS) as opened:
        yield opened


async def ask(assistant, text, principal=NOBODY, intent=None, as_of=date(2026, 11, 20)):
    ticket = Ticket(text=text, as_of=as_of)
    if intent is None:
        return await assistant.answer(ticket, principal)
    return await assistant.answer_with_intent(ticket, principal, intent)


def check_contract(answer, linker):
    known = {fact.id: fact for fact in answer.facts}
    for claim in answer.answer.claims:
        assert claim.facts
        assert set(claim.facts) <= set(known)
        assert not unsupported(claim.text, [known[each] for each in claim.facts], linker)
        assert claim.text in answer.answer.text
    for item in answer.recommendations:
        assert item.why
        assert set(item.why) <= set(known)
    scores = [item.score for item in answer.recommendations]
    assert scores == sorted(scores, reverse=True)
    assert answer.answer.abstained == (not answer.answer.claims)
    assert bool(answer.answer.reason) == answer.answer.abstained
    assert answer.latency_ms["total"] > 0


async def test_fast_charging_links_reads_and_cites(assistant, linker):
    text = "My X-200 phone hasn't been fast charging recently. What should I do?"
    answer = await ask(assistant, text)
    check_contract(answer, linker)
    assert (answer.intent.label, answer.problem_type) == ("slow_charging", "troubleshooting")
    linked = {(link.label, link.id, link.method) for link in answer.entities}
    assert {("Product", "P_X200", "exact"), ("Symptom", "SY_001", "symptom")} <= linked
    kinds = [(item.kind, item.id) for item in answer.recommendations]
    assert kinds[:2] == [("solution", "S_001"), ("solution", "S_002")]
    assert set(kinds[2:]) == {("accessory", "A_CH65"), ("accessory", "A_CH30")}
    said = answer.answer.text
    order = ["1. Switch the phone off.", "2. Clean the port", "3. Charge with a 30 W cable"]
    assert [said.index(step) for step in order] == sorted(said.index(step) for step in order)
    assert "USB Power Delivery 30 W" in said
    assert "65 W GaN charger" in said
    assert {"intent", "link", "read", "compose", "total"} <= answer.latency_ms.keys()
    assert answer.versions.model
    assert answer.versions.graph


async def test_promotions_follow_their_rules_in_either_direction(assistant, linker):
    answer = await ask(assistant, "Can I combine the student coupon with the spring sale?")
    check_contract(answer, linker)
    assert "Yes, the Student coupon and the Spring promotion can be combined." in answer.answer.text
    assert "was valid from 2026-03-01 to 2026-05-31" in answer.answer.text
    excluded = await ask(assistant, "combine OUTLET20 and SPRING15")
    assert "cannot be combined" in excluded.answer.text
    unruled = await ask(assistant, "combine OUTLET20 and STUDENT10")
    assert "no rule" in unruled.answer.text


async def test_an_orders_day_decides_whether_a_promotion_was_valid(assistant, linker):
    text = "can I combine STUDENT10 and SPRING15 on order 100001"
    answer = await ask(assistant, text, OWNER)
    check_contract(answer, linker)
    assert "The Spring promotion is valid from" in answer.answer.text
    assert "cannot be used" not in answer.answer.text


async def test_the_policy_version_of_the_day(assistant, linker):
    last_march = await ask(assistant, "what is the return window for an order of last March?")
    check_contract(last_march, linker)
    assert "14 days" in last_march.answer.text
    assert "30 days" in last_march.answer.text
    one_day = await ask(assistant, "return window for an order of 10 March 2026")
    assert ("14 days" in one_day.answer.text, "30 days" in one_day.answer.text) == (True, False)
    today = await ask(assistant, "what is the return window?")
    assert ("14 days" in today.answer.text, "30 days" in today.answer.text) == (False, True)
    earlier = await ask(assistant, "what is the return window?", as_of=date(2025, 6, 1))
    assert ("14 days" in earlier.answer.text, "30 days" in earlier.answer.text) == (True, False)
    before = await ask(assistant, "return window for an order of 10 March 2020")
    assert before.answer.abstained


async def test_the_policy_that_covers_the_category_goes_first(assistant, linker):
    answer = await ask(assistant, "return window of the Murmur Air?")
    check_contract(answer, linker)
    assert "7 days" in answer.answer.text
    assert [item.id for item in answer.recommendations] == ["PO_RETURN_AUDIO"]


async def test_the_policy_of_an_order_is_that_of_its_day(assistant, linker):
    answer = await ask(assistant, "return window for order 100001", OWNER)
    check_contract(answer, linker)
    assert "placed on 2026-03-10" in answer.answer.text
    assert "14 days" in answer.answer.text


@pytest.mark.parametrize("intent", ["order_status", "order_contents", "return_window"])
async def test_orders_are_told_to_their_customer_only(assistant, linker, intent):
    own = await ask(assistant, "my parcel, order 100001", OWNER, intent)
    check_contract(own, linker)
    assert not own.answer.abstained
    foreign = await ask(assistant, "my parcel, order 100001", OTHER, intent)
    absent = await ask(assistant, "my parcel, order 999999", OTHER, intent)
    for answer in (foreign, absent):
        assert answer.answer.abstained
        assert not any("Order/" in fact.subject + fact.object for fact in answer.facts)
    assert foreign.answer == absent.answer
    assert foreign.facts == absent.facts
    nobody = await ask(assistant, "my parcel, order 100001", NOBODY, intent)
    assert nobody.answer.abstained
    assert "sign in" in nobody.answer.text


async def test_an_agent_reads_the_customer_they_serve(assistant):
    own = await ask(assistant, "parcel order 100001", Principal.agent("CU_0001"))
    assert not own.answer.abstained
    assert (await ask(assistant, "parcel order 100001", Principal.agent())).answer.abstained


@pytest.mark.parametrize(
    ("text", "intent", "parts"),
    [
        (
            "what can the X-200 do",
            "product_features",
            ["IP67 water protection and USB Power Delivery 30 W"],
        ),
        ("X-200 with NFC payments?", "product_features", ["No, NFC payments is not listed"]),
        ("X-300 with NFC?", "product_features", ["Yes, the X-300 phone supports NFC payments."]),
        ("charging of the X-200", "charging_protocols", ["protocols: USB Power Delivery 30 W."]),
        ("data of the X-200", "product_specification", ["178 g", "4800 mAh", "2025-03-05"]),
        ("is the Murmur Air there", "product_availability", ["is out of stock"]),
        ("X-300 warranty", "warranty_length", ["36 months"]),
        ("extras for X-200", "compatible_accessories", ["65 W GaN charger (39.00 euro)"]),
        ("X-300 in the rain", "water_resistance", ["no water protection is listed"]),
        ("update of X-200", "firmware_latest", ["5.3.1"]),
        ("colours of X-300", "color_options", ["black and blue"]),
        ("set up my X-200", "setup_guide", ["Insert the SIM card."]),
        ("65W GaN charger on X-200", "accessory_fits_product", ["Yes, the", "firmware 5.2.0"]),
        (
            "65W GaN charger on X-300",
            "accessory_fits_product",
            ["not listed", "made for: X-200 phone"],
        ),
        ("x200 or x300", "compare_products", ["499.00", "799.00", "Only the X-300 phone has: NFC"]),
        ("instead of X-200", "product_alternatives", ["the X-300 phone for 799.00 euro"]),
        ("SPRING15 on X-300", "promotion_on_product", ["covers phones", "was valid from"]),
        ("OUTLET20 on X-300", "promotion_on_product", ["does not cover the X-300 phone"]),
        ("STUDENT10 on X-300", "promotion_on_product", ["not limited to certain products"]),
        ("any offers for X-200", "promotion_on_product", ["Outlet deal"]),
        ("E1001?", "error_code_help", ["means: Charging negotiation failed", "1. Open Settings"]),
        ("is it free", "shipping_policy", ["Shipping is free above 50 EUR."]),
        ("X-200 is slow to charge", "slow_charging", ["If it stays dark, go on with: Charge"]),
    ],
)
async def test_each_kind_of_question_has_its_answer(assistant, linker, text, intent, parts):
    answer = await ask(assistant, text, intent=intent)
    check_contract(answer, linker)
    for part in parts:
        assert part.casefold() in answer.answer.text.casefold()


@pytest.mark.parametrize(
    ("intent", "parts"),
    [
        ("order_contents", ["1 x X-200 phone", "499.00 euro"]),
        ("order_warranty", ["24 months", "until 2028-03-13"]),
        ("order_return_eligibility", ["placed on 2026-03-10", "14 days", "2026-03-13"]),
    ],
)
async def test_questions_on_ones_own_order(assistant, linker, intent, parts):
    answer = await ask(assistant, "and order 100001?", OWNER, intent)
    check_contract(answer, linker)
    for part in parts:
        assert part in answer.answer.text


@pytest.mark.parametrize(
    ("text", "intent", "reason"),
    [
        ("what does the Z-900 cost", "product_price", "nothing known is called 'Z-900'"),
        ("error E9999, what to do", "error_code_help", "nothing known is called 'E9999'"),
        ("what does it cost", "product_price", "the question names no Product"),
        ("write me a poem", "out_of_scope", "the question is out of scope"),
        ("what about the weather", "loan_request", "no answer plan for intent 'loan_request'"),
        ("how do I set it up, my X-300", "setup_guide", "the graph holds no facts"),
    ],
)
async def test_abstains_and_says_why(assistant, linker, text, intent, reason):
    answer = await ask(assistant, text, intent=intent)
    check_contract(answer, linker)
    assert reason in (answer.answer.reason or "")
    assert answer.recommendations == ()


async def test_an_intent_without_a_plan_is_answered_from_what_is_linked(assistant, linker):
    answer = await ask(assistant, "tell me about E1001", intent="loan_request")
    check_contract(answer, linker)
    assert "Charging negotiation failed" in answer.answer.text
    guide = await ask(assistant, "how to reset my password", intent="loan_request")
    assert [item.id for item in guide.recommendations] == ["AR_001"]


async def test_an_unsure_intent_is_decided_by_what_is_linked(model_dir, small_graph, tmp_path):
    unsure = keyword_model(tmp_path / "unsure", temperature=8.0)
    async with Assistant.open(unsure, small_graph, SETTINGS) as assistant:
        answer = await ask(assistant, "what does this cost: code E1001?")
    assert answer.intent.label == "error_code_help"


async def test_below_its_threshold_the_model_means_no_intent(small_graph, tmp_path):
    strict = keyword_model(tmp_path / "strict", out_of_scope_threshold=0.9)
    async with Assistant.open(strict, small_graph, SETTINGS) as assistant:
        answer = await ask(assistant, "price of the X-200, or its code?")
    assert answer.answer.reason == "the question is out of scope"


async def test_dialogues_are_linked_over_all_turns(assistant):
    turns = [
        Turn("user", "what does it cost?"),
        Turn("agent", "Which one?"),
        Turn("user", "the x300"),
    ]
    answer = await assistant.answer(Ticket(turns=turns), NOBODY)
    assert "799.00 euro" in answer.answer.text


async def test_without_a_graph_the_intent_is_still_given(model_dir):
    async with Assistant.open(model_dir, None) as assistant:
        answer = await ask(assistant, "what does the X-200 cost")
    assert answer.degraded == ("graph",)
    assert answer.answer.abstained
    assert answer.intent.label == "product_price"


async def test_a_graph_that_is_down_degrades_the_answer(model_dir):
    nowhere = GraphSettings(uri="bolt://127.0.0.1:1", connect_timeout_s=1)
    hasty = AssistantSettings(graph_deadline_s=0.5)
    async with Assistant.open(model_dir, nowhere, hasty) as assistant:
        answer = await ask(assistant, "what does the X-200 cost")
    assert answer.degraded == ("graph",)
    assert answer.answer.abstained
    assert (answer.intent.label, answer.problem_type) == ("product_price", "faq")


class Failing:
    """A graph that answers until it is told not to."""

    def __init__(self, client):
        self.client, self.down, self.reads = client, False, []

    @property
    def templates(self):
        return self.client.templates

    async def read(self, template, parameters=None, *, deadline_s=None):
        self.reads.append(template)
        if self.down:
            raise GraphUnavailable("down", where="nowhere")
        return await self.client.read(template, parameters, deadline_s=deadline_s)


async def test_an_outage_in_the_middle_degrades_and_recovery_heals(model_dir, small_graph):
    async with GraphClient(small_graph) as client:
        graph = Failing(client)
        async with Assistant(IntentModel(model_dir), graph, SETTINGS) as assistant:
            assert not (await ask(assistant, "price of X-200")).degraded
            graph.down = True
            answer = await ask(assistant, "price of X-200")
            assert answer.degraded == ("graph",)
            assert answer.facts == ()
            assert [link.id for link in answer.entities if link.label == "Product"] == ["P_X200"]
            graph.down = False
            assert not (await ask(assistant, "price of X-200")).degraded


async def test_preparing_a_graph_that_hangs_delays_nobody_and_ends_with_the_assistant(model_dir):
    async def say_nothing(reader, writer):
        await reader.read()
        writer.close()

    silent = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    async with silent, asyncio.timeout(10):
        graph = GraphSettings(f"bolt://127.0.0.1:{port}", connect_timeout_s=60)
        async with Assistant.open(model_dir, graph, SETTINGS) as assistant:
            await assistant.prepare(patience_s=0.2)


async def test_how_preparing_ended_is_logged(model_dir, small_graph, caplog, monkeypatch):
    async def prepare(graph):
        async with Assistant.open(model_dir, graph, SETTINGS) as assistant:
            await assistant.prepare(patience_s=60)

    caplog.set_level("INFO")
    await prepare(small_graph)
    assert "templates are planned; refused: " in caplog.text
    await prepare(GraphSettings("bolt://127.0.0.1:1"))
    assert "templates are planned when they are asked" in caplog.text

    async def broken(self):
        raise KeyError("of nobody's making")

    monkeypatch.setattr(GraphClient, "prepare", broken)
    await prepare(small_graph)
    assert "templates were not planned" in caplog.text
    assert "of nobody's making" in caplog.text


async def test_names_are_read_once_and_renewed_in_the_background(model_dir, small_graph):
    async with GraphClient(small_graph) as client:
        graph = Failing(client)
        settings = AssistantSettings(graph_deadline_s=30, catalogue_ttl_s=0.0)
        async with Assistant(IntentModel(model_dir), graph, settings) as assistant:
            await asyncio.gather(*(ask(assistant, "price of X-200") for _ in range(3)))
            assert graph.reads.count("catalogue") == 1
            await ask(assistant, "price of X-200")
            await asyncio.sleep(0.5)
            assert graph.reads.count("catalogue") == 2


async def test_many_tickets_at_once_get_their_own_answers(assistant):
    names = ["X-200", "X-300", "Murmur Air"] * 5
    answers = await asyncio.gather(*(ask(assistant, f"price of {name}") for name in names))
    prices = {"X-200": "499.00", "X-300": "799.00", "Murmur Air": "99.00"}
    for name, answer in zip(names, answers, strict=True):
        assert prices[name] in answer.answer.text

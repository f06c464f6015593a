import pytest
from pydantic import ValidationError

from serving.contracts import MAX_TEXT_CHARACTERS, Ticket, fact_id
from serving.conversation import Turn, ticket_text
from serving.principal import Principal


def test_the_last_user_turn_comes_first_then_newest_to_oldest():
    turns = [Turn("user", "Hi\nthere"), Turn("agent", "Yes?"), Turn("customer", "My X-200 is hot")]
    assert ticket_text(turns) == "My X-200 is hot [context] agent: Yes? user: Hi there"


def test_what_the_agent_says_last_is_context():
    turns = [Turn("user", "It is hot"), Turn("agent", "Which one?")]
    assert ticket_text(turns) == "It is hot [context] agent: Which one?"


def test_one_turn_is_its_text_and_blank_turns_are_nothing():
    assert ticket_text([Turn("user", " a  b "), Turn("agent", " ")]) == "a b"
    assert ticket_text([Turn("agent", "only me")]) == "only me"
    assert ticket_text([]) == ""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"text": " "},
        {"text": "a", "turns": [{"role": "user", "text": "b"}]},
        {"turns": [{"role": "user", "text": ""}]},
        {"text": "a" * (MAX_TEXT_CHARACTERS + 1)},
        {"text": "a", "as_of": "soon"},
        {"text": "a", "customer_id": "CU_0001"},
    ],
)
def test_tickets_that_say_nothing_too_much_or_who_they_are_from_are_refused(values):
    with pytest.raises(ValidationError):
        Ticket(**values)


def test_fact_ids_are_stable_and_tell_versions_apart():
    assert fact_id("P/1", "x", "2") == fact_id("P/1", "x", "2")
    assert len({fact_id("P/1", "x", "2"), fact_id("P/1", "x", "2", "2026-01-01")}) == 2


def test_principals_hold_together():
    with pytest.raises(ValueError, match="customer_id"):
        Principal("customer")
    with pytest.raises(ValueError, match="anonymous"):
        Principal("anonymous", "CU_0001")
    assert Principal.agent("CU_0001").customer_id == "CU_0001"

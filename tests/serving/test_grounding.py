from hypothesis import assume, given
from hypothesis import strategies as st

from serving.facts import FactSet
from serving.grounding import check_claims, unsupported, values_of
from serving.phrases import Draft
from tests.serving.conftest import fact_row

FACTS = tuple(
    FactSet(
        [
            fact_row("Product", "P_X200", "price_eur", value="499.0"),
            fact_row("Product", "P_X200", "released", value="2025-03-05"),
            fact_row("ErrorCode", "E1001", "RESOLVED_BY", "Solution/S_002/Update the firmware"),
        ]
    )
)


def test_values_are_compared_by_what_they_mean():
    assert values_of("499.00, 499,0 and 0499") == ["499", "499", "499"]
    assert values_of("E-1001 or e1001") == ["e1001", "e1001"]
    assert values_of("1.31 is not 1.3, on 2026-03-05.") == ["1.31", "1.3", "20260305"]


def test_a_claim_of_its_facts_is_kept(linker):
    text = "The X-200 phone costs 499.00 euro since 2025-03-05; E1001: Update the firmware."
    assert unsupported(text, FACTS, linker) == []
    assert check_claims([Draft(text, FACTS)], linker).kept


def test_a_foreign_product_name_or_code_is_found(linker):
    assert unsupported("The X-300 phone is better.", FACTS, linker) == ["x300", "X-300 phone"]
    assert unsupported("Take the Murmur Air earbuds.", FACTS, linker) == ["Murmur Air earbuds"]
    assert "e1002" in unsupported("See E1002.", FACTS, linker)


def test_a_claim_without_facts_is_dropped(linker):
    draft = Draft("All is well.", ())
    assert check_claims([draft], linker).dropped == (draft,)


@given(st.integers(0, 10**9), st.sampled_from(["It costs {} euro.", "Wait {}%", "v{}", "no. {}"]))
def test_injected_numbers_are_dropped(linker, number, pattern):
    text = pattern.format(number)
    known = {
        value for fact in FACTS for part in (fact.object, fact.subject) for value in values_of(part)
    }
    assume(not set(values_of(text)) & known)
    draft = Draft(text, FACTS)
    assert check_claims([draft], linker).kept == ()


@given(st.dates())
def test_injected_dates_are_dropped(linker, day):
    assume(day.isoformat() != "2025-03-05")
    assert check_claims([Draft(f"Since {day.isoformat()}.", FACTS)], linker).kept == ()


@given(st.text(max_size=200))
def test_any_text_can_be_checked(linker, text):
    unsupported(text, FACTS, linker)

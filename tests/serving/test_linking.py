import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.catalogue import Catalogue, Node, stem, tokenize
from serving.linking import Linker


def named(linker, text):
    return {(link.label, link.id) for link in linker.link(text).entities}


@pytest.mark.parametrize("text", ["X-200 phone", "the x200", "X 200s", "my x-200's", "P_X200"])
def test_every_way_to_write_a_product_is_that_product(linker, text):
    assert ("Product", "P_X200") in named(linker, text)


@pytest.mark.parametrize("text", ["murmur ari", "Mumur Air earbuds", "MURMUR  AIRS", "murmurair"])
def test_typos_are_tolerated(linker, text):
    assert ("Product", "P_MURAIR") in named(linker, text)


@pytest.mark.parametrize("text", ["x-210 phone", "X-2000", "X20", "volt 31 charger"])
def test_another_number_is_another_thing(linker, text):
    assert not {label for label, _ in named(linker, text)} & {"Product", "Accessory"}


def test_the_longest_mention_wins_and_what_is_inside_it_is_kept_apart(linker):
    links = linker.link("do you sell the clear case for X-300")
    assert [link.id for link in links.entities] == ["A_CASEX"]
    assert [link.id for link in links.of("Product")] == ["P_X300"]
    outer = linker.link("does the clear case for X-300 fit my X200")
    assert [link.id for link in outer.of("Product")] == ["P_X200"]


@pytest.mark.parametrize(
    "text",
    [
        "O_100001",
        "order 100001",
        "Order no. 100001",
        "order number: 100001",
        "#100001",
        "order #100001 please",
        "where is 100001?",
        "order 100-001",
    ],
)
def test_order_numbers_in_many_forms(linker, text):
    assert named(linker, text) == {("Order", "O_100001")}


def test_prices_and_years_are_no_orders(linker):
    assert not linker.link("I paid 499 euro in 2026 for 2 phones").of("Order")


@pytest.mark.parametrize("text", ["E1001", "e-1001", "error E1001!", "code E 1001"])
def test_error_codes_in_many_forms(linker, text):
    assert ("ErrorCode", "E1001") in named(linker, text)


@pytest.mark.parametrize("text", ["SPRING15", "the spring sale", "Spring Promotion"])
def test_promotions_by_code_name_and_alias(linker, text):
    assert ("Promotion", "PR_SPRING") in named(linker, text)


@pytest.mark.parametrize(
    ("text", "mention", "label"),
    [
        ("my Z-900 is hot", "Z-900", "Product"),
        ("error E9999 on it", "E9999", "ErrorCode"),
        ("it shows error code 77", "77", "ErrorCode"),
        ("can I use code WINTER99", "WINTER99", "Promotion"),
    ],
)
def test_what_looks_known_but_is_not_is_reported(linker, text, mention, label):
    (found,) = linker.link(text).unlinked
    assert (found.text, found.label) == (mention, label)


def test_a_family_name_with_an_unknown_number_is_reported():
    node = Node("Product", "P_SLATE8", "Slate 8 tablet", ("Slate 8 tablet", "Slate 8"), {})
    found = Linker(Catalogue([node])).link("how much is the slate 14")
    assert not found.entities
    assert [mention.text for mention in found.unlinked] == ["slate 14"]


def test_linked_mentions_are_not_reported_as_unknown(linker):
    assert not linker.link("X-200 and E1001 with SPRING15, order 100001").unlinked


def test_of_two_nodes_with_one_alias_the_one_the_text_says_more_of():
    nodes = [
        Node("Accessory", f"A_{kind}", f"Clear case for {kind}", ("Clear case",), {})
        for kind in ("phones", "tablets")
    ]
    (link,) = Linker(Catalogue(nodes)).link("a clear case, I have two tablets").entities
    assert link.id == "A_tablets"
    assert link.score < 1


def test_spans_are_those_of_the_text(linker):
    text = "Ist das X-200 phone für O_100001?"
    assert {link.text for link in linker.link(text).entities} == {"X-200 phone", "O_100001"}


@given(st.text(max_size=300))
def test_linking_never_raises(linker, text):
    links = linker.link(text)
    assert all(link.text in text and 0 < link.score <= 1 for link in links.entities)


@given(st.lists(st.sampled_from(["X-200", "x300", "order", "#", "1000", "E", "-", "☃", "spring"])))
def test_linking_never_raises_on_pieces_of_names(linker, pieces):
    linker.link(" ".join(pieces))
    linker.link("".join(pieces))


def test_long_texts_are_linked_in_bounded_time(linker):
    linker.link("X-200 error " * 2000)


def test_tokens_and_stems():
    assert [token.norm for token in tokenize("X-200s, Watches!")] == ["x", "200", "s", "watch"]
    assert {stem(word) for word in ("charging", "charged", "charges", "charge")} == {"charg"}

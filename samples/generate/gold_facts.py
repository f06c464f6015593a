"""What a right answer rests on: facts, recommendations and words, read off the graph itself."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from samples.generate.answers_orders import alternatives, rule_between
from samples.generate.cases import INTENTS, Case, covering_promotions
from samples.generate.catalogue import protocols_of
from samples.generate.faults import solutions_for, steps_of
from samples.generate.policies import most_specific, version_on
from samples.generate.world import TODAY, Ref, World

Triple = list[str]

_QUANTITY = re.compile(
    r"\d[\d.]*(?: working)? (?:days?|months|years|hours|minutes|euro|percent|metres?|devices"
    r"|batteries|seconds|digit|characters)"
)
_STOCK_WORDS = {
    "in_stock": ("in stock", ["out of stock", "discontinued"]),
    "out_of_stock": ("out of stock", ["is in stock", "discontinued"]),
    "discontinued": ("discontinued", ["is in stock"]),
}
_NEVER_LAST = frozenset(
    (
        *("a", "an", "the", "of", "or", "for", "from", "to", "in", "on", "by", "with", "at"),
        *("two", "your", "each", "than", ">", "that"),
    )
)
_ARTICLE_WORDS = {
    "payment_methods": ["PayPal"],
    "contact_hours": ["8:00", "20:00"],
    "invoice_copy": ["My orders"],
}


@dataclass
class Expected:
    """Gold part of a question: what is needed, what is recommended, what is said."""

    facts: list[Triple] = field(default_factory=list)
    recommendations: list[str] = field(default_factory=list)
    must: list[str] = field(default_factory=list)
    must_not: list[str] = field(default_factory=list)


def path(ref: Ref) -> str:
    """A node as facts name it, e.g. `Product/P_X200`."""
    return f"{ref[0]}/{ref[1]}"


def edge_fact(start: Ref, kind: str, end: Ref) -> Triple:
    """A relationship as a fact."""
    return [path(start), kind, path(end)]


def literal_fact(world: World, ref: Ref, predicate: str) -> Triple:
    """A property as a fact; its value is a string."""
    return [path(ref), predicate, str(world.props(ref)[predicate])]


def key_phrase(text: str) -> str:
    """The first words of a step that any telling of it keeps: at most five, up to a pause."""
    words = re.split(r"[.,;]| and ", text)[0].split()[:5]
    while words[-1] in _NEVER_LAST:
        words.pop()
    return " ".join(words)


def quantities(text: str) -> list[str]:
    """Numbers with their units in a text, each once, in order."""
    return list(dict.fromkeys(_QUANTITY.findall(text)))


def _property(predicate: str, pattern: str = "{}") -> Callable[[World, Case], Expected]:
    def expected(world: World, case: Case) -> Expected:
        value = world.props(case.product)[predicate]
        shown = f"{value:.0f}" if isinstance(value, float) else str(value)
        fact = literal_fact(world, case.product, predicate)
        return Expected([fact], must=[pattern.format(shown)])

    return expected


def _features(world: World, case: Case, refs: list[Ref]) -> Expected:
    facts = [edge_fact(case.product, "SUPPORTS_FEATURE", ref) for ref in refs]
    return Expected(facts, must=[world.name(ref) for ref in refs[:3]])


def _product_features(world: World, case: Case) -> Expected:
    if case.feature is not None:
        return _features(world, case, [case.feature])
    return _features(world, case, [e.end for e in world.out(case.product, "SUPPORTS_FEATURE")])


def _protocols(world: World, case: Case) -> Expected:
    return _features(world, case, protocols_of(world, case.product))


def _water(world: World, case: Case) -> Expected:
    refs = [e.end for e in world.out(case.product, "SUPPORTS_FEATURE")]
    found = [ref for ref in refs if world.props(ref)["kind"] == "protection"]
    expected = _features(world, case, found)
    expected.must = [str(world.props(ref)["value"]) for ref in found]
    return expected


def _availability(world: World, case: Case) -> Expected:
    must, must_not = _STOCK_WORDS[str(world.props(case.product)["stock"])]
    return Expected([literal_fact(world, case.product, "stock")], [], [must], must_not)


def _colors(world: World, case: Case) -> Expected:
    colors = [str(color) for color in world.props(case.product)["colors"]]
    return Expected([[path(case.product), "colors", color] for color in colors], must=colors)


def _accessories(world: World, case: Case) -> Expected:
    refs = sorted(edge.end for edge in world.out(case.product, "COMPATIBLE_WITH"))
    facts = [edge_fact(case.product, "COMPATIBLE_WITH", ref) for ref in refs]
    return Expected(facts, [ref[1] for ref in refs], [world.name(ref) for ref in refs[:2]])


def _article(world: World, case: Case) -> Expected:
    article = most_specific(world, "Article", case.intent, case.product)[0]
    facts = [literal_fact(world, article, "body")]
    targets = {case.product, ("Category", str(world.props(case.product)["category"]))}
    facts += [
        edge_fact(article, "ABOUT", edge.end)
        for edge in world.out(article, "ABOUT")
        if edge.end in targets
    ]
    body = str(world.props(article)["body"])
    words = _ARTICLE_WORDS.get(case.intent) or quantities(body)[:1] or [key_phrase(body)]
    return Expected(facts, [article[1]], words)


def _solutions(world: World, cause: Ref, product: Ref | None) -> Expected:
    solutions = solutions_for(world, cause, product)
    first = solutions[0]
    steps = steps_of(world, first)
    facts = [edge_fact(cause, "RESOLVED_BY", ref) for ref in solutions]
    facts += [edge_fact(first, "HAS_STEP", step) for step in steps]
    facts += [literal_fact(world, step, "text") for step in steps]
    phrase = key_phrase(str(world.props(steps[0])["text"]))
    return Expected(facts, [ref[1] for ref in solutions], [phrase])


def _fault(world: World, case: Case) -> Expected:
    if case.symptom is None:
        raise ValueError(f"{case.intent}: no symptom")
    expected = _solutions(world, case.symptom, case.product)
    expected.facts.insert(0, edge_fact(case.product, "HAS_SYMPTOM", case.symptom))
    if case.intent == "slow_charging":
        names = protocols_of(world, case.product)
        expected.facts += [edge_fact(case.product, "SUPPORTS_FEATURE", ref) for ref in names]
    return expected


def error_code(world: World, case: Case, named: bool) -> Expected:
    """What is expected for an error code; `named` says whether the question names the product."""
    if case.code is None:
        raise ValueError(f"{case.intent}: no code")
    expected = _solutions(world, case.code, case.product if named else None)
    expected.facts.insert(0, literal_fact(world, case.code, "meaning"))
    expected.must.insert(0, case.code[1])
    return expected


def applicable_policy(world: World, topic: str, product: Ref, day: str) -> tuple[Ref, Ref] | None:
    """The most specific policy and its version of that day; None where that one has none then."""
    policy = most_specific(world, "Policy", topic, product)[0]
    version = version_on(world, policy, day)
    return (policy, version) if version is not None else None


def policy_expected(world: World, topic: str, product: Ref, day: str) -> Expected:
    """What is expected of a policy question as of a day.

    Raises:
        ValueError: No version of the policy holds on that day.
    """
    found = applicable_policy(world, topic, product, day)
    if found is None:
        raise ValueError(f"{topic}: nothing holds for {product} on {day}")
    policy, version = found
    text = str(world.props(version)["text"])
    facts = [edge_fact(policy, "HAS_VERSION", version), literal_fact(world, version, "text")]
    targets = {product, ("Category", str(world.props(product)["category"]))}
    facts += [
        edge_fact(policy, "COVERS", edge.end)
        for edge in world.out(policy, "COVERS")
        if edge.end in targets
    ]
    others = [edge.end for edge in world.out(policy, "HAS_VERSION") if edge.end != version]
    wrong = [quantity for ref in others for quantity in quantities(str(world.props(ref)["text"]))]
    warranty = f"{world.props(product)['warranty_months']} months"
    must_not = [words for words in wrong if words not in text and words != warranty]
    return Expected(facts, [policy[1]], quantities(text)[:2], list(dict.fromkeys(must_not)))


def _combine(world: World, case: Case) -> Expected:
    one, other = _both(case.promotion, case.promotion2)
    kind = rule_between(world, one, other)
    if kind is None:
        raise ValueError(f"{one} and {other} have no rule")
    stored = world.edge(one, kind, other) or world.edge(other, kind, one)
    if stored is None:
        raise ValueError(f"{one} and {other} have no rule")
    wrong = ["cannot be combined"] if kind == "COMBINES_WITH" else ["can be combined", "yes,"]
    names = [world.name(one), world.name(other)]
    return Expected([edge_fact(stored.start, kind, stored.end)], [], names, wrong)


def _both(one: Ref | None, other: Ref | None) -> tuple[Ref, Ref]:
    if one is None or other is None:
        raise ValueError("a case lacks one of its two nodes")
    return one, other


def _promotion(world: World, case: Case) -> Expected:
    promotion, product = _both(case.promotion, case.product)
    category = ("Category", str(world.props(product)["category"]))
    covers = world.out(promotion, "COVERS")
    if promotion not in covering_promotions(world, product):
        facts = [edge_fact(promotion, "COVERS", edge.end) for edge in covers]
        return Expected(facts, [], [world.name(promotion)], ["yes,"])
    hits = [edge.end for edge in covers if edge.end in (product, category)]
    facts = [edge_fact(promotion, "COVERS", ref) for ref in hits]
    if category in hits:
        facts.append(edge_fact(product, "IN_CATEGORY", category))
    props = world.props(promotion)
    percent = props.get("discount_percent")
    amount = f"{percent} percent" if percent else f"{props['amount_eur']:.0f} euro"
    return Expected(facts, [promotion[1]], [amount], ["does not cover"])


def _order(case: Case) -> Ref:
    if case.order is None:
        raise ValueError(f"{case.intent}: no order")
    return case.order


def _status(world: World, case: Case) -> Expected:
    order = _order(case)
    props = world.props(order)
    known = [key for key in ("status", "placed_on", "delivered_on") if key in props]
    facts = [literal_fact(world, order, key) for key in known]
    return Expected(facts, [], [str(props["status"])])


def _contents(world: World, case: Case) -> Expected:
    order = _order(case)
    products = [edge.end for edge in world.out(order, "CONTAINS")]
    facts = [edge_fact(order, "CONTAINS", ref) for ref in products]
    return Expected(facts, [], [world.name(ref) for ref in products])


def _warranty(world: World, case: Case) -> Expected:
    order = _order(case)
    months = str(world.props(case.product)["warranty_months"])
    facts = [
        edge_fact(order, "CONTAINS", case.product),
        literal_fact(world, case.product, "warranty_months"),
        literal_fact(world, order, "placed_on"),
    ]
    return Expected(facts, [], [f"{months} months"])


def _eligibility(world: World, case: Case) -> Expected:
    order = _order(case)
    placed = str(world.props(order)["placed_on"])
    expected = policy_expected(world, "return_window", case.product, placed)
    expected.facts = [
        literal_fact(world, order, "placed_on"),
        literal_fact(world, order, "delivered_on"),
        edge_fact(order, "CONTAINS", case.product),
        *expected.facts,
    ]
    expected.must = expected.must[:1]
    return expected


def _fits(world: World, case: Case) -> Expected:
    accessory, product = _both(case.accessory, case.product)
    names = [world.name(accessory), world.name(product)]
    edge = world.edge(product, "COMPATIBLE_WITH", accessory)
    if edge is None:
        return Expected([], [], names, ["yes,"])
    fact = edge_fact(product, "COMPATIBLE_WITH", accessory)
    return Expected([fact], [accessory[1]], names, ["not compatible", "not listed"])


def _compare(world: World, case: Case) -> Expected:
    refs = _both(case.product, case.product2)
    facts = [literal_fact(world, ref, "price_eur") for ref in refs]
    prices = [f"{world.props(ref)['price_eur']:.0f}" for ref in refs]
    return Expected(facts, [], [*(world.name(ref) for ref in refs), *prices])


def _alternatives(world: World, case: Case) -> Expected:
    found = alternatives(world, case.product, world.of("Product"))
    category = ("Category", str(world.props(case.product)["category"]))
    facts = [edge_fact(ref, "IN_CATEGORY", category) for ref in found]
    facts += [literal_fact(world, ref, "stock") for ref in found]
    return Expected(facts, [ref[1] for ref in found], [world.name(found[0])])


_EXPECTED: dict[str, Callable[[World, Case], Expected]] = {
    "product_features": _product_features,
    "charging_protocols": _protocols,
    "product_specification": _property("weight_g"),
    "product_price": _property("price_eur"),
    "product_availability": _availability,
    "warranty_length": _property("warranty_months", "{} months"),
    "compatible_accessories": _accessories,
    "water_resistance": _water,
    "firmware_latest": _property("latest_firmware"),
    "color_options": _colors,
    "combine_promotions": _combine,
    "promotion_on_product": _promotion,
    "order_status": _status,
    "order_contents": _contents,
    "order_warranty": _warranty,
    "order_return_eligibility": _eligibility,
    "accessory_fits_product": _fits,
    "compare_products": _compare,
    "product_alternatives": _alternatives,
}


def expected_of(world: World, case: Case, day: str = TODAY, named: bool = True) -> Expected:
    """What is expected of an answerable question.

    Args:
        world: The graph.
        case: What the question is about.
        day: As of when policies are read.
        named: Whether the question names the product.
    """
    if case.intent == "error_code_help":
        return error_code(world, case, named)
    if case.intent in INTENTS["troubleshooting"]:
        return _fault(world, case)
    if case.intent in INTENTS["policy"]:
        return policy_expected(world, case.intent, case.product, day)
    return _EXPECTED.get(case.intent, _article)(world, case)


def usable(world: World, case: Case) -> bool:
    """Whether a question about the case has one fair answer in the graph."""
    intent, product = case.intent, case.product
    category = str(world.props(product)["category"])
    if intent == "product_features":
        has = [edge.end for edge in world.out(product, "SUPPORTS_FEATURE")]
        return case.feature in has
    if intent == "water_resistance":
        has = [edge.end for edge in world.out(product, "SUPPORTS_FEATURE")]
        return any(world.props(ref)["kind"] == "protection" for ref in has)
    if intent in ("order_return_eligibility", "order_warranty") and case.order is not None:
        placed = str(world.props(case.order)["placed_on"])
        single = len(world.out(case.order, "CONTAINS")) == 1
        return single and applicable_policy(world, "return_window", product, placed) is not None
    if intent == "compare_products":
        return case.product2 is not None
    if intent == "product_alternatives":
        return len(alternatives(world, product, world.of("Product"))) == 3
    if intent == "promotion_on_product" and case.promotion is not None:
        covering = case.promotion in covering_promotions(world, product)
        return covering or case.promotion[1] in ("PR_BUNDLE", "PR_SMART", "PR_FLASH", "PR_SUMMER")
    if intent == "cancellation_policy":
        return product[1] != "P_ORBITULT"
    if intent == "student_discount_rules":
        return category != "C_TABLET"
    return True

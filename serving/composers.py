"""Claims that need more than one pattern: steps, policies in time, rules of promotions, fits."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from serving.composition import Composition
from serving.contracts import Fact
from serving.facts import FactSet
from serving.phrases import Draft, listing, sentence, unique, written
from serving.policies import Ruling, rulings

FOLLOW_UPS = 2
MAX_PLAIN_FACTS = 6
SAYABLE = frozenset(
    {"meaning", "summary", "terms", "price_eur", "stock", "latest_firmware", "description"}
    | {"SUPPORTS_FEATURE", "COMPATIBLE_WITH", "IN_CATEGORY", "RESOLVED_BY", "INDICATES"}
)


def solution(c: Composition) -> list[Draft]:
    """What the fault is, the first solution step by step, and what to try after it."""
    starts = [*c.refs("ErrorCode")[:1], *c.refs("Symptom")[:1]]
    solved = [(start, c.facts.about(start, "RESOLVED_BY")) for start in starts]
    start, found = next(((s, f) for s, f in solved if f), ("", []))
    if not found:
        return []
    drafts = _diagnosis(c, start)
    first = found[0]
    drafts.append(c.say("try_first", [first], solution=first.object_name))
    drafts += _steps(c.facts, first.object)
    later = found[1 : 1 + FOLLOW_UPS]
    if later:
        names = "; then: ".join(fact.object_name for fact in later)
        drafts.append(c.say("try_next", later, solution=names))
    return drafts


def _diagnosis(c: Composition, start: str) -> list[Draft]:
    meaning = c.facts.first(start, "meaning")
    if meaning is not None:
        return [c.say("meaning", [meaning], code=meaning.subject_name, meaning=written(meaning))]
    for product in c.refs("Product"):
        known = c.facts.between(product, start, "HAS_SYMPTOM")
        if known is not None:
            return [
                c.say("diagnosis", [known], product=known.subject_name, symptom=known.object_name)
            ]
    return []


def _steps(facts: FactSet, solution_ref: str) -> list[Draft]:
    drafts = []
    for step in facts.about(solution_ref, "HAS_STEP"):
        text = facts.first(step.object, "text")
        if text is None:
            continue
        used, parts = [step, text], [sentence(text.object)]
        turns = facts.about(step.object, "NEXT")
        for when, turn in zip(facts.about(step.object, "next_when"), turns, strict=False):
            target = facts.first(turn.object, "text")
            if target is not None:
                parts.append(sentence(f"if {when.object}, go on with: {target.object}"))
                used += [when, turn, target]
        drafts.append(Draft(" ".join(parts), unique(used), step=True))
    return drafts


def policy(c: Composition) -> list[Draft]:
    """The policy that holds for each product in question, on the day that its rule asks for."""
    order = next(iter(c.refs("Order")), None)
    placed = c.facts.first(order, "placed_on") if order else None
    drafts: list[Draft] = []
    for ruling in rulings(c, order, placed):
        drafts += _ruling(c, ruling, placed)
    return list({draft.text: draft for draft in drafts}.values())


def _ruling(c: Composition, ruling: Ruling, placed: Fact | None) -> list[Draft]:
    drafts = []
    for held in ruling.versions:
        used = [held.version, held.text, *ruling.why]
        body = held.text.object
        if ruling.dated_by_order and placed is not None:
            values = {"date": placed.object, "order": placed.subject_name}
            drafts.append(
                c.say("policy_of_order", [*used, placed], name=ruling.name, text=body, **values)
            )
        elif ruling.spans:
            since, until = held.version.valid_from or "", held.version.valid_to
            key = "policy_between" if until else "policy_since"
            values = {"since": since, "until": until or ""}
            drafts.append(c.say(key, used, name=ruling.name, text=body, **values))
        else:
            drafts.append(c.say("policy", used, name=ruling.name, text=body))
    return drafts


def combination(c: Composition) -> list[Draft]:
    """Whether promotions go together, pair by pair, and until when each can be used."""
    promotions = c.refs("Promotion")
    day, dated = _day(c)
    drafts = []
    for index, one in enumerate(promotions):
        for other in promotions[index + 1 :]:
            drafts.append(_pair(c, one, other))
    for promotion in promotions:
        drafts += _validity(c, promotion, day, dated)
        drafts += _terms(c, promotion)
    return drafts


def _pair(c: Composition, one: str, other: str) -> Draft:
    names = {"one": c.name(one), "other": c.name(other)}
    for key, predicate in (("excludes", "EXCLUDES"), ("combines", "COMBINES_WITH")):
        rule = c.facts.between(one, other, predicate)
        if rule is not None:
            return c.say(key, [rule], **names)
    codes = [fact for ref in (one, other) if (fact := c.facts.first(ref, "code"))]
    return c.say("no_rule", codes, **names)


def _day(c: Composition) -> tuple[str, list[Fact]]:
    """The day on which promotions must be valid: the order's, else the day asked for."""
    for order in c.refs("Order"):
        placed = c.facts.first(order, "placed_on")
        if placed is not None:
            return placed.object, [placed]
    return c.as_of.isoformat(), []


def _validity(c: Composition, promotion: str, day: str, dated: list[Fact]) -> list[Draft]:
    starts, ends = c.facts.first(promotion, "valid_from"), c.facts.first(promotion, "valid_to")
    if starts is None or ends is None:
        return []
    values = {"promotion": starts.subject_name, "since": starts.object, "until": ends.object}
    if starts.object <= day <= ends.object:
        return [c.say("promotion_valid", [starts, ends], **values)]
    key = "promotion_over" if day > ends.object else "promotion_early"
    return [c.say(key, [starts, ends, *dated], **values)]


def _terms(c: Composition, promotion: str) -> list[Draft]:
    terms = c.facts.first(promotion, "terms")
    if terms is None:
        return []
    return [c.say("terms", [terms], promotion=terms.subject_name, terms=written(terms))]


def promotion_on_product(c: Composition) -> list[Draft]:
    """Whether each promotion covers the product or its category, until when, on what terms."""
    drafts: list[Draft] = []
    day, dated = _day(c)
    for product in c.refs("Product")[:1]:
        kinds = c.facts.about(product, "IN_CATEGORY")
        for promotion in c.refs("Promotion"):
            covers = c.facts.about(promotion, "COVERS")
            drafts.append(_coverage(c, promotion, product, covers, kinds))
            drafts += _validity(c, promotion, day, dated) + _terms(c, promotion)
        if not c.refs("Promotion"):
            drafts += _all_promotions(c, product)
    return drafts


def _all_promotions(c: Composition, product: str) -> list[Draft]:
    covers = c.facts.matching("Promotion", "COVERS")
    by_name = {fact.subject_name: fact for fact in covers}
    kinds = c.facts.about(product, "IN_CATEGORY")
    if not by_name:
        return []
    used = [*by_name.values(), *kinds]
    names = listing(list(by_name))
    return [c.say("covered_now", used, product=c.name(product), promotions=names)]


def _coverage(
    c: Composition, promotion: str, product: str, covers: Sequence[Fact], kinds: Sequence[Fact]
) -> Draft:
    names = {"promotion": c.name(promotion), "product": c.name(product)}
    for fact in covers:
        if fact.object == product:
            return c.say("covers_product", [fact], **names)
    for fact in covers:
        for kind in kinds:
            if fact.object == kind.object:
                return c.say("covers_category", [fact, kind], **names, category=kind.object_name)
    if covers:
        covered = listing([fact.object_name for fact in covers])
        return c.say("covers_others", [*covers, *kinds], **names, covered=covered)
    code = c.facts.first(promotion, "code")
    return c.say("covers_all", [*([code] if code else []), *kinds], **names)


def compatibility(c: Composition) -> list[Draft]:
    """Whether each accessory fits each product, from which firmware, and what else it fits."""
    drafts = []
    for accessory in c.refs("Accessory")[:1]:
        for product in c.refs("Product")[:1]:
            drafts += _fit(c, accessory, product)
    return drafts


def _fit(c: Composition, accessory: str, product: str) -> list[Draft]:
    names = {"accessory": c.name(accessory), "product": c.name(product)}
    fits = c.facts.between(product, accessory, "COMPATIBLE_WITH")
    if fits is not None:
        drafts = [c.say("fits", [fits], **names)]
        firmware = c.facts.first(accessory, "min_firmware")
        if firmware is not None:
            drafts.append(c.say("fits_from", [firmware, fits], **names, firmware=firmware.object))
        return drafts
    named = [f for ref in (product, accessory) if (f := _naming(c.facts, ref))]
    others = [
        fact
        for fact in c.facts.matching("Product", "COMPATIBLE_WITH", "Accessory")
        if fact.object == accessory
    ][:5]
    drafts = [c.say("fits_not", named, **names)]
    if others:
        models = listing([fact.subject_name for fact in others])
        drafts.append(c.say("fits_others", others, accessory=names["accessory"], products=models))
    return drafts


def _naming(facts: FactSet, ref: str) -> Fact | None:
    """A fact that says what a node is: its name, else its kind or price."""
    for predicate in ("name", "kind", "price_eur"):
        fact = facts.first(ref, predicate)
        if fact is not None:
            return fact
    return None


COMPARED = ("price_eur", "battery_mah", "weight_g", "warranty_months", "released", "stock")


def comparison(c: Composition) -> list[Draft]:
    """Property by property what each product has, then the features only one of them has."""
    products = c.refs("Product")[:3]
    drafts = []
    for predicate in COMPARED:
        found = [fact for ref in products if (fact := c.facts.first(ref, predicate))]
        if len(found) == len(products):
            words = c.sentences[f"compare_{predicate}"]
            parts = [
                words.format(product=f.subject_name, value=written(f).replace("_", " "))
                for f in found
            ]
            drafts.append(Draft(sentence("; ".join(parts)), unique(found)))
    features = {ref: c.facts.about(ref, "SUPPORTS_FEATURE") for ref in products}
    for ref, own in features.items():
        elsewhere = {f.object for other, fs in features.items() if other != ref for f in fs}
        extra = [fact for fact in own if fact.object not in elsewhere]
        if extra:
            objects = listing([fact.object_name for fact in extra])
            drafts.append(c.say("only_here", extra, product=c.name(ref), features=objects))
    return drafts


def features(c: Composition) -> list[Draft]:
    """Yes or no for each feature the ticket names; nothing where it names none."""
    drafts = []
    for product in c.refs("Product")[:1]:
        for feature in c.refs("Feature"):
            has = c.facts.between(product, feature, "SUPPORTS_FEATURE")
            names = {"product": c.name(product), "feature": c.name(feature)}
            if has is not None:
                drafts.append(c.say("has_feature", [has], **names))
                continue
            kind = c.facts.first(feature, "kind")
            known = [fact for fact in (kind, *c.facts.about(product, "SUPPORTS_FEATURE")) if fact]
            drafts.append(c.say("has_not_feature", known[:3], **names))
    return drafts


def neighbourhood(c: Composition) -> list[Draft]:
    """What the graph says of the first linked entity, predicate by predicate."""
    for ref in c.linked:
        said = [fact for fact in c.facts if fact.subject == ref and fact.predicate in SAYABLE]
        if said:
            return [
                c.say(
                    "plain_fact",
                    [fact],
                    subject=fact.subject_name,
                    predicate=fact.predicate.replace("_", " ").casefold(),
                    object=written(fact).replace("_", " "),
                )
                for fact in said[:MAX_PLAIN_FACTS]
            ]
    return []


COMPOSERS: dict[str, Callable[[Composition], list[Draft]]] = {
    "phrases": lambda _: [],
    "solution": solution,
    "policy": policy,
    "combination": combination,
    "promotion_on_product": promotion_on_product,
    "compatibility": compatibility,
    "comparison": comparison,
    "features": features,
    "neighbourhood": neighbourhood,
}

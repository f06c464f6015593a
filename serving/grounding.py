"""The grounding check: a claim may say only what the facts it cites say."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from serving.contracts import Fact
from serving.linking import Linker
from serving.phrases import Draft

NAMED_LABELS = frozenset({"Product", "Accessory", "Promotion", "ErrorCode"})
_VALUE = re.compile(r"(?:\b[A-Z]{1,4}-)?\w*\d\w*(?:[.,:/-]\w*\d\w*)*")
_PLAIN_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@dataclass(frozen=True, slots=True)
class Grounded:
    """Claims that hold and those dropped, each in order.

    Attributes:
        kept: Every value and name of these occurs in the facts they cite.
        dropped: The others.
    """

    kept: tuple[Draft, ...]
    dropped: tuple[Draft, ...]


def check_claims(drafts: Iterable[Draft], linker: Linker) -> Grounded:
    """Splits drafts into those that their facts carry and those that they do not.

    A claim holds if it cites a fact, every number, date and code in it occurs in a fact that it
    cites (numbers by value: `499.00` is `499.0`), and so does every name of a product, an
    accessory, a promotion or an error code.
    """
    kept: list[Draft] = []
    dropped: list[Draft] = []
    for draft in drafts:
        holds = bool(draft.facts) and not unsupported(draft.text, draft.facts, linker)
        (kept if holds else dropped).append(draft)
    return Grounded(tuple(kept), tuple(dropped))


def unsupported(text: str, facts: Sequence[Fact], linker: Linker) -> list[str]:
    """Values and names in a text that none of the facts says, in the order of the text."""
    said = [part for fact in facts for part in _parts(fact)]
    values = {value for part in said for value in values_of(part)}
    missing = [value for value in values_of(text) if value not in values]
    refs = {ref for fact in facts for ref in (fact.subject, fact.object)}
    plain = " \n ".join(_plain(part) for part in said)
    for link in linker.link(text).entities:
        if link.label not in NAMED_LABELS or link.method != "exact":
            continue
        if f"{link.label}/{link.id}" not in refs and _plain(link.text) not in plain:
            missing.append(link.text)
    return missing


def values_of(text: str) -> list[str]:
    """Numbers, dates and codes of a text in a comparable form.

    A number is written shortest (`499.0` and `499.00` are `499`); a code is folded and loses
    its hyphens, so that `E-1001` is `e1001`.
    """
    written = unicodedata.normalize("NFKC", text)
    return [_comparable(match.group().casefold()) for match in _VALUE.finditer(written)]


def _comparable(written: str) -> str:
    if _PLAIN_NUMBER.fullmatch(written):
        whole, dot, rest = written.replace(",", ".").partition(".")
        if dot and "." not in rest:
            rest = rest.rstrip("0")
        return f"{whole.lstrip('0') or '0'}.{rest}".rstrip(".")
    return re.sub(r"[-_]", "", written)


def _parts(fact: Fact) -> Iterable[str]:
    yield from (fact.subject_name, fact.object_name)
    # Business ids carry an order's or an error code's number; the label before them says nothing.
    yield from (ref.partition("/")[2] or ref for ref in (fact.subject, fact.object))
    yield fact.object
    yield from (day for day in (fact.valid_from, fact.valid_to) if day)


def _normal(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold()


def _plain(text: str) -> str:
    return " ".join(re.findall(r"[^\W\d_]+|\d+", _normal(text)))

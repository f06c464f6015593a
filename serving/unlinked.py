"""Mentions of things that do not exist: an answer about something else would be wrong."""

from __future__ import annotations

import calendar
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import OSA

from serving.catalogue import Catalogue, Token, tokenize

_CODE_LIKE = re.compile(r"(?<![\w-])[A-Za-z]{1,12}[-_]?\d{1,6}(?:[A-Za-z]{1,3})?(?![\w-])")
_SAID_ERROR = re.compile(
    r"\b(?:error|fault)(?:\s+(?:code|number|no|message|is|says|of))*[\s.:#\"']*"
    r"(?P<code>[A-Za-z]{0,4}[-_ ]?\d{2,6})(?![\w-])",
    re.IGNORECASE,
)
_SAID_PROMOTION = re.compile(
    r"\b(?:promo(?:tion)?|coupon|voucher|discount)?\s*code[\s.:#\"']*(?P<code>[A-Z]{3,}\d{0,4})\b"
)
_MIN_FAMILY_LETTERS = 4
_NUMBERED_NAME = re.compile(
    r"\b(?:[Mm]y|[Oo]ur|[Tt]he|[Tt]his|[Aa]n?)\s+(?:[a-z]+\s+){0,2}"
    r"(?P<name>(?P<word>[A-Z][a-z]{2,})\s\d{1,4})\b"
)
_MONTHS = frozenset(month.casefold() for month in calendar.month_name if month)
_YEARS = range(1900, 2100)

_NO_NAMES = frozenset({"best", "better", "current", "good", "latest", "new", "normal", "special"})
CAMPAIGN_NOUNS = frozenset({"promotion", "coupon", "voucher", "rebate", "discount", "offer"})

Span = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Mention:
    """Something that looks like a thing of a known kind.

    Attributes:
        text: As written.
        label: The kind it looks like.
    """

    text: str
    label: str


class KnownShapes:
    """What this company's products, error codes and promotion codes look like.

    Args:
        catalogue: The known ones.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self.shapes: dict[tuple[int, int], str] = {}
        self.words = {
            token.norm
            for node in catalogue.nodes.values()
            for written in (*node.surfaces, *node.properties.values())
            for token in tokenize(written)
        }
        nouns = CAMPAIGN_NOUNS | {
            surface.split()[-1].casefold()
            for node in catalogue.of("Promotion")
            for surface in node.surfaces
            if len(surface.split()) > 1
        }
        self.campaign = re.compile(
            r"\bthe\s+(?P<name>(?P<words>(?:[\w'-]+\s+){1,3}?)"
            rf"(?:{'|'.join(map(re.escape, sorted(nouns)))}))\b",
            re.IGNORECASE,
        )
        self.families: defaultdict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
        for label in ("Promotion", "ErrorCode", "Product"):
            for node in catalogue.of(label):
                for surface in node.surfaces:
                    self._learn(surface, label)

    def _learn(self, surface: str, label: str) -> None:
        norms = [token.norm for token in tokenize(surface)]
        if len(norms) == 2 and norms[1].isdigit() and not norms[0].isdigit() and " " not in surface:
            self.shapes[_shape(norms)] = label
        words = tuple(norm for norm in norms if not norm.isdigit())
        numbers = tuple(norm for norm in norms if norm.isdigit())
        if label == "Product" and numbers and sum(map(len, words)) >= _MIN_FAMILY_LETTERS:
            self.families[words].add(numbers)

    def is_family(self, words: tuple[str, ...]) -> bool:
        """Whether products are called so, a letter's typo in a long enough name forgiven."""
        return words in self.families or any(self._typos(words))

    def is_member(self, words: tuple[str, ...], number: str) -> bool:
        """Whether a product of that family has that number."""
        names = [words, *self._typos(words)]
        return any((number,) in self.families.get(name, ()) for name in names)

    def _typos(self, words: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
        written = " ".join(words)
        if len(written) > _MIN_FAMILY_LETTERS:
            for name in self.families:
                if name[0][0] == written[0] and OSA.distance(" ".join(name), written) == 1:
                    yield name


def _shape(norms: Sequence[str]) -> tuple[int, int]:
    return len(norms[0]), len(norms[1])


def unknown_mentions(
    text: str,
    tokens: Sequence[Token],
    linked: Sequence[Span],
    nouns: Sequence[Span],
    known: KnownShapes,
) -> list[Mention]:
    """Finds what looks like a product, an error code or a promotion code but is not linked.

    Args:
        text: The text.
        tokens: Its tokens.
        linked: Spans of the links, as (start, end) in the text.
        nouns: Spans of the names of categories, such as "laptop".
        known: Shapes to compare with.

    Returns:
        Mentions in the order of the text, without overlap.
    """
    found: dict[Span, str] = {}
    for start, end, label in (
        *_said(text),
        *_code_like(text, known),
        *_family_members(tokens, known),
        *_model_names(text, tokens, nouns, known),
        *_numbered_names(text, known),
        *_named_campaigns(text, known),
    ):
        taken = [*linked, *found]
        if not any(start < other_end and other_start < end for other_start, other_end in taken):
            found[start, end] = label
    return [Mention(text[start:end], label) for (start, end), label in sorted(found.items())]


def _said(text: str) -> Iterator[tuple[int, int, str]]:
    for match in _SAID_ERROR.finditer(text):
        yield *match.span("code"), "ErrorCode"
    for match in _SAID_PROMOTION.finditer(text):
        yield *match.span("code"), "Promotion"


def _code_like(text: str, known: KnownShapes) -> Iterator[tuple[int, int, str]]:
    for match in _CODE_LIKE.finditer(text):
        norms = [token.norm for token in tokenize(match.group())]
        label = known.shapes.get(_shape(norms)) if len(norms) >= 2 else None
        if label is not None:
            yield *match.span(), label


def _family_members(tokens: Sequence[Token], known: KnownShapes) -> Iterator[tuple[int, int, str]]:
    """Names of a known family with a number that no product of it has, such as a next model."""
    for index, token in enumerate(tokens):
        if not token.is_number:
            continue
        for size in (3, 2, 1):
            words = tuple(before.norm for before in tokens[index - size : index])
            if index >= size and known.is_family(words) and not known.is_member(words, token.norm):
                yield tokens[index - size].start, token.end, "Product"


def _model_names(
    text: str, tokens: Sequence[Token], nouns: Sequence[Span], known: KnownShapes
) -> Iterator[tuple[int, int, str]]:
    """A name of two parts before a kind of product: "Ember Q speaker", "helio 5 watch"."""
    ends = {end for _, end in nouns}
    for index, token in enumerate(tokens):
        if token.end not in ends or index < 2:
            continue
        word, part = tokens[index - 2], tokens[index - 1]
        singular = not text[: token.end].casefold().endswith("s")
        if word.norm in known.words or word.is_number or not (singular or part.norm.isalpha()):
            continue
        if _is_model_number(part) or (_capital(text, word) and _capital(text, part)):
            yield word.start, token.end, "Product"


def _is_model_number(token: Token) -> bool:
    return token.is_number and int(token.norm[:9]) > 1 and int(token.norm[:9]) not in _YEARS


def _capital(text: str, token: Token) -> bool:
    begins_sentence = not text[: token.start].strip() or text[: token.start].rstrip()[-1] in ".!?:"
    return text[token.start].isupper() and not begins_sentence


def _numbered_names(text: str, known: KnownShapes) -> Iterator[tuple[int, int, str]]:
    """A capitalised unknown word with a number: "my Quasar 7"."""
    for match in _NUMBERED_NAME.finditer(text):
        word = match["word"].casefold()
        if word not in known.words and word not in _MONTHS:
            yield *match.span("name"), "Product"


def _named_campaigns(text: str, known: KnownShapes) -> Iterator[tuple[int, int, str]]:
    """A definite campaign: "the pancake day voucher"."""
    for match in known.campaign.finditer(text):
        words = {word.casefold() for word in match["words"].split()}
        if not words & _NO_NAMES:
            yield *match.span("name"), "Promotion"

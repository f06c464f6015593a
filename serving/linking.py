"""Entity linking: which nodes of the graph a text names, and what it names that is not there."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from rapidfuzz import process
from rapidfuzz.distance import OSA

from serving.catalogue import Catalogue, Node, Token, tokenize
from serving.contracts import EntityLink
from serving.unlinked import KnownShapes, Mention, unknown_mentions

MAX_TOKENS = 400
MAX_SURFACE_TOKENS = 8
CODED_LABELS = frozenset({"ErrorCode", "Promotion"})
GAZETTEER_LABELS = frozenset(
    {"Product", "Accessory", "Category", "ErrorCode", "Feature", "Promotion", "Policy"}
)
ORDER_PREFIX = "O_"
_ORDER = re.compile(
    r"(?:\border(?:s)?(?:\s*(?:number|num|no|nr|id|ref|reference))?[\s.:#]*(?:is\s+)?|#\s?|"
    r"\bO[_\- ]?)(?P<digits>\d{3,12}(?:[ -]\d{3,12})?)(?!\w)",
    re.IGNORECASE,
)
_LONE_ORDER = re.compile(r"(?<![\w.,-])(?P<digits>\d{6,8})(?![\w-])")
_MEASURE = re.compile(r"\b\d+(?:[.,]\d+)?(?:\s?[A-Za-z]{1,3})?\b")
_BRACKETED = re.compile(r"\(([^()]{2,})\)")
_CATEGORY_PARTS = re.compile(r"\s+(?:and|or|&)\s+|\s*[,/]\s*")


@dataclass(frozen=True, slots=True)
class Links:
    """What was found in a text.

    Attributes:
        entities: Links whose mentions do not overlap, in the order of the text.
        nested: Links inside a longer mention of another kind, such as the product in
            "case for the X-200"; they count where nothing else of their label is linked.
        unlinked: Mentions that look like a product, an error code or a promotion, but are none.
    """

    entities: tuple[EntityLink, ...]
    nested: tuple[EntityLink, ...] = ()
    unlinked: tuple[Mention, ...] = ()

    def of(self, label: str) -> list[EntityLink]:
        """Links of a label, each node once: outer mentions, else nested ones."""
        for links in (self.entities, self.nested):
            found = {link.id: link for link in reversed(links) if link.label == label}
            if found:
                return list(reversed(found.values()))
        return []


@dataclass(frozen=True, slots=True)
class _Match:
    start: int
    end: int
    nodes: tuple[Node, ...]
    score: float
    method: str

    def overlaps(self, other: _Match) -> bool:
        return self.start < other.end and other.start < self.end


class Linker:
    """Finds the catalogue's nodes in texts; safe to share between requests.

    Args:
        catalogue: What can be named.
    """

    def __init__(self, catalogue: Catalogue) -> None:
        self._exact: defaultdict[tuple[str, ...], dict[str, Node]] = defaultdict(dict)
        self._fuzzy: defaultdict[tuple[tuple[str, ...], str], dict[str, Node]] = defaultdict(dict)
        self._longest = 1
        for node in catalogue.nodes.values():
            if node.label in GAZETTEER_LABELS:
                for surface in _surfaces(node):
                    self._add(surface, node)
        for surface, nodes in _short_names(catalogue.of("Feature")).items():
            if len(nodes) == 1:
                self._add(surface, nodes[0])
        self._shapes = KnownShapes(catalogue)

    def link(self, text: str) -> Links:
        """Links a text; never raises, whatever the text is."""
        tokens = tokenize(text)[:MAX_TOKENS]
        orders = [_order_match(found, text) for found in _ORDER.finditer(text)]
        if not orders:
            orders = [_order_match(found, text) for found in _LONE_ORDER.finditer(text)]
        exact = list(self._exact_matches(tokens))
        solid = [m for m in exact if any(n.label != "Category" for n in m.nodes)]
        free = [t for t in tokens if not _covered(t.start, t.end, [*orders, *solid])]
        outer, nested = _without_overlaps([*orders, *exact, *self._fuzzy_matches(free)])
        words = {token.norm for token in tokens}
        entities = [link for match in outer for link in _links(match, text, words)]
        inner = [link for match in nested for link in _links(match, text, words)]
        spans = [(match.start, match.end) for match in outer if match.method != "category"]
        nouns = [(match.start, match.end) for match in outer if match.method == "category"]
        unlinked = unknown_mentions(text, tokens, spans, nouns, self._shapes)
        return Links(tuple(entities), tuple(inner), tuple(unlinked))

    def _add(self, surface: str, node: Node) -> None:
        norms = tuple(token.norm for token in tokenize(surface))
        if not norms or len(norms) > MAX_SURFACE_TOKENS:
            return
        self._exact[norms][node.ref] = node
        self._longest = max(self._longest, len(norms))
        letters = "".join(norm for norm in norms if not norm.isdigit())
        # A code or an id with a typo is another one; names are what people misspell.
        coded = surface == node.id or (node.label in CODED_LABELS and " " not in surface)
        if len(letters) >= 4 and node.label != "Category" and not coded:
            key = tuple(norm for norm in norms if norm.isdigit()), letters[0]
            self._fuzzy[key][f"{letters}\t{node.ref}"] = node

    def _exact_matches(self, tokens: Sequence[Token]) -> Iterator[_Match]:
        for window in _windows(tokens, self._longest):
            nodes = self._exact.get(tuple(token.norm for token in window))
            if nodes:
                category = all(node.label == "Category" for node in nodes.values())
                method = "category" if category else "exact"
                found = tuple(nodes.values())
                yield _Match(window[0].start, window[-1].end, found, 1.0, method)

    def _fuzzy_matches(self, tokens: Sequence[Token]) -> Iterator[_Match]:
        for window in _windows(tokens, self._longest):
            letters = "".join(token.norm for token in window if not token.is_number)
            edits = _allowed_edits(letters)
            if not edits or window[0].is_number:
                continue
            digits = tuple(token.norm for token in window if token.is_number)
            bucket = self._fuzzy.get((digits, letters[0]))
            if bucket:
                yield from _nearest(window, letters, edits, bucket)


def _nearest(
    window: Sequence[Token], letters: str, edits: int, bucket: dict[str, Node]
) -> Iterator[_Match]:
    names = {key: key.partition("\t")[0] for key in bucket}
    found = process.extract(
        letters, names, scorer=OSA.distance, score_cutoff=edits, limit=8, processor=None
    )
    if not found:
        return
    best = min(distance for _, distance, _ in found)
    nodes = {bucket[key].ref: bucket[key] for _, distance, key in found if distance == best}
    score = 1.0 - best / (len(letters) + 1)
    yield _Match(window[0].start, window[-1].end, tuple(nodes.values()), score, "fuzzy")


def _allowed_edits(letters: str) -> int:
    return 0 if len(letters) < 4 else 1 if len(letters) < 9 else 2


def _surfaces(node: Node) -> Iterable[str]:
    if node.label != "Category":
        return node.surfaces
    parts = [part for surface in node.surfaces for part in _CATEGORY_PARTS.split(surface)]
    return [*node.surfaces, *parts]


def _short_names(features: Iterable[Node]) -> dict[str, list[Node]]:
    """What features are called for short: without their measure, or by an abbreviation alone."""
    found: defaultdict[str, list[Node]] = defaultdict(list)
    for node in features:
        plain = " ".join(_MEASURE.sub(" ", node.name).split())
        first = node.name.split()[0]
        abbreviation = first if first.isupper() and len(first) >= 3 else ""
        bracketed = _BRACKETED.search(node.name)
        inner = bracketed.group(1) if bracketed else ""
        for short in {plain, abbreviation, inner} - {"", node.name}:
            found[short].append(node)
    return found


def _windows(tokens: Sequence[Token], longest: int) -> Iterator[Sequence[Token]]:
    for size in range(min(longest, len(tokens)), 0, -1):
        for start in range(len(tokens) - size + 1):
            yield tokens[start : start + size]


def _order_match(found: re.Match[str], text: str) -> _Match:
    digits = re.sub(r"\D", "", found["digits"])
    start = found.start() + len(found.group()) - len(found.group().lstrip())
    node = Node("Order", ORDER_PREFIX + digits, text[start : found.end()], (), {})
    return _Match(start, found.end(), (node,), 1.0, "id")


def _covered(start: int, end: int, matches: Iterable[_Match]) -> bool:
    return any(start < match.end and match.start < end for match in matches)


def _without_overlaps(matches: Iterable[_Match]) -> tuple[list[_Match], list[_Match]]:
    """Longest mentions first; what lies wholly inside one of another label is kept apart."""
    ranked = sorted(matches, key=lambda m: (m.method == "fuzzy", m.start - m.end, -m.score))
    outer: list[_Match] = []
    nested: list[_Match] = []
    for match in ranked:
        over = [other for other in outer if match.overlaps(other)]
        if not over:
            outer.append(match)
        elif len(over) == 1 and match.method != "fuzzy":
            taken = {node.label for node in over[0].nodes}
            if not taken & {node.label for node in match.nodes}:
                nested.append(match)
    return sorted(outer, key=lambda m: m.start), sorted(nested, key=lambda m: m.start)


def _links(match: _Match, text: str, words: set[str]) -> Iterator[EntityLink]:
    """One link a label: of several nodes the one whose name the text says most of."""
    by_label: defaultdict[str, list[Node]] = defaultdict(list)
    for node in match.nodes:
        by_label[node.label].append(node)
    for label, nodes in by_label.items():
        best = max(nodes, key=lambda node: (_share_said(node, words), -len(node.name)))
        yield EntityLink(
            text=text[match.start : match.end],
            id=best.id,
            label=label,
            score=round(match.score / len(nodes) ** 0.5, 4),
            method="exact" if match.method == "category" else match.method,
        )


def _share_said(node: Node, words: set[str]) -> float:
    norms = [token.norm for token in tokenize(node.name)]
    return sum(norm in words for norm in norms) / max(len(norms), 1)

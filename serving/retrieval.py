"""Reads of one request: templates of the plan, together, inside one deadline."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Protocol

from kg_schema.budget import within_budget
from kg_schema.client import FactRow
from kg_schema.fusion import fuse
from kg_schema.templates import QueryTemplate
from serving.catalogue import stems
from serving.contracts import EntityLink
from serving.dates import Period
from serving.facts import FactSet
from serving.principal import Principal

MAX_QUERY_WORDS = 24
MAX_WORD_CHARACTERS = 40
MAX_IDS = 10
LIMITS = {
    "alternatives": 3,
    "articles_by_text": 3,
    "articles_by_topic": 20,
    "articles_by_vector": 3,
    "neighbourhood": 20,
    "order_changes": 50,
    "order_refund": 50,
    "solutions_by_error_code": 5,
    "solutions_by_symptom": 5,
}
DEFAULT_LIMIT = 60
FAN_OUT = 6
# Two ways to find the same thing: their rows become one ranking.
SEARCHES = ("articles_by_text", "articles_by_vector")
# A language model's reader pays by the token: what is told of a neighbourhood is bounded.
NEIGHBOURHOOD_TOKENS = 600
_LUCENE_SPECIAL = re.compile(r'([+\-!(){}\[\]^"~*?:\\/&|])')
_STOP_LIST = (
    "a an and are as at be but by can do does for from get have how i if in is it me my not of on "
    "or our please should so that the their there they this to want was we what when where which "
    "who why will with would you your"
)
_STOP_WORDS = frozenset(_STOP_LIST.split())


class GraphReader(Protocol):
    """What reads templates: `kg_schema.client.GraphClient`."""

    @property
    def templates(self) -> Mapping[str, QueryTemplate]:
        """Templates by name."""

    async def read(
        self,
        template: str,
        parameters: Mapping[str, object] | None = None,
        *,
        deadline_s: float | None = None,
    ) -> list[FactRow]:
        """Facts of a template."""


@dataclass(frozen=True, slots=True)
class ReadContext:
    """What parameters of templates are taken from.

    Attributes:
        text: The ticket's text.
        topic: Topic of policies and articles.
        as_of: The day the answer must be right for.
        period: The days that the ticket speaks of; None where of none.
        principal: Who asks.
        links: Linked entities by label, best first.
        categories: Categories of the linked products.
        vector: The text's embedding; None where nothing can make one.
        vector_model: Id of what made it.
    """

    text: str
    topic: str
    as_of: date
    period: Period | None
    principal: Principal
    links: Mapping[str, Sequence[EntityLink]]
    categories: tuple[str, ...] = ()
    vector: Sequence[float] | None = None
    vector_model: str | None = None

    def ids(self, *labels: str) -> list[str]:
        """Ids linked for these labels."""
        return [link.id for label in labels for link in self.links.get(label, ())]

    def first(self, label: str) -> str | None:
        """The first id linked for a label."""
        return next(iter(self.ids(label)), None)


def lucene_query(text: str) -> str:
    """Makes a full-text query of the words of a text; empty where none says anything.

    Every word is escaped, so that `E-1001` is looked for and not negated, and upper-case `AND`,
    `OR`, `NOT` are words like others.
    """
    words = (
        word[:MAX_WORD_CHARACTERS].casefold() for word in re.findall(r"\w+(?:[-_.]\w+)*", text)
    )
    kept = dict.fromkeys(word for word in words if word not in _STOP_WORDS)
    return " ".join(escape_lucene(word) for word in list(kept)[:MAX_QUERY_WORDS])


def escape_lucene(word: str) -> str:
    """Escapes every character that the Lucene query syntax gives a meaning."""
    return _LUCENE_SPECIAL.sub(r"\\\1", word)


_Binder = Callable[[ReadContext], object]
_BINDERS: dict[str, _Binder] = {
    "accessory_id": lambda c: c.first("Accessory"),
    "available": lambda _: None,
    "as_of": lambda c: c.as_of.isoformat(),
    "customer_id": lambda c: c.principal.customer_id,
    "entity_ids": lambda c: [*c.ids("Product", "Category", "Accessory"), *c.categories][:MAX_IDS],
    "error_code": lambda c: c.first("ErrorCode"),
    "fan_out": lambda _: FAN_OUT,
    "feature_ids": lambda c: c.ids("Feature")[:MAX_IDS],
    "from_date": lambda c: min(c.as_of, c.period.start if c.period else c.as_of).isoformat(),
    "id": lambda c: c.first("Product") or next(iter(_public_ids(c)), None),
    "model": lambda c: c.vector_model,
    "order_id": lambda c: c.first("Order"),
    "product_id": lambda c: c.first("Product"),
    "product_ids": lambda c: c.ids("Product")[:MAX_IDS] or None,
    "promotion_ids": lambda c: c.ids("Promotion")[:MAX_IDS] or None,
    "query": lambda c: lucene_query(c.text) or None,
    "symptom_id": lambda c: c.first("Symptom"),
    "to_date": lambda c: max(c.as_of, c.period.end if c.period else c.as_of).isoformat(),
    "topic": lambda c: c.topic,
    "vector": lambda c: c.vector,
}


def _public_ids(context: ReadContext) -> list[str]:
    return context.ids("ErrorCode", "Accessory", "Promotion", "Feature", "Policy", "Category")


def bind(template: QueryTemplate, context: ReadContext) -> dict[str, object] | None:
    """Parameters of a template, None where one that it requires is not known.

    Raises:
        KeyError: The template has a parameter that nothing here gives.
    """
    bound: dict[str, object] = {}
    for parameter in template.parameters:
        if parameter.name == "limit":
            bound["limit"] = LIMITS.get(template.name, DEFAULT_LIMIT)
            continue
        value = _BINDERS[parameter.name](context)
        if value is None and not parameter.nullable:
            return None
        bound[parameter.name] = value
    return bound


def is_personal(template: QueryTemplate) -> bool:
    """Whether a template reads a customer's own data."""
    return any(parameter.name == "customer_id" for parameter in template.parameters)


async def read_facts(
    graph: GraphReader, names: Sequence[str], context: ReadContext, deadline_s: float
) -> FactSet:
    """Reads templates concurrently; one without its parameters is left out.

    Args:
        graph: The reader.
        names: Templates, in the order in which their facts are to stand.
        context: Source of their parameters.
        deadline_s: Seconds that all of them may take together.

    Raises:
        GraphUnavailable: The graph cannot be reached.
        GraphTimeout: The deadline passed.
        GraphQueryError: The graph refused a query.
    """
    bound = ((name, bind(graph.templates[name], context)) for name in names)
    calls = {name: parameters for name, parameters in bound if parameters is not None}
    rows = await asyncio.gather(
        *(graph.read(name, parameters, deadline_s=deadline_s) for name, parameters in calls.items())
    )
    parts = dict(zip(calls, rows, strict=True))
    if all(search in parts for search in SEARCHES):
        fused = fuse([parts.pop(search) for search in SEARCHES], LIMITS[SEARCHES[0]])
        parts = {SEARCHES[0]: fused, **parts}
    if "neighbourhood" in parts:
        parts["neighbourhood"] = within_budget(parts["neighbourhood"], NEIGHBOURHOOD_TOKENS)
    return FactSet(row for part in parts.values() for row in part)


def overlap(text: str, other: str) -> float:
    """Share of the telling words of `text` that `other` says too, 0 to 1."""
    said = {word for word in stems(text) if word not in _STOP_WORDS}
    return len(said & set(stems(other))) / len(said) if said else 0.0

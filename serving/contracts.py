"""What goes in and what comes out: the ticket, and the answer with every fact it stands on."""

from __future__ import annotations

import hashlib
from datetime import date
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.conversation import Turn, ticket_text

MAX_TEXT_CHARACTERS = 8_000
MAX_TURNS = 50

ProblemType = Literal["faq", "troubleshooting", "policy", "multi_entity"]
BoundedText = Annotated[str, Field(max_length=MAX_TEXT_CHARACTERS)]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Ticket(_Frozen):
    """A question to answer: a text or a dialogue.

    Attributes:
        text: The question; None where `turns` are given.
        turns: A dialogue in spoken order.
        as_of: The day the answer must be right for; today where None.
    """

    text: BoundedText | None = None
    turns: Annotated[tuple[Turn, ...], Field(max_length=MAX_TURNS)] = ()
    as_of: date | None = None

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if (self.text is None) == (not self.turns):
            raise ValueError("give either text or turns")
        content = self.content
        if not content.strip():
            raise ValueError("the ticket is empty")
        if len(content) > MAX_TEXT_CHARACTERS:
            raise ValueError(f"the ticket has more than {MAX_TEXT_CHARACTERS} characters")
        return self

    @property
    def content(self) -> str:
        """The one text that is classified and linked."""
        return self.text if self.text is not None else ticket_text(self.turns)


class ScoredIntent(_Frozen):
    """An intent and its calibrated probability."""

    label: str
    confidence: float


class IntentPrediction(ScoredIntent):
    """The intent taken, with the next likeliest ones in order."""

    alternatives: tuple[ScoredIntent, ...] = ()


class EntityLink(_Frozen):
    """A mention in the ticket and the graph node it means.

    Attributes:
        text: The mention as written.
        id: The node's business id.
        label: The node's label.
        score: How sure the link is, 0 to 1.
        method: How it was found: `id`, `exact`, `fuzzy`, `symptom` or `intent`.
    """

    text: str
    id: str
    label: str
    score: float
    method: str


class Fact(_Frozen):
    """One statement of the graph.

    Attributes:
        id: Short hash, stable over requests.
        subject: `Label/id`.
        predicate: A relationship type or a property's name.
        object: `Label/id`, or the property's value.
        source: The source ids it was loaded from, joined by commas.
        valid_from: First day it holds, ISO; None where it has no validity.
        valid_to: Last day it holds, ISO; None where open.
        subject_name: The subject's name.
        object_name: The object's name; the value itself for a property.
    """

    id: str
    subject: str
    predicate: str
    object: str
    source: str = ""
    valid_from: str | None = None
    valid_to: str | None = None
    subject_name: str = ""
    object_name: str = ""


class Recommendation(_Frozen):
    """A node worth the customer's attention.

    Attributes:
        id: The node's business id.
        kind: Its label in lower case: `solution`, `accessory`, `product`, `article`, `policy` …
        title: Its name.
        score: 0 to 1, descending within an answer.
        why: Ids of the facts that speak for it.
    """

    id: str
    kind: str
    title: str
    score: float
    why: tuple[str, ...]


class Claim(_Frozen):
    """A sentence of the answer and the facts that carry it."""

    text: str
    facts: tuple[str, ...]


class AnswerText(_Frozen):
    """What is said to the customer, or why nothing is."""

    text: str
    claims: tuple[Claim, ...] = ()
    abstained: bool = False
    reason: str | None = None


class Versions(_Frozen):
    """What answered: content digests of the model and of the graph; None where there is none."""

    model: str | None = None
    graph: str | None = None


class Answer(_Frozen):
    """The whole response to one ticket."""

    intent: IntentPrediction
    problem_type: ProblemType
    entities: tuple[EntityLink, ...]
    recommendations: tuple[Recommendation, ...]
    answer: AnswerText
    facts: tuple[Fact, ...]
    as_of: date
    versions: Versions
    degraded: tuple[str, ...] = ()
    latency_ms: dict[str, float] = Field(default_factory=dict)


def fact_id(subject: str, predicate: str, object_: str, version: str = "") -> str:
    """Returns the first 12 hex digits of the SHA-256 of `subject|predicate|object|version`."""
    text = f"{subject}|{predicate}|{object_}|{version}"
    return hashlib.sha256(text.encode()).hexdigest()[:12]

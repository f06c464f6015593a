"""Answer plans: for each intent what must be linked, which templates are read, what is said."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kg_schema.errors import InputError
from serving.contracts import ProblemType

PLANS_FILE = "answer_plans.yaml"
Composer = Literal[
    "phrases",
    "solution",
    "policy",
    "combination",
    "promotion_on_product",
    "compatibility",
    "comparison",
    "features",
    "neighbourhood",
]


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Selector(_Frozen):
    """Facts to take: `Subject.predicate` or `Subject.predicate.Object`.

    Attributes:
        facts: Label of the subject, predicate, and label of the object where it matters.
        only: Literal properties that the object must have, such as `kind: charger`.
        about: `linked` keeps facts of entities linked in the ticket (where one of the label is),
            `others` those of everything else, `any` all.
        limit: Facts at most.
    """

    facts: Annotated[str, Field(pattern=r"^[A-Za-z]+\.[A-Za-z_]+(\.[A-Za-z]+)?$")]
    only: dict[str, str] = Field(default_factory=dict)
    about: Literal["linked", "others", "any"] = "linked"
    limit: Annotated[int, Field(ge=1, le=50)] = 20

    @property
    def parts(self) -> tuple[str, str, str]:
        """Subject label, predicate, object label (empty for any)."""
        subject, predicate, *rest = self.facts.split(".")
        return subject, predicate, rest[0] if rest else ""


class Phrase(Selector):
    """A sentence for facts.

    Attributes:
        text: The sentence; `{subject}`, `{object}` or (with `join`) `{objects}`, and literals of
            either end as `{object.price_eur}`.
        item: How each object is said, `{object}` alone where empty.
        join: One sentence for all facts of a subject, its objects as a list.
        words: Values of the object and how to say them.
        otherwise: What to say where no fact is found.
    """

    text: str
    item: str = ""
    join: bool = False
    words: dict[str, str] = Field(default_factory=dict)
    otherwise: tuple[Phrase, ...] = ()


class Recommend(Selector):
    """Nodes to recommend: one end of the facts.

    Attributes:
        take: Which end.
        cited: Only of facts that a claim of the answer cites.
    """

    take: Literal["subject", "object"] = "object"
    cited: bool = False


class Plan(_Frozen):
    """How one intent is answered.

    Attributes:
        problem_type: The kind of problem.
        needs: Alternative lists of labels, one of which must be linked in full; a label twice
            asks for two different nodes.
        uses: Labels that must resolve if the ticket mentions one.
        helps: Labels that are taken into account where they resolve.
        reads: Templates; one whose parameters cannot all be given is left out.
        topic: Topic of policies and articles to read; the intent's own label where empty.
        compose: How claims are made.
        say: Sentences, in order; after the composer's own where it is not `phrases`.
        recommend: What to recommend, in order.
        choose: Of several articles, keep those that the ticket's words fit best.
    """

    problem_type: ProblemType
    needs: tuple[tuple[str, ...], ...] = ((),)
    uses: tuple[str, ...] = ()
    helps: tuple[str, ...] = ()
    reads: tuple[str, ...]
    topic: str = ""
    compose: Composer = "phrases"
    say: tuple[Phrase, ...] = ()
    recommend: tuple[Recommend, ...] = ()
    choose: Annotated[int, Field(ge=0, le=10)] = 0

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.compose == "phrases" and not self.say:
            raise ValueError("a plan composed of phrases needs some")
        return self

    @cached_property
    def labels(self) -> frozenset[str]:
        """Labels that the plan needs or uses."""
        return frozenset(self.uses).union(*self.needs)

    def wants(self, label: str) -> bool:
        """Whether a link of the label makes a difference to the plan."""
        return label in self.labels or label in self.helps

    def missing(self, linked: Mapping[str, int]) -> tuple[str, ...]:
        """Labels of the nearest alternative that are not linked; empty where one is whole."""
        gaps = [tuple((Counter(needed) - Counter(linked)).elements()) for needed in self.needs]
        return min(gaps, key=len)


class Plans(_Frozen):
    """All plans.

    Attributes:
        version: Of the file's form.
        out_of_scope: Intents that nothing here answers.
        sentences: Sentences of the composers, by name.
        questions: What to ask for a label that is missing.
        fallback: Plan for an intent that has none.
        intents: Plans by intent.
    """

    version: Literal[1]
    out_of_scope: frozenset[str]
    sentences: dict[str, str]
    questions: dict[str, str]
    fallback: Plan
    intents: dict[str, Plan]


def load_plans(path: Path) -> Plans:
    """Reads a plans file.

    Raises:
        InputError: It is missing, is no YAML, or does not hold to the form.
    """
    try:
        return _parse(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise InputError(f"cannot read the answer plans: {error}", where=str(path)) from error


@cache
def default_plans() -> Plans:
    """The package's own plans; read once a process.

    Raises:
        InputError: The file does not hold to the form.
    """
    text = files("serving").joinpath(PLANS_FILE).read_text(encoding="utf-8")
    return _parse(text, PLANS_FILE)


def _parse(text: str, where: str) -> Plans:
    try:
        return Plans.model_validate(_with_shared(yaml.safe_load(text)))
    except yaml.YAMLError as error:
        raise InputError(f"no YAML: {error}", where=where) from error
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"])
        raise InputError(f"{place}: {first['msg']}", where=where) from error


def _with_shared(data: object) -> object:
    """Gives every intent of a `groups` entry that entry's plan; an intent's own keys go first."""
    if not isinstance(data, dict):
        return data
    data = dict(data)
    intents = dict(data.get("intents") or {})
    for group in (data.pop("groups", None) or {}).values():
        for intent in group["intents"]:
            intents[intent] = {**group["plan"], **(intents.get(intent) or {})}
    return {**data, "intents": intents}

"""Gold questions: what is asked, by whom, and what a right answer must and must not say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from kg_schema.errors import InputError
from serving.contracts import ProblemType, Ticket
from serving.conversation import Turn
from serving.principal import Principal

GOLD_SUFFIX = ".jsonl"


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")


class GoldEntity(_Record):
    """A graph node that the question mentions."""

    label: str
    id: str
    text: str = ""


class GoldAnswer(_Record):
    """What decides whether an answer is right; compared without regard to case.

    Attributes:
        must: Every right answer contains all of these.
        must_not: No right answer contains any of these.
    """

    must: tuple[str, ...] = ()
    must_not: tuple[str, ...] = ()


class GoldQuestion(_Record):
    """One question.

    Attributes:
        question_id: Its id.
        ticket: What is asked.
        problem_type: One of the four.
        answerable: Whether the graph holds the answer for who asks; else to abstain is right.
        customer_id: Who asks; None for nobody in particular.
        intent: The right intent.
        entities: Nodes the question mentions.
        facts: Subject, predicate and object of the facts that carry the answer.
        recommendations: Ids that should be recommended, best first.
        answer: What a right answer says.
    """

    question_id: str
    ticket: Ticket
    problem_type: ProblemType
    answerable: bool
    customer_id: str | None = None
    intent: str
    entities: tuple[GoldEntity, ...] = ()
    facts: tuple[Annotated[tuple[str, ...], Field(min_length=3, max_length=3)], ...] = ()
    recommendations: tuple[str, ...] = ()
    answer: GoldAnswer = GoldAnswer()

    @model_validator(mode="before")
    @classmethod
    def _gather_ticket(cls, row: object) -> object:
        """Makes one ticket of the row's `text` or `turns` and `as_of`."""
        if not isinstance(row, dict) or "ticket" in row:
            return row
        turns = [Turn(**turn) for turn in row.get("turns") or ()]
        ticket = {"text": None if turns else row.get("text"), "turns": turns}
        return {**row, "ticket": {**ticket, "as_of": row.get("as_of")}}

    @model_validator(mode="after")
    def _says_what_is_right(self) -> GoldQuestion:
        if self.answerable and not self.answer.must:
            raise ValueError("an answerable question needs something its answer must say")
        return self

    @property
    def principal(self) -> Principal:
        """Who asks."""
        if self.customer_id:
            return Principal.customer(self.customer_id)
        return Principal.anonymous()


def read_gold(path: Path) -> list[GoldQuestion]:
    """Reads a file of gold questions, or every one in a folder, in order of their names.

    Raises:
        InputError: There are none, or a line is no gold question.
    """
    files = sorted(path.glob(f"*{GOLD_SUFFIX}")) if path.is_dir() else [path]
    questions = [question for file in files for question in _read_file(file)]
    if not questions:
        raise InputError("no gold questions", where=str(path))
    return questions


def _read_file(path: Path) -> Iterator[GoldQuestion]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            yield GoldQuestion.model_validate_json(line)
        except ValidationError as error:
            first = error.errors()[0]
            place = ".".join(str(part) for part in first["loc"])
            raise InputError(
                f"no gold question: {first['msg']}{f' ({place})' if place else ''}",
                where=f"{path}:{number}",
            ) from None
        except TypeError as error:  # a turn with other keys
            raise InputError(f"no gold question: {error}", where=f"{path}:{number}") from None

"""One ticket answered in this process, by the model a run deployed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from kg_schema.connection import GraphSettings
from kg_schema.errors import InputError
from serving.assistant import Assistant

if TYPE_CHECKING:
    from serving.contracts import Answer, Ticket
    from serving.principal import Principal


async def answer_once(
    model: Path, graph: GraphSettings | None, ticket: Ticket, principal: Principal
) -> Answer:
    """Opens an assistant, answers one ticket, and closes it.

    Args:
        model: An exported model directory.
        graph: How to reach the graph; None abstains where facts are needed.
        ticket: The question.
        principal: Who asks.
    """
    async with Assistant.open(model, graph) as assistant:
        return await assistant.answer(ticket, principal)


def find_model(given: str | None, run: Path) -> Path:
    """Finds a model directory: the one named, or the one a run deployed.

    Args:
        given: `--model`; None for the run's.
        run: A run's `--out`.

    Raises:
        InputError: There is none.
    """
    if given is not None:
        if not Path(given).is_dir():
            raise InputError("no such model directory", where=given, fix="check --model")
        return Path(given)
    try:
        state = json.loads((run / "deployed.json").read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            "no run has deployed a model there",
            where=str(run),
            fix="run `deskgraph run` first, or give --model DIR",
        ) from None
    return Path(state["model"])

"""What stands behind the protocols: the assistant or a text generator, as the task says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Protocol

from pydantic import BaseModel

from kg_schema.connection import GraphSettings
from serving.answer_model import TextAnswerer
from serving.assistant import Assistant, AssistantSettings
from serving.contracts import Answer, Ticket
from serving.manifest import ManifestError
from serving.principal import Principal
from serving.settings import ServerSettings
from serving.telemetry import record_answer, record_intent


class Answerer(Protocol):
    """Answers tickets; each model task has one."""

    async def answer(self, ticket: Ticket, request_id: str) -> BaseModel:
        """Returns what is sent back for one ticket."""

    async def close(self) -> None:
        """Finishes what runs and lets go of connections and threads."""


class TicketAnswerer:
    """The assistant behind the protocols, for callers that nobody has vouched for."""

    def __init__(self, assistant: Assistant) -> None:
        self._assistant = assistant

    async def answer(self, ticket: Ticket, request_id: str) -> Answer:
        """Answers anonymously: a request's body is no proof of who sends it."""
        answer = await self._assistant.answer(ticket, Principal.anonymous())
        record_answer(answer, request_id)
        record_intent(self._assistant.seen_intent(answer), request_id)
        return answer

    async def close(self) -> None:
        """Finishes what waits for the model and closes the graph's connections."""
        await self._assistant.close()


async def open_answerer(settings: ServerSettings, manifest: dict[str, Any]) -> Answerer:
    """Opens what a verified model directory is for.

    The graph need not be up: answers are degraded until it is.

    Raises:
        ManifestError: The manifest names an unknown task, or what it needs is not there.
        InputError: The graph's address is none.
    """
    task = manifest.get("task")
    if task == "answer":
        return await asyncio.to_thread(TextAnswerer, settings, manifest)
    if task != "intent":
        raise ManifestError(f"a model for the unknown task {task!r}", where=str(settings.model))
    graph = GraphSettings.from_env(settings.graph) if settings.graph else None
    assistant = await asyncio.to_thread(
        Assistant.open,
        settings.model,
        graph,
        AssistantSettings(
            queue_size=settings.queue_size,
            max_batch=settings.max_batch,
            encoder=Path(settings.encoder) if settings.encoder else None,
        ),
    )
    await assistant.prepare()
    return TicketAnswerer(assistant)

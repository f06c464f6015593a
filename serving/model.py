"""The KServe face of a model directory: load, predict, respond."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from typing import Any

from kserve import InferResponse, Model
from kserve.errors import ModelNotReady
from pydantic import BaseModel

from kg_schema.errors import DeskGraphError
from serving.answerers import Answerer, open_answerer
from serving.contracts import Ticket
from serving.manifest import verify_manifest
from serving.protocols import TENSORS, read_tickets, write_answers
from serving.settings import ServerSettings
from serving.telemetry import IN_PROGRESS, probe_headers


class DeadlineExceeded(DeskGraphError):
    """The answer was not ready in time."""


class DeskGraphModel(Model):  # type: ignore[misc]
    """One verified model directory, answering tickets.

    Attributes:
        loaded: Requests can be answered.
        ready: As `loaded`, until the server drains: what health probes are told.
    """

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(settings.name)
        self._settings = settings
        self._answerer: Answerer | None = None

    @property
    def loaded(self) -> bool:
        """Whether requests can be answered."""
        return self._answerer is not None

    async def load(self) -> bool:
        """Verifies the manifest, opens what it describes and answers one ticket.

        Raises:
            ManifestError: The directory is not whole, or not what its manifest says.
        """
        manifest = await asyncio.to_thread(verify_manifest, self._settings.model, "model")
        self._answerer = await open_answerer(self._settings, manifest)
        # Connections, names and buffers come with the first answer: nobody shall wait for them.
        with contextlib.suppress(DeadlineExceeded):
            await self.predict(([Ticket(text="hello")], None), probe_headers())
        self.ready = True
        return True

    async def preprocess(
        self, payload: Any, headers: dict[str, str] | None = None
    ) -> tuple[list[Ticket], Any]:
        """Reads the tickets, V1 or V2."""
        return read_tickets(payload, self._settings.max_instances), payload

    async def predict(
        self, payload: tuple[list[Ticket], Any], headers: dict[str, str] | None = None
    ) -> tuple[list[BaseModel], Any]:
        """Answers the tickets of one request together, within its deadline."""
        tickets, request = payload
        answerer = self._answerer
        if answerer is None:
            raise ModelNotReady(self.name)
        request_id = (headers or {}).get("x-request-id") or uuid.uuid4().hex
        tasks = [asyncio.ensure_future(answerer.answer(each, request_id)) for each in tickets]
        try:
            with IN_PROGRESS.track_inprogress():
                async with asyncio.timeout(self._settings.deadline_s):
                    return list(await asyncio.gather(*tasks)), request
        except TimeoutError:
            raise DeadlineExceeded(f"no answer in {self._settings.deadline_s:g} s") from None
        finally:
            for task in tasks:
                task.cancel()

    async def postprocess(
        self, result: tuple[list[BaseModel], Any], headers: dict[str, str] | None = None
    ) -> dict[str, Any] | InferResponse:
        """Writes the response in the request's protocol."""
        return write_answers(*result)

    def get_input_types(self) -> list[dict[str, Any]]:
        """Tensors that V2 takes; `as_of` may be left out."""
        return [{"name": name, "datatype": "BYTES", "shape": [-1]} for name in TENSORS]

    def get_output_types(self) -> list[dict[str, Any]]:
        """The tensor that V2 gives: one JSON object a ticket."""
        return [{"name": "answer", "datatype": "BYTES", "shape": [-1]}]

    async def close(self) -> None:
        """Lets go of what `load` opened."""
        answerer, self._answerer = self._answerer, None
        self.ready = False
        if answerer is not None:
            await answerer.close()

"""Plain text generation from an exported causal language model, with onnxruntime alone."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict

from serving.batching import Batcher
from serving.contracts import Ticket, Versions
from serving.manifest import ManifestError, content_sha256
from serving.settings import ServerSettings
from serving.telemetry import record_generation

MAX_NEW_TOKENS = 128
PROMPT = "{text}\n"


class Generation(BaseModel):
    """What the answer model wrote for one ticket; no fact stands behind it."""

    model_config = ConfigDict(frozen=True)

    text: str
    tokens: int
    finished: bool
    versions: Versions
    latency_ms: dict[str, float]


class AnswerModel:
    """Greedy decoding of one prompt at a time, the whole prefix computed again for each token.

    That is quadratic in the length, and right for the short answers of a small model; what must be
    fast is served by vLLM from the same directory.

    Args:
        directory: A model directory with `tokenizer.json`, `config.json` and `onnx/`.
        threads: Threads of one inference call.
    """

    def __init__(self, directory: Path, threads: int = 1) -> None:
        from tokenizers import Tokenizer

        from serving.runtime import open_session

        self._serving = _read_json(directory / "onnx" / "serving.json")
        self._session = open_session(directory / "onnx" / "model.onnx", threads)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._ends = _end_tokens(directory)

    def generate(self, text: str, max_new_tokens: int = MAX_NEW_TOKENS) -> tuple[str, int, bool]:
        """Continues the prompt made of a ticket's text.

        Args:
            text: The ticket; of a long one the end is kept, as much as leaves half of the model's
                length for the answer.
            max_new_tokens: Where to stop at the latest.

        Returns:
            The text, its tokens, and whether the model ended it by itself.
        """
        length = int(self._serving["max_length"])
        prompt = self._tokenizer.encode(PROMPT.format(text=text)).ids
        tokens: list[int] = prompt[-max(length // 2, length - max_new_tokens) :]
        start = len(tokens)
        if not tokens:
            return "", 0, True
        while len(tokens) < min(start + max_new_tokens, length):
            following = int(self._logits(tokens).argmax())
            if following in self._ends:
                return self._decode(tokens[start:]), len(tokens) - start, True
            tokens.append(following)
        return self._decode(tokens[start:]), len(tokens) - start, False

    def _logits(self, tokens: list[int]) -> NDArray[np.float32]:
        ids = np.asarray([tokens], dtype=np.int64)
        every = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
            "position_ids": np.arange(len(tokens), dtype=np.int64)[None],
        }
        inputs = {name: every[name] for name in self._serving["inputs"]}
        logits: NDArray[np.float32] = self._session.run(["logits"], inputs)[0]
        last: NDArray[np.float32] = logits[0, -1]
        return last

    def _decode(self, tokens: list[int]) -> str:
        return str(self._tokenizer.decode(tokens, skip_special_tokens=True)).strip()


class TextAnswerer:
    """An answer model behind the protocols: one text at a time on the inference thread."""

    def __init__(self, settings: ServerSettings, manifest: dict[str, Any]) -> None:
        self._model = AnswerModel(settings.model, settings.threads)
        self._versions = Versions(model=content_sha256(manifest)[:12])
        self.queue: Batcher[str, tuple[str, int, bool]] = Batcher(
            lambda texts: [self._model.generate(text) for text in texts],
            capacity=settings.queue_size,
            max_batch=1,
        )

    async def answer(self, ticket: Ticket, request_id: str) -> Generation:
        """Writes a continuation of the ticket's text."""
        start = time.perf_counter()
        text, tokens, finished = await self.queue.submit(ticket.content)
        milliseconds = (time.perf_counter() - start) * 1000
        record_generation(tokens, milliseconds, request_id)
        return Generation(
            text=text,
            tokens=tokens,
            finished=finished,
            versions=self._versions,
            latency_ms={"generate": round(milliseconds, 2)},
        )

    async def close(self) -> None:
        """Finishes what waits."""
        await self.queue.stop()


def _end_tokens(directory: Path) -> frozenset[int]:
    """Returns the ids that end a text: the generation config's, else the model config's."""
    for name in ("generation_config.json", "config.json"):
        path = directory / name
        ends = _read_json(path).get("eos_token_id") if path.is_file() else None
        if ends is not None:
            return frozenset(ends if isinstance(ends, list) else [ends])
    return frozenset()


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ManifestError(f"cannot be read: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise ManifestError("is no JSON object", where=str(path))
    return content

"""Exported models read as they are served: ONNX Runtime, one ticket at a time, one thread.

What is measured here is what answers later, so nothing of torch takes part.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from components.model_dir import read_model_manifest
from components.scoring.statistics import Hits, hits
from components.shards import read_split
from kg_schema.errors import InputError
from kg_schema.progress import Progress
from serving.manifest import content_sha256

if TYPE_CHECKING:
    import pyarrow as pa

Task = Literal["intent", "answer"]
THREADS = 1
LEAST_PROBABILITY = 1e-12
"""Below it a logarithm tells nothing; also what an unknown intent gets."""
PROMPT = "{text}\n"


@dataclass(frozen=True)
class Row:
    """A ticket and what is right for it.

    Attributes:
        ticket_id: Its id.
        text: What the model reads.
        wanted: The intent, or the answer.
    """

    ticket_id: str
    text: str
    wanted: str


@dataclass(frozen=True)
class Reading:
    """What a model made of one row.

    Attributes:
        predicted: The intent it saw; empty for task `answer`.
        confidence: Of the intent; mean probability of the right tokens for task `answer`.
        right: 1 or 0; for `answer`, tokens of the answer it would have chosen.
        of: 1; for `answer`, tokens of the answer.
        loss: Negative log likelihood of what is right, in nats, summed over the tokens.
    """

    predicted: str
    confidence: float
    right: float
    of: float
    loss: float


class ServedModel(Protocol):
    """A model directory that is read row by row."""

    labels: tuple[str, ...]

    def read(self, row: Row) -> Reading:
        """Says what the model makes of a row."""

    def infer(self, text: str) -> object:
        """Does what one request costs: tokenization and one pass; what is timed."""


def read_rows(shards: Path, split: str, task: Task) -> list[Row]:
    """Returns the rows of a split that can be scored.

    Raises:
        InputError: There are none.
        ManifestError: The shards are not whole.
    """
    column = "intent" if task == "intent" else "answer"
    table = read_split(shards, split).select(["ticket_id", "text", column])
    rows = [
        Row(each["ticket_id"], each["text"], each[column])
        for each in table.to_pylist()
        if each[column]
    ]
    if not rows:
        raise InputError(f"no rows with {column} in the {split} split", where=str(shards))
    return rows


def open_served(directory: Path, task: Task) -> ServedModel:
    """Opens an exported model directory after verifying it.

    Raises:
        ManifestError: The directory is not whole.
        InputError: It is for another task or was not exported.
    """
    manifest = read_model_manifest(directory)
    if manifest.get("task") != task:
        raise InputError(f"a model for task {manifest.get('task')!r}", where=str(directory))
    if not (directory / "onnx" / "model.onnx").is_file():
        raise InputError("not exported", where=str(directory), fix="run the export stage on it")
    return ServedIntents(directory) if task == "intent" else ServedAnswers(directory)


def read_all(model: ServedModel, rows: Sequence[Row], what: str) -> list[Reading]:
    """Reads every row, telling the progress."""
    readings = []
    with Progress(len(rows), what, "tickets") as progress:
        for row in rows:
            readings.append(model.read(row))
            progress.advance()
    return readings


def readings_hits(readings: Sequence[Reading]) -> Hits:
    """Returns what was right, row by row."""
    return hits([each.right for each in readings], [each.of for each in readings])


def readings_table(rows: Sequence[Row], readings: Sequence[Reading]) -> pa.Table:
    """Returns one line a row: what was wanted, what was read, how sure, how much was right."""
    import pyarrow as pa

    return pa.table(
        {
            "ticket_id": [each.ticket_id for each in rows],
            "wanted": [each.wanted for each in rows],
            "predicted": [each.predicted for each in readings],
            "confidence": [each.confidence for each in readings],
            "right": [each.right for each in readings],
            "of": [each.of for each in readings],
            "loss": [each.loss for each in readings],
        }
    )


def model_identity(directory: Path) -> dict[str, Any]:
    """Returns what the manifest tells of a model: digest, parameters, lineage."""
    manifest = read_model_manifest(directory)
    known = ("base_model", "parent", "data", "exported_from", "max_length", "parameters")
    told = {key: manifest[key] for key in known if key in manifest}
    return {"sha256": content_sha256(manifest), **told}


class ServedIntents:
    """A classifier, through the class that serves it."""

    def __init__(self, directory: Path) -> None:
        from serving.intent import IntentModel

        self._model = IntentModel(directory)
        self.labels = self._model.labels
        self._index = {label: index for index, label in enumerate(self.labels)}

    def read(self, row: Row) -> Reading:
        """Says which intent is likeliest, and what the right one's probability was."""
        from serving.intent import softmax

        [probabilities] = softmax(self._model.logits([row.text]), self._model.config)
        best = int(np.argmax(probabilities))
        known = self._index.get(row.wanted)
        right = float(probabilities[known]) if known is not None else 0.0
        return Reading(
            predicted=self.labels[best],
            confidence=float(probabilities[best]),
            right=float(known == best),
            of=1.0,
            loss=-math.log(max(right, LEAST_PROBABILITY)),
        )

    def infer(self, text: str) -> object:
        """Classifies one text."""
        return self._model.predict([text])


class ServedAnswers:
    """A causal language model's graph, scored on the tokens of the wanted answers."""

    labels: tuple[str, ...] = ()

    def __init__(self, directory: Path) -> None:
        from tokenizers import Tokenizer

        from serving.runtime import open_session

        serving = _read_json(directory / "onnx" / "serving.json")
        self._length = int(serving["max_length"])
        self._inputs = list(serving["inputs"])
        self._session = open_session(directory / "onnx" / "model.onnx", THREADS)
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        self._end = self._end_token(directory)

    def read(self, row: Row) -> Reading:
        """Says how many of the answer's tokens the model would have chosen, and how surely."""
        target = self._tokenizer.encode(row.wanted, add_special_tokens=False).ids
        target = target[: self._length // 2] + self._end
        prompt = self._prompt(row.text, self._length - len(target))
        logits = self._logits(prompt + target)[len(prompt) - 1 : -1]
        shifted = logits - logits.max(axis=-1, keepdims=True)
        likelihood = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
        of_target = likelihood[np.arange(len(target)), target]
        return Reading(
            predicted="",
            confidence=float(np.exp(of_target).mean()),
            right=float((logits.argmax(axis=-1) == np.asarray(target)).sum()),
            of=float(len(target)),
            loss=float(-of_target.sum()),
        )

    def infer(self, text: str) -> object:
        """Computes the first token that follows a prompt."""
        return self._logits(self._prompt(text, self._length))[-1].argmax()

    def _prompt(self, text: str, room: int) -> list[int]:
        self._tokenizer.enable_truncation(max_length=room)
        ids: list[int] = self._tokenizer.encode(PROMPT.format(text=text)).ids
        self._tokenizer.no_truncation()
        return ids

    def _logits(self, tokens: list[int]) -> Any:
        ids = np.asarray([tokens], dtype=np.int64)
        every = {
            "input_ids": ids,
            "attention_mask": np.ones_like(ids),
            "token_type_ids": np.zeros_like(ids),
        }
        return self._session.run(["logits"], {name: every[name] for name in self._inputs})[0][0]

    def _end_token(self, directory: Path) -> list[int]:
        token = _read_json(directory / "tokenizer_config.json").get("eos_token")
        text = token.get("content") if isinstance(token, dict) else token
        found = self._tokenizer.token_to_id(text) if text else None
        return [] if found is None else [found]


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"cannot be read: {error}", where=str(path)) from error
    return content

"""Embeddings of texts: a sentence encoder in ONNX from a sealed directory, on one thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from tokenizers import Tokenizer

from serving.manifest import ManifestError, verify_manifest
from serving.runtime import open_session

KIND = "encoder"
FOLDER = "encoder"  # in the folder of a model that is served
CONFIG_FILE = "encoder.json"
GRAPH_FILE = "model.onnx"
TOKENIZER_FILE = "tokenizer.json"
HIDDEN = "last_hidden_state"
BATCH = 16


class EncoderConfig(BaseModel):
    """What `encoder.json` says of an exported encoder.

    Attributes:
        model: Its id, which stands beside every embedding.
        dimensions: Numbers of one embedding.
        max_length: Tokens at most; longer texts are cut.
        pad_token_id: Id of the padding token.
        inputs: Names of the graph's inputs.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    model: str = Field(min_length=1, max_length=200)
    dimensions: int = Field(ge=1, le=4096)
    max_length: int = Field(ge=1, le=8192)
    pad_token_id: int = Field(default=0, ge=0)
    inputs: tuple[str, ...]


class SentenceEncoder:
    """A verified encoder; `encode` may be called from any one thread at a time.

    Args:
        folder: An exported encoder, as its manifest says.

    Raises:
        ManifestError: The folder is not whole, or is no encoder.
    """

    def __init__(self, folder: Path) -> None:
        verify_manifest(folder, KIND)
        self.config = _read_config(folder / CONFIG_FILE)
        self._tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
        self._tokenizer.enable_truncation(self.config.max_length)
        pad = self._tokenizer.id_to_token(self.config.pad_token_id) or "[PAD]"
        self._tokenizer.enable_padding(pad_id=self.config.pad_token_id, pad_token=pad)
        self._session = open_session(folder / GRAPH_FILE)

    @property
    def model(self) -> str:
        """Its id."""
        return self.config.model

    @property
    def dimensions(self) -> int:
        """Numbers of one embedding."""
        return self.config.dimensions

    def encode(self, texts: Sequence[str]) -> list[list[float]]:
        """Embeds texts: the mean of the token vectors that are no padding, of length 1.

        Args:
            texts: Any; cut to the model's length.

        Returns:
            One unit vector a text, in order.
        """
        # Texts of like length go together, so that little is padding.
        order = sorted(range(len(texts)), key=lambda place: len(texts[place]))
        found: dict[int, list[float]] = {}
        for first in range(0, len(order), BATCH):
            places = order[first : first + BATCH]
            vectors = self._embed([texts[place] for place in places])
            found.update(zip(places, vectors.tolist(), strict=True))
        return [found[place] for place in range(len(texts))]

    def _embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        encodings = self._tokenizer.encode_batch(list(texts))
        arrays = {
            "input_ids": np.array([e.ids for e in encodings], np.int64),
            "attention_mask": np.array([e.attention_mask for e in encodings], np.int64),
        }
        outputs: list[Any] = self._session.run(
            [HIDDEN], {name: arrays[name] for name in self.config.inputs}
        )
        return pooled(np.asarray(outputs[0], np.float32), arrays["attention_mask"])


def pooled(hidden: NDArray[np.float32], mask: NDArray[np.int64]) -> NDArray[np.float32]:
    """Mean over the tokens of the mask, normalised: [texts, tokens, width] to [texts, width]."""
    weights = mask[:, :, None].astype(np.float32)
    mean = (hidden * weights).sum(axis=1) / np.maximum(weights.sum(axis=1), 1.0)
    lengths = np.maximum(np.linalg.norm(mean, axis=1, keepdims=True), 1e-12)
    result: NDArray[np.float32] = (mean / lengths).astype(np.float32)
    return result


def _read_config(path: Path) -> EncoderConfig:
    try:
        return EncoderConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValidationError, ValueError) as error:
        raise ManifestError(f"no encoder description: {error}", where=str(path)) from error

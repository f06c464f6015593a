"""The intent of a ticket: an ONNX classifier from a sealed model directory, on one thread."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from serving.contracts import IntentPrediction, ScoredIntent
from serving.manifest import ManifestError, content_sha256, verify_manifest
from serving.runtime import open_session
from serving.tokens import Tokens

SERVING_FILE = "onnx/serving.json"
MODEL_FILE = "onnx/model.onnx"
TOKENIZER_FILE = "tokenizer.json"
LOGITS = "logits"
TYPES = "token_type_ids"
ALTERNATIVES = 4
_MIN_TEMPERATURE = 1e-3


class ServingConfig(BaseModel):
    """What `onnx/serving.json` says of an exported classifier.

    Attributes:
        labels: Intents, in the order of the logits.
        max_length: Tokens at most; longer texts are cut.
        pad_token_id: Id of the padding token.
        inputs: Names of the graph's inputs.
        temperature: What logits are divided by, so that probabilities are calibrated.
        out_of_scope_threshold: A confidence below it means that no intent is meant.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    task: str = "intent"
    labels: tuple[str, ...] = Field(min_length=1)
    max_length: int = Field(ge=1, le=8192)
    pad_token_id: int = Field(default=0, ge=0)
    inputs: tuple[str, ...]
    temperature: float = Field(default=1.0, gt=_MIN_TEMPERATURE)
    out_of_scope_threshold: float = Field(default=0.0, ge=0.0, le=1.0)


class IntentModel:
    """A verified classifier; `predict` may be called from any one thread at a time.

    Args:
        model_dir: A model directory with an ONNX export, as the manifest says.

    Raises:
        ManifestError: The directory is not whole, or is no intent model that can be served.
    """

    def __init__(self, model_dir: Path) -> None:
        manifest = verify_manifest(model_dir, "model")
        listed = {entry["path"] for entry in manifest["files"]}
        if absent := {SERVING_FILE, MODEL_FILE, TOKENIZER_FILE} - listed:
            raise ManifestError(
                f"the manifest lists no {sorted(absent)[0]}",
                where=str(model_dir),
                fix="export the model first",
            )
        self.config = _read_config(model_dir / SERVING_FILE)
        self.version = content_sha256(manifest)[:12]
        self._tokens = Tokens(
            model_dir / TOKENIZER_FILE, self.config.max_length, self.config.pad_token_id
        )
        self._session = open_session(model_dir / MODEL_FILE)
        wanted = {node.name for node in self._session.get_inputs()}
        if wanted != set(self.config.inputs):
            raise ManifestError(
                f"the graph takes {sorted(wanted)}, serving.json says {sorted(self.config.inputs)}",
                where=str(model_dir / MODEL_FILE),
            )

    @property
    def labels(self) -> tuple[str, ...]:
        """The intents it knows."""
        return self.config.labels

    @property
    def out_of_scope_threshold(self) -> float:
        """A confidence below it means that no intent is meant."""
        return self.config.out_of_scope_threshold

    def predict(self, texts: Sequence[str]) -> list[IntentPrediction]:
        """Classifies texts, each with its likeliest intents.

        Args:
            texts: Any; cut to the model's length.

        Returns:
            One prediction a text, in order.
        """
        if not texts:
            return []
        return [self._prediction(row) for row in softmax(self.logits(texts), self.config)]

    def logits(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Raw logits, [texts, labels]."""
        ids, mask = self._tokens.encode(texts)
        given = {"input_ids": ids, "attention_mask": mask}
        if TYPES in self.config.inputs:
            given[TYPES] = np.zeros_like(ids)
        outputs: list[Any] = self._session.run(
            [LOGITS], {name: given[name] for name in self.config.inputs}
        )
        return np.asarray(outputs[0], np.float32)

    def _prediction(self, probabilities: NDArray[np.float64]) -> IntentPrediction:
        order = np.argsort(-probabilities, kind="stable")[: ALTERNATIVES + 1]
        scored = [
            ScoredIntent(label=self.labels[i], confidence=round(float(probabilities[i]), 6))
            for i in order
        ]
        return IntentPrediction(
            label=scored[0].label,
            confidence=scored[0].confidence,
            alternatives=tuple(scored[1:]),
        )


def softmax(logits: NDArray[np.float32], config: ServingConfig) -> NDArray[np.float64]:
    """Calibrated probabilities of logits, [texts, labels]."""
    scaled = logits.astype(np.float64) / config.temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    result: NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return result


def _read_config(path: Path) -> ServingConfig:
    try:
        return ServingConfig.model_validate(json.loads(path.read_text(encoding="utf-8")))
    except (ValidationError, ValueError) as error:
        raise ManifestError(f"not a serving description: {error}", where=str(path)) from error

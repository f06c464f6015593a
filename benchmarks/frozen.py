"""The rival that trains no transformer: frozen embeddings and a linear support vector machine."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from components.base_model import find_base
from components.scoring.served import Row
from components.shards import UNLABELLED, read_split
from kg_schema.progress import Progress

PENALTIES = (0.1, 0.3, 1.0, 3.0, 10.0)
BATCH = 64
LENGTH = 64


def svm_hits(base_model: str, shards: Path, rows: Sequence[Row]) -> list[float]:
    """Returns, per row, whether the machine named its intent.

    Its penalty is chosen on the validation split; it learns from the train split alone.

    Args:
        base_model: As in fine-tuning; its token states are averaged and normalised.
        shards: A shards directory.
        rows: What to classify.
    """
    from sklearn.svm import LinearSVC

    embed = Embedder(base_model)
    train, labels = _read(shards, "train")
    held_out, wanted = _read(shards, "validation")
    vectors, beside = embed(train, "embed train"), embed(held_out, "embed validation")

    def fitted(penalty: float) -> Any:
        return LinearSVC(C=penalty, random_state=0).fit(vectors, labels)

    best = max((fitted(penalty) for penalty in PENALTIES), key=lambda m: m.score(beside, wanted))
    found = best.predict(embed([row.text for row in rows], "embed test"))
    return [float(name == row.wanted) for name, row in zip(found, rows, strict=True)]


class Embedder:
    """A base model whose weights stay as they are.

    Args:
        base_model: `minilm`, a location, or `owner/name` on the Hub.
    """

    def __init__(self, base_model: str) -> None:
        from transformers import AutoModel, AutoTokenizer

        folder = find_base(base_model)
        plain = {"local_files_only": True, "trust_remote_code": False}
        self._model = AutoModel.from_pretrained(folder, **plain).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder, **plain)
        if self._tokenizer.pad_token_id is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token

    def __call__(self, texts: Sequence[str], what: str) -> np.ndarray[Any, Any]:
        """Returns one vector of length 1 a text, [texts, width]."""
        import torch

        order = sorted(range(len(texts)), key=lambda at: -len(texts[at]))
        vectors: list[Any] = [None] * len(texts)
        with torch.inference_mode(), Progress(len(texts), what, "texts") as progress:
            for start in range(0, len(order), BATCH):
                places = order[start : start + BATCH]
                batch = self._tokenizer(
                    [texts[at] for at in places],
                    truncation=True,
                    max_length=LENGTH,
                    padding=True,
                    return_tensors="pt",
                )
                mask = batch["attention_mask"][..., None]
                mean = (self._model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1)
                for at, vector in zip(places, torch.nn.functional.normalize(mean), strict=True):
                    vectors[at] = vector.numpy()
                progress.advance(len(places))
        return np.stack(vectors)


def _read(shards: Path, split: str) -> tuple[list[str], list[str]]:
    table = read_split(shards, split)
    rows = [row for row in table.to_pylist() if row["label"] != UNLABELLED]
    return [row["text"] for row in rows], [row["intent"] for row in rows]

"""The exported encoder: the torch model's embeddings, from onnxruntime alone, of a whole folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from components.base_model import MINILM, find_base
from components.load_graph.encoder import open_encoder
from serving.embedding import SentenceEncoder
from serving.manifest import ManifestError

TEXTS = [
    "How do I reset my password?",
    "I forgot the word I log in with",
    "The phone charges slowly " * 40,
    "x",
]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("encoders")


@pytest.fixture(scope="module")
def encoder(cache: Path) -> SentenceEncoder:
    return open_encoder(MINILM, cache)


def test_it_embeds_as_the_torch_model_does(encoder: SentenceEncoder) -> None:
    base = find_base(MINILM)
    tokenizer = AutoTokenizer.from_pretrained(base)
    inputs = tokenizer(TEXTS, padding=True, truncation=True, max_length=256, return_tensors="pt")
    with torch.no_grad():
        hidden = AutoModel.from_pretrained(base).eval()(**inputs).last_hidden_state
    mask = inputs["attention_mask"][:, :, None]
    mean = (hidden * mask).sum(1) / mask.sum(1)
    wanted = torch.nn.functional.normalize(mean, dim=1).numpy()
    found = np.array(encoder.encode(TEXTS))
    assert found.shape == (4, encoder.dimensions) == (4, 384)
    assert np.abs(found - wanted).max() < 1e-4
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2, "meaning, not words"
    assert encoder.encode([]) == []


def test_a_second_call_exports_nothing(encoder: SentenceEncoder, cache: Path) -> None:
    (folder,) = cache.iterdir()
    before = (folder / "model.onnx").stat().st_mtime_ns
    assert open_encoder(MINILM, cache).model == encoder.model
    assert (folder / "model.onnx").stat().st_mtime_ns == before


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no manifest"):
        SentenceEncoder(tmp_path)

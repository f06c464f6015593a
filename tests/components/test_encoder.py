"""The exported encoder: the torch model's embeddings, from onnxruntime alone, of a whole folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from components.base_model import MINILM, WEIGHTS, find_base
from components.encoder import add_encoder, encoder_id, open_encoder
from serving.embedding import SentenceEncoder
from serving.manifest import ManifestError, file_sha256

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
    # Its weights lie in 8 bits.
    assert (found * wanted).sum(1).min() > 0.997
    assert found[0] @ found[1] > found[0] @ found[2] + 0.2, "meaning, not words"
    assert encoder.encode([]) == []


def test_it_is_small_and_a_text_alone_is_embedded_as_among_others(
    encoder: SentenceEncoder, cache: Path
) -> None:
    (folder,) = cache.iterdir()
    assert (folder / "model.onnx").stat().st_size < 25e6
    alone = np.array([encoder.encode([text])[0] for text in TEXTS])
    assert np.abs(alone - np.array(encoder.encode(TEXTS))).max() < 1e-5


def test_it_goes_into_a_models_folder_sealed(
    encoder: SentenceEncoder, cache: Path, tmp_path: Path
) -> None:
    assert add_encoder(tmp_path, cache=cache)
    assert add_encoder(tmp_path, cache=cache), "a repeat is fine"
    assert SentenceEncoder(tmp_path / "encoder").model == encoder.model
    (tmp_path / "encoder" / "model.onnx").write_bytes(b"another")
    with pytest.raises(ManifestError, match="bytes where"):
        SentenceEncoder(tmp_path / "encoder")


def test_where_none_is_to_be_had_the_model_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    assert not add_encoder(tmp_path / "model", str(tmp_path / "gone"))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert not add_encoder(tmp_path / "model", cache=tmp_path)
    assert not (tmp_path / "model").exists()
    assert caplog.text.count("found by their words alone") == 2


def test_a_second_call_exports_nothing(encoder: SentenceEncoder, cache: Path) -> None:
    (folder,) = cache.iterdir()
    before = (folder / "model.onnx").stat().st_mtime_ns
    assert open_encoder(MINILM, cache).model == encoder.model
    assert (folder / "model.onnx").stat().st_mtime_ns == before


def test_the_bases_weights_are_hashed_once_a_use(
    encoder: SentenceEncoder, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def noting(path: Path) -> str:
        hashed.append(path.name)
        return file_sha256(path)

    for module in ("base_model", "encoder"):
        monkeypatch.setattr(f"components.{module}.file_sha256", noting)
    assert encoder_id(MINILM, cache) == encoder.model
    assert hashed == [WEIGHTS]
    open_encoder(MINILM, cache)
    assert hashed == [WEIGHTS] * 2


def test_a_folder_that_is_not_whole_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no manifest"):
        SentenceEncoder(tmp_path)

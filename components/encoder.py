"""The fixed base encoder in ONNX: exported once a machine, for articles and for questions alike.

It is never the champion, which changes: an article embedded by one model and a question by another
have nothing to say to each other. It travels in the folder of each model that is to be served, and
so is kept in 8 bits: 22 MB for 86, as fast, and 98 of 100 questions find the same article first.
"""

from __future__ import annotations

import importlib.util
import logging
import os
import shutil
import tempfile
import warnings
from pathlib import Path
from typing import Any

from components.base_model import MINILM, MINILM_SHA256, WEIGHTS, find_base
from kg_schema.errors import InputError
from serving.embedding import (
    CONFIG_FILE,
    FOLDER,
    GRAPH_FILE,
    HIDDEN,
    KIND,
    TOKENIZER_FILE,
    EncoderConfig,
    SentenceEncoder,
)
from serving.manifest import file_sha256, write_manifest

MINILM_NAME = "all-MiniLM-L6-v2"
MAX_LENGTH = 256  # what the sentence encoder was trained with
OPSET = 17
INPUTS = ("input_ids", "attention_mask")
KEPT = "w8"  # how the weights are kept; vectors of weights kept otherwise are others

logger = logging.getLogger(__name__)


def encoder_id(base_model: str, cache: Path | None = None) -> str:
    """Name and weights of an encoder that can be opened here: `all-MiniLM-L6-v2@53aa51172d14-w8`.

    Args:
        base_model: As `open_encoder`.
        cache: As `open_encoder`.

    Raises:
        InputError: The base model is not to be had, or neither was exported nor can be.
    """
    return _id_of(find_base(base_model), base_model, cache)


def _id_of(base: Path, base_model: str, cache: Path | None) -> str:
    if base_model == MINILM:
        name, digest = MINILM_NAME, MINILM_SHA256  # which finding it has compared
    else:
        name, digest = base.name, file_sha256(base / WEIGHTS)
    model = f"{name}@{digest[:12]}-{KEPT}"
    if not _folder(model, cache).is_dir() and importlib.util.find_spec("torch") is None:
        raise InputError(
            "the encoder was not exported here yet, and torch is not installed",
            where=base_model,
            fix="pip install 'deskgraph[train]'",
        )
    return model


def open_encoder(base_model: str, cache: Path | None = None) -> SentenceEncoder:
    """Opens the exported encoder of a base model, exporting it on the first call.

    Args:
        base_model: `minilm`, a location, or `owner/name` on the Hub.
        cache: Where exported encoders are kept; the user's cache by default.

    Raises:
        InputError: The base model is not to be had, is no encoder, or cannot be exported here.
        ManifestError: What was exported before is not whole.
    """
    return SentenceEncoder(_exported(base_model, cache))


def add_encoder(model_dir: Path, base_model: str = MINILM, cache: Path | None = None) -> bool:
    """Puts the exported encoder into a model's folder, where serving looks for it.

    It is sealed by a manifest of its own, so that the model's says what it said before: with
    another encoder it is still the same model. Where none is to be had nothing is put there, and
    the log says so: articles are then found by their words alone.

    Args:
        model_dir: A model directory on this machine.
        base_model: As `open_encoder`.
        cache: As `open_encoder`.

    Returns:
        Whether it is there.
    """
    try:
        folder = _exported(base_model, cache)
    except InputError as error:
        logger.warning("articles are found by their words alone: %s", error)
        return False
    shutil.copytree(folder, model_dir / FOLDER, dirs_exist_ok=True)
    return True


def _exported(base_model: str, cache: Path | None) -> Path:
    base = find_base(base_model)
    model = _id_of(base, base_model, cache)
    folder = _folder(model, cache)
    if not folder.is_dir():
        _export(base, model, folder)
    return folder


def _folder(model: str, cache: Path | None) -> Path:
    return (cache or _cache()) / f"encoder-{model}"


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(root) / "deskgraph"


def _export(base: Path, model: str, folder: Path) -> None:
    from components.onnx_graph.quantise import keep_in_8_bits

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as work:
        made = Path(work) / "encoder"
        made.mkdir()
        config = _write_graph(base, Path(work) / GRAPH_FILE, model)
        keep_in_8_bits(Path(work) / GRAPH_FILE, made / GRAPH_FILE)
        shutil.copyfile(base / TOKENIZER_FILE, made / TOKENIZER_FILE)
        (made / CONFIG_FILE).write_text(config.model_dump_json(indent=1) + "\n", encoding="utf-8")
        write_manifest(made, KIND, model=model)
        try:
            made.rename(folder)
        except OSError:
            # Another process exported it meanwhile; its files are the same.
            if not folder.is_dir():
                raise


def _write_graph(base: Path, path: Path, model: str) -> EncoderConfig:
    import torch
    from transformers import AutoModel

    encoder: Any = AutoModel.from_pretrained(base, trust_remote_code=False).eval()
    encoder.set_attn_implementation("eager")

    class Hidden(torch.nn.Module):
        """The encoder's last hidden state alone: [texts, tokens, width]."""

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            hidden: torch.Tensor = encoder(
                input_ids=input_ids, attention_mask=attention_mask
            ).last_hidden_state
            return hidden

    pad = encoder.config.pad_token_id or 0
    # Padding and two rows, so that neither is taken for a constant.
    ids = torch.full((2, 8), 1 if pad == 0 else 0, dtype=torch.long)
    mask = torch.ones_like(ids)
    ids[1, 5:], mask[1, 5:] = pad, 0
    dynamic = {name: {0: "batch", 1: "sequence"} for name in (*INPUTS, HIDDEN)}
    wrapper = Hidden()
    wrapper.encoder = encoder
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(
            wrapper.eval(),
            (ids, mask),
            str(path),
            input_names=list(INPUTS),
            output_names=[HIDDEN],
            dynamic_axes=dynamic,
            opset_version=OPSET,
            dynamo=False,
        )
    longest = getattr(encoder.config, "max_position_embeddings", MAX_LENGTH)
    return EncoderConfig(
        model=model,
        dimensions=encoder.config.hidden_size,
        max_length=min(MAX_LENGTH, longest),
        pad_token_id=pad,
        inputs=INPUTS,
    )

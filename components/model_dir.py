"""Model directories: plain Hugging Face folders with a manifest, saved and loaded in one way.

`AutoModel*.from_pretrained` of a fresh process loads what is saved here with no code of ours.
torch and transformers are imported when a function is called.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from components.storage import localise, output_dir
from kg_schema.errors import InputError
from serving.manifest import MANIFEST_NAME, verify_manifest, write_manifest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

MODEL_KIND = "model"
COMPRESSION_NAME = "compression.json"
HEAD_MODULES = frozenset({"classifier", "pre_classifier", "score", "lm_head", "pooler", "cls"})
"""Modules directly below a model, or below its backbone, that are no part of the encoder."""
UNBOUNDED_LENGTH = 1_000_000
"""Tokenizers without a length of their own say a number beyond this."""

FILE_KEYS = frozenset({"schema_version", "kind", "files"})
"""Keys of a manifest that are written anew with the files."""

Task = Literal["intent", "answer"]


def save_model(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    out: Path,
    *,
    task: Task,
    compression: dict[str, Any] | None = None,
    **lineage: Any,
) -> dict[str, Any]:
    """Writes weights, tokenizer, `compression.json` and, last, the manifest.

    Args:
        model: On any device, with `config.id2label` where the task is `intent`.
        tokenizer: The model's.
        out: An existing directory, usually one of `storage.output_dir`.
        task: What the model does.
        compression: What was kept and cut of the parent; nothing is written for None.
        **lineage: Manifest keys: `parent`, `data` (digests), `base_model`, `max_length` …

    Returns:
        The manifest.
    """
    model.save_pretrained(out)
    tokenizer.save_pretrained(out)
    if compression is not None:
        write_compression(out, compression)
    lineage.setdefault("max_length", default_max_length(model, tokenizer))
    lineage.setdefault("labels", model_labels(model) if task == "intent" else [])
    lineage.setdefault("parameters", count_parameters(model))
    return write_manifest(out, MODEL_KIND, task=task, **lineage)


def quieten_transformers() -> None:
    """Keeps transformers' own bars and warnings out of our progress lines."""
    from transformers.utils import logging as transformers_logging

    quiet: Any = transformers_logging
    quiet.disable_progress_bar()
    quiet.set_verbosity_error()


def read_model_manifest(directory: Path) -> dict[str, Any]:
    """Returns the manifest of a model directory whose files are all whole.

    Raises:
        ManifestError: It is missing, of another kind, or does not hold.
    """
    return verify_manifest(directory, MODEL_KIND)


def lineage_of(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Returns what a manifest tells beside its files: what a copy's own manifest is to repeat."""
    return {name: value for name, value in manifest.items() if name not in FILE_KEYS}


def copy_model(source: str, out: str) -> None:
    """Copies a model directory to another location, verified before and whole after.

    Raises:
        ManifestError: The source is not whole.
        InputError: One of the locations cannot be used.
    """
    directory = localise(source)
    manifest = read_model_manifest(directory)
    with output_dir(out) as folder:
        for name in [*(entry["path"] for entry in manifest["files"]), MANIFEST_NAME]:
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(directory / name, target)


def load_model(directory: Path) -> tuple[PreTrainedModel, PreTrainedTokenizerBase]:
    """Loads a model directory on the CPU in fp32 and in evaluation mode, after verifying it.

    Raises:
        ManifestError: The directory is not whole.
        InputError: Its manifest names an unknown task.
    """
    import torch
    from transformers import (
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    classes = {"intent": AutoModelForSequenceClassification, "answer": AutoModelForCausalLM}
    quieten_transformers()
    task = read_model_manifest(directory).get("task")
    if task not in classes:
        raise InputError(f"a model for the unknown task {task!r}", where=str(directory))
    plain = {"local_files_only": True, "trust_remote_code": False}
    model = classes[task].from_pretrained(directory, dtype=torch.float32, **plain)
    return model.eval(), AutoTokenizer.from_pretrained(directory, **plain)


def read_compression(directory: Path) -> dict[str, Any]:
    """Returns what `compression.json` tells; empty where a model was not compressed.

    Raises:
        InputError: The file is no JSON object.
    """
    path = directory / COMPRESSION_NAME
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"broken JSON: {error}", where=str(path)) from error
    if not isinstance(content, dict):
        raise InputError("not a JSON object", where=str(path))
    return content


def write_compression(directory: Path, compression: Mapping[str, Any]) -> None:
    """Writes `compression.json`; the manifest is to be written after it."""
    text = json.dumps(compression, indent=1, ensure_ascii=False)
    (directory / COMPRESSION_NAME).write_text(text + "\n", encoding="utf-8")


def count_parameters(model: torch.nn.Module) -> dict[str, int]:
    """Counts parameters, shared ones once.

    Returns:
        `total`, and `encoder`: total less word, position and type embeddings and the head
        (classifier, language-model head, pooler), which is what a layer costs at run time.
    """
    from torch import nn

    outside: set[int] = set()
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) or _is_head(name):
            outside.update(id(parameter) for parameter in module.parameters())
    parameters = list(model.parameters())
    return {
        "total": sum(each.numel() for each in parameters),
        "encoder": sum(each.numel() for each in parameters if id(each) not in outside),
    }


def model_labels(model: PreTrainedModel) -> list[str]:
    """Returns the labels of a classifier in the order of its logits."""
    names = {int(index): str(name) for index, name in (model.config.id2label or {}).items()}
    return [names[index] for index in sorted(names)]


def default_max_length(model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> int:
    """Returns the longest input, in tokens, that both model and tokenizer take; 512 unknown."""
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    known = [int(each) for each in limits if each and each < UNBOUNDED_LENGTH]
    return min(known, default=512)


def _is_head(name: str) -> bool:
    parts = name.split(".")
    return parts[-1] in HEAD_MODULES and len(parts) <= 2

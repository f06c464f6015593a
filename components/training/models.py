"""Opening the model that is trained, and closing it again as a plain one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from components.training.spec import Lora, Task
from kg_schema.errors import InputError
from serving.manifest import MANIFEST_NAME, verify_manifest

FRESH_HEADS = ("pooler", "classifier", "pre_classifier", "score")
LAYER_LISTS = ("encoder.layer", "transformer.layer", "layers")
PLAIN = {"local_files_only": True, "trust_remote_code": False}
WEIGHTS_ONLY = {"dtype": torch.float32, "use_safetensors": True}


def open_model(
    directory: Path, task: Task, labels: Sequence[str], activation: str = ""
) -> tuple[Any, Any]:
    """Opens a Hugging Face directory in fp32 on the CPU.

    A directory of ours is verified first; a base model needs no manifest. For task `intent` a
    directory without a classification head gets a fresh one for `labels`. An `activation` takes
    the place of its feed-forward blocks' own.

    Returns:
        The model and its tokenizer, which knows a padding token.

    Raises:
        InputError: It is no model directory, its head is for other labels, or the activation is
            none that it can have.
        ManifestError: It has a manifest that does not hold.
    """
    from transformers import (
        MODEL_FOR_MASKED_LM_MAPPING,
        AutoConfig,
        AutoModelForCausalLM,
        AutoModelForSequenceClassification,
        AutoTokenizer,
    )

    if (directory / MANIFEST_NAME).is_file():
        verify_manifest(directory, "model")
    try:
        config = AutoConfig.from_pretrained(directory, **PLAIN)
        tokenizer = AutoTokenizer.from_pretrained(directory, **PLAIN)
        if activation:
            _set_activation(config, activation, directory)
        options = {"config": config, **WEIGHTS_ONLY, **PLAIN}
        if task == "answer":
            decodes = getattr(config, "is_decoder", False)
            if type(config) in MODEL_FOR_MASKED_LM_MAPPING and not decodes:
                raise InputError("an encoder writes no answers", where=str(directory))
            model = AutoModelForCausalLM.from_pretrained(directory, **options)
        else:
            _fit_head(config, labels, directory)
            model = AutoModelForSequenceClassification.from_pretrained(directory, **options)
    except (OSError, ValueError) as error:
        raise InputError(f"not a model for task {task}: {error}", where=str(directory)) from error
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    if model.config.pad_token_id is None:
        model.config.pad_token_id = tokenizer.pad_token_id
    return model, tokenizer


def _set_activation(config: Any, name: str, directory: Path) -> None:
    from transformers.activations import ACT2FN

    if name not in ACT2FN:
        raise InputError(f"unknown activation {name!r}", fix="use one of transformers', like relu")
    if not hasattr(config, "hidden_act"):
        raise InputError(
            f"a {config.model_type} model's activation cannot be chosen", where=str(directory)
        )
    config.hidden_act = name


def _fit_head(config: Any, labels: Sequence[str], directory: Path) -> None:
    has_head = any("ForSequenceClassification" in name for name in config.architectures or ())
    own = [config.id2label[at] for at in sorted(config.id2label)]
    if has_head and own != list(labels):
        raise InputError(
            f"its head is for {len(own)} other labels than the shards' {len(labels)}",
            where=str(directory),
            fix="fine-tune the base model on these shards",
        )
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: at for at, label in enumerate(labels)}


def backbone_layers(model: Any) -> nn.ModuleList:
    """Returns the transformer layers of a model, lowest first.

    Raises:
        InputError: The model is of a family whose layers are somewhere else.
    """
    for name in LAYER_LISTS:
        found: Any = model.base_model
        for part in name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, nn.ModuleList):
            return found
    raise InputError(f"no list of layers in {type(model).__name__}", fix="use BERT, Llama or Qwen")


def freeze(model: Any, *, embeddings: bool, layers: int) -> None:
    """Keeps the values of the embeddings and of the lowest layers.

    Raises:
        InputError: More layers than the model has.
    """
    if embeddings:
        part = getattr(model.base_model, "embeddings", None) or model.get_input_embeddings()
        part.requires_grad_(False)
    if layers:
        every = backbone_layers(model)
        if layers > len(every):
            raise InputError(f"{layers} layers to freeze of {len(every)}")
        for layer in every[:layers]:
            layer.requires_grad_(False)


def set_dropout(model: nn.Module, rate: float) -> None:
    """Sets the dropout of hidden states and attention; the configuration keeps its own values."""
    for module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = rate
        if isinstance(getattr(module, "attention_dropout", None), float):
            setattr(module, "attention_dropout", rate)  # noqa: B010 - decoders' attention modules


def adapt(model: Any, lora: Lora, task: Task) -> Any:
    """Wraps a model with low-rank adapters; for `intent` the head is trained in full."""
    from peft import LoraConfig, TaskType, get_peft_model

    kind = TaskType.CAUSAL_LM if task == "answer" else TaskType.SEQ_CLS
    settings = LoraConfig(
        task_type=kind,
        r=lora.r,
        lora_alpha=lora.alpha,
        lora_dropout=lora.dropout,
        target_modules=list(lora.targets) if lora.targets else "all-linear",
    )
    return get_peft_model(model, settings)


def merged(model: Any) -> Any:
    """Returns the plain model, adapters merged into its weights."""
    from peft import PeftModel

    return model.merge_and_unload() if isinstance(model, PeftModel) else model


def optimizer_groups(
    model: nn.Module, rate: float, head_rate: float, decay: float
) -> list[dict[str, Any]]:
    """Returns parameter groups: matrices decay, vectors do not; a fresh head has its own rate."""
    groups: dict[tuple[bool, bool], list[nn.Parameter]] = {}
    for head, matrix, parameter in _trained(model):
        groups.setdefault((head, matrix), []).append(parameter)
    return [
        {
            "params": parameters,
            "lr": head_rate if head else rate,
            "weight_decay": decay if matrix else 0.0,
        }
        for (head, matrix), parameters in sorted(groups.items())
    ]


def _trained(model: nn.Module) -> Iterator[tuple[bool, bool, nn.Parameter]]:
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parts = set(name.split("."))
            fresh = bool(parts & {*FRESH_HEADS, "hidden_projection"})
            yield fresh, parameter.ndim > 1, parameter

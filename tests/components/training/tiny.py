"""Tiny models from random weights and a 60-row data set, enough to train in a second."""

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import (
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    BertConfig,
    BertModel,
    LlamaConfig,
    PreTrainedTokenizerFast,
    Qwen2Config,
)

from components.model_dir import load_model, save_model
from components.shard import ShardSettings, shard_tickets
from components.training import TrainResult, TrainSpec
from components.training.checkpoint import drop_checkpoints
from components.training.session import train
from components.training.world import World

THINGS = ("phone", "watch", "tablet", "earbuds", "laptop")
WHEN = ("today", "since monday", "again", "after the update")
TALK = {
    "battery_drain": ("my {} battery drains fast {}", "check the battery usage of the {}"),
    "no_sound": ("there is no sound from the {} {}", "clean the speaker of the {}"),
    "refund_timing": ("when is my refund for the {} paid {}", "the {} refund takes a week"),
}
LABELS = sorted(TALK)
THIS_PROCESS = World(0, 1, torch.device("cpu"))


def tickets() -> list[dict[str, str]]:
    rows = []
    for intent, (text, answer) in TALK.items():
        for thing in THINGS:
            for when in WHEN:
                rows.append(
                    {
                        "ticket_id": f"T_{len(rows):03d}",
                        "text": text.format(thing, when),
                        "intent": intent,
                        "resolution": {"solution_ids": [], "answer": answer.format(thing)},
                    }
                )
    return rows


def make_shards(folder: Path) -> Path:
    source = folder / "tickets.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in tickets()), encoding="utf-8")
    shard_tickets(str(source), str(folder / "shards"), ShardSettings())
    return folder / "shards"


def all_words() -> list[str]:
    return sorted(
        {
            word
            for row in tickets()
            for word in (row["text"] + " " + row["resolution"]["answer"]).split()
        }
    )


def make_tokenizer(words: Sequence[str] | None = None) -> PreTrainedTokenizerFast:
    words = all_words() if words is None else words
    vocabulary = {word: at for at, word in enumerate(["[PAD]", "[UNK]", "[CLS]", "[SEP]", *words])}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="[PAD]",
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        eos_token="[SEP]",
        model_max_length=64,
    )


def make_byte_tokenizer() -> PreTrainedTokenizerFast:
    """Byte pairs, the only kind that transformers opens for a Qwen2 model."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    trainer = trainers.BpeTrainer(
        vocab_size=350,
        special_tokens=["[PAD]", "[END]"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([row["text"] for row in tickets()], trainer)
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", eos_token="[END]", model_max_length=64
    )


def bert_config(layers: int = 2, width: int = 32) -> BertConfig:
    return BertConfig(
        vocab_size=len(make_tokenizer()),
        hidden_size=width,
        num_hidden_layers=layers,
        num_attention_heads=2,
        intermediate_size=2 * width,
        max_position_embeddings=64,
        initializer_range=0.15,
        pad_token_id=0,
    )


def make_base(out: Path, layers: int = 2, width: int = 32) -> Path:
    """An encoder with no head and no manifest, like a downloaded one."""
    torch.manual_seed(0)
    BertModel(bert_config(layers, width)).save_pretrained(out)
    make_tokenizer().save_pretrained(out)
    return out


def make_classifier(out: Path, layers: int = 2, width: int = 32) -> Path:
    torch.manual_seed(1)
    config = bert_config(layers, width)
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: at for at, label in enumerate(LABELS)}
    out.mkdir(parents=True)
    model = AutoModelForSequenceClassification.from_config(config)
    save_model(model, make_tokenizer(), out, task="intent")
    return out


def qwen_config(layers: int = 2) -> Qwen2Config:
    return Qwen2Config(
        vocab_size=len(make_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


def llama_config(layers: int = 2) -> LlamaConfig:
    return LlamaConfig(
        vocab_size=len(make_tokenizer()),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=layers,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=2,
        eos_token_id=3,
    )


def make_decoder_classifier(out: Path, family: str, head: bool = True) -> Path:
    """A decoder with tokens of its own; bare as downloaded without a head."""
    torch.manual_seed(3)
    config = llama_config() if family == "llama" else qwen_config()
    tokenizer = make_byte_tokenizer()
    config.vocab_size = len(tokenizer)
    config.initializer_range = 0.15
    out.mkdir(parents=True)
    if not head:
        AutoModel.from_config(config).save_pretrained(out)
        tokenizer.save_pretrained(out)
        return out
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: at for at, label in enumerate(LABELS)}
    model = AutoModelForSequenceClassification.from_config(config)
    save_model(model, tokenizer, out, task="intent")
    return out


def make_decoder(out: Path, layers: int = 2) -> Path:
    torch.manual_seed(2)
    out.mkdir(parents=True)
    model = AutoModelForCausalLM.from_config(llama_config(layers))
    save_model(model, make_tokenizer(), out, task="answer")
    return out


def make_trimmed(source: Path, out: Path, lost: Sequence[str]) -> Path:
    """The model at `source` without some words."""
    model, tokenizer = load_model(source)
    gone = tokenizer.convert_tokens_to_ids(list(lost))
    kept = [at for at in range(len(tokenizer)) if at not in gone]
    config = copy.deepcopy(model.config)
    config.vocab_size = len(kept)
    smaller = type(model)(config)
    state = {
        name: value[kept] if len(value) == len(tokenizer) else value
        for name, value in model.state_dict().items()
    }
    smaller.load_state_dict(state)
    task = "intent" if "Classification" in type(model).__name__ else "answer"
    words = [word for word in all_words() if word not in lost]
    out.mkdir(parents=True)
    compression = {"parent": "x", "kept_vocabulary": {"indices": kept, "count": len(kept)}}
    save_model(smaller, make_tokenizer(words), out, task=task, compression=compression)
    return out


def weights(folder: Path) -> dict[str, Any]:
    from safetensors.torch import load_file

    return load_file(folder / "model.safetensors")


def train_here(spec: TrainSpec) -> TrainResult:
    """What `run_training` does, in this process and as the only rank."""
    result = train(spec, THIS_PROCESS, lambda kind, **values: None)
    drop_checkpoints(Path(spec.checkpoints))
    return result


def logits(folder: Path, task: str, text: str = "my phone battery drains fast") -> torch.Tensor:
    kind = AutoModelForSequenceClassification if task == "intent" else AutoModelForCausalLM
    model = kind.from_pretrained(folder, trust_remote_code=False).eval()
    encoded = AutoTokenizer.from_pretrained(folder)(text, return_tensors="pt")
    with torch.no_grad():
        return model(encoded["input_ids"], encoded["attention_mask"]).logits

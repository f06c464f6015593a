"""Tiny models of every family with real tokenizers, and a small data set."""

import json
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    BertConfig,
    BertTokenizer,
    LlamaConfig,
    LlamaTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Qwen2Config,
    Qwen2Tokenizer,
    Qwen3Config,
)

from components.model_dir import save_model
from components.shard import ShardSettings, shard_tickets

THINGS = ("phone", "watch", "tablet", "earbuds", "laptop", "speaker", "charger", "camera")
WHEN = ("today", "since monday", "again", "after the update", "at night", "in the car")
TALK = {
    "battery_drain": ("my {} battery drains fast {}", "check the battery usage of the {}"),
    "no_sound": ("there is no sound from the {} {}", "clean the opening of the {}"),
    "out_of_scope": ("tell the {} a joke about cats {}", "that is beyond us, dear {}"),
    "refund_timing": ("when is my refund for the {} paid {}", "the {} refund takes a week"),
}
LABELS = sorted(TALK)
KINDS = [
    ("bert", "intent", False),
    *((family, "intent", False) for family in ("llama", "qwen2", "qwen3")),
    *((family, "answer", tied) for family in ("llama", "qwen2", "qwen3") for tied in (False, True)),
]
"""Family, task, and whether the head shares its weights with the embeddings."""
DECODERS = {"llama": LlamaConfig, "qwen2": Qwen2Config, "qwen3": Qwen3Config}


def tickets() -> list[dict[str, Any]]:
    return [
        {
            "ticket_id": f"T_{intent}_{thing}_{when}".replace(" ", "_"),
            "text": text.format(thing, when),
            "intent": intent,
            "resolution": {"solution_ids": [], "answer": answer.format(thing)},
        }
        for intent, (text, answer) in TALK.items()
        for thing in THINGS
        for when in WHEN
    ]


def make_shards(folder: Path) -> Path:
    source = folder / "tickets.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in tickets()), encoding="utf-8")
    shard_tickets(str(source), str(folder / "shards"), ShardSettings())
    return folder / "shards"


def corpus() -> list[str]:
    """The tickets and words that are in none of them, as a general tokenizer would have."""
    other = [
        f"{a}{b}" for a in ("quantum", "garden", "theatre", "harvest") for b in ("ing", "ed", "s")
    ]
    return [row["text"] for row in tickets()] + other * 50


@cache
def wordpiece() -> BertTokenizer:
    raw = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    raw.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    alphabet = sorted({letter for text in corpus() for letter in text.replace(" ", "")})
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False
    )
    raw.train_from_iterator(corpus(), trainer)
    vocabulary = raw.get_vocab()
    for letter in alphabet:
        vocabulary.setdefault(f"##{letter}", len(vocabulary))
    return BertTokenizer(vocab=vocabulary, model_max_length=64)


@cache
def bytes_bpe() -> Qwen2Tokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(corpus(), trainer)
    spec = json.loads(raw.to_str())["model"]
    merges = [tuple(merge) for merge in spec["merges"]]
    return Qwen2Tokenizer(vocab=spec["vocab"], merges=merges, model_max_length=64)


@cache
def fallback_bpe() -> LlamaTokenizer:
    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<unk>", "<s>", "</s>", *(f"<0x{value:02X}>" for value in range(256))]
    trainer = trainers.BpeTrainer(vocab_size=450, special_tokens=special, show_progress=False)
    raw.train_from_iterator(corpus(), trainer)
    spec = json.loads(raw.to_str())["model"]
    merges = [tuple(merge) for merge in spec["merges"]]
    tokenizer = LlamaTokenizer(vocab=spec["vocab"], merges=merges, model_max_length=64)
    tokenizer.pad_token = "</s>"
    return tokenizer


def tokenizer_of(family: str) -> PreTrainedTokenizerBase:
    return {"bert": wordpiece, "llama": fallback_bpe}.get(family, bytes_bpe)()


def make_model(family: str, task: str = "answer", *, tied: bool = False) -> PreTrainedModel:
    """Random weights; 4 layers of 4 heads (2 key-value groups in decoders) on a width of 32."""
    torch.manual_seed(3)
    tokenizer = tokenizer_of(family)
    common = {
        "vocab_size": len(tokenizer),
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 4,
        "num_attention_heads": 4,
        "max_position_embeddings": 64,
        "pad_token_id": tokenizer.pad_token_id,
        "initializer_range": 0.2,
    }
    if family == "bert":
        config: Any = BertConfig(**common)
    else:
        config = DECODERS[family](
            **common,
            num_key_value_heads=2,
            head_dim=8,
            tie_word_embeddings=tied,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
        )
    if task == "answer":
        return AutoModelForCausalLM.from_config(config).eval()
    config.id2label = dict(enumerate(LABELS))
    config.label2id = {label: at for at, label in enumerate(LABELS)}
    return AutoModelForSequenceClassification.from_config(config).eval()


def save_tiny(out: Path, family: str, task: str, *, tied: bool = False) -> Path:
    out.mkdir(parents=True)
    save_model(make_model(family, task, tied=tied), tokenizer_of(family), out, task=task)
    return out


READER = """
import json, sys, torch
from transformers import AutoModelForCausalLM, AutoModelForSequenceClassification, AutoTokenizer
text, *jobs = sys.argv[1:]
plain = {"trust_remote_code": False, "local_files_only": True}
for job in jobs:
    task, folder = job.split(":", 1)
    kind = AutoModelForCausalLM if task == "answer" else AutoModelForSequenceClassification
    model = kind.from_pretrained(folder, **plain).eval()
    ids = AutoTokenizer.from_pretrained(folder, **plain)(text, return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits
    torch.save({"logits": logits, "ids": ids}, folder + ".read")
assert "components" not in sys.modules
"""


def read_in_fresh_process(folders: dict[Path, str], text: str) -> dict[Path, dict[str, Any]]:
    """Logits and ids of a text by model folder, from a process that knows nothing of ours."""
    jobs = [f"{task}:{folder}" for folder, task in folders.items()]
    command = [sys.executable, "-c", READER, text, *jobs]
    subprocess.run(command, check=True, cwd=next(iter(folders)), timeout=240)
    return {folder: torch.load(f"{folder}.read", weights_only=True) for folder in folders}


def logits_of(model: PreTrainedModel, ids: torch.Tensor) -> torch.Tensor:
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits

"""Tiny language models with random weights, to send a decoder through the whole table on a CPU."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from components.storage import output_dir

KINDS = ("tiny-qwen2", "tiny-llama")
VOCABULARY = 4_000
END, PAD = "<|endoftext|>", "<|pad|>"
SHAPE = {
    "hidden_size": 128,
    "num_hidden_layers": 6,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 384,
    "max_position_embeddings": 512,
}


def make_decoder(kind: str, texts: Sequence[str], out: Path, seed: int) -> None:
    """Writes a model directory: random weights, and a byte-level vocabulary learned from texts.

    Args:
        kind: One of `KINDS`; both have two key-value heads for eight queries.
        texts: Of the domain.
        out: Where it goes, whole or not at all.
        seed: Of the weights.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM, Qwen2Config, Qwen2ForCausalLM

    tokenizer = _tokenizer(texts)
    options: dict[str, Any] = {
        **SHAPE,
        "vocab_size": len(tokenizer),
        "tie_word_embeddings": True,
        "bos_token_id": None,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    torch.manual_seed(seed)
    model: Any = (
        Qwen2ForCausalLM(Qwen2Config(**options))
        if kind == "tiny-qwen2"
        else LlamaForCausalLM(LlamaConfig(**options))
    )
    with output_dir(str(out)) as folder:
        model.save_pretrained(folder)
        tokenizer.save_pretrained(folder)


def _tokenizer(texts: Sequence[str]) -> Any:
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    raw.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    raw.train_from_iterator(texts, trainer)
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=raw, eos_token=END, pad_token=PAD)

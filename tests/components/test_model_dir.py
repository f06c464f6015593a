"""Model directories: plain Hugging Face, whole or refused, and counted the same everywhere."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
)

from components.model_dir import (
    copy_model,
    count_parameters,
    load_model,
    read_compression,
    read_model_manifest,
    save_model,
)
from kg_schema.errors import InputError
from serving.manifest import ManifestError, write_manifest
from tests.s3_server import S3Server

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "my", "phone", "is", "hot"]
LABELS = ["battery", "overheating", "price"]


@pytest.fixture
def tokenizer() -> PreTrainedTokenizerFast:
    words = Tokenizer(WordLevel({word: i for i, word in enumerate(WORDS)}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    return PreTrainedTokenizerFast(tokenizer_object=words, pad_token="[PAD]", unk_token="[UNK]")


def _bert() -> PreTrainedModel:
    torch.manual_seed(0)
    shape: dict[str, Any] = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 32}
    heads = {"num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 24}
    names = dict(enumerate(LABELS))
    return BertForSequenceClassification(BertConfig(**shape, **heads, id2label=names))


def _qwen(*, tied: bool) -> PreTrainedModel:
    shape: dict[str, Any] = {"vocab_size": 8, "hidden_size": 16, "intermediate_size": 32}
    heads = {"num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1}
    return Qwen2ForCausalLM(Qwen2Config(**shape, **heads, tie_word_embeddings=tied))


def test_a_fresh_process_loads_it_with_no_code_of_ours(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = _bert().eval()
    manifest = save_model(
        model, tokenizer, tmp_path, task="intent", compression={"kept_layers": [0, 1]}, parent="p"
    )
    assert (manifest["labels"], manifest["max_length"], manifest["parent"]) == (LABELS, 24, "p")
    assert read_compression(tmp_path) == {"kept_layers": [0, 1]}
    script = (
        "import json, sys, torch\n"
        "from transformers import AutoModelForSequenceClassification, AutoTokenizer\n"
        "path = sys.argv[1]\n"
        "words = AutoTokenizer.from_pretrained(path)(['my phone is hot'], return_tensors='pt')\n"
        "model = AutoModelForSequenceClassification.from_pretrained(path).eval()\n"
        "words = {k: v for k, v in words.items() if k in ('input_ids', 'attention_mask')}\n"
        "print(json.dumps(model(**words).logits.tolist()))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path)],
        check=True,
        capture_output=True,
        text=True,
        cwd="/",
    )
    fresh = torch.tensor(json.loads(done.stdout.splitlines()[-1]))
    loaded, words = load_model(tmp_path)
    encoded = words(["my phone is hot"], return_tensors="pt", return_token_type_ids=False)
    with torch.no_grad():
        assert torch.equal(loaded(**encoded).logits, model(**encoded).logits)
        assert torch.allclose(fresh, model(**encoded).logits, atol=1e-6)


def test_causal_model_goes_there_and_back(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    model = _qwen(tied=True)
    manifest = save_model(model, tokenizer, tmp_path, task="answer")
    loaded, _ = load_model(tmp_path)
    assert manifest["labels"] == []
    assert torch.equal(loaded.model.embed_tokens.weight, model.model.embed_tokens.weight)
    assert read_compression(tmp_path) == {}


def test_parameters_are_counted_once_and_without_embeddings_and_head() -> None:
    bert = _bert()
    layers = sum(each.numel() for each in bert.bert.encoder.parameters())
    norm = sum(each.numel() for each in bert.bert.embeddings.LayerNorm.parameters())
    counted = count_parameters(bert)
    assert counted["total"] == sum(each.numel() for each in bert.parameters())
    assert counted["encoder"] == layers + norm
    tied, loose = (count_parameters(_qwen(tied=tied)) for tied in (True, False))
    assert tied["encoder"] == loose["encoder"]
    assert loose["total"] - tied["total"] == 8 * 16


def test_damaged_or_foreign_directory_is_not_loaded(
    tokenizer: PreTrainedTokenizerFast, tmp_path: Path
) -> None:
    with pytest.raises(ManifestError):
        load_model(tmp_path)
    save_model(_bert(), tokenizer, tmp_path, task="intent", compression={})
    (tmp_path / "compression.json").write_text("[]")
    with pytest.raises(ManifestError):
        read_model_manifest(tmp_path)
    with pytest.raises(InputError, match="not a JSON object"):
        read_compression(tmp_path)
    (tmp_path / "compression.json").write_text("{")
    with pytest.raises(InputError, match="broken JSON"):
        read_compression(tmp_path)
    write_manifest(tmp_path, "model", task="dance")
    with pytest.raises(InputError, match="unknown task 'dance'"):
        load_model(tmp_path)


def test_copy_is_whole_and_reaches_s3(
    tokenizer: PreTrainedTokenizerFast,
    tmp_path: Path,
    s3_server: S3Server,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in s3_server.env.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "a").mkdir()
    save_model(_bert(), tokenizer, tmp_path / "a", task="intent")
    copy_model(str(tmp_path / "a"), f"s3://{s3_server.bucket}/model")
    copy_model(f"s3://{s3_server.bucket}/model", str(tmp_path / "b"))
    assert read_model_manifest(tmp_path / "b") == read_model_manifest(tmp_path / "a")

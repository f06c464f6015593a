import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from components.export import exporting
from components.export.exporting import ExportError, ExportSettings, export_model
from components.model_dir import (
    load_model,
    read_compression,
    read_model_manifest,
    save_model,
)
from components.onnx_graph import graph
from components.onnx_graph.graph import write_graph
from components.training.data import Collator, read_rows
from kg_schema.errors import InputError
from serving.answer_model import AnswerModel
from serving.intent import IntentModel
from serving.manifest import verify_manifest
from tests.components.slicing.tiny import (
    LABELS,
    make_model,
    make_shards,
    save_tiny,
    tokenizer_of,
)

QUICK = {"probe_repeats": 3}


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_shards(tmp_path_factory.mktemp("shards"))


@pytest.fixture(scope="module")
def learned(shards: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny encoder that knows its labels, so that int8 has something to agree with."""
    model, tokenizer = make_model("bert", "intent"), tokenizer_of("bert")
    rows = read_rows(shards, "train", tokenizer, "intent", 32)
    batch = Collator("intent", 0)(rows.rows)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(40):
        out = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"])
        loss = torch.nn.functional.cross_entropy(out.logits, batch["labels"])
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    assert loss < 0.2
    folder = tmp_path_factory.mktemp("learned")
    told = {"kept_layers": [0]}
    save_model(model.eval(), tokenizer, folder, task="intent", compression=told, base_model="tiny")
    return folder


def serving_of(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "onnx" / "serving.json").read_text())
    return content


def run_graph(folder: Path, ids: np.ndarray, mask: np.ndarray) -> np.ndarray:
    session = ort.InferenceSession(folder / "onnx" / "model.onnx")
    return session.run(["logits"], {"input_ids": ids, "attention_mask": mask})[0]


def test_int8_follows_a_model_that_knows(learned: Path, shards: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    settings = ExportSettings(precision="int8", **QUICK)
    result = export_model(str(learned), str(shards), str(out), settings)
    told, manifest = serving_of(out), verify_manifest(out, "model")
    assert result.precision == told["precision"] == "int8"
    kinds = {node.op_type for node in onnx.load(out / "onnx" / "model.onnx").graph.node}
    assert {"MatMulInteger", "DynamicQuantizeLinear"} <= kinds
    assert told["labels"] == manifest["labels"] == LABELS
    assert told["inputs"] == ["input_ids", "attention_mask"]
    assert told["fitted_on"] == told["agreement"]["split"] == "validation"
    assert told["agreement"]["argmax"] >= 0.995
    assert 0 < told["out_of_scope_threshold"] < 1
    assert (told["max_length"], told["pad_token_id"]) == (64, 0)
    assert set(result.milliseconds) == {"int8", "fp32", "torch"}
    assert manifest["base_model"] == "tiny"
    assert read_compression(out) == {"kept_layers": [0]}
    listed = {entry["path"] for entry in manifest["files"]}
    assert {"onnx/model.onnx", "onnx/serving.json", "tokenizer.json"} <= listed
    assert sorted(path.name for path in (out / "onnx").iterdir()) == ["model.onnx", "serving.json"]
    assert load_model(out)[0].config.id2label == dict(enumerate(LABELS))
    said = IntentModel(out).predict(["my phone battery drains fast", "when is my refund paid"])
    assert [each.label for each in said] == ["battery_drain", "refund_timing"]


def test_fp32_says_what_torch_says_for_any_shape(
    learned: Path, shards: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    result = export_model(
        str(learned), str(shards), str(out), ExportSettings(precision="fp32", **QUICK)
    )
    assert (result.precision, result.recipe) == ("fp32", "fp32")
    assert result.agreement["argmax"] == 1.0
    model, _ = load_model(out)
    for rows, tokens in ((1, 3), (5, 40)):
        ids = torch.randint(6, 150, (rows, tokens))
        mask = torch.ones_like(ids)
        mask[0, 2:] = 0
        with torch.no_grad():
            wanted = model(input_ids=ids, attention_mask=mask).logits.numpy()
        np.testing.assert_allclose(
            run_graph(out, ids.numpy(), mask.numpy()), wanted, rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    ("family", "task"), [("llama", "intent"), ("llama", "answer"), ("qwen3", "answer")]
)
def test_decoders_are_exported(family: str, task: str, shards: Path, tmp_path: Path) -> None:
    source = save_tiny(tmp_path / "model", family, task, tied=family == "qwen3")
    out = tmp_path / "out"
    settings = ExportSettings(task=task, precision="fp32", **QUICK)
    result = export_model(str(source), str(shards), str(out), settings)
    assert result.agreement["argmax"] == 1.0
    told = serving_of(out)
    assert told["labels"] == (LABELS if task == "intent" else [])
    model, tokenizer = load_model(out)
    batch = tokenizer("my phone battery\n", return_tensors="pt")
    ids, mask = batch["input_ids"], batch["attention_mask"]
    with torch.no_grad():
        wanted = model(input_ids=ids, attention_mask=mask).logits.numpy()
    logits = run_graph(out, ids.numpy(), mask.numpy())
    assert logits.shape == wanted.shape
    if task == "intent":
        np.testing.assert_allclose(
            IntentModel(out).logits(["my phone battery\n"]), wanted, atol=1e-4
        )
    else:
        assert AnswerModel(out).generate("my phone battery", max_new_tokens=3)[1] <= 3
    np.testing.assert_allclose(logits, wanted, rtol=1e-3, atol=1e-4)


def test_int8_that_disagrees_is_not_served(shards: Path, tmp_path: Path) -> None:
    """An untrained model with near ties: quantised, it chooses otherwise."""
    source = save_tiny(tmp_path / "model", "qwen2", "answer")
    auto = ExportSettings(task="answer", min_agreement=1.0, **QUICK)
    result = export_model(str(source), str(shards), str(tmp_path / "out"), auto)
    assert result.precision == "fp32"
    assert "int8" not in result.milliseconds
    forced = ExportSettings(task="answer", min_agreement=1.0, precision="int8", **QUICK)
    with pytest.raises(ExportError, match="no int8 graph"):
        export_model(str(source), str(shards), str(tmp_path / "forced"), forced)
    assert not (tmp_path / "forced").exists()


def test_a_graph_of_another_model_is_refused(
    learned: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A graph that says something else fails the gate in every precision; nothing is published."""

    def other(_model: Any, path: Path, *, per_token: bool) -> None:
        write_graph(make_model("bert", "intent"), path, per_token=per_token)

    monkeypatch.setattr(exporting, "write_graph", other)
    out = tmp_path / "out"
    with pytest.raises(ExportError, match="the fp32 graph agrees"):
        export_model(str(learned), str(shards), str(out), ExportSettings(**QUICK))
    assert not out.exists()


def test_a_model_beyond_one_file_is_refused(
    learned: Path, shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(graph, "LARGEST_BYTES", 1000)
    with pytest.raises(InputError, match="serve its directory with vLLM"):
        export_model(str(learned), str(shards), str(tmp_path / "out"), ExportSettings())


def test_exporting_again_replaces_the_graph(learned: Path, shards: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    export_model(str(learned), str(shards), str(first), ExportSettings(precision="fp32", **QUICK))
    export_model(str(first), str(shards), str(second), ExportSettings(precision="int8", **QUICK))
    assert serving_of(second)["precision"] == "int8"
    assert read_model_manifest(second)["task"] == "intent"


def test_what_does_not_fit_is_refused(learned: Path, shards: Path, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    with pytest.raises(InputError, match="'intent'"):
        export_model(str(learned), str(shards), out, ExportSettings(task="answer"))
    with pytest.raises(InputError, match="min_agreement"):
        ExportSettings(min_agreement=0.0)
    stranger = make_model("bert", "intent")
    stranger.config.id2label = {0: "a", 1: "b"}
    (tmp_path / "other").mkdir()
    save_model(stranger, tokenizer_of("bert"), tmp_path / "other", task="intent")
    with pytest.raises(InputError, match="labels are not"):
        export_model(str(tmp_path / "other"), str(shards), out, ExportSettings())

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch

from components.export.graph import write_graph
from components.export.quantise import RECIPES, Recipe, quantise_graph
from tests.components.prune.tiny import make_model

IDS = np.array([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 1, 1, 1]])


def logits(path: Path) -> np.ndarray:
    session = ort.InferenceSession(path)
    return session.run(["logits"], {"input_ids": IDS, "attention_mask": np.ones_like(IDS)})[0]


@pytest.fixture(scope="module", params=["bert", "qwen3"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "fp32.onnx"
    task = "intent" if request.param == "bert" else "answer"
    write_graph(make_model(request.param, task, tied=True), path, per_token=task == "answer")
    return path


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_is_near_and_smaller(plain: Path, tmp_path: Path, recipe: Recipe) -> None:
    target = tmp_path / "int8.onnx"
    quantise_graph(plain, target, recipe)
    wanted, found = logits(plain), logits(target)
    assert np.abs(found - wanted).mean() < 0.05 * wanted.std()
    assert target.stat().st_size < plain.stat().st_size
    weights = {tensor.data_type for tensor in onnx.load(target).graph.initializer}
    assert {onnx.TensorProto.INT8, onnx.TensorProto.UINT8} & weights


def test_blocks_follow_peaked_inputs_more_closely(tmp_path: Path) -> None:
    """One dimension far larger than the others takes the steps of a whole tensor, not a block's."""
    torch.manual_seed(0)
    model = make_model("bert", "intent")
    with torch.no_grad():
        model.bert.embeddings.LayerNorm.weight[3] *= 60
        model.bert.embeddings.LayerNorm.bias[3] += 20
    plain = tmp_path / "fp32.onnx"
    write_graph(model, plain, per_token=False)
    errors = {}
    for recipe in (Recipe("tensor", lookups=False), Recipe("blocks", lookups=False, block=16)):
        quantise_graph(plain, tmp_path / "int8.onnx", recipe)
        errors[recipe.name] = np.abs(logits(tmp_path / "int8.onnx") - logits(plain)).mean()
    assert errors["blocks"] < 0.7 * errors["tensor"]

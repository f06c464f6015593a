from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from onnx import helper, numpy_helper

from components.onnx_graph.graph import write_graph
from components.onnx_graph.lean import lean_classifier
from components.onnx_graph.quantise import RECIPES, Recipe, quantise_graph
from tests.components.slicing.tiny import make_model

IDS = np.array([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 1, 1, 1]])


def logits(path: Path) -> np.ndarray:
    session = ort.InferenceSession(path)
    return session.run(["logits"], {"input_ids": IDS, "attention_mask": np.ones_like(IDS)})[0]


@pytest.fixture(scope="module", params=["bert", "lean", "qwen3"])
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("graph") / "fp32.onnx"
    if request.param == "lean":
        write_graph(lean_classifier(make_model("bert", "intent")), path, per_token=False)
        return path
    task = "intent" if request.param == "bert" else "answer"
    write_graph(make_model(request.param, task, tied=True), path, per_token=task == "answer")
    return path


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.name)
def test_every_recipe_is_near_and_smaller(plain: Path, tmp_path: Path, recipe: Recipe) -> None:
    target = tmp_path / "int8.onnx"
    quantise_graph(plain, target, recipe, lookups=True)
    wanted, found = logits(plain), logits(target)
    assert np.abs(found - wanted).mean() < 0.05 * wanted.std()
    assert weight_bytes(target) < 0.8 * weight_bytes(plain)


def weight_bytes(path: Path) -> int:
    return sum(numpy_helper.to_array(each).nbytes for each in onnx.load(path).graph.initializer)


def test_blocks_follow_peaked_inputs_more_closely(tmp_path: Path) -> None:
    """One input far larger than the others takes the steps of a whole tensor, not of a block."""
    random = np.random.default_rng(0)
    weight = random.normal(size=(60, 8)).astype(np.float32)  # the last block is not full
    inputs = random.normal(size=(5, 60)).astype(np.float32)
    inputs[:, 3] *= 100
    weight[3] /= 100
    errors = {}
    for recipe in (Recipe("tensor"), Recipe("blocks", block=16)):
        plain = product(weight, tmp_path / "fp32.onnx")
        quantise_graph(plain, tmp_path / "int8.onnx", recipe, lookups=False)
        session = ort.InferenceSession(tmp_path / "int8.onnx")
        errors[recipe.name] = np.abs(session.run(["y"], {"x": inputs})[0] - inputs @ weight).mean()
    assert errors["blocks"] < 0.3 * errors["tensor"]


def product(weight: np.ndarray, path: Path) -> Path:
    """A graph of one matrix product, x @ weight."""
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["x", "w"], ["y"], name="product")],
        "graph",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", weight.shape[0]])],
        [helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["rows", weight.shape[1]])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), path)
    return path

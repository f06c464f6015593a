from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from components.export.smoothing import smooth_model
from components.onnx_graph.graph import write_graph
from components.onnx_graph.lean import LeanClassifier, lean_classifier
from components.onnx_graph.quantise import RECIPES, quantise_graph
from serving.runtime import open_session
from tests.components.slicing.tiny import make_model

IDS = torch.tensor([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 0, 0, 0], [4, 3, 0, 0, 0, 0, 0]])
BATCH = {"input_ids": IDS, "attention_mask": (IDS != 0).long()}


@pytest.fixture(scope="module")
def model() -> torch.nn.Module:
    made = make_model("bert", "intent")
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.endswith("bias"):  # fresh models have none, and a lost one would not show
                value.normal_(std=0.1, generator=torch.Generator().manual_seed(len(name)))
            elif value.dim() == 2:
                value.mul_(4)  # so that texts matter beside these
    return made.eval()


@torch.no_grad()
def test_the_leading_token_alone_says_the_same(model: torch.nn.Module) -> None:
    wanted = model(**BATCH).logits
    torch.testing.assert_close(lean_classifier(model)(**BATCH).logits, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(**BATCH).logits, wanted, atol=0, rtol=0)


@torch.no_grad()
def test_it_says_the_same_when_it_is_smoothed(model: torch.nn.Module) -> None:
    lean = smooth_model(lean_classifier(model), [BATCH])
    smoothed = [each.joined.inverse is not None for each in lean.attentions]
    assert smoothed and all(smoothed)
    torch.testing.assert_close(lean(**BATCH).logits, model(**BATCH).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_its_graph_says_the_same_of_any_batch_and_has_fewer_nodes(
    model: torch.nn.Module, tmp_path: Path
) -> None:
    lean, whole = tmp_path / "lean.onnx", tmp_path / "whole.onnx"
    write_graph(lean_classifier(model), lean, per_token=False)
    write_graph(model, whole, per_token=False)
    session = open_session(lean)
    for rows, tokens in ((3, 7), (1, 7), (2, 4)):
        batch = {name: value[:rows, :tokens] for name, value in BATCH.items()}
        found = session.run(None, {name: value.numpy() for name, value in batch.items()})[0]
        np.testing.assert_allclose(found, model(**batch).logits.numpy(), atol=1e-4)
    nodes = [len(onnx.load(path).graph.node) for path in (lean, whole)]
    assert nodes[0] < 0.6 * nodes[1]


@torch.no_grad()
def test_its_attention_is_in_8_bits_and_reads_no_padding(
    model: torch.nn.Module, tmp_path: Path
) -> None:
    plain, small = tmp_path / "fp32.onnx", tmp_path / "int8.onnx"
    write_graph(lean_classifier(model), plain, per_token=False)
    quantise_graph(plain, small, RECIPES[0], lookups=False)
    assert "QAttention" in {node.op_type for node in onnx.load(small).graph.node}
    session = open_session(small)

    def logits(ids: torch.Tensor, mask: torch.Tensor) -> np.ndarray:
        return session.run(None, {"input_ids": ids.numpy(), "attention_mask": mask.numpy()})[0]

    found, wanted = logits(IDS, BATCH["attention_mask"]), model(**BATCH).logits.numpy()
    far = np.abs(wanted[0] - wanted[1]).max()
    assert np.abs(found - wanted).max() < 0.3 * far
    # The padding has other ids, which a lost mask would let through.
    other = torch.where(IDS == 0, 45, IDS)
    padded = logits(other, BATCH["attention_mask"])
    assert np.abs(padded - found).max() < 0.3 * far
    assert np.abs(logits(other, torch.ones_like(IDS)) - found).max() > 0.5 * far


def test_a_model_of_another_kind_stays_as_it_is() -> None:
    for other in (make_model("llama", "intent"), make_model("qwen2", "answer")):
        assert lean_classifier(other) is other
    assert isinstance(lean_classifier(make_model("bert", "intent")), LeanClassifier)

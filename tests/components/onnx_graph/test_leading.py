from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from components.export.smoothing import smooth_model
from components.onnx_graph.graph import write_graph
from components.onnx_graph.leading import LeadingClassifier, leading_only
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
                value.normal_(generator=torch.Generator().manual_seed(len(name)))
    return made.eval()


@torch.no_grad()
def test_the_leading_token_alone_says_the_same(model: torch.nn.Module) -> None:
    wanted = model(**BATCH).logits
    torch.testing.assert_close(leading_only(model)(**BATCH).logits, wanted, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(model(**BATCH).logits, wanted, atol=0, rtol=0)


@torch.no_grad()
def test_it_says_the_same_when_it_is_smoothed(model: torch.nn.Module) -> None:
    lean = smooth_model(leading_only(model), [BATCH])
    torch.testing.assert_close(lean(**BATCH).logits, model(**BATCH).logits, atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_its_graph_says_the_same_of_any_batch_and_has_fewer_nodes(
    model: torch.nn.Module, tmp_path: Path
) -> None:
    lean, whole = tmp_path / "lean.onnx", tmp_path / "whole.onnx"
    write_graph(leading_only(model), lean, per_token=False)
    write_graph(model, whole, per_token=False)
    session = open_session(lean)
    for rows, tokens in ((3, 7), (1, 7), (2, 4)):
        batch = {name: value[:rows, :tokens] for name, value in BATCH.items()}
        found = session.run(None, {name: value.numpy() for name, value in batch.items()})[0]
        np.testing.assert_allclose(found, model(**batch).logits.numpy(), atol=1e-4)
    nodes = [len(onnx.load(path).graph.node) for path in (lean, whole)]
    assert nodes[0] < 0.9 * nodes[1]


def test_a_model_of_another_kind_stays_as_it_is() -> None:
    for other in (make_model("llama", "intent"), make_model("qwen2", "answer")):
        assert leading_only(other) is other
    assert isinstance(leading_only(make_model("bert", "intent")), LeadingClassifier)

import copy

import pytest
import torch

from components.export.smoothing import SmoothedLinear, smooth_model
from tests.components.slicing.tiny import logits_of, make_model

IDS = torch.tensor([[9, 12, 20, 40, 33, 18, 50], [5, 7, 8, 20, 0, 0, 0]])
MASK = torch.tensor([[1] * 7, [1] * 4 + [0] * 3])
BATCH = {"input_ids": IDS, "attention_mask": MASK}
PEAKED = 30.0


def peaked(family: str, task: str) -> torch.nn.Module:
    """A model with one hidden dimension far larger than the others, as grown ones have."""
    model = make_model(family, task, tied=True)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if "norm" in name.lower() and weight.shape == (32,):
                weight[5] *= PEAKED
    return model


@pytest.mark.parametrize(
    ("family", "task"),
    [("bert", "intent"), ("llama", "intent"), ("qwen2", "answer"), ("qwen3", "answer")],
)
def test_it_says_the_same_with_flatter_inputs(family: str, task: str) -> None:
    model = peaked(family, task)
    before = copy.deepcopy(model.state_dict())
    smooth = smooth_model(model, [BATCH])
    torch.testing.assert_close(logits_of(smooth, IDS), logits_of(model, IDS), rtol=1e-3, atol=1e-3)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert spread(smooth) < 0.4 * spread(model)


def spread(model: torch.nn.Module) -> float:
    """Largest ratio, over linear layers, of the largest to the median peak of their inputs."""
    ratios = []

    def read(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        scale = module.inverse if isinstance(module, SmoothedLinear) else 1.0
        peak = (inputs[0].detach() * scale).abs().flatten(0, -2).amax(0)
        ratios.append(float(peak.max() / peak.median()))

    hooks = [
        module.register_forward_pre_hook(read)
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Linear | SmoothedLinear) and "lm_head" not in name
    ]
    logits_of(model, IDS)
    for hook in hooks:
        hook.remove()
    return max(ratios)


def test_layers_that_read_the_same_divide_once() -> None:
    smooth = smooth_model(make_model("bert", "intent"), [BATCH])
    attention = smooth.bert.encoder.layer[0].attention.self
    assert attention.query.inverse is attention.key.inverse is attention.value.inverse
    assert attention.query.inverse is not smooth.bert.encoder.layer[1].attention.self.query.inverse


def test_a_shared_head_stays_shared() -> None:
    smooth = smooth_model(make_model("qwen3", tied=True), [BATCH])
    assert smooth.lm_head.weight is smooth.model.embed_tokens.weight


def test_padding_is_not_measured() -> None:
    model = make_model("llama", "intent")
    other = {**BATCH, "input_ids": IDS * MASK + 7 * (1 - MASK)}
    first, second = smooth_model(model, [BATCH]), smooth_model(model, [other])
    for name, value in first.state_dict().items():
        torch.testing.assert_close(value, second.state_dict()[name])

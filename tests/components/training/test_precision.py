import pytest
import torch

from components.training.precision import check_precision, fastest, in_precision, probe_precision
from kg_schema.errors import InputError

CPU = torch.device("cpu")


def test_half_precision_is_taken_only_where_it_is_faster() -> None:
    assert fastest({"fp32": 10.0, "bf16": 4.0}) == "bf16"
    assert fastest({"fp32": 10.0, "bf16": 10.0}) == "fp32"
    assert fastest({"fp32": 10.0, "fp16": 11.0}) == "fp32"


def test_the_probe_times_both_formats_in_turn() -> None:
    seen: list[str] = []
    times = probe_precision(seen.append, CPU)
    assert seen[:4] == ["fp32", "bf16", "fp32", "bf16"]
    assert set(times) == {"fp32", "bf16"}


def test_matrix_products_run_in_the_format() -> None:
    square = torch.ones(4, 4)
    with in_precision("bf16", CPU):
        assert (square @ square).dtype == torch.bfloat16
    with in_precision("fp32", CPU):
        assert (square @ square).dtype == torch.float32


def test_fp16_needs_cuda() -> None:
    with pytest.raises(InputError, match="CUDA"):
        check_precision("fp16", CPU)
    check_precision("bf16", CPU)

from pathlib import Path
from typing import Any

import pytest

from components.model_dir import read_compression
from components.prune import targets
from components.prune.latency import time_sizes
from components.prune.pruning import PruneSettings, prune_model
from components.prune.targets import take_aim
from components.slicing.planning import Counts, count_left, count_parts
from components.slicing.slicer import Shape
from kg_schema.errors import InputError
from tests.components.slicing.tiny import make_model, make_shards, save_tiny

FLOOR = {"layers": 0.25, "channels": 0.25, "multiple": 8, "vocabulary": 0}


def share_gone(model: Any, settings: PruneSettings, depth: float, words: int) -> float:
    counts = count_parts("bert", Shape.of(model.config), settings.size.part_way(depth))
    return 1 - count_left(model, counts, words) / sum(each.numel() for each in model.parameters())


def test_the_largest_size_that_cuts_enough_is_taken() -> None:
    model = make_model("bert", "intent")
    words = range(model.config.vocab_size)
    settings = PruneSettings(**FLOOR, target_cut=0.4)
    aim = take_aim(model, words, settings)
    assert 0 < aim.depth < 1
    assert share_gone(model, settings, aim.depth, len(words)) >= 0.4
    assert share_gone(model, settings, aim.depth - 0.01, len(words)) < 0.4
    assert aim.told["target"] == {"cut": 0.4, "depth": aim.depth}


def test_a_smaller_vocabulary_counts_towards_the_cut() -> None:
    model = make_model("bert", "intent")
    aim = take_aim(model, range(10), PruneSettings(**FLOOR, target_cut=0.05))
    assert aim.depth == 0.0


def test_no_target_is_the_size_itself() -> None:
    assert take_aim(make_model("bert", "intent"), (), PruneSettings()).depth == 1.0


def test_a_cut_beyond_the_floor_is_refused() -> None:
    model = make_model("bert", "intent")
    with pytest.raises(InputError, match=r"target_cut 0.99: the smallest size is without \d\d"):
        take_aim(model, range(model.config.vocab_size), PruneSettings(**FLOOR, target_cut=0.99))


def timed(sizes: list[Counts], speedups: list[float]) -> list[dict[str, Any]]:
    return [{"speedup": each} for _, each in zip(sizes, speedups, strict=True)]


def test_the_largest_size_that_is_fast_enough_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        targets,
        "time_sizes",
        lambda _model, sizes, *_, **__: timed(sizes, [1 + at / 2 for at in range(len(sizes))]),
    )
    model = make_model("bert", "intent")
    aim = take_aim(model, range(50), PruneSettings(**FLOOR, target_speedup=2.0))
    assert 0 < aim.depth < 1
    assert aim.told["target"] == {"speedup": 2.0, "depth": aim.depth}
    assert aim.told["latency_conditions"]["tokens"] == 32
    assert aim.told["latency_conditions"]["precision"] == "int8"
    with pytest.raises(InputError, match=r"target_speedup 99: the smallest size is \d.\d+ times"):
        take_aim(model, range(50), PruneSettings(**FLOOR, target_speedup=99))


def test_a_row_longer_than_the_positions_is_refused() -> None:
    settings = PruneSettings(
        **FLOOR, target_speedup=2.0, positions=16, max_length=16, latency_tokens=17
    )
    with pytest.raises(InputError, match="latency_tokens is 17, and 16 positions"):
        take_aim(make_model("bert", "intent"), range(50), settings)


@pytest.mark.parametrize(("family", "task"), [("bert", "intent"), ("qwen3", "answer")])
def test_sizes_are_timed_beside_the_whole_model(family: str, task: str) -> None:
    model = make_model(family, task)
    counts = [Counts(4, 4, 64, 32, 64), Counts(1, 1, 8, 16, 64)]
    if family != "bert":
        counts = [Counts(4, 2, 64, 32, 0), Counts(1, 1, 8, 16, 0)]
    else:
        counts[1] = Counts(1, 2, 8, 16, 64)
    whole, small = time_sizes(model, counts, range(40), 8, per_token=task == "answer")
    assert (small["layers"], small["channels"], small["hidden"]) == (1, 8, 16)
    assert small["parameters"] < whole["parameters"]
    for row in (whole, small):
        assert row["speedup"] == pytest.approx(row["whole_ms"] / row["ms"], abs=1e-3)
    assert small["speedup"] > whole["speedup"]


def test_compression_tells_the_table(tmp_path: Path) -> None:
    shards, teacher = make_shards(tmp_path), save_tiny(tmp_path / "teacher", "bert", "intent")
    settings = PruneSettings(**FLOOR, target_speedup=1.2, max_length=32, recovery_epochs=0)
    out = tmp_path / "out"
    result = prune_model(str(teacher), str(shards), str(out), settings, str(tmp_path / "kept"))
    told = read_compression(out)
    taken = next(each for each in told["latency_table"] if each["speedup"] >= 1.2)
    assert len(result.kept_layers) == taken["layers"]
    assert result.kept["channels"] == taken["channels"]
    assert result.after["total"] == taken["parameters"]
    assert told["latency_conditions"]["threads"] == 1


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"score": "best"}, "score is 'best'; use one of activation, taylor, magnitude, random"),
        ({"rounds": 0}, "rounds is 0"),
        ({"round_epochs": -1}, "round_epochs is -1"),
        ({"max_loss_points": -0.1}, "max_loss_points is -0.1"),
        ({"target_cut": 1.0}, "target_cut is 1.0; use a share below 1"),
        ({"target_speedup": 0.5}, "target_speedup is 0.5; use more than 1"),
        ({"target_cut": 0.5, "target_speedup": 2.0}, "both target_cut and target_speedup"),
        ({"latency_tokens": 0}, "latency_tokens is 0"),
    ],
)
def test_settings_out_of_range_are_refused(wrong: dict[str, object], said: str) -> None:
    with pytest.raises(InputError, match=said):
        PruneSettings(**wrong)

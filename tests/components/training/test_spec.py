import json
from dataclasses import replace
from pathlib import Path

import pytest

from components.training import Distillation, Lora, TrainSpec, read_spec, write_spec
from kg_schema.errors import InputError

SPEC = TrainSpec(task="intent", model_dir="m", shards="s", out="o", checkpoints="c")


def test_a_spec_travels_as_json(tmp_path: Path) -> None:
    spec = replace(
        SPEC,
        teacher="t",
        lora=Lora(targets=("query", "value")),
        distillation=Distillation(layer_map=((1, 3), (2, 6))),
        compression={"parent": "abc"},
        lineage={"base_model": "minilm"},
    )
    write_spec(spec, tmp_path / "spec.json")
    assert read_spec(tmp_path / "spec.json") == spec


def test_a_setting_nobody_reads_is_refused(tmp_path: Path) -> None:
    write_spec(SPEC, tmp_path / "spec.json")
    row = json.loads((tmp_path / "spec.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps({**row, "learning_rte": 1}))
    with pytest.raises(InputError, match="learning_rte"):
        read_spec(tmp_path / "spec.json")
    with pytest.raises(InputError):
        read_spec(tmp_path / "nowhere.json")


@pytest.mark.parametrize(
    "wrong",
    [
        {"task": "translate"},
        {"precision": "fp8"},
        {"epochs": 0},
        {"learning_rate": 0.0},
        {"batch_size": 33},
        {"distillation": Distillation()},
        {"trainer": "trainjob://deskgraph/torch", "teacher": "t"},
        {"distillation": Distillation(temperature=0.0), "teacher": "t"},
        {"distillation": Distillation(augment=-1), "teacher": "t"},
        {"distillation": Distillation(augment=1, soft_weight=0.0), "teacher": "t"},
        {"distillation": Distillation(augment=1), "teacher": "t", "task": "answer"},
        {"distillation": Distillation(probe=1.5, base_model="b"), "teacher": "t"},
        {"distillation": Distillation(probe=0.5), "teacher": "t"},
        {"distillation": Distillation(probe=0.5, base_model="b"), "teacher": "t", "task": "answer"},
    ],
)
def test_settings_that_cannot_train_are_bad_input(wrong) -> None:
    with pytest.raises(InputError):
        replace(SPEC, **wrong)

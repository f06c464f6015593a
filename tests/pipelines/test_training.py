"""The compiled DAG: what a person meets on the pipelines page, and what the pods get."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.distill import DistillSettings
from components.export.settings import ExportSettings
from components.finetune import FinetuneSettings
from components.prune.settings import PruneSettings
from components.stage import parse_settings
from kg_schema.errors import InputError
from pipelines.local import planned_steps
from pipelines.packages import compile_package
from pipelines.placement import load_profile, profile_names

Spec = dict[str, Any]

STEPS = {
    "fingerprint", "load-graph", "shard", "finetune", "prune", "prune-small", "distill",
    "distill-pruned", "export-teacher", "export-pruned", "export-distilled",
    "export-pruned-distilled", "evaluate", "select", "evaluate-answers", "report", "register",
    "deploy",
}  # fmt: skip


@pytest.fixture(scope="module", params=profile_names())
def compiled(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("compiled") / f"{request.param}.yaml"
    compile_package("training", load_profile(request.param), out)
    return out


def documents(path: Path) -> tuple[Spec, Spec]:
    spec, *platform = yaml.safe_load_all(path.read_text(encoding="utf-8"))
    return spec, platform[0] if platform else {}


def tasks_of(spec: Spec, component: str) -> list[Spec]:
    dags = [spec["root"], *spec["components"].values()]
    tasks = [task for part in dags for task in part.get("dag", {}).get("tasks", {}).values()]
    return [task for task in tasks if _component(task) == component]


def test_the_road_has_all_its_stages(compiled: Path) -> None:
    steps = planned_steps(compiled, with_graph=True)
    assert set(steps.values()) == STEPS
    without = planned_steps(compiled, with_graph=False)
    assert set(without.values()) - set(steps.values()) == {"no-graph"}
    assert set(steps.values()) - set(without.values()) == {"load-graph"}


def test_what_must_not_be_cached_is_not_and_no_key_is_custom(compiled: Path) -> None:
    spec, _ = documents(compiled)
    dags = [spec["root"]["dag"]]
    dags += [each["dag"] for each in spec["components"].values() if "dag" in each]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}
    uncached = {n for n, t in tasks.items() if not t.get("cachingOptions", {}).get("enableCache")}
    executed = {n for n, t in tasks.items() if "dag" not in spec["components"][_component(t)]}
    assert uncached & executed == {"fingerprint", "load-graph", "register", "deploy"}
    assert not any("cacheKey" in task.get("cachingOptions", {}) for task in tasks.values())


def test_every_cached_stage_is_keyed_by_the_code(compiled: Path) -> None:
    spec, _ = documents(compiled)
    for name, task in spec["root"]["dag"]["tasks"].items():
        executes = "dag" not in spec["components"][_component(task)]
        if executes and task.get("cachingOptions", {}).get("enableCache"):
            parameters = task["inputs"]["parameters"]
            assert parameters["code"]["taskOutputParameter"]["outputParameterKey"] == "code", name


def _component(task: Spec) -> str:
    return str(task["componentRef"]["name"])


def test_the_package_carries_exactly_the_profiles_placement(tmp_path: Path) -> None:
    profile = load_profile("cluster")
    compile_package("training", profile, tmp_path / "cluster.yaml")
    spec, platform = documents(tmp_path / "cluster.yaml")
    executors = spec["deploymentSpec"]["executors"]
    placed = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
    for label, executor in executors.items():
        stage = label.removeprefix("exec-").rstrip("-0123456789").replace("-", "_")
        stage = {"distill_into": "distill"}.get(stage, stage)
        given = profile.resources(stage)
        assert given is not None
        container = executor["container"]
        assert container["resources"]["resourceCpuLimit"] == given.cpu
        assert container["resources"]["resourceMemoryLimit"] == given.memory
        mine = placed.get(label, {})
        wanted = {name for name, secret in profile.secrets.items() if stage in secret.stages}
        assert {s["secretName"] for s in mine.get("secretAsEnv", [])} == wanted
        variables = {entry["name"]: entry["value"] for entry in container.get("env", [])}
        assert variables == profile.environment
        (task,) = tasks_of(spec, label.replace("exec-", "comp-", 1))
        again = task.get("retryPolicy", {})
        assert again.get("maxRetryCount", 0) == given.retries
        assert again.get("backoffDuration") == (f"{given.retry_after_s}s" if again else None)


@pytest.mark.parametrize("task", ["intent", "answer"])
@pytest.mark.parametrize("name", profile_names())
def test_a_profiles_settings_are_their_stages_own_for_either_task(name: str, task: str) -> None:
    kinds = {
        "finetune": FinetuneSettings,
        "prune": PruneSettings,
        "prune_small": PruneSettings,
        "distill": DistillSettings,
        "distill_pruned": DistillSettings,
        "export": ExportSettings,
    }
    given = load_profile(name).settings
    for stage, kind in kinds.items():
        assert parse_settings(kind, given.get(stage, {}), task=task).task == task


def test_a_laptop_says_what_it_ignores() -> None:
    assert load_profile("cluster").ignored_locally() == ["placement", "secrets"]
    assert load_profile("local").ignored_locally() == []


def test_a_profile_that_does_not_fit_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("description: x\nplacment: {}\n")
    with pytest.raises(InputError, match="placment") as error:
        load_profile(str(path))
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="cluster, demo, gpu, local"):
        load_profile("laptop")

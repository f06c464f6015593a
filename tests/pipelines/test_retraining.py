"""The compiled retraining package: training inside a condition, placed and described like it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from components.select.selection import SelectSettings
from components.stage import parse_settings
from pipelines.local import planned_steps
from pipelines.packages import compile_package
from pipelines.placement import load_profile

Spec = dict[str, Any]
OWN = {"detect-change", "conclude"}
NEVER_CACHED = {"fingerprint", "load-graph", "register", "deploy"} | OWN


def compiled(pipeline: str, folder: Path, profile: str = "cluster") -> tuple[Path, Spec, Spec]:
    path = folder / f"{pipeline}.yaml"
    compile_package(pipeline, load_profile(profile), path)
    spec, *platform = yaml.load_all(path.read_text(encoding="utf-8"), yaml.CSafeLoader)
    return path, spec, platform[0] if platform else {}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Spec, Spec]]:
    folder = tmp_path_factory.mktemp("packages")
    return {name: compiled(name, folder) for name in ("training", "retraining")}


def parameters(spec: Spec) -> Spec:
    found: Spec = spec["root"]["inputDefinitions"]["parameters"]
    return found


def test_it_takes_what_training_takes_and_its_own(both: Any) -> None:
    (_, training, _), (_, retraining, _) = both["training"], both["retraining"]
    taken, own = parameters(training), parameters(retraining)
    assert own.keys() - taken.keys() == {"traffic", "detect_settings"}
    differ = {name for name in taken if taken[name] != own[name]}
    assert differ == {"select_settings"}
    for name, parameter in own.items():
        assert len(parameter.get("description", "")) > 20, name
        assert parameter.get("isOptional") and "defaultValue" in parameter, name


def test_what_serves_stays_unless_the_candidate_is_better(both: Any) -> None:
    default = parameters(both["retraining"][1])["select_settings"]["defaultValue"]
    assert parse_settings(SelectSettings, default).replace_equal is False
    assert parse_settings(SelectSettings, {}).replace_equal is True


def test_training_runs_only_inside_the_condition(both: Any) -> None:
    _, spec, _ = both["retraining"]
    assert spec["pipelineInfo"]["name"] == "deskgraph-retraining"
    root = spec["root"]["dag"]["tasks"]
    assert len(root) == 2
    (branch,) = (task for name, task in root.items() if name != "detect-change")
    assert "detect-change-Output'] == 'true'" in branch["triggerPolicy"]["condition"]
    inner = spec["components"][branch["componentRef"]["name"]]["dag"]["tasks"]
    assert inner.keys() == {"deskgraph-training", "conclude"}
    assert inner["conclude"]["dependentTasks"] == ["deskgraph-training"]
    given = inner["conclude"]["inputs"]["parameters"]
    passed_on = {"gate": "gate", "gate_reason": "reason", "candidate": "content_sha256"}
    for name, source in passed_on.items():
        told = given[name]["taskOutputParameter"]
        assert (told["producerTask"], told["outputParameterKey"]) == ("deskgraph-training", source)


def test_its_steps_are_trainings_and_two_more(both: Any) -> None:
    (training, _, _), (retraining, _, _) = both["training"], both["retraining"]
    steps = planned_steps(retraining, with_graph=True)
    assert set(steps.values()) == set(planned_steps(training, with_graph=True).values()) | OWN


def test_nothing_is_cached_that_must_not_be(both: Any) -> None:
    _, spec, _ = both["retraining"]
    dags = [spec["root"]["dag"], *(c["dag"] for c in spec["components"].values() if "dag" in c)]
    tasks = {name: task for dag in dags for name, task in dag["tasks"].items()}
    executed = {
        name: task
        for name, task in tasks.items()
        if "executorLabel" in spec["components"][task["componentRef"]["name"]]
    }
    uncached = {
        name for name, task in executed.items() if not task["cachingOptions"].get("enableCache")
    }
    assert uncached == NEVER_CACHED


def test_every_pod_is_placed_as_in_training(both: Any) -> None:
    (_, training, mine), (_, retraining, platform) = both["training"], both["retraining"]

    def placed(spec: Spec, platform: Spec) -> dict[str, Any]:
        kubernetes = platform["platforms"]["kubernetes"]["deploymentSpec"]["executors"]
        return {
            label: (
                executor["container"]["image"],
                executor["container"]["resources"],
                kubernetes.get(label, {}),
            )
            for label, executor in spec["deploymentSpec"]["executors"].items()
        }

    before, now = placed(training, mine), placed(retraining, platform)
    assert {label: now[label] for label in before} == before
    assert now.keys() - before.keys() == {f"exec-{step}" for step in OWN}
    profile = load_profile("cluster")
    for stage in ("detect_change", "conclude"):
        given = profile.resources(stage)
        assert given is not None and given != profile.resources("default")
        _, resources, kubernetes = now[f"exec-{stage.replace('_', '-')}"]
        assert resources["resourceMemoryLimit"] == given.memory
        secrets = {each["secretName"] for each in kubernetes.get("secretAsEnv", [])}
        wanted = {name for name, secret in profile.secrets.items() if stage in secret.stages}
        assert secrets == wanted
    assert {each["secretName"] for each in now["exec-detect-change"][2]["secretAsEnv"]} == {
        "deskgraph-graph",
        "deskgraph-object-store",
    }

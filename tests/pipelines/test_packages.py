"""A package for Kubeflow: its form on the page, and the same as Kubernetes objects."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from components.image import IMAGE_VARIABLE
from kg_schema.errors import InputError
from pipelines.cli import main
from pipelines.packages import PIPELINES, compile_objects, compile_package, read_package
from pipelines.placement import Profile, load_profile
from tests.crd_schemas import crd_validator

Documents = list[dict[str, Any]]
GROUP = "pipelines.kubeflow.org"
# What the page has a field for.
TYPES = {"STRING", "BOOLEAN", "NUMBER_INTEGER", "NUMBER_DOUBLE", "LIST", "STRUCT"}


@pytest.fixture(scope="module")
def profile() -> Profile:
    return load_profile("cluster").model_copy(update={"image": "deskgraph/train:sha-0"})


@pytest.fixture(scope="module", params=sorted(PIPELINES))
def package(
    request: pytest.FixtureRequest, profile: Profile, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    out = tmp_path_factory.mktemp("package") / f"{request.param}.yaml"
    compile_package(request.param, profile, out)
    return out


def documents(path: Path) -> Documents:
    return list(yaml.safe_load_all(path.read_text(encoding="utf-8")))


def test_every_parameter_is_described_typed_and_has_a_default(package: Path) -> None:
    parameters = documents(package)[0]["root"]["inputDefinitions"]["parameters"]
    assert parameters
    for name, parameter in parameters.items():
        assert len(parameter.get("description", "")) > 20, name
        assert parameter["parameterType"] in TYPES, name
        assert parameter.get("isOptional"), name
        assert "defaultValue" in parameter, name


def test_every_step_runs_in_the_profiles_image_and_is_told_so(
    package: Path, profile: Profile
) -> None:
    executors = documents(package)[0]["deploymentSpec"]["executors"]
    assert {each["container"]["image"] for each in executors.values()} == {profile.image}
    told = [
        {e["name"]: e["value"] for e in each["container"]["env"]} for each in executors.values()
    ]
    assert {each[IMAGE_VARIABLE] for each in told} == {profile.image}


def test_the_objects_hold_what_the_package_holds(
    package: Path, profile: Profile, tmp_path: Path
) -> None:
    out = tmp_path / "objects.yaml"
    version = read_package(package).object_name
    compile_objects(package.stem, profile, out, version=version, namespace="ml")
    spec, platform = documents(package)
    pipeline, made = documents(out)
    name = spec["pipelineInfo"]["name"]
    assert (pipeline["kind"], pipeline["metadata"]) == (
        "Pipeline",
        {"name": name, "namespace": "ml"},
    )
    assert (made["kind"], made["metadata"]) == (
        "PipelineVersion",
        {"name": version, "namespace": "ml"},
    )
    assert made["spec"]["pipelineName"] == name
    assert made["spec"]["pipelineSpec"] == spec
    assert made["spec"]["platformSpec"] == platform
    assert {each["apiVersion"] for each in (pipeline, made)} == {f"{GROUP}/v2beta1"}


def test_a_versions_name_is_its_content(package: Path, tmp_path: Path) -> None:
    name = read_package(package).object_name
    assert re.fullmatch(r"deskgraph-[a-z]+-sha-[0-9a-f]{12}", name)
    same, other = tmp_path / "same.yaml", tmp_path / "other.yaml"
    text = package.read_text(encoding="utf-8")
    same.write_text("# another order of the inputs\n" + text, encoding="utf-8")
    other.write_text(text.replace("deskgraph/train:sha-0", "deskgraph/train:sha-1"))
    assert read_package(same).object_name == name
    assert read_package(other).object_name != name


@pytest.mark.skipif(
    not os.environ.get("DESKGRAPH_CRDS"), reason="DESKGRAPH_CRDS names no folder of schemas"
)
def test_the_objects_are_what_the_schemas_allow(
    package: Path, profile: Profile, tmp_path: Path
) -> None:
    out = tmp_path / "objects.yaml"
    version = read_package(package).object_name
    compile_objects(package.stem, profile, out, version=version, namespace="ml")
    for each in documents(out):
        schema = crd_validator(each["apiVersion"], each["kind"])
        assert schema is not None
        assert not list(schema.iter_errors(each))
        each["spec"]["displayname"] = "a typing error"
        assert list(schema.iter_errors(each))


def test_an_unknown_pipeline_is_one_line(profile: Profile, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no pipeline 'trainning'; use one of"):
        compile_package("trainning", profile, tmp_path / "p.yaml")


def test_the_command_writes_both(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, objects = tmp_path / "p.yaml", tmp_path / "o.yaml"
    given = ["--image", "registry.example/train@sha256:0", "--objects", str(objects)]
    assert main(["compile", "--out", str(out), *given]) == 0
    version = documents(objects)[1]["metadata"]
    assert version == {"name": read_package(out).object_name, "namespace": "kubeflow"}
    said = capsys.readouterr().out
    assert version["name"] in said
    assert "registry.example/train@sha256:0" in said

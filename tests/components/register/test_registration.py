import json
from pathlib import Path

import pytest

from components.digests import digest_labels
from components.register import registration
from components.register.registration import register_model
from components.registry import (
    CANDIDATE,
    CHAMPION,
    PREVIOUS,
    ModelRegistry,
    RegistryError,
    champion_location,
)
from kg_schema.errors import InputError
from serving.manifest import ManifestError, content_sha256, verify_manifest
from tests.serving.tiny_models import LABELS, intent_model

NAME = "deskgraph-intent-tiny"
LINEAGE = {"code": "c0de", "tickets": "71c3", "graph": ""}


@pytest.fixture(scope="module")
def empty_registry(tmp_path_factory):
    """A registry's database with its tables: MLflow takes seconds to make them."""
    database = tmp_path_factory.mktemp("registry") / "mlflow.db"
    ModelRegistry(f"sqlite:///{database}").names()
    return database.read_bytes()


@pytest.fixture
def uri(empty_registry, tmp_path):
    database = tmp_path / "registry folder" / "mlflow.db"
    database.parent.mkdir()
    database.write_bytes(empty_registry)
    return f"sqlite:///{database}"


@pytest.fixture
def selection(tmp_path):
    folder = tmp_path / "selection"
    folder.mkdir()
    content = {"winner": "pruned", "gate": True, "rows": [1], "pruned": {"accuracy": 0.93}}
    (folder / "selection.json").write_text(json.dumps(content))
    return str(folder)


@pytest.fixture
def models(tmp_path):
    return [str(intent_model(tmp_path / f"model-{note}", note=note)) for note in "ab"]


def test_a_model_becomes_champion_with_files_numbers_and_lineage(uri, selection, models):
    done = register_model(models[0], selection, uri, NAME, LINEAGE)
    assert (done.version, done.created) == ("1", True)
    copied = Path(done.location)
    assert copied.is_relative_to(Path(uri.removeprefix("sqlite:///")).parent / "artifacts")
    assert content_sha256(verify_manifest(copied, "model")) == done.content_sha256
    registry = ModelRegistry(uri)
    champion = registry.with_alias(NAME, CHAMPION)
    assert champion.location == done.location == champion_location(uri, NAME)
    assert champion.tags["code"] == "c0de"
    assert champion.tags["task"] == "intent"
    assert champion.tags["parameters.total"] == "24"
    assert champion.tags["labels"] == "3"
    assert "graph" not in champion.tags
    run = registry.client.get_run(champion.run_id)
    assert run.data.metrics == {"pruned.accuracy": 0.93}
    assert run.info.status == "FINISHED"


def test_the_same_content_twice_is_the_same_version(uri, selection, models):
    first = register_model(models[0], selection, uri, NAME, LINEAGE)
    again = register_model(models[0], selection, uri, NAME, LINEAGE)
    assert (again.version, again.created) == (first.version, False)
    assert len(ModelRegistry(uri).versions(NAME)) == 1
    assert ModelRegistry(uri).with_alias(NAME, PREVIOUS) is None


def test_cards_lie_beside_the_model_and_the_intents_are_digested(uri, selection, models, tmp_path):
    (tmp_path / "written").write_text("# Model card")
    done = register_model(
        models[0], selection, uri, NAME, LINEAGE, cards={"model_card.md": str(tmp_path / "written")}
    )
    registry = ModelRegistry(uri)
    champion = registry.with_alias(NAME, CHAMPION)
    card = Path(registry.artifact(champion, "model_card.md"))
    assert card.read_text() == "# Model card"
    assert card.parent == Path(done.location).parent
    assert champion.tags["intents"] == digest_labels(["warranty_length", *LABELS])
    with pytest.raises(InputError, match="no such file"):
        register_model(models[1], selection, uri, NAME, LINEAGE, cards={"x": str(tmp_path / "no")})
    assert len(registry.versions(NAME)) == 1


def test_a_new_champion_leaves_the_old_one_as_previous(uri, selection, models):
    first, second = (register_model(each, selection, uri, NAME, LINEAGE) for each in models)
    registry = ModelRegistry(uri)
    assert registry.with_alias(NAME, CHAMPION).version == second.version == "2"
    assert registry.with_alias(NAME, PREVIOUS).version == first.version == "1"
    back = register_model(models[0], selection, uri, NAME, LINEAGE)
    assert (back.version, back.created) == ("1", False)
    assert registry.with_alias(NAME, CHAMPION).version == "1"
    assert registry.with_alias(NAME, PREVIOUS).version == "2"


@pytest.mark.parametrize("step", ["_ensure_model", "promote"])
def test_an_interrupted_registration_keeps_the_champion_and_can_be_repeated(
    uri, selection, models, step, monkeypatch
):
    register_model(models[0], selection, uri, NAME, LINEAGE)

    def interrupt(*arguments):
        raise KeyboardInterrupt

    where = ModelRegistry if step == "promote" else registration
    with monkeypatch.context() as patch:
        patch.setattr(where, step, interrupt)
        with pytest.raises(KeyboardInterrupt):
            register_model(models[1], selection, uri, NAME, LINEAGE)
    assert ModelRegistry(uri).with_alias(NAME, CHAMPION).version == "1"
    done = register_model(models[1], selection, uri, NAME, LINEAGE)
    assert done.version == "2"
    assert len(ModelRegistry(uri).versions(NAME)) == 2


def test_what_is_to_be_deployed_is_candidate_until_it_serves(uri, selection, models):
    register_model(models[0], selection, uri, NAME, LINEAGE)
    target = {"deploy_target": "http://127.0.0.1:1"}
    done = register_model(models[1], selection, uri, NAME, LINEAGE, **target)
    registry = ModelRegistry(uri)
    assert registry.version(NAME, done.version).aliases == (CANDIDATE,)
    assert registry.with_alias(NAME, CHAMPION).version == "1"
    registry.promote(NAME, done.version)
    assert registry.version(NAME, done.version).aliases == (CHAMPION,)
    assert registry.with_alias(NAME, PREVIOUS).version == "1"
    register_model(models[1], selection, uri, NAME, LINEAGE, **target)
    assert registry.with_alias(NAME, CANDIDATE) is None
    with pytest.raises(InputError, match="no version 9"):
        registry.version(NAME, "9")


def test_models_of_other_data_do_not_meet(uri, selection, models):
    register_model(models[0], selection, uri, NAME, LINEAGE)
    other = register_model(models[0], selection, uri, "deskgraph-intent-other", LINEAGE)
    assert other.version == "1"
    assert ModelRegistry(uri).names() == ["deskgraph-intent-other", NAME]


def test_a_damaged_model_is_not_registered(uri, selection, models):
    (Path(models[0]) / "config.json").write_text("{}")
    with pytest.raises(ManifestError, match=r"config\.json"):
        register_model(models[0], selection, uri, NAME, LINEAGE)
    assert ModelRegistry(uri).names() == []


def test_a_pickle_is_refused(uri, selection, models):
    (Path(models[0]) / "pytorch_model.bin").write_bytes(b"")
    with pytest.raises(InputError, match="safetensors"):
        register_model(models[0], selection, uri, NAME, LINEAGE)


def test_a_selection_that_is_not_there_is_named(uri, models, tmp_path):
    with pytest.raises(InputError, match="nowhere"):
        register_model(models[0], str(tmp_path / "nowhere"), uri, NAME, LINEAGE)


def test_a_registry_that_does_not_exist_has_no_champion_and_is_not_made(tmp_path):
    database = tmp_path / "mlflow.db"
    assert champion_location(f"sqlite:///{database}", NAME) is None
    assert not database.exists()


def test_a_champion_whose_files_are_gone_is_none(uri, selection, models, caplog):
    done = register_model(models[0], selection, uri, NAME, LINEAGE)
    Path(done.location).rename(Path(done.location).with_name("moved"))
    assert champion_location(uri, NAME) is None
    assert "files are gone" in caplog.text


def test_what_is_no_registry_is_one_line(tmp_path):
    with pytest.raises(InputError, match="sqlite:///PATH"):
        ModelRegistry(str(tmp_path))
    broken = tmp_path / "mlflow.db"
    broken.write_bytes(b"no database " * 100)
    with pytest.raises(RegistryError) as caught:
        ModelRegistry(f"sqlite:///{broken}").names()
    assert "\n" not in str(caught.value)

import json

import pytest

from components.register.registration import register_model
from kg_schema.errors import InputError
from pipelines.registry import (
    find_version,
    list_versions,
    read_champion,
    rollback,
    show_version,
)
from tests.serving.tiny_models import intent_model


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    folder = tmp_path_factory.mktemp("registry")
    (folder / "selection.json").write_text(json.dumps({"accuracy": 0.9}))
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    for name, note in (("shop", "a"), ("shop", "b"), ("bank", "a")):
        model = intent_model(folder / f"{name}-{note}", note=note)
        register_model(str(model), str(folder / "selection.json"), uri, name, {"code": note})
    return uri


def test_versions_are_listed_newest_first(uri):
    rows = [(row.name, row.version, row.aliases) for row in list_versions(uri)]
    assert rows[0] == ("bank", "1", ("champion",))
    assert [row[:2] for row in rows[1:]] == [("shop", "2"), ("shop", "1")]
    assert len(list_versions(uri, "shop")) == 2


def test_one_is_shown_by_number_or_alias(uri):
    champion = find_version(uri, "shop")
    assert find_version(uri, "shop", champion.version) == champion
    shown = json.loads(json.dumps(show_version(uri, "shop")))
    assert (shown["version"], shown["tags"]["task"]) == (champion.version, "intent")
    with pytest.raises(InputError, match="several models"):
        find_version(uri)
    with pytest.raises(InputError, match="no such version"):
        find_version(uri, "shop", "9")
    with pytest.raises(InputError, match="bank, shop"):
        find_version(uri, "zoo")


def test_the_champion_is_found_by_the_same_rule_or_there_is_none_yet(uri):
    assert read_champion(uri, "shop") == find_version(uri, "shop")
    assert read_champion(uri, "zoo") is None
    with pytest.raises(InputError, match="several models are registered; name one of bank, shop"):
        read_champion(uri)


def test_a_rollback_swaps_champion_and_previous_and_twice_is_back(uri):
    champion, previous = find_version(uri, "shop"), find_version(uri, "shop", "previous")
    assert rollback(uri, "shop").version == previous.version
    assert find_version(uri, "shop").version == previous.version
    assert find_version(uri, "shop", "previous").version == champion.version
    assert rollback(uri, "shop").version == champion.version
    with pytest.raises(InputError, match="no such version"):
        rollback(uri, "bank")


def test_where_there_is_no_registry_it_says_so_and_makes_none(tmp_path):
    for look in (list_versions, find_version, read_champion):
        with pytest.raises(InputError, match="no registry"):
            look(f"sqlite:///{tmp_path / 'none' / 'mlflow.db'}")
    assert list(tmp_path.iterdir()) == []

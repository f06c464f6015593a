"""`--param name=value`: typed by the package, refused in one line."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema.errors import InputError
from pipelines.packages import PIPELINES, pipeline_name, read_package
from pipelines.parameters import LARGEST_INTEGER, Parameter, parse_parameters
from tests.pipelines.tiny_pipeline import NAME, compile_tiny

KINDS = ("STRING", "NUMBER_INTEGER", "NUMBER_DOUBLE", "BOOLEAN", "STRUCT", "LIST")
DECLARED = {kind.lower(): Parameter(kind.lower(), kind, required=False) for kind in KINDS}
WHOLE = st.integers(-LARGEST_INTEGER, LARGEST_INTEGER)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | WHOLE | FLOATS | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


def parse(text: str) -> Any:
    (value,) = parse_parameters([text], DECLARED).values()
    return value


@given(st.text(), WHOLE, FLOATS, st.booleans(), st.dictionaries(st.text(), JSON), st.lists(JSON))
def test_every_kind_comes_back_as_it_was_meant(
    text: str, whole: int, number: float, flag: bool, mapping: dict[str, Any], items: list[Any]
) -> None:
    assert parse(f"string={text}") == text
    assert parse(f"number_integer={whole}") == whole
    assert parse(f"number_double={number}") == number
    assert parse(f"boolean={json.dumps(flag)}") is flag
    assert parse(f"struct={json.dumps(mapping)}") == mapping
    assert parse(f"list={json.dumps(items)}") == items


@given(st.sampled_from(sorted(DECLARED)), st.text() | st.sampled_from(["1e999", "NaN", "[1e999]"]))
def test_any_value_is_of_its_kind_or_refused_in_one_line(name: str, text: str) -> None:
    try:
        value = parse(f"{name}={text}")
    except InputError as error:
        assert "\n" not in str(error)
        assert f"--param {name}" in str(error)
        return
    # What is sent is JSON: no number may be lost or infinite there.
    assert json.loads(json.dumps(value, allow_nan=False)) == value
    if DECLARED[name].kind == "NUMBER_DOUBLE":
        assert math.isfinite(value)


@pytest.mark.parametrize(
    ("texts", "said"),
    [
        (["rowz=1"], "no such parameter; there are: "),
        (["rows"], "has no value"),
        (["rows=three"], "is 'three'; give a whole number"),
        (["rows=1.5"], "give a whole number"),
        (["rows=9007199254740993"], "give a whole number"),
        (["share=much"], "give a number"),
        (["fail=yes"], "give true or false"),
        (["options=[1]"], "give a JSON object"),
        (["words={}"], "give a JSON list"),
        (["rows=1", "rows=2"], "is given twice"),
    ],
)
def test_what_does_not_fit_is_named_with_what_does(
    texts: list[str], said: str, tiny_package: Path
) -> None:
    with pytest.raises(InputError, match="--param") as caught:
        parse_parameters(texts, read_package(tiny_package).parameters)
    assert said in str(caught.value)
    if "there are" in said:
        assert "rows (NUMBER_INTEGER)" in str(caught.value)


def test_a_required_one_is_asked_for() -> None:
    declared = {"where": Parameter("where", "STRING", required=True)}
    with pytest.raises(InputError, match="--param where: needs a value"):
        parse_parameters([], declared)
    assert parse_parameters(["where=a=b"], declared) == {"where": "a=b"}


def test_a_version_is_its_content(tiny_package: Path, tmp_path: Path) -> None:
    package = read_package(tiny_package)
    assert package.pipeline == NAME
    again = read_package(compile_tiny(tmp_path / "again.yaml"))
    assert again.version == package.version
    other = read_package(compile_tiny(tmp_path / "other.yaml", image="local/none:1"))
    assert other.version != package.version
    text = tiny_package.read_text(encoding="utf-8")
    newer = tmp_path / "newer.yaml"
    newer.write_text(text.replace("sdkVersion: kfp-", "sdkVersion: kfp-9"), encoding="utf-8")
    assert newer.read_text(encoding="utf-8") != text
    assert read_package(newer).version == package.version


@pytest.mark.parametrize("content", ["", "a: 1", "- 1", "\x00", "root: {}\n---\n- a"])
def test_what_is_no_package_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match="no compiled pipeline"):
        read_package(path)


def test_a_pipelines_name_is_known_without_compiling_it() -> None:
    from importlib import import_module

    for name, (module, _) in PIPELINES.items():
        assert pipeline_name(name) == import_module(module).PIPELINE_NAME
    with pytest.raises(InputError, match="no pipeline 'other'"):
        pipeline_name("other")

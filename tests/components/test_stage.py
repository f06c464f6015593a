"""What a component's body does around its stage."""

from __future__ import annotations

import json
from dataclasses import dataclass

import pytest

from components.stage import ERROR_MARK, parse_settings, reported
from kg_schema.errors import DeskGraphError, InputError


@dataclass(frozen=True)
class Settings:
    epochs: int = 3
    rate: float = 0.1
    name: str = "x"
    layers: tuple[int, ...] = ()
    fast: bool = False


def test_numbers_of_a_json_parameter_are_put_right() -> None:
    given = {"epochs": 4.0, "rate": 1, "layers": [0.0, 2.0], "fast": True}
    settings = parse_settings(Settings, given, name="teacher")
    assert settings == Settings(4, 1.0, "teacher", (0, 2), True)
    assert isinstance(settings.epochs, int)
    assert isinstance(settings.rate, float)


def test_an_unknown_setting_names_those_there_are() -> None:
    with pytest.raises(InputError, match=r"unknown setting 'epoch'.*epochs, rate"):
        parse_settings(Settings, {"epoch": 3})


@pytest.mark.parametrize("given", [{"epochs": "4"}, {"epochs": 4.5}, {"fast": "yes"}])
def test_a_value_of_another_type_is_refused(given: dict[str, object]) -> None:
    with pytest.raises(InputError, match="use a value of type"):
        parse_settings(Settings, given)


def test_a_typed_error_is_one_marked_line_and_its_exit_code(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise InputError("no column 'body'", where="t.csv", fix="use one of id, text")
    assert ended.value.code == 2
    line = capsys.readouterr().err.strip()
    assert "\n" not in line
    told = json.loads(line.removeprefix(ERROR_MARK))
    assert told == {"message": "t.csv: no column 'body'; use one of id, text", "exit_code": 2}


def test_a_defect_keeps_its_traceback() -> None:
    with pytest.raises(ZeroDivisionError), reported():
        _ = 1 / 0


def test_a_bad_result_exits_with_1() -> None:
    with pytest.raises(SystemExit) as ended, reported():
        raise DeskGraphError("disagrees with torch")
    assert ended.value.code == 1

import json
import logging

from serving.telemetry import JsonFormatter


def record(error=None, **fields):
    info = (type(error), error, error.__traceback__) if error else None
    made = logging.LogRecord("serving.x", logging.ERROR, __file__, 1, "it %s", ("failed",), info)
    made.fields = fields
    return json.loads(JsonFormatter().format(made))


def test_a_line_is_json_with_the_records_fields():
    line = record(tokens=3)
    assert (line["level"], line["message"], line["tokens"]) == ("error", "it failed", 3)
    assert line["time"].endswith("+00:00")


def test_an_exception_is_told_by_type_and_place_never_by_its_text():
    try:
        raise ValueError("MATCH (c:Customer {email: 'a@b.c'})")
    except ValueError as error:
        line = record(error)
    assert line["error"] == "ValueError"
    assert "test_telemetry.py" in line["trace"][0]
    assert "a@b.c" not in json.dumps(line)

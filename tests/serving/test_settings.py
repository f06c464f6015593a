from pathlib import Path

import pytest

from kg_schema.errors import InputError
from serving.settings import ServerSettings, parse_settings


def test_arguments_win_over_the_environment_and_that_over_defaults():
    environment = {
        "DESKGRAPH_PORT": "9000",
        "DESKGRAPH_THREADS": "2",
        "DESKGRAPH_MODEL": "elsewhere",
    }
    settings = parse_settings(["--model", "here", "--threads", "4"], environment)
    assert settings == ServerSettings(Path("here"), port=9000, threads=4)
    assert settings.host == "127.0.0.1"


def test_kserves_own_spellings_are_understood():
    arguments = ["--model_dir", "/mnt/models", "--model_name", "m", "--http_port", "8000"]
    settings = parse_settings(arguments, {})
    assert (settings.model, settings.name, settings.port) == (Path("/mnt/models"), "m", 8000)


def test_every_setting_is_an_argument_and_an_environment_name():
    values = {
        "DESKGRAPH_MODEL": "m", "DESKGRAPH_GRAPH": "bolt://h:1", "DESKGRAPH_NAME": "n",
        "DESKGRAPH_HOST": "::1", "DESKGRAPH_PORT": "1", "DESKGRAPH_GRPC_PORT": "2",
        "DESKGRAPH_THREADS": "3", "DESKGRAPH_QUEUE_SIZE": "4", "DESKGRAPH_MAX_BATCH": "5",
        "DESKGRAPH_MAX_INSTANCES": "6", "DESKGRAPH_MAX_BODY_BYTES": "7",
        "DESKGRAPH_DEADLINE_S": "8.5", "DESKGRAPH_DRAIN_S": "9", "DESKGRAPH_GRACE_S": "10",
        "DESKGRAPH_LIFELINE": "true", "DESKGRAPH_ENCODER": "e",
    }  # fmt: skip
    expected = ServerSettings(
        Path("m"), "bolt://h:1", "n", "::1", 1, 2, 3, 4, 5, 6, 7, 8.5, 9.0, 10.0, True, "e"
    )
    assert parse_settings([], values) == expected
    arguments = [
        part
        for name, value in values.items()
        for part in (f"--{name.removeprefix('DESKGRAPH_').lower().replace('_', '-')}", value)
    ]
    assert parse_settings(arguments, {}) == expected


@pytest.mark.parametrize(
    ("arguments", "what"),
    [
        ([], "no model"),
        (["--model", "m", "--port", "no"], "'no' is no int"),
        (["--model", "m", "--port", "70000"], "70000 is no port"),
        (["--model", "m", "--port", "5", "--grpc-port", "5"], "port of its own"),
        (["--model", "m", "--threads", "0"], "at least 1"),
        (["--model", "m", "--lifeline", "maybe"], "no bool"),
        (["--model", "m", "--deadline-s", "0"], "deadline"),
    ],
)
def test_what_cannot_be_used_is_one_line(arguments, what):
    with pytest.raises(InputError, match=what) as caught:
        parse_settings(arguments, {})
    assert "\n" not in str(caught.value)

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.deploy.settings import RolloutSettings
from components.deploy.target import is_cluster, parse_target
from components.stage import parse_settings
from kg_schema.errors import InputError

GOOD = "kserve://deskgraph/desk?gateway=gateway/desk&hostname=desk.example.org"


def test_a_target_says_where_and_how():
    target = parse_target(GOOD)
    assert (target.namespace, target.name, target.hostname) == (
        "deskgraph",
        "desk",
        "desk.example.org",
    )
    assert (target.gateway_namespace, target.gateway_name) == ("gateway", "desk")
    assert target.url == "http://desk.gateway"
    assert target.service("12") == "desk-v12"
    assert parse_target(f"{GOOD}&url=http://10.77.0.1:80/").url == "http://10.77.0.1:80"
    assert is_cluster(GOOD)
    assert not is_cluster("http://127.0.0.1:80")


@pytest.mark.parametrize(
    ("target", "what"),
    [
        ("", "is no deploy target on a cluster"),
        ("http://a/b", "is no deploy target on a cluster"),
        ("kserve:///desk?gateway=a/b&hostname=c", "has no namespace"),
        ("kserve://deskgraph?gateway=a/b&hostname=c", "has no name"),
        ("kserve://deskgraph/Desk?gateway=a/b&hostname=c", "has the name 'Desk'"),
        ("kserve://deskgraph/a/b?gateway=a/b&hostname=c", "has the name 'a/b'"),
        (f"kserve://deskgraph/{'a' * 41}?gateway=a/b&hostname=c", "over 40 characters"),
        ("kserve://deskgraph/desk", "names no gateway"),
        ("kserve://deskgraph/desk?gateway=b&hostname=c", "names no gateway"),
        ("kserve://deskgraph/desk?gateway=a/b", "names no hostname"),
        ("kserve://deskgraph/desk?gateway=a/b&hostname=c d", "names no hostname"),
        (f"{GOOD}&mode=knative", "unknown option 'mode'"),
        (f"{GOOD}&hostname=x", "says an option twice"),
        (f"{GOOD}&url=desk", "has the url 'desk'"),
        (f"{GOOD}&", "is no address"),
    ],
)
def test_what_is_none_is_one_line_with_the_shape(target, what):
    with pytest.raises(InputError, match=re.escape(what)) as caught:
        parse_target(target)
    assert "give kserve://NAMESPACE/NAME?gateway=" in str(caught.value)
    assert "\n" not in str(caught.value)


@given(st.text(max_size=60))
def test_anybodys_text_is_a_target_or_one_line(text):
    for given_text in (text, f"kserve://{text}", f"{GOOD}&url={text}"):
        try:
            parse_target(given_text)
        except InputError as error:
            assert len(str(error).splitlines()) == 1


def test_settings_come_from_a_parameter_as_kfp_gives_it():
    settings = parse_settings(
        RolloutSettings, {"weights": [25.0, 100.0], "observe_s": 5, "min_requests": 7.0}
    )
    assert settings == RolloutSettings(weights=(25, 100), observe_s=5.0, min_requests=7)


@pytest.mark.parametrize(
    "values",
    [
        {"weights": []},
        {"weights": [50]},
        {"weights": [50, 10, 100]},
        {"weights": [0, 100]},
        {"weights": [12.5, 100]},
        {"max_error_rate": 2.0},
        {"min_requests": 0},
        {"replay": -1},
        {"poll_s": 0.0},
        {"max_replicas": 1, "min_replicas": 2},
        {"weihgts": [100]},
    ],
)
def test_settings_that_no_roll_out_can_go_by_are_refused(values):
    with pytest.raises(InputError):
        parse_settings(RolloutSettings, values)

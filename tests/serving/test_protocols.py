import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kserve import InferInput, InferRequest
from pydantic import BaseModel

from kg_schema.errors import InputError
from serving.contracts import Ticket
from serving.protocols import read_tickets, write_answers

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


def v2(*tensors):
    return InferRequest("deskgraph", [InferInput(*tensor) for tensor in tensors])


def raw(name, values):
    tensor = InferInput(name, [len(values)], "BYTES")
    tensor.set_data_from_numpy(np.array(values, dtype=np.object_), binary_data=True)
    return InferRequest("deskgraph", [tensor])


def test_v1_reads_text_turns_and_date():
    body = {
        "instances": [
            {"text": "a", "as_of": "2026-03-01"},
            {"turns": [{"role": "user", "text": "b"}]},
        ]
    }
    first, second = read_tickets(body, 8)
    assert first == Ticket(text="a", as_of="2026-03-01")
    assert second.content == "b"
    assert read_tickets(json.dumps(body).encode(), 8) == [first, second]


def test_v2_reads_json_bytes_and_raw_tensors_alike():
    expected = [Ticket(text="é"), Ticket(text="b")]
    assert read_tickets(v2(("text", [2], "BYTES", ["é", "b"])), 8) == expected
    assert read_tickets(v2(("text", [2], "BYTES", ["é".encode(), b"b"])), 8) == expected
    assert read_tickets(v2(("text", [2, 1], "BYTES", [["é"], ["b"]])), 8) == expected
    assert read_tickets(raw("text", ["é".encode(), b"b"]), 8) == expected


def test_v2_takes_a_date_a_ticket_and_a_blank_for_today():
    tickets = read_tickets(
        v2(("text", [2], "BYTES", ["a", "b"]), ("as_of", [2], "BYTES", ["2026-03-01", ""])), 8
    )
    assert [ticket.as_of and ticket.as_of.isoformat() for ticket in tickets] == ["2026-03-01", None]


@pytest.mark.parametrize(
    ("payload", "what"),
    [
        ({}, "instances"),
        ([], "instances"),
        (b"{", "no JSON"),
        (b"\xff", "no JSON"),
        ({"instances": {}}, "instances"),
        ({"instances": []}, "0 tickets"),
        ({"instances": [{"text": "a"}] * 9}, "9 tickets"),
        ({"instances": ["a"]}, r"instances\[0\]: not an object"),
        ({"instances": [{"text": "a"}, {}]}, r"instances\[1\]: give either text or turns"),
        ({"instances": [{"text": 5}]}, r"instances\[0\].text"),
        ({"instances": [{"text": " "}]}, "empty"),
        ({"instances": [{"text": "x" * 8001}]}, "8000"),
        ({"instances": [{"turns": []}]}, "either text or turns"),
        ({"instances": [{"text": "a", "as_of": "2026-13-01"}]}, "as_of"),
        ({"instances": [{"text": "a", "as_of": 20260101}]}, "YYYY-MM-DD"),
        ({"instances": [{"text": "a", "colour": "red"}]}, "colour"),
        ({"instances": [{"text": "a", "customer_id": "CU_0001"}]}, "anonymous"),
        ({"instances": [{"text": "a", "principal": {"role": "agent"}}]}, "anonymous"),
        (v2(), "no input tensor"),
        (v2(("text", [1], "INT64", [1])), "BYTES"),
        (v2(("text", [2], "BYTES", ["a"])), "do not agree"),
        (v2(("text", [1], "BYTES", [b"\xff"])), "UTF-8"),
        (v2(("text", [1], "BYTES", [7])), "text"),
        (v2(("words", [1], "BYTES", ["a"])), "unknown input tensor"),
        (v2(("text", [1], "BYTES", ["a"]), ("customer_id", [1], "BYTES", ["C"])), "anonymous"),
        (v2(("text", [1], "BYTES", ["a"]), ("as_of", [2], "BYTES", ["", ""])), "differ"),
    ],
)
def test_what_is_no_ticket_is_refused_in_one_line(payload, what):
    with pytest.raises(InputError, match=what) as caught:
        read_tickets(payload, 8)
    assert "\n" not in str(caught.value)


def test_a_torn_raw_tensor_is_refused():
    request = raw("text", [b"abc"])
    request.inputs[0]._raw_data = request.inputs[0]._raw_data[:-1]
    with pytest.raises(InputError, match="do not agree"):
        read_tickets(request, 8)


@given(JSON | st.dictionaries(st.sampled_from(["instances", "x"]), JSON | st.lists(JSON)))
def test_whatever_json_is_sent_gives_tickets_or_an_input_error(body):
    try:
        assert all(isinstance(ticket, Ticket) for ticket in read_tickets(body, 8))
    except InputError as error:
        assert "\n" not in str(error)


def test_answers_come_back_in_the_requests_protocol():
    class Said(BaseModel):
        text: str

    answers = [Said(text="é"), Said(text="b")]
    said = [{"text": "é"}, {"text": "b"}]
    assert write_answers(answers, {"instances": []}) == {"predictions": said}
    request = v2(("text", [2], "BYTES", ["", ""]))
    request.id = "7"
    body, _ = write_answers(answers, request).to_rest()
    assert body["id"] == "7"
    (output,) = body["outputs"]
    assert (output["name"], output["shape"], output["datatype"]) == ("answer", [2], "BYTES")
    assert [json.loads(text) for text in output["data"]] == said

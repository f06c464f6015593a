"""The two protocol helpers: tickets out of a request, a response out of answers; V1 and V2."""

from __future__ import annotations

import struct
import uuid
from collections.abc import Sequence
from typing import Any

import orjson
from kserve import InferInput, InferOutput, InferRequest, InferResponse
from pydantic import BaseModel, ValidationError

from kg_schema.errors import InputError
from serving.contracts import Ticket

IDENTITY_KEYS = frozenset({"customer_id", "principal", "role"})
TENSORS = {"text": "the question", "as_of": "the day it must be right for, YYYY-MM-DD"}


def read_tickets(payload: Any, limit: int) -> list[Ticket]:
    """Reads the tickets of one request.

    Args:
        payload: A V1 body (parsed, or bytes where its content type was unusual) or a V2 request.
        limit: Tickets that one request may hold.

    Raises:
        InputError: The request is not of its protocol, holds no ticket or too many, a ticket is
            empty, too long or has a bad date, or it says who is asking.
    """
    rows = _v2_rows(payload) if isinstance(payload, InferRequest) else _v1_rows(payload)
    if not 1 <= len(rows) <= limit:
        raise InputError(f"{len(rows)} tickets in one request", fix=f"send between 1 and {limit}")
    return [_ticket(row, where) for where, row in rows]


def write_answers(answers: Sequence[BaseModel], payload: Any) -> dict[str, Any] | InferResponse:
    """Makes the response of the protocol that the request came in."""
    if not isinstance(payload, InferRequest):
        return {"predictions": [answer.model_dump(mode="json") for answer in answers]}
    texts = [answer.model_dump_json() for answer in answers]
    return InferResponse(
        response_id=payload.id or str(uuid.uuid4()),
        model_name=payload.model_name,
        infer_outputs=[InferOutput("answer", [len(texts)], "BYTES", data=texts)],
        use_binary_outputs=payload.use_binary_outputs,
        requested_outputs=payload.request_outputs,
    )


def _v1_rows(payload: Any) -> list[tuple[str, Any]]:
    if isinstance(payload, bytes):
        try:
            payload = orjson.loads(payload)
        except orjson.JSONDecodeError as error:
            raise InputError(f"the body is no JSON: {error}") from None
    if not isinstance(payload, dict) or not isinstance(payload.get("instances"), list):
        raise InputError(
            'the body has no list "instances"', fix='send {"instances": [{"text": "…"}]}'
        )
    return [(f"instances[{index}]", row) for index, row in enumerate(payload["instances"])]


def _v2_rows(request: InferRequest) -> list[tuple[str, Any]]:
    columns = {tensor.name: _strings(tensor) for tensor in request.inputs}
    if "text" not in columns:
        raise InputError('no input tensor "text"', fix='send BYTES tensor "text" of shape [n]')
    if len({len(column) for column in columns.values()}) > 1:
        raise InputError("the input tensors differ in length", where="inputs")
    if "as_of" in columns:  # a tensor has no holes: a blank stands for today
        columns["as_of"] = [cell or None for cell in columns["as_of"]]
    return [
        (f"inputs[{index}]", dict(zip(columns, row, strict=True)))
        for index, row in enumerate(zip(*columns.values(), strict=True))
    ]


def _strings(tensor: InferInput) -> list[Any]:
    where = f"inputs.{tensor.name}"
    if tensor.name in IDENTITY_KEYS:
        raise _identity_refused(where)
    if tensor.name not in TENSORS:
        raise InputError("unknown input tensor", where=where, fix=f"there are {sorted(TENSORS)}")
    if tensor.datatype != "BYTES":
        raise InputError(f"datatype {tensor.datatype} where BYTES is needed", where=where)
    try:
        cells = tensor.as_numpy().ravel().tolist()
        return [cell.decode() if isinstance(cell, bytes) else cell for cell in cells]
    except UnicodeDecodeError:
        raise InputError("not UTF-8", where=where) from None
    except (ValueError, TypeError, struct.error):
        raise InputError("shape and data do not agree", where=where) from None


def _ticket(row: Any, where: str) -> Ticket:
    if not isinstance(row, dict):
        raise InputError("not an object", where=where, fix='send {"text": "…"}')
    if IDENTITY_KEYS & row.keys():
        raise _identity_refused(where)
    if not isinstance(row.get("as_of"), str | None):
        raise InputError("as_of is no date", where=where, fix="write it as YYYY-MM-DD")
    try:
        return Ticket.model_validate(row)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        place = ".".join([where, *(str(part) for part in first["loc"])])
        raise InputError(first["msg"].removeprefix("Value error, "), where=place) from None


def _identity_refused(where: str) -> InputError:
    return InputError(
        "a request cannot say who is asking; over the network every caller is anonymous",
        where=where,
        fix="leave identity out of the body",
    )

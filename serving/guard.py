"""What stands between strangers and the endpoints: limits, and errors that give nothing away."""

from __future__ import annotations

import asyncio
import logging
import re
import uuid
from dataclasses import dataclass
from typing import Any, NoReturn

import grpc  # type: ignore[import-untyped]
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from grpc_interceptor import AsyncExceptionToStatusInterceptor
from kserve.errors import (
    InvalidInput,
    ModelNotFound,
    ModelNotReady,
    ServerNotReady,
    UnsupportedProtocol,
)
from kserve.utils.utils import to_headers
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kg_schema.errors import InputError
from serving.batching import Overloaded, Stopping
from serving.model import DeadlineExceeded
from serving.telemetry import record_rejection

_LOG = logging.getLogger(__name__)
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")


@dataclass(frozen=True, slots=True)
class Problem:
    """How a kind of error is told: HTTP and gRPC status, and the word it is counted by."""

    http: int
    rpc: grpc.StatusCode
    reason: str


INTERNAL = Problem(500, grpc.StatusCode.INTERNAL, "internal")
PROBLEMS: dict[type[Exception], Problem] = {
    InvalidInput: Problem(400, grpc.StatusCode.INVALID_ARGUMENT, "bad_input"),
    InputError: Problem(400, grpc.StatusCode.INVALID_ARGUMENT, "bad_input"),
    ModelNotFound: Problem(404, grpc.StatusCode.NOT_FOUND, "unknown_model"),
    Overloaded: Problem(429, grpc.StatusCode.RESOURCE_EXHAUSTED, "overloaded"),
    UnsupportedProtocol: Problem(501, grpc.StatusCode.UNIMPLEMENTED, "unsupported"),
    NotImplementedError: Problem(501, grpc.StatusCode.UNIMPLEMENTED, "unsupported"),
    ModelNotReady: Problem(503, grpc.StatusCode.UNAVAILABLE, "not_ready"),
    ServerNotReady: Problem(503, grpc.StatusCode.UNAVAILABLE, "probed_not_ready"),
    Stopping: Problem(503, grpc.StatusCode.UNAVAILABLE, "not_ready"),
    DeadlineExceeded: Problem(504, grpc.StatusCode.DEADLINE_EXCEEDED, "deadline"),
}


def problem_of(error: Exception, request_id: str) -> tuple[Problem, str]:
    """Returns how an error is told and the one line that the caller may read.

    Errors outside of `PROBLEMS` become a plain internal error: their text may hold a query, a path
    or a customer's data. The log gets their type and place, under the request's id.
    """
    for kind, problem in PROBLEMS.items():
        if isinstance(error, kind):
            record_rejection(problem.reason)
            return problem, " ".join(str(error).split())
    record_rejection(INTERNAL.reason)
    _LOG.error("request failed", exc_info=error, extra={"fields": {"request_id": request_id}})
    return INTERNAL, f"internal error, request {request_id}"


def install_handlers(app: FastAPI) -> None:
    """Gives every foreseen error its status and one JSON line, `{"error": …}`."""

    async def tell(request: Request, error: Exception) -> Response:
        problem, line = problem_of(error, request.headers.get("x-request-id", ""))
        retry = {"retry-after": "1"} if problem.http in (429, 503) else None
        return JSONResponse({"error": line}, problem.http, headers=retry)

    async def tell_invalid(request: Request, error: Exception) -> Response:
        record_rejection("bad_input")
        first = error.errors()[0] if isinstance(error, RequestValidationError) else {}
        place = ".".join(str(part) for part in first.get("loc", ()))
        return JSONResponse({"error": f"{place}: {first.get('msg', 'invalid')}"}, 400)

    async def tell_http(request: Request, error: Exception) -> Response:
        status = error.status_code if isinstance(error, HTTPException) else 500
        detail = error.detail if isinstance(error, HTTPException) else "internal error"
        return JSONResponse({"error": detail}, status)

    for kind in PROBLEMS:
        app.add_exception_handler(kind, tell)
    app.add_exception_handler(RequestValidationError, tell_invalid)
    app.add_exception_handler(HTTPException, tell_http)


class GrpcErrors(AsyncExceptionToStatusInterceptor):
    """The same statuses and lines for gRPC."""

    async def handle_exception(
        self, ex: Exception, request_or_iterator: Any, context: Any, method_name: str
    ) -> NoReturn:
        """Ends the call with the error's status."""
        problem, line = problem_of(ex, str(to_headers(context).get("x-request-id", "")))
        await context.abort(problem.rpc, line)
        raise ex


class HttpGuard:
    """Reads a body within its limits before anything parses it, and is the last to see an error.

    A body over the limit is 413, one that trickles past the deadline 408. A request without a
    usable `x-request-id` gets one; the response carries it. An unforeseen error ends here, not in
    the web server, which would log its text.
    """

    def __init__(self, app: ASGIApp, *, max_body_bytes: int, deadline_s: float) -> None:
        self._app = app
        self._max_body_bytes = max_body_bytes
        self._deadline_s = deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes one request on, or refuses it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = _give_request_id(scope)
        started = False

        async def send_marked(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = [*message["headers"], (b"x-request-id", request_id)]
            await send(message)

        try:
            async with asyncio.timeout(self._deadline_s):
                body = await self._read(receive)
        except TimeoutError:
            refusal = _refusal(408, "slow_body", "the body took too long to arrive")
            await refusal(scope, receive, send_marked)
            return
        if body is None:
            limit = f"the body is over {self._max_body_bytes} bytes"
            await _refusal(413, "too_large", limit)(scope, receive, send_marked)
            return
        try:
            await self._app(scope, _replay(body, receive), send_marked)
        except Exception as error:  # noqa: BLE001 - the last to see it: logged without its text
            _, line = problem_of(error, request_id.decode())
            if not started:
                await JSONResponse({"error": line}, 500)(scope, receive, send_marked)

    async def _read(self, receive: Receive) -> bytes | None:
        """Returns the whole body, or None once it is over the limit or the client has gone."""
        pieces: list[bytes] = []
        size, more = 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return b""
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > self._max_body_bytes:
                return None
            more = message.get("more_body", False)
        return b"".join(pieces)


def _refusal(status: int, reason: str, line: str) -> Response:
    record_rejection(reason)
    # What is left of the body is not read: the connection cannot be used again.
    return JSONResponse({"error": line}, status, headers={"connection": "close"})


def _give_request_id(scope: Scope) -> bytes:
    headers = [pair for pair in scope["headers"] if pair[0] != b"x-request-id"]
    given = next((value for key, value in scope["headers"] if key == b"x-request-id"), b"")
    request_id: bytes = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex.encode()
    scope["headers"] = [*headers, (b"x-request-id", request_id)]
    return request_id


def _replay(body: bytes, receive: Receive) -> Receive:
    """Returns a `receive` that gives the body once, then whatever the connection says."""
    waiting: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def replayed() -> Message:
        return waiting.pop() if waiting else await receive()

    return replayed

"""KServe's model server, bound where it is told and with nothing open that a stranger could misuse.

KServe's own server listens on every interface, lets anybody unload the model over REST and gRPC,
says it is ready before it is, and answers an error with the error's text. This one takes its parts
(data plane, endpoints, servicer, model base class) and puts them together otherwise.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import struct
import threading
import warnings
from collections.abc import Iterator
from typing import Any

import grpc  # type: ignore[import-untyped]
import uvicorn
from fastapi import FastAPI
from kserve import InferRequest, ModelServer
from kserve.constants.constants import INFERENCE_CONTENT_LENGTH_HEADER
from kserve.errors import InvalidInput, ModelNotReady
from kserve.protocol.dataplane import DataPlane
from kserve.protocol.grpc.grpc_predict_v2_pb2_grpc import (
    add_GRPCInferenceServiceServicer_to_server,
)
from kserve.protocol.grpc.servicer import InferenceServicer
from kserve.protocol.rest.server import metrics_handler
from kserve.protocol.rest.v1_endpoints import V1Endpoints
from kserve.protocol.rest.v2_datamodels import InferenceRequest
from kserve.protocol.rest.v2_endpoints import V2Endpoints

from kg_schema.errors import InputError
from serving.guard import GrpcErrors, HttpGuard, install_handlers
from serving.model import DeskGraphModel
from serving.settings import ServerSettings
from serving.telemetry import READY

_LOG = logging.getLogger(__name__)
KEEP_ALIVE_S = 65


class VerifiedDataPlane(DataPlane):  # type: ignore[misc]
    """A data plane that is ready when its model is, and never loads one because of a request."""

    async def ready(self) -> bool:
        """Whether every model says it is ready; what `/v2/health/ready` and `ServerReady` tell."""
        models = self.model_registry.get_models().values()
        return bool(models) and all(model.ready for model in models)

    async def model_ready(
        self, model_name: str, disable_predictor_health_check: bool = False
    ) -> bool:
        """Readiness for a probe; for a request (the flag) whether it can still be answered."""
        model = self.get_model_from_registry(model_name)
        return bool(model.loaded if disable_predictor_health_check else model.ready)

    async def get_model(self, name: str) -> DeskGraphModel:
        """Returns the loaded model, or raises ModelNotFound or ModelNotReady."""
        model: DeskGraphModel = self.get_model_from_registry(name)
        if not model.loaded:
            raise ModelNotReady(name)
        return model

    def metadata(self) -> dict[str, Any]:
        """KServe's name and version, without the repository extension: it is not there."""
        return {**super().metadata(), "extensions": []}

    def decode_inference_request(
        self, body: Any, headers: dict[str, str], model_name: str
    ) -> InferRequest:
        """Parses a V2 body, JSON whatever its content type says, or JSON followed by tensors.

        Raises:
            InputError: It does not hold together.
        """
        try:
            if isinstance(body, bytes) and INFERENCE_CONTENT_LENGTH_HEADER not in headers:
                body = InferenceRequest.model_validate_json(body)
            return super().decode_inference_request(body, headers, model_name)
        except (KeyError, TypeError, ValueError, struct.error) as error:
            if isinstance(error, InvalidInput):
                raise
            raise InputError("the V2 body does not hold together") from None


class PredictOnlyServicer(InferenceServicer):  # type: ignore[misc]
    """KServe's gRPC service without the calls that load and unload models."""

    async def RepositoryModelLoad(self, request: Any, context: Any) -> Any:
        """Refuses."""
        raise NotImplementedError("models are not managed here")

    async def RepositoryModelUnload(self, request: Any, context: Any) -> Any:
        """Refuses."""
        raise NotImplementedError("models are not managed here")


def make_app(data_plane: DataPlane, settings: ServerSettings) -> FastAPI:
    """Builds the REST application: exactly these routes, behind the guard."""
    app = FastAPI(title="DeskGraph", docs_url=None, redoc_url=None, openapi_url=None)
    v1, v2 = V1Endpoints(data_plane), V2Endpoints(data_plane)
    for method, path, endpoint in (
        ("GET", "/", data_plane.live),
        ("GET", "/metrics", metrics_handler),
        ("GET", "/v1/models", v1.models),
        ("GET", "/v1/models/{model_name}", v1.model_ready),
        ("POST", "/v1/models/{model_name}:predict", v1.predict),
        ("GET", "/v2", v2.metadata),
        ("GET", "/v2/health/live", v2.live),
        ("GET", "/v2/health/ready", v2.ready),
        ("GET", "/v2/models", v2.models),
        ("GET", "/v2/models/{model_name}", v2.model_metadata),
        ("GET", "/v2/models/{model_name}/ready", v2.model_ready),
        ("POST", "/v2/models/{model_name}/infer", v2.infer),
    ):
        app.add_api_route(path, endpoint, methods=[method], response_model=None)
    install_handlers(app)
    app.add_middleware(
        HttpGuard, max_body_bytes=settings.max_body_bytes, deadline_s=settings.deadline_s
    )
    return app


class _Rest(uvicorn.Server):
    """Uvicorn that leaves the process's signals to the server around it."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class DeskGraphServer(ModelServer):  # type: ignore[misc]
    """Serves one model until it is told to stop.

    The listeners answer at once (live, not ready); the model is verified and loaded behind them.
    """

    def __init__(self, settings: ServerSettings) -> None:
        super().__init__(
            http_port=settings.port,
            grpc_port=settings.grpc_port,
            enable_grpc=settings.grpc_port > 0,
            enable_latency_logging=False,
            workers=1,
        )
        self._settings = settings
        self.dataplane = VerifiedDataPlane(model_registry=self.registered_models)
        self._stop = asyncio.Event()

    def start(self, models: list[DeskGraphModel]) -> None:
        """Serves until SIGTERM or SIGINT, drains, and returns.

        Raises:
            InputError: A port is taken.
            DeskGraphError: The model directory cannot be served; nothing was ever ready.
        """
        # KServe's V1 endpoint answers with it, once a request.
        warnings.filterwarnings("ignore", "ORJSONResponse is deprecated")
        (model,) = models
        self.register_model(model)
        asyncio.run(self._run(model))

    async def _run(self, model: DeskGraphModel) -> None:
        settings = self._settings
        with listen(settings.host, settings.port) as listener:
            rest = self._make_rest()
            rpc = await self._make_grpc() if self.enable_grpc else None
            serving = asyncio.create_task(rest.serve(sockets=[listener]))
            self._watch_for_stop()
            try:
                await model.load()
                READY.set(1)
                _LOG.info("ready", extra={"fields": {"model": str(settings.model)}})
                stop = asyncio.create_task(self._stop.wait())
                await asyncio.wait([serving, stop], return_when=asyncio.FIRST_COMPLETED)
                model.ready = False
                READY.set(0)
                await asyncio.sleep(settings.drain_s)
            finally:
                rest.should_exit = True
                await asyncio.gather(serving, *([rpc.stop(settings.grace_s)] if rpc else []))
                await model.close()

    def _make_rest(self) -> _Rest:
        return _Rest(
            uvicorn.Config(
                make_app(self.dataplane, self._settings),
                log_config=None,
                access_log=False,
                server_header=False,
                timeout_keep_alive=KEEP_ALIVE_S,
                timeout_graceful_shutdown=max(1, round(self._settings.grace_s)),
            )
        )

    async def _make_grpc(self) -> grpc.aio.Server:
        settings = self._settings
        server = grpc.aio.server(
            interceptors=(GrpcErrors(),),
            options=[
                ("grpc.max_receive_message_length", settings.max_body_bytes),
                ("grpc.so_reuseport", 0),
            ],
        )
        add_GRPCInferenceServiceServicer_to_server(
            PredictOnlyServicer(self.dataplane, self.model_repository_extension), server
        )
        try:
            host = f"[{settings.host}]" if ":" in settings.host else settings.host
            server.add_insecure_port(f"{host}:{settings.grpc_port}")
        except RuntimeError:
            raise _taken(settings.host, settings.grpc_port) from None
        await server.start()
        return server

    def _watch_for_stop(self) -> None:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._stop.set)
        if self._settings.lifeline:
            threading.Thread(target=_await_parent, args=(loop, self._stop), daemon=True).start()


@contextlib.contextmanager
def listen(host: str, port: int) -> Iterator[socket.socket]:
    """Opens a listening TCP socket.

    Raises:
        InputError: The address is not this machine's, or the port is taken.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family, backlog=2048)
    except OSError:
        raise _taken(host, port) from None
    with listener:
        yield listener


def _taken(host: str, port: int) -> InputError:
    return InputError("cannot listen here", where=f"{host}:{port}", fix="choose a free port")


def _await_parent(loop: asyncio.AbstractEventLoop, stop: asyncio.Event) -> None:
    # Not sys.stdin: its lock, held here when the process ends, would abort it.
    while os.read(0, 4096):
        pass
    with contextlib.suppress(RuntimeError):  # the loop is closed: it stopped already
        loop.call_soon_threadsafe(stop.set)

"""What a server is told: arguments first, then the environment, then defaults."""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from kg_schema.errors import InputError
from kg_schema.ports import LOOPBACK

ENVIRONMENT_PREFIX = "DESKGRAPH_"
# KServe's own spellings are understood too, so that an InferenceService can start this.
KSERVE_SPELLINGS = {
    "model": ("--model_dir",),
    "name": ("--model_name",),
    "port": ("--http_port",),
    "grpc_port": ("--grpc_port",),
}


@dataclass(frozen=True, slots=True)
class ServerSettings:
    """Settings of one serving process; each is also read from `DESKGRAPH_<NAME>`.

    Attributes:
        model: An exported model directory with its manifest.
        graph: Address of the graph, `bolt://…`; empty for none (answers then abstain).
        name: What the model is called in the protocols' paths.
        host: Address that both listeners bind; loopback unless told.
        port: REST (V1, V2, metrics, health).
        grpc_port: gRPC; 0 for no gRPC listener.
        threads: Threads of one inference call.
        queue_size: Requests that may wait for the model; one more gets 429.
        max_batch: Tickets scored in one call of the intent model. 1 unless told: an int8 graph
            scales its activations over the whole batch, so that company changes an answer's
            scores by as much as quantising did, and on one CPU thread it saves no time (3.6 ms a
            ticket alone, 3.3 among 4, 4.1 among 16).
        max_instances: Tickets of one request.
        max_body_bytes: Of one REST body or gRPC message; a larger one gets 413.
        deadline_s: For one whole request, from the last byte read.
        drain_s: Seconds between a stop signal and the closing of the listeners, in which readiness
            says no and requests are still answered: what a load balancer needs to look away.
        grace_s: Seconds that running requests get after the listeners have closed.
        lifeline: Stop when standard input closes, so that a server never outlives its parent.
        encoder: Folder of the sentence encoder that embedded the graph's articles; empty for the
            one in the model's folder (with neither, articles are found by their words alone).
    """

    model: Path
    graph: str = ""
    name: str = "deskgraph"
    host: str = LOOPBACK
    port: int = 8080
    grpc_port: int = 8081
    threads: int = 1
    queue_size: int = 64
    max_batch: int = 1
    max_instances: int = 32
    max_body_bytes: int = 1 << 20
    deadline_s: float = 10.0
    drain_s: float = 0.0
    grace_s: float = 20.0
    lifeline: bool = False
    encoder: str = ""

    def __post_init__(self) -> None:
        for name in ("threads", "queue_size", "max_batch", "max_instances", "max_body_bytes"):
            if getattr(self, name) < 1:
                raise InputError(f"must be at least 1, is {getattr(self, name)}", where=name)
        for name in ("port", "grpc_port"):
            if not 0 <= getattr(self, name) <= 65535:
                raise InputError(f"{getattr(self, name)} is no port", where=name)
        if self.port == 0 or self.port == self.grpc_port:
            raise InputError("needs a port of its own", where="port", fix="give another --port")
        if self.deadline_s <= 0 or self.drain_s < 0 or self.grace_s < 0:
            raise InputError("durations cannot be negative, nor the deadline 0", where="deadline_s")


def parse_settings(
    arguments: Sequence[str], environment: Mapping[str, str] = os.environ
) -> ServerSettings:
    """Reads settings from command-line arguments and, where one is absent, the environment.

    Raises:
        InputError: No model is named, or a value cannot be used.
    """
    given = vars(_parser().parse_args(arguments))
    values: dict[str, object] = {}
    for field in fields(ServerSettings):
        text = given[field.name]
        if text is None:
            text = environment.get(ENVIRONMENT_PREFIX + field.name.upper())
        if text is not None:
            values[field.name] = _convert(field.name, str(field.type), text)
    if "model" not in values:
        raise InputError("no model directory", where="--model", fix="give --model DIR")
    return ServerSettings(**values)  # type: ignore[arg-type]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m serving.app",
        description="Serves one model directory over KServe's V1 and V2 protocols and gRPC.",
        epilog=inspect.getdoc(ServerSettings),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    for field in fields(ServerSettings):
        names = [f"--{field.name.replace('_', '-')}", *KSERVE_SPELLINGS.get(field.name, ())]
        parser.add_argument(*names, dest=field.name, metavar="VALUE")
    return parser


def _convert(name: str, kind: str, text: str) -> object:
    try:
        if kind == "bool":
            return {"true": True, "1": True, "false": False, "0": False}[text.lower()]
        return {"Path": Path, "int": int, "float": float, "str": str}[kind](text)
    except (KeyError, ValueError):
        raise InputError(f"{text!r} is no {kind}", where=name) from None

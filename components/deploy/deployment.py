"""Brings a registered version up on this machine; the old one serves until it has answered."""

from __future__ import annotations

import ipaddress
import logging
import os
from dataclasses import dataclass
from urllib.parse import urlsplit

import httpx

from components.deploy.smoke import AnswerCheck, check_answers
from components.deploy.target import SHAPE
from kg_schema.errors import DeskGraphError, InputError

TOKEN_VARIABLE = "DESKGRAPH_SUPERVISOR_TOKEN"  # noqa: S105 - the variable's name
DEPLOY_TIMEOUT_S = 240.0
SERVED_NAME = "deskgraph"

logger = logging.getLogger(__name__)


class DeployError(DeskGraphError):
    """The new version did not come up; what served before still serves."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """A version that serves.

    Attributes:
        url: REST address (V1, V2, metrics).
        grpc_url: `host:port` of the gRPC listener.
        version: The registered version.
        answer_check: What it answered before it was switched to, and again after.
    """

    url: str
    grpc_url: str
    version: str
    answer_check: AnswerCheck


def deploy_model(
    model: str, name: str, version: str, deploy_target: str, graph_uri: str = ""
) -> Deployment:
    """Deploys a version to the local supervisor and answers a ticket through it.

    Args:
        model: Location of the model directory, as the registration tells.
        name: The registered model's name.
        version: The registered version.
        deploy_target: Address of the serving supervisor, `http://127.0.0.1:PORT`. The token is
            read from DESKGRAPH_SUPERVISOR_TOKEN.
        graph_uri: Address of the graph; empty serves without one, and every answer abstains.

    Raises:
        InputError: The target is of no known kind, or there is no token.
        DeployError: It did not come up, or the supervisor cannot be reached.
        SmokeFailed: It came up and then answered otherwise than before.
    """
    _check_target(deploy_target)
    token = os.environ.get(TOKEN_VARIABLE, "")
    if not token:
        raise InputError("no token for the supervisor", where=TOKEN_VARIABLE, fix="set it")
    request = {"model": model, "name": name, "version": version, "graph_uri": graph_uri}
    try:
        response = httpx.post(
            f"{deploy_target.rstrip('/')}/deployments",
            json=request,
            headers={"authorization": f"Bearer {token}"},
            timeout=DEPLOY_TIMEOUT_S,
            trust_env=False,
        )
        content = response.json()
    except (httpx.HTTPError, ValueError) as error:
        raise DeployError(
            f"the supervisor does not answer: {type(error).__name__}", where=deploy_target
        ) from error
    if response.status_code != 200:
        what = content.get("error", f"HTTP {response.status_code}")
        raise DeployError(f"version {version} was not deployed: {what}", where=deploy_target)
    check = check_answers(content["url"], SERVED_NAME, with_graph=bool(graph_uri))
    logger.info("%s version %s serves at %s", name, version, content["url"])
    return Deployment(content["url"], content["grpc_url"], version, check)


def _check_target(target: str) -> None:
    parts = urlsplit(target)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InputError(
            "no deploy target", where=target, fix=f"give http://127.0.0.1:PORT or {SHAPE}"
        )
    if parts.scheme == "http" and not _is_loopback(parts.hostname):
        raise InputError("a token would travel in the clear", where=target, fix="use https://")


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"

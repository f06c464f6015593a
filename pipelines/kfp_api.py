"""The way to Kubeflow Pipelines' API: log-in, patience while it is away, one line an error.

It speaks through the generated client (kfp_server_api) that kfp's own Client wraps: that one has
no timeouts, tries a dead host for half a minute with tracebacks before its first call, prints, and
keeps settings in the home folder.
"""

from __future__ import annotations

import json
import logging
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from kg_schema.errors import DeskGraphError, InputError

HOST_VARIABLE = "KFP_ENDPOINT"
COOKIE_VARIABLE = "DESKGRAPH_KFP_COOKIE"
# Where Kubeflow projects a pod's token for its API, as kfp's own credentials have it.
TOKEN_VARIABLE = "KF_PIPELINES_SA_TOKEN_PATH"  # noqa: S105
POD_TOKEN = Path("/var/run/secrets/kubeflow/pipelines/token")
IN_CLUSTER_HOST = "http://ml-pipeline.kubeflow.svc.cluster.local:8888"

CALL_TIMEOUT_S = (5, 60)
"""To connect, and to wait for an answer."""
RETRY_FOR_S = 120.0
"""How long an API server that is away is waited for: a restart takes some seconds."""
CONNECT_FOR_S = 10.0
"""How long a host is tried that has never answered: it is more likely a wrong one."""
FIRST_PAUSE_S = 0.5
LONGEST_PAUSE_S = 10.0
PASSING = frozenset({429, 502, 503, 504})
FAULT_RETRIES = 2
"""How often it is tried again where the API itself answers 500: it says so of refusals too."""
INTERNAL = 13
"""gRPC's code of an error whose details say no more than that."""

logger = logging.getLogger(__name__)

T = TypeVar("T")


class KfpError(DeskGraphError):
    """The pipelines API cannot be reached or refuses; what it holds is as it was."""


class KfpPassing(KfpError):
    """It may pass, and what was asked for may have been done.

    Attributes:
        given_up: Whether it was tried again, in vain.
    """

    given_up = False


class KfpAway(KfpPassing):
    """The API is not there for now."""


class KfpFault(KfpPassing):
    """The API is there and fails at what it was asked for."""


class KfpConflict(KfpError):
    """The name is taken."""


class KfpMissing(KfpError):
    """There is no such thing."""


@dataclass(frozen=True)
class Access:
    """Where the API is and how one logs in.

    Attributes:
        host: Its address; the page's does too, which hands the API's paths on.
        namespace: The user's, where Kubeflow keeps users apart; else empty.
        token_file: A bearer token, read at every call: it may rotate.
        cookie: `name=value` of a log-in in a browser.
    """

    host: str
    namespace: str = ""
    token_file: Path | None = None
    cookie: str = field(default="", repr=False)

    @classmethod
    def find(
        cls,
        host: str = "",
        namespace: str = "",
        token_file: Path | None = None,
        cookie_file: Path | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Access:
        """Fills what is not given from the environment, and from the pod's own account.

        Args:
            host: KFP_ENDPOINT by default; in a pod, Kubeflow's own service.
            namespace: As in `Access`.
            token_file: By default the one that Kubeflow projects into a pod, where there is one and
                the host is Kubeflow's own service: nobody else is handed it unasked.
            cookie_file: Holds the cookie; DESKGRAPH_KFP_COOKIE by default.
            environment: What to read; the process's own by default.

        Raises:
            InputError: No host is named, or a file cannot be read.
        """
        env = os.environ if environment is None else environment
        host = host or env.get(HOST_VARIABLE, "")
        if not host and "KUBERNETES_SERVICE_HOST" in env:
            host = IN_CLUSTER_HOST
        host = (host if "://" in host else f"http://{host}").rstrip("/")
        if not _usable(host):
            raise InputError(
                "no pipelines API is named",
                where=HOST_VARIABLE,
                fix="give --host URL, such as http://localhost:8888",
            )
        cookie = env.get(COOKIE_VARIABLE, "")
        if cookie_file is not None:
            cookie = _content(cookie_file)
        elif cookie:
            cookie = _one_line(cookie, COOKIE_VARIABLE)
        projected = Path(env.get(TOKEN_VARIABLE) or POD_TOKEN)
        if token_file is None and not cookie and host == IN_CLUSTER_HOST and projected.is_file():
            token_file = projected
        if token_file is not None:
            _content(token_file)
        return cls(host, namespace, token_file, cookie)


class KfpApi:
    """Calls of the generated client, made patiently.

    Args:
        access: Where the API is.
        retry_for_s: How long a server that is away is waited for.
        connect_for_s: The same before it has ever answered.

    Attributes:
        client: The generated `ApiClient`.
    """

    def __init__(self, access: Access, retry_for_s: float, connect_for_s: float) -> None:
        import kfp_server_api as kfp

        self.access = access
        self._retry_for_s = retry_for_s
        self._connect_for_s = connect_for_s
        self._answered = False
        configuration = kfp.Configuration(host=access.host)
        configuration.retries = False
        configuration.ssl_ca_cert = os.environ.get("SSL_CERT_FILE")
        if access.token_file is not None:
            configuration.api_key = {"authorization": ""}
            configuration.api_key_prefix = {"authorization": "Bearer"}
            configuration.refresh_api_key_hook = self._read_token
        self.client = kfp.ApiClient(configuration, cookie=access.cookie or None)

    def call(self, what: str, method: Any, **arguments: Any) -> Any:
        """Calls what may be repeated.

        Args:
            what: What is being done, such as `read run 1`.
            method: Of the generated client.
            **arguments: Its own.

        Raises:
            KfpAway: The API does not come back in time.
            KfpError: It refuses.
        """
        return self._patiently(lambda: self._once(what, method, arguments))

    def ensure(
        self,
        what: str,
        find: Callable[[], Any],
        create: Any,
        *,
        fresh: bool = False,
        **arguments: Any,
    ) -> Any:
        """Returns what `find` finds, else what `create` makes.

        A call that was cut off may have been done, and one that met a conflict was done by
        somebody else: both are looked for before another attempt.

        Args:
            what: What is being done.
            find: Returns it, or None.
            create: Makes it.
            fresh: It is known not to be there before the first attempt.
            **arguments: Of `create`.

        Raises:
            KfpAway: The API does not come back in time.
            KfpError: It refuses.
        """

        def attempt() -> Any:
            nonlocal fresh
            if not fresh and (found := find()) is not None:
                return found
            fresh = False
            try:
                return self._once(what, create, arguments)
            except KfpConflict:
                if (found := find()) is None:
                    raise
                return found

        return self._patiently(attempt)

    def text(self, path: str) -> str:
        """Returns what a path answers outside the generated client; empty where it does not."""
        from kfp_server_api.exceptions import OpenApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = self.client.call_api(
                path,
                "GET",
                auth_settings=["Bearer"],
                _preload_content=False,
                _return_http_data_only=True,
                _request_timeout=CALL_TIMEOUT_S,
            )
        except (OpenApiException, HTTPError, AttributeError) as error:
            logger.info("%s: %s", path, error)
            return ""
        return str(answer.data.decode("utf-8", errors="replace"))

    def _patiently(self, attempt: Callable[[], T]) -> T:
        start, pause, faults = time.monotonic(), FIRST_PAUSE_S, 0
        while True:
            try:
                return attempt()
            except KfpPassing as error:
                faults += isinstance(error, KfpFault)
                limit = self._retry_for_s if self._answered else self._connect_for_s
                late = time.monotonic() - start + pause > limit
                if error.given_up or late or faults > FAULT_RETRIES:
                    error.given_up = True
                    raise
                logger.warning("%s; again in %.1f s", error.what, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE_S)

    def _once(self, what: str, method: Any, arguments: Mapping[str, Any]) -> Any:
        from kfp_server_api.exceptions import ApiException
        from urllib3.exceptions import HTTPError

        try:
            answer = method(**arguments, _request_timeout=CALL_TIMEOUT_S)
        except ApiException as error:
            self._answered = True
            raise self._refused(what, error) from error
        except HTTPError as error:
            raise self._away(what, type(error).__name__) from error
        except AttributeError as error:
            # The generated client stumbles over its own error where TLS fails.
            if isinstance(error.__context__, ApiException):
                raise KfpError(
                    f"cannot {what}: the host's certificate is not trusted",
                    where=self.access.host,
                    fix="point SSL_CERT_FILE at your certificate authority's file",
                ) from error
            raise
        self._answered = True
        kind = self.client.last_response.getheader("content-type") or ""
        if not kind.startswith("application/json"):
            # It would pass for an answer with nothing in it.
            raise self._logged_out(what, f"the host answers with {kind or 'nothing'}, not the API")
        return answer

    def _refused(self, what: str, error: Any) -> KfpError:
        own, where = _own_words(error), self.access.host
        said = own or str(error.reason or "no reason given")
        if error.status in PASSING or (error.status == 500 and not own):
            return self._away(what, f"HTTP {error.status}: {said}")
        if error.status == 401 or 300 <= error.status < 400:
            return self._logged_out(what, said)
        if error.status == 403:
            return KfpError(
                f"no right to {what}: {said}",
                where=where,
                fix="let an administrator give this account the role kubeflow-pipelines-edit, "
                "or name your own --namespace",
            )
        kinds = {404: KfpMissing, 409: KfpConflict, 500: KfpFault}
        kind = kinds.get(error.status, KfpError)
        return kind(f"cannot {what}: {said}", where=where)

    def _logged_out(self, what: str, said: str) -> KfpError:
        if self.access.token_file is not None:
            fix = f"the token in {self.access.token_file} is stale or not meant for this host: "
            fix += "write a fresh one there"
        elif self.access.cookie:
            fix = "the cookie is stale: log in with the browser and hand over the new one"
        else:
            fix = f"log in: give --token-file or --cookie-file, or set {COOKIE_VARIABLE}"
        return KfpError(f"cannot {what}: not logged in ({said})", where=self.access.host, fix=fix)

    def _away(self, what: str, reason: str) -> KfpAway:
        fix = "see that the address is right and can be reached from here"
        if self._answered:
            fix = "try again when the API server is back"
        return KfpAway(
            f"cannot {what}: the API is away ({reason})", where=self.access.host, fix=fix
        )

    def _read_token(self, configuration: Any) -> None:
        assert self.access.token_file is not None  # noqa: S101 -- set where the hook is
        configuration.api_key["authorization"] = _content(self.access.token_file)


def _usable(host: str) -> bool:
    try:
        parts = urlsplit(host)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _content(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"cannot be read ({type(error).__name__})", where=str(path)) from error
    return _one_line(text, str(path))


def _one_line(text: str, where: str) -> str:
    text = text.strip()
    # It becomes a header; a line break in it would begin another one.
    if not text or not (text.isascii() and text.isprintable()):
        raise InputError("holds no token or cookie on one line", where=where)
    return text


def _own_words(error: Any) -> str:
    """What the service itself says of a refusal, without its path; empty where it says nothing."""
    try:
        told = json.loads(error.body)
        said = told.get("message") or told.get("error_message")
        details = told.get("details")
    except (TypeError, ValueError, AttributeError):
        said, details = "", None
    if details and told.get("code") != INTERNAL:
        said = details[0].get("message") or said
    return str(said or "")

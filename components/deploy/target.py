"""The address of a deployment on a cluster."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from kg_schema.errors import InputError

SCHEME = "kserve"
SHAPE = "kserve://NAMESPACE/NAME?gateway=GWNAMESPACE/GWNAME&hostname=HOST"
# A version's Service is NAME-vN-predictor, and Kubernetes takes 63 characters.
MAX_NAME = 40
_LABEL = re.compile(r"[a-z]([-a-z0-9]{0,61}[a-z0-9])?")
_HOST = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*")


@dataclass(frozen=True, slots=True)
class KserveTarget:
    """Where versions are served on a cluster.

    Attributes:
        namespace: Of the InferenceServices and the HTTPRoute.
        name: The HTTPRoute's name; each version's InferenceService is `NAME-vN`.
        gateway_namespace: Of the Gateway that the route hangs on.
        gateway_name: Its name.
        hostname: By which requests are told to be ours.
        url: How this process reaches the gateway.
    """

    namespace: str
    name: str
    gateway_namespace: str
    gateway_name: str
    hostname: str
    url: str

    def service(self, version: str) -> str:
        """Returns the name of a version's InferenceService."""
        return f"{self.name}-v{version}"


def is_cluster(target: str) -> bool:
    """Whether a deploy target is on a cluster."""
    return target.startswith(f"{SCHEME}:")


def parse_target(target: str) -> KserveTarget:
    """Reads `kserve://NAMESPACE/NAME?gateway=GWNAMESPACE/GWNAME&hostname=HOST[&url=http://…]`.

    Raises:
        InputError: It is not of that shape.
    """
    try:
        parts = urlsplit(target)
        pairs = parse_qsl(parts.query, keep_blank_values=True, strict_parsing=bool(parts.query))
    except ValueError:
        raise _wrong("is no address", target) from None
    if parts.scheme != SCHEME or parts.fragment:
        raise _wrong("is no deploy target on a cluster", target)
    options = dict(pairs)
    if len(options) < len(pairs):
        raise _wrong("says an option twice", target)
    if unknown := sorted(options.keys() - {"gateway", "hostname", "url"}):
        raise _wrong(f"has the unknown option {unknown[0]!r}", target)
    namespace, name = parts.netloc, parts.path.removeprefix("/")
    for what, value in (("namespace", namespace), ("name", name)):
        if not _LABEL.fullmatch(value):
            raise _wrong(f"has {f'the {what} {value!r}' if value else f'no {what}'}", target)
    if len(name) > MAX_NAME:
        raise _wrong(f"has a name of over {MAX_NAME} characters", target)
    gateway = options.get("gateway", "").split("/")
    if len(gateway) != 2 or not all(_LABEL.fullmatch(part) for part in gateway):
        raise _wrong("names no gateway", target)
    hostname = options.get("hostname", "")
    if not _HOST.fullmatch(hostname) or len(hostname) > 253:
        raise _wrong("names no hostname", target)
    url = options.get("url") or f"http://{gateway[1]}.{gateway[0]}"
    if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
        raise _wrong(f"has the url {url!r}, which is none", target)
    return KserveTarget(namespace, name, gateway[0], gateway[1], hostname, url.rstrip("/"))


def _wrong(what: str, target: str) -> InputError:
    return InputError(what, where=target or "deploy_target", fix=f"give {SHAPE}")

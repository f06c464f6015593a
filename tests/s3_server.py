"""A real S3 server for tests: OpenStack Swift with s3api, on loopback, in one process of its own.

`s3_server` starts it once a test session. It checks signatures and refuses unknown keys. Run as
a program, this file is the server.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ACCESS_KEY = "test:tester"
SECRET_KEY = "testing"
START_TIMEOUT_S = 60
STORAGE = ("account", "container", "object")

PROXY_CONF = """
[DEFAULT]
swift_dir = {home}
user = root
log_level = ERROR
[pipeline:main]
pipeline = catch_errors gatekeeper listing_formats cache bulk s3api tempauth copy slo dlo \
versioned_writes symlink proxy-logging proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:gatekeeper]
use = egg:swift#gatekeeper
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:cache]
use = egg:swift#memcache
memcache_servers = 127.0.0.1:1
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
s3_acl = false
location = us-east-1
allow_multipart_uploads = true
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:copy]
use = egg:swift#copy
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
[filter:versioned_writes]
use = egg:swift#versioned_writes
allow_object_versioning = true
[filter:symlink]
use = egg:swift#symlink
[filter:proxy-logging]
use = egg:swift#proxy_logging
"""

STORAGE_CONF = """
[DEFAULT]
swift_dir = {home}
devices = {home}/devices
mount_check = false
log_level = ERROR
[pipeline:main]
pipeline = {kind}-server
[app:{kind}-server]
use = egg:swift#{kind}
fallocate_reserve = 0
"""

SWIFT_CONF = """
[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
"""


@dataclass(frozen=True)
class S3Server:
    """A running server with a bucket.

    Attributes:
        endpoint: Its address.
        access_key: The one known key.
        secret_key: Its secret.
        bucket: A bucket that exists and was empty.
    """

    endpoint: str
    access_key: str
    secret_key: str
    bucket: str

    @property
    def env(self) -> dict[str, str]:
        """What a process needs in its environment to use the server."""
        return {
            "AWS_ACCESS_KEY_ID": self.access_key,
            "AWS_SECRET_ACCESS_KEY": self.secret_key,
            "AWS_ENDPOINT_URL_S3": self.endpoint,
            "AWS_REGION": "us-east-1",
        }

    def client(self) -> Any:
        """A boto3 client of the server."""
        import boto3
        from botocore.config import Config

        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=self.access_key,
            aws_secret_access_key=self.secret_key,
            region_name="us-east-1",
            config=Config(
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3Server]:
    """Starts the server with a fresh bucket; changes nothing of this process's environment."""
    home = tmp_path_factory.mktemp("swift")
    log = (home / "log").open("wb")
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", __file__, str(home)], stdout=log, stderr=log
    )
    try:
        port = _wait_for_port(process, home)
        server = S3Server(
            f"http://127.0.0.1:{port}", ACCESS_KEY, SECRET_KEY, f"tests-{uuid.uuid4().hex[:8]}"
        )
        server.client().create_bucket(Bucket=server.bucket)
        yield server
    finally:
        process.terminate()
        try:
            process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        log.close()


def _wait_for_port(process: subprocess.Popen[bytes], home: Path) -> int:
    end = time.monotonic() + START_TIMEOUT_S
    ready = home / "port"
    while time.monotonic() < end:
        if ready.exists():
            return int(ready.read_text())
        if process.poll() is not None:
            break
        time.sleep(0.05)
    raise RuntimeError(f"Swift did not start: {(home / 'log').read_text()[-2000:]}")


def _serve(home: Path) -> None:
    """Writes rings and configuration, and serves until the process is ended."""
    import eventlet

    eventlet.monkey_patch()
    from swift.common import utils

    utils.SWIFT_CONF_FILE = str(home / "swift.conf")
    (home / "swift.conf").write_text(SWIFT_CONF)
    utils.validate_hash_conf()
    from eventlet import wsgi
    from swift.common.http_protocol import SwiftHttpProtocol
    from swift.common.ring import RingBuilder
    from swift.common.wsgi import loadapp

    (home / "devices" / "sda").mkdir(parents=True)
    sockets = {kind: eventlet.listen(("127.0.0.1", 0)) for kind in (*STORAGE, "proxy")}
    for kind in STORAGE:
        builder = RingBuilder(1, 1, 1)
        port = sockets[kind].getsockname()[1]
        device = {"region": 1, "zone": 1, "weight": 1.0, "device": "sda"}
        builder.add_dev({**device, "ip": "127.0.0.1", "port": port})
        builder.rebalance()
        builder.get_ring().save(str(home / f"{kind}.ring.gz"))
    threads = []
    for kind, listener in sockets.items():
        conf = home / f"{kind}.conf"
        conf.write_text(
            (PROXY_CONF if kind == "proxy" else STORAGE_CONF).format(home=home, kind=kind)
        )
        app = loadapp(str(conf), global_conf={"log_name": kind})
        options = {"log_output": False, "custom_pool": eventlet.GreenPool(200)}
        if kind != "proxy":
            options["protocol"] = SwiftHttpProtocol
        threads.append(eventlet.spawn(wsgi.server, listener, app, **options))
    _announce(home / "port", sockets["proxy"])
    for thread in threads:
        thread.wait()


def _announce(path: Path, listener: socket.socket) -> None:
    temporary = path.with_suffix(".tmp")
    temporary.write_text(str(listener.getsockname()[1]))
    os.replace(temporary, path)


if __name__ == "__main__":
    _serve(Path(sys.argv[1]))

"""The backend's client: made once however calls break off, patient, one line an error."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from kg_schema.errors import InputError
from pipelines.client import UNDER_WAY, PipelinesClient, Version, equals, in_states
from pipelines.kfp_api import (
    COOKIE_VARIABLE,
    FAULT_RETRIES,
    IN_CLUSTER_HOST,
    Access,
    KfpAway,
    KfpError,
    KfpFault,
    KfpMissing,
)
from pipelines.packages import read_package
from tests.kfp_server import ROOT, KfpServer, Refused
from tests.pipelines.tiny_pipeline import NAME


@pytest.fixture
def client(kfp_server: KfpServer) -> PipelinesClient:
    return PipelinesClient(kfp_server.access(), retry_for_s=5, connect_for_s=2)


@pytest.fixture
def version(client: PipelinesClient, tiny_package: Path) -> Version:
    return client.upload(tiny_package, NAME, read_package(tiny_package).version)


def started(client: PipelinesClient, version: Version, name: str = "one") -> Any:
    return client.start_run(name, version, {}, client.experiment("desk"), "a test")


def test_the_same_content_is_uploaded_once(
    client: PipelinesClient, version: Version, kfp_server: KfpServer, tiny_package: Path
) -> None:
    again = client.upload(tiny_package, NAME, version.name)
    assert (version.created, again.created) == (True, False)
    assert again.version_id == version.version_id
    other = client.upload(tiny_package, NAME, "sha-another")
    assert other.pipeline_id == version.pipeline_id
    assert [each["name"] for each in kfp_server.all("versions")] == [version.name, "sha-another"]
    assert client.newest_version(version.pipeline_id) is not None


def test_two_uploads_at_once_are_one(kfp_server: KfpServer, tiny_package: Path) -> None:
    """Both look before either has uploaded; the later one meets 409 and finds."""
    both_looked = threading.Barrier(2, timeout=10)
    seen: set[tuple[int, str]] = set()

    def wait(method: str, path: str) -> None:
        key = (threading.get_ident(), path)
        if method == "POST" and key not in seen and "runs" not in path:
            seen.add(key)
            both_looked.wait()

    kfp_server.before = wait

    def upload() -> Version:
        return PipelinesClient(kfp_server.access()).upload(tiny_package, NAME, "sha-1")

    with ThreadPoolExecutor(2) as pool:
        one, two = (each.result() for each in [pool.submit(upload), pool.submit(upload)])
    assert one.version_id == two.version_id
    assert len(kfp_server.all("pipelines")) == len(kfp_server.all("versions")) == 1


@pytest.mark.parametrize("path", ["pipelines", "pipelines/upload_version", "experiments", "runs"])
def test_what_was_made_before_the_line_broke_is_not_made_again(
    path: str, client: PipelinesClient, kfp_server: KfpServer, tiny_package: Path
) -> None:
    kfp_server.lose_answer("POST", f"{ROOT}/{path}")
    run = started(client, client.upload(tiny_package, NAME, "sha-1"))
    assert run.run_id == kfp_server.all("runs")[0]["run_id"]
    for kind in ("pipelines", "versions", "experiments", "runs"):
        assert len(kfp_server.all(kind)) == 1, kind


def test_a_server_that_starts_again_is_waited_for(
    client: PipelinesClient, version: Version, kfp_server: KfpServer
) -> None:
    kfp_server.away_for(1.2)
    assert started(client, version).state == "PENDING"
    kfp_server.away_for(60)
    with pytest.raises(KfpAway, match=r"the API is away \(HTTP 503") as caught:
        PipelinesClient(kfp_server.access(), retry_for_s=1).experiment("desk")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("by", "error"), [("service", KfpFault), ("upload", KfpFault), ("", KfpAway)]
)
def test_a_fault_is_the_services_own_only_in_its_own_words(
    by: str, error: type[KfpError], kfp_server: KfpServer
) -> None:
    def fail(method: str, path: str) -> None:
        raise Refused(500, "Broken pipe", by=by)

    kfp_server.before = fail
    with pytest.raises(error):
        PipelinesClient(kfp_server.access(), retry_for_s=1).run("1")


def test_a_fault_that_passes_is_no_refusal(
    client: PipelinesClient, version: Version, kfp_server: KfpServer
) -> None:
    faults = iter(range(FAULT_RETRIES))

    def fail(method: str, path: str) -> None:
        if next(faults, None) is not None:
            raise Refused(500, "driver: bad connection")

    kfp_server.before = fail
    assert started(client, version).state == "PENDING"


def test_a_host_that_never_answered_is_given_up_soon() -> None:
    start = time.monotonic()
    with pytest.raises(KfpAway, match="see that the address is right"):
        PipelinesClient(Access("http://127.0.0.1:9"), connect_for_s=0.6).run("1")
    assert time.monotonic() - start < 5


def test_what_the_backend_refuses_is_one_line(
    client: PipelinesClient, version: Version, kfp_server: KfpServer
) -> None:
    with pytest.raises(KfpMissing, match="cannot read run 1"):
        client.run("1")
    with pytest.raises(KfpError, match="not required by pipeline: nope"):
        client.start_run("x", version, {"nope": 1}, client.experiment("desk"), "a test")
    with pytest.raises(KfpError, match="requires type double or integer"):
        client.start_run("x", version, {"rows": "1"}, client.experiment("desk"), "a test")
    with pytest.raises(KfpError, match="cron is not a supported format"):
        client.create_recurring_run("x", version, {}, client.experiment("desk"), "0 0 99 * * *")
    gone = replace(version, version_id="gone")
    kfp_server.requests.clear()
    with pytest.raises(KfpFault, match=r"cannot start run x: .*error fetching manifest$"):
        client.start_run("x", gone, {}, client.experiment("desk"), "a test")
    assert kfp_server.requests.count(("POST", f"{ROOT}/runs")) == 1 + FAULT_RETRIES
    kfp_server.before = lambda method, path: _refuse(403)
    with pytest.raises(KfpError, match=r"no right to read run 1.*--namespace"):
        client.run("1")


def _refuse(status: int) -> None:
    raise Refused(status, "no")


def test_a_stale_token_says_which_file_and_a_fresh_one_is_read(
    kfp_server: KfpServer, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text("fresh\n", encoding="utf-8")
    kfp_server.token = "fresh"
    client = PipelinesClient(kfp_server.access(token_file=token))
    assert client.experiment("desk")
    kfp_server.token = "rotated"
    with pytest.raises(KfpError, match=r"not logged in.*the token in .*token is stale"):
        client.experiment("desk")
    token.write_text("rotated", encoding="utf-8")
    assert client.experiment("desk")
    token.unlink()
    with pytest.raises(InputError, match="cannot be read"):
        client.experiment("desk")


def test_a_stale_cookie_ends_at_the_log_in_page_not_in_an_empty_answer(
    kfp_server: KfpServer,
) -> None:
    kfp_server.cookie = "session=1"
    assert PipelinesClient(kfp_server.access(cookie="session=1")).experiment("desk")
    with pytest.raises(KfpError, match="the cookie is stale: log in with the browser"):
        PipelinesClient(kfp_server.access(cookie="session=0")).experiment("desk")
    with pytest.raises(
        KfpError, match=f"give --token-file or --cookie-file, or set {COOKIE_VARIABLE}"
    ):
        PipelinesClient(kfp_server.access()).experiment("desk")


@pytest.fixture
def web_page() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/html; charset=utf-8")
            self.end_headers()
            self.wfile.write(b"<html>Log in</html>")

        def log_message(self, *arguments: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}"
    server.shutdown()
    server.server_close()


def test_a_page_is_no_answer(web_page: str) -> None:
    with pytest.raises(KfpError, match=r"answers with text/html.*, not the API"):
        PipelinesClient(Access(web_page)).run("1")


def test_lists_go_over_all_their_pages_and_names_are_taken_literally(
    client: PipelinesClient, version: Version, kfp_server: KfpServer, monkeypatch: Any
) -> None:
    monkeypatch.setattr("pipelines.client.PAGE_SIZE", 2)
    names = ['a+b %41 "q" & ü', 'a b %41 "q" & ü', 'A+B %41 "q" & ü', "c", "d"]
    for name in names:
        started(client, version, name)
    assert len(list(client.runs())) == 5
    assert {run.display_name for run in client.runs(equals("display_name", names[1]))} == {names[1]}
    assert len(client.runs_of(version.pipeline_id, in_states(UNDER_WAY))) == 5
    assert client.runs_of("another", in_states(UNDER_WAY)) == []
    client.create_recurring_run(names[0], version, {}, client.experiment("desk"), "0 0 3 * * *")
    assert len(client.recurring_runs(names[0])) == 1
    # The database compares without case; names do not.
    assert client.recurring_runs(names[2]) == []


def test_a_run_that_has_ended_stays_as_it_is(
    client: PipelinesClient, version: Version, kfp_server: KfpServer
) -> None:
    run = started(client, version)
    client.end_run(run.run_id)
    client.end_run(run.run_id)
    assert client.run(run.run_id).state == "CANCELING"
    kfp_server.play(run.run_id, "SUCCEEDED")
    client.end_run(run.run_id)
    assert client.run(run.run_id).state == "SUCCEEDED"


def test_the_way_in_comes_from_options_then_the_environment_then_the_pod(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token, cookie = tmp_path / "token", tmp_path / "cookie"
    token.write_text("t", encoding="utf-8")
    cookie.write_text("a=b\n", encoding="utf-8")
    env = {"KFP_ENDPOINT": "host:8888/", COOKIE_VARIABLE: "c=d"}
    assert Access.find(environment=env) == Access("http://host:8888", cookie="c=d")
    assert Access.find("https://h", "me", cookie_file=cookie, environment=env) == Access(
        "https://h", "me", cookie="a=b"
    )
    pod = {"KUBERNETES_SERVICE_HOST": "1", "KF_PIPELINES_SA_TOKEN_PATH": str(token)}
    assert Access.find(environment=pod) == Access(IN_CLUSTER_HOST, token_file=token)
    assert Access.find(f"{IN_CLUSTER_HOST}/", environment=pod).token_file == token
    assert Access.find("https://elsewhere", environment=pod).token_file is None
    assert Access.find("https://elsewhere", token_file=token, environment=pod).token_file == token
    monkeypatch.setattr("pipelines.kfp_api.POD_TOKEN", token)
    assert Access.find("https://elsewhere", environment={}).token_file is None
    assert "a=b" not in repr(Access("http://h", cookie="a=b"))
    for host in ("", "http://", "http://h:port", "http://[::1"):
        with pytest.raises(InputError, match="no pipelines API is named"):
            Access.find(host, environment={})
    cookie.write_text("a=b\r\nX-Evil: 1", encoding="utf-8")
    with pytest.raises(InputError, match="on one line"):
        Access.find("h", cookie_file=cookie, environment={})
    with pytest.raises(InputError, match=f"{COOKIE_VARIABLE}: holds no"):
        Access.find("h", environment={COOKIE_VARIABLE: "a=b\nX-Evil: 1"})
    with pytest.raises(InputError, match="cannot be read"):
        Access.find("h", token_file=tmp_path / "none", environment={})


def test_what_the_real_one_refuses_the_small_one_refuses(
    client: PipelinesClient, version: Version, kfp_server: KfpServer
) -> None:
    import kfp_server_api as kfp

    api = kfp.ApiClient(kfp.Configuration(host=kfp_server.url))
    runs, recurring = kfp.RunServiceApi(api), kfp.RecurringRunServiceApi(api)
    bad = [
        (400, lambda: runs.run_service_list_runs(filter='{"predicates": [{"key": "x"}]}')),
        (400, lambda: runs.run_service_list_runs(filter="nothing")),
        (400, lambda: runs.run_service_list_runs(sort_by="colour")),
        (400, lambda: runs.run_service_list_runs(page_token="x")),
        (404, lambda: recurring.recurring_run_service_get_recurring_run("1")),
        (400, lambda: runs.run_service_create_run(run={"display_name": "x", "labels": {}})),
        (501, lambda: api.call_api(f"{ROOT}/recurringruns", "PATCH", body={"a": 1})),
    ]
    for status, call in bad:
        with pytest.raises(kfp.ApiException) as caught:
            call()
        assert caught.value.status == status

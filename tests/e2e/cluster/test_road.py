"""The whole road on a cluster: a run from the page, policies that change, and what may go wrong.

Each fixture goes on where the one before it stopped, so the tests may come in any order.
"""

from __future__ import annotations

import copy
import itertools
import json
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from tests.e2e.cluster import company
from tests.e2e.cluster.conftest import MODEL, SESSION, Installed
from tests.e2e.cluster.page import browser_page
from tests.e2e.cluster.site import NAMESPACE, PIPELINES, apply, ask, kubectl, objects, until

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(3600)]

RUN_S = 2400
WITHIN_S = 75  # a minute, and a pod's start
SHOTS = Path("out/e2e")
TICKET = "How long does standard shipping take, and what does it cost?"
EXPERIMENT = "e2e"
STAND_IN = "e2e-object-store"
STEP, TRAINING = "detect_change", "finetune"
KEPT_S = 4  # from an epoch's end until its checkpoint is in the object store
KILL_ALL = "import os; os.kill(-1, 9)"  # but the first process, which then says what happened
STALE_TOKEN = "a.stale.token"
NEW_TICKET = "How long is a gift card valid?"


@dataclass
class Seen:
    """What was seen of a run."""

    run_id: str
    state: str
    answer: dict[str, Any]
    champion: str
    at_once: dict[str, Any] = field(default_factory=dict)
    fields: dict[str, str] = field(default_factory=dict)
    labels: list[str] = field(default_factory=list)
    train_jobs: list[dict[str, Any]] = field(default_factory=list)
    services: list[str] = field(default_factory=list)
    broken: str = ""
    mended: str = ""
    started_after_s: float = 0.0


@pytest.fixture(scope="module")
def ended(installed: Installed) -> str:
    """A training that is ended by hand while its ranks work; its state."""
    client = installed.client()
    package = str(installed.compile("training"))
    run_id = client.create_run_from_pipeline_package(
        package, arguments=installed.parameters, experiment_name=EXPERIMENT
    ).run_id
    until("rank at work", lambda: _ranks("Running"), RUN_S)
    client.terminate_run(run_id)
    return installed.wait(run_id, RUN_S)


@pytest.fixture(scope="module")
def from_the_page(installed: Installed) -> Iterator[Seen]:
    """A training, uploaded, filled in and started on the page."""
    package = installed.compile("training")
    installed.client().create_experiment(EXPERIMENT)
    with browser_page(installed.site.ui_url) as page:
        page.upload(package, f"deskgraph-training-{int(time.time())}")
        page.fit()
        page.shot(SHOTS / "pipeline.png")
        page.open_form()
        page.shot(SHOTS / "form.png")
        fields, labels = page.fields(), page.labels()
        run_id = page.start(installed.parameters, "from the page", EXPERIMENT)
        jobs: dict[str, dict[str, Any]] = {}

        def look() -> None:
            found = objects("-n", NAMESPACE, "trainjobs")
            jobs.update((job["metadata"]["name"], job) for job in found)

        state = installed.wait(run_id, RUN_S, look)
        page.open_run(run_id)
        page.fit()
        page.shot(SHOTS / "run.png")
        assert state == "SUCCEEDED", _steps(installed, run_id)
        for node, tab, name in (
            ("html", "Visualization", "report"),
            ("confusion", "Visualization", "confusion"),
        ):
            page.open_node(node)
            page.tab(tab)
            time.sleep(3)
            page.shot(SHOTS / f"{name}.png")
    yield Seen(
        run_id,
        state,
        ask(installed.site, TICKET),
        _champion(installed),
        fields=fields,
        labels=labels,
        train_jobs=list(jobs.values()),
        services=_services(),
    )


@pytest.fixture(scope="module")
def scheduled(installed: Installed, from_the_page: Seen) -> str:
    """Retraining by the clock (at night), which the policy watch starts between times."""
    assert from_the_page.state == "SUCCEEDED"
    given = [f"--param={name}={value}" for name, value in installed.parameters.items()]
    arguments = [
        "schedule", "--host", installed.site.kfp_endpoint, "--cron", "0 0 3 * * *",
        "--profile", Path(__file__).with_name("profile.yaml"),
        "--images", installed.site.images_file, *given,
    ]  # fmt: skip
    first = installed.deskgraph(*arguments)
    return first + installed.deskgraph(*arguments)


@pytest.fixture(scope="module")
def reworded(installed: Installed, scheduled: str) -> Seen:
    """A policy says something else; a rank is killed, and the pipelines' service starts again."""
    known = _known(installed)
    _set_policy(installed, company.REWORDED, "Standard shipping costs 4.50 euro and takes 2 days.")
    before = time.monotonic()
    at_once = ask(installed.site, TICKET)
    run_id = _new_run(installed, known)
    started = time.monotonic() - before
    _kill_a_rank(run_id)
    name = until("attempt that failed", lambda: _pod_of(run_id, TRAINING, "Failed"), 120)
    broken = _said(name)
    kubectl("-n", PIPELINES, "rollout", "restart", "deployment/ml-pipeline")
    kubectl("-n", PIPELINES, "rollout", "status", "deployment/ml-pipeline", "--timeout=120s")
    state = installed.wait(run_id, RUN_S)
    assert state == "SUCCEEDED", _steps(installed, run_id)
    return Seen(
        run_id,
        state,
        ask(installed.site, TICKET),
        _champion(installed),
        at_once=at_once,
        broken=broken,
        mended=_said(str(_pod_of(run_id, TRAINING, "Succeeded"))),
        started_after_s=started,
    )


@pytest.fixture(scope="module")
def extended(installed: Installed, reworded: Seen) -> Seen:
    """A policy is new, with tickets that ask for it; the roll-out's pod is deleted under way.

    Kubeflow tries a pod again that failed, not one that was deleted: the run ends, and goes on by
    its button *Retry*.
    """
    site, folder = installed.site, installed.folder
    site.upload(company.write_tickets(folder / "second", with_new=True, session=SESSION), "company")
    site.upload(company.write_graph(folder / "graph", with_new=True), "company/graph")
    known = _known(installed)
    location = site.upload(company.write_new_policy(folder / "new"), "new")
    phase, said = installed.in_pod("e2e-load", "graph", "load", location, "--source", "new")
    assert phase == "Succeeded", said
    before = time.monotonic()
    run_id = _new_run(installed, known)
    started = time.monotonic() - before
    _delete_a_pod_of(run_id, "deploy", after_s=20)
    broken = installed.wait(run_id, RUN_S)
    installed.retry(run_id)
    state = installed.wait(run_id, RUN_S)
    assert state == "SUCCEEDED", _steps(installed, run_id)
    return Seen(
        run_id,
        state,
        ask(installed.site, NEW_TICKET),
        _champion(installed),
        broken=broken,
        services=_services(),
        started_after_s=started,
    )


@pytest.fixture(scope="module")
def idle(installed: Installed, extended: Seen) -> str:
    """A pass by hand after everything is told; what it says."""
    assert extended.state == "SUCCEEDED"
    until("word of the watch", lambda: _watch_said("nothing changed"), 150, every=5)
    return installed.deskgraph(*_retrain_now(installed))


@pytest.fixture(scope="module")
def cut_off(installed: Installed, idle: str) -> tuple[str, str]:
    """A pass that begins while the object store is away: its first attempt's words, and its own."""
    assert idle
    store, known = installed.site.s3_endpoint, _known(installed)
    _move_store(_stand_in(store, there=False))
    try:
        with ThreadPoolExecutor(1) as pool:
            run = pool.submit(installed.deskgraph, *_retrain_now(installed))
            run_id = _new_run(installed, known)
            name = until("attempt that failed", lambda: _pod_of(run_id, STEP, "Failed"), 120)
            said = _said(name)
            _stand_in(store)
            return said, run.result(timeout=RUN_S)
    finally:
        _move_store(store)
        for kind in ("service", "endpointslice"):
            kubectl("-n", NAMESPACE, "delete", kind, STAND_IN, "--ignore-not-found")


@pytest.fixture(scope="module")
def refused(installed: Installed, cut_off: tuple[str, str]) -> dict[str, str]:
    """What a roll-back says with a token that is stale, and without the right to create."""
    assert cut_off
    back = ("models", "rollback", "--name", MODEL, "--now", "--target")
    target = str(installed.parameters["deploy_target"])
    (role,) = objects("-n", NAMESPACE, "role", "deskgraph-pipeline")
    less = copy.deepcopy(role)
    for rule in less["rules"]:
        if "inferenceservices" in rule["resources"]:
            rule["verbs"].remove("create")
    said = {}
    _replace(less)
    try:
        phase, said["no right"] = installed.in_pod("e2e-no-right", *back, target)
        assert phase == "Failed", said
    finally:
        _replace(role)
    phase, said["stale token"] = installed.in_pod("e2e-stale", *back, target, token=STALE_TOKEN)
    assert phase == "Failed", said
    return {**said, "champion": _champion(installed), "services": ",".join(_services())}


@pytest.fixture(scope="module")
def rolled_back(installed: Installed, refused: dict[str, str]) -> Seen:
    """The previous version, by the same command with its rights."""
    assert refused
    target = str(installed.parameters["deploy_target"])
    phase, said = installed.in_pod(
        "e2e-back", "models", "rollback", "--name", MODEL, "--now", "--target", target
    )
    assert phase == "Succeeded", said
    answer, champion = ask(installed.site, TICKET), _champion(installed)
    return Seen("", phase, answer, champion, services=_services())


def test_a_run_that_is_ended_takes_its_train_job_along(ended: str) -> None:
    assert ended in ("CANCELED", "FAILED")  # the second is what Kubeflow 2.14 says of it
    until("end of the TrainJob", lambda: not objects("-n", NAMESPACE, "trainjobs"), 60)


def test_the_form_names_types_and_defaults_every_parameter(from_the_page: Seen) -> None:
    assert len(from_the_page.fields) >= 20
    kinds = [
        re.fullmatch(r"(\w+) - (string|dict|boolean|integer|double)", each.strip())
        for each in from_the_page.labels
    ]
    assert {kind[1] for kind in kinds if kind} == from_the_page.fields.keys()
    assert from_the_page.fields["graph_uri"] == "bolt://neo4j.deskgraph:7687"


def test_a_run_from_the_page_trains_on_two_nodes_and_serves(from_the_page: Seen) -> None:
    assert from_the_page.state == "SUCCEEDED"
    (job,) = from_the_page.train_jobs
    assert job["spec"]["trainer"]["numNodes"] == 2
    assert not objects("-n", NAMESPACE, "trainjobs")
    assert from_the_page.services == ["desk-v1"]
    assert from_the_page.champion == "1"
    answer = from_the_page.answer
    facts = {fact["id"] for fact in answer["facts"]}
    assert answer["intent"]["label"] == "shipping_policy"
    assert answer["answer"]["claims"]
    assert all(set(claim["facts"]) <= facts for claim in answer["answer"]["claims"])
    assert not answer["degraded"]


def test_a_schedule_is_made_once(scheduled: str) -> None:
    assert "UTC" in scheduled
    assert "nothing" in scheduled


def test_a_reworded_policy_retrains_within_a_minute_and_is_answered_at_once(
    reworded: Seen, from_the_page: Seen
) -> None:
    assert reworded.started_after_s < WITHIN_S
    assert "4.50" in reworded.at_once["answer"]["text"]
    assert "4.50" in reworded.answer["answer"]["text"]
    assert "4.50" not in from_the_page.answer["answer"]["text"]


def test_a_killed_rank_is_named_and_the_training_goes_on_from_its_checkpoint(
    reworded: Seen,
) -> None:
    assert re.search(
        r"deskgraph-error .*TrainJob .* failed .*rank 1 was ended by signal 9", reworded.broken
    )
    assert "epoch 3 of 3" in reworded.mended
    assert "epoch 1 of 3" not in reworded.mended


def test_a_new_policy_with_its_intent_is_served_by_a_new_champion(
    extended: Seen, reworded: Seen
) -> None:
    assert extended.started_after_s < WITHIN_S
    assert extended.broken == "FAILED"
    assert int(extended.champion) > int(reworded.champion)
    assert extended.services == [f"desk-v{extended.champion}"]
    assert extended.answer["intent"]["label"] == company.NEW_INTENT
    assert "3 years" in extended.answer["answer"]["text"]


def test_the_next_pass_does_nothing_and_says_why(idle: str, extended: Seen) -> None:
    assert re.search(r"detect-change +done", idle)
    assert "SUCCEEDED" in idle
    assert "finetune" not in idle
    assert _watch_said("nothing changed")


def test_a_pass_outlasts_a_store_that_is_away(cut_off: tuple[str, str]) -> None:
    first, run = cut_off
    assert re.search(r"tickets.jsonl: cannot be reached: .*; check AWS_ACCESS_KEY_ID", first)
    assert re.search(r"detect-change +done", run)
    assert "SUCCEEDED" in run


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("no right", r"deskgraph: .*no right to create InferenceService .*bind Role deskgraph-"),
        ("stale token", r"deskgraph: .*the token is not accepted; .*fresh service account token"),
    ],
)
def test_an_account_that_is_refused_says_so_in_a_line_and_changes_nothing(
    refused: dict[str, str], extended: Seen, fault: str, said: str
) -> None:
    assert re.search(said, refused[fault]), refused[fault]
    assert "Traceback" not in refused[fault]
    assert refused["champion"] == extended.champion
    assert refused["services"] == f"desk-v{extended.champion}"


def test_the_previous_version_comes_back_by_one_command(rolled_back: Seen, extended: Seen) -> None:
    assert int(rolled_back.champion) < int(extended.champion)
    assert rolled_back.services == [f"desk-v{rolled_back.champion}"]
    assert rolled_back.answer["answer"]["claims"]


def _retrain_now(installed: Installed) -> list[str | Path]:
    given = [f"--param={name}={value}" for name, value in installed.parameters.items()]
    return [
        "submit", "--host", installed.site.kfp_endpoint, "--pipeline", "retraining",
        "--profile", Path(__file__).with_name("profile.yaml"),
        "--images", installed.site.images_file, *given,
    ]  # fmt: skip


def _stand_in(endpoint: str, *, there: bool = True) -> str:
    """Puts a Service before the object store, with nothing behind it unless it is there."""
    address = urlsplit(endpoint)
    assert address.scheme == "http" and address.hostname
    port = address.port or 80
    metadata = {"name": STAND_IN, "namespace": NAMESPACE}
    ports = [{"name": "http", "port": port}]
    documents: list[Mapping[str, Any]] = [
        {"apiVersion": "v1", "kind": "Service", "metadata": metadata, "spec": {"ports": ports}}
    ]
    if there:
        labels = {"kubernetes.io/service-name": STAND_IN}
        documents.append(
            {
                "apiVersion": "discovery.k8s.io/v1",
                "kind": "EndpointSlice",
                "metadata": {**metadata, "labels": labels},
                "addressType": "IPv4",
                "ports": ports,
                "endpoints": [{"addresses": [socket.gethostbyname(address.hostname)]}],
            }
        )
    apply(documents)
    return f"http://{STAND_IN}.{NAMESPACE}:{port}"


def _move_store(endpoint: str) -> None:
    """Tells the pipeline's steps another address of the object store."""
    patch = json.dumps({"stringData": {"endpoint": endpoint}})
    kubectl("-n", PIPELINES, "patch", "secret", "deskgraph-object-store", "-p", patch)


def _replace(role: dict[str, Any]) -> None:
    """Writes a role as it is given: applied on top, a verb that is left out would stay."""
    metadata = {"name": role["metadata"]["name"], "namespace": role["metadata"]["namespace"]}
    kubectl("replace", "-f", "-", given=json.dumps({**role, "metadata": metadata}))


def _set_policy(installed: Installed, policy: str, text: str) -> None:
    phase, said = installed.in_pod("e2e-policy", "graph", "policy", "set", policy, "--text", text)
    assert phase == "Succeeded", said


def _known(installed: Installed) -> set[str]:
    return {run.run_id for run in _runs(installed)}


def _new_run(installed: Installed, known: set[str]) -> str:
    def found() -> str | None:
        return next((run.run_id for run in _runs(installed) if run.run_id not in known), None)

    return until("run that the watch started", found, 180)


def _runs(installed: Installed) -> list[Any]:
    return installed.client().list_runs(page_size=50, sort_by="created_at desc").runs or []


def _kill_a_rank(run_id: str) -> None:
    """Ends what runs on a training's second node, once an epoch is kept."""
    step = until("training", lambda: _pod_of(run_id, TRAINING), RUN_S, every=0.5)
    until("end of an epoch", lambda: "epoch 1 of" in _said(step), RUN_S, every=0.5)
    time.sleep(KEPT_S)
    (name,) = (each for each in _ranks("Running") if "node-0-1" in each)
    kubectl("-n", NAMESPACE, "exec", name, "--", "python", "-c", KILL_ALL, check=False)


def _ranks(phase: str) -> list[str]:
    pods = objects("-n", NAMESPACE, "pods", "-l", "jobset.sigs.k8s.io/jobset-name")
    return [str(pod["metadata"]["name"]) for pod in pods if pod["status"]["phase"] == phase]


def _said(pod: str) -> str:
    return kubectl("-n", PIPELINES, "logs", pod, "-c", "main")


def _delete_a_pod_of(run_id: str, step: str, after_s: float) -> None:
    name = until(f"running pod of {step}", lambda: _pod_of(run_id, step), RUN_S, every=0.5)
    time.sleep(after_s)
    kubectl("-n", PIPELINES, "delete", "pod", name, "--wait=false", "--grace-period=0", "--force")


def _pod_of(run_id: str, step: str, phase: str = "Running") -> str | None:
    for pod in objects("-n", PIPELINES, "pods", "-l", f"pipeline/runid={run_id}"):
        (main,) = (each for each in pod["spec"]["containers"] if each["name"] == "main")
        words = [*main.get("command", ()), *main.get("args", ())]
        wanted = ("--function_to_execute", step)  # a driver names the step otherwise
        if pod["status"]["phase"] == phase and wanted in itertools.pairwise(words):
            return str(pod["metadata"]["name"])
    return None


def _services() -> list[str]:
    found = objects("-n", NAMESPACE, "inferenceservices")
    return sorted(each["metadata"]["name"] for each in found)


def _champion(installed: Installed) -> str:
    phase, said = installed.in_pod("e2e-models", "models", "show", "champion", "--name", MODEL)
    assert phase == "Succeeded", said
    return str(json.loads(said)["version"])


def _watch_said(what: str) -> str | None:
    said = kubectl(
        "-n", NAMESPACE, "logs", "-l", "app.kubernetes.io/name=deskgraph-policy-watch",
        "--tail=5", check=False,
    )  # fmt: skip
    return said if what in said else None


def _steps(installed: Installed, run_id: str) -> str:
    details = installed.client().get_run(run_id).run_details
    tasks = details.task_details if details else []
    return json.dumps(Counter(f"{task.display_name}: {task.state}" for task in tasks), indent=1)

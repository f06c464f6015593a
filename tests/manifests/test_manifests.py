"""What the manifests hold: whole, tight, and in the words of the programs that they start."""

from __future__ import annotations

import base64
import os
import re
import subprocess
import warnings
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from kg_schema import foreground
from pipelines.placement import load_profile
from serving import telemetry
from serving.guard import INTERNAL, PROBLEMS
from serving.settings import ServerSettings, parse_settings
from tests.crd_schemas import FOLDER_VARIABLE, crd_validator
from tests.kube_server import ALLOWED, KINDS
from tests.manifests.reading import (
    MANIFESTS,
    PATCHES,
    Object,
    Pod,
    build,
    files,
    kustomizations,
    kustomize,
    named,
    objects,
    of_kind,
    pods,
    write_above,
)

NAMESPACE = "deskgraph"
GRACE_S = 30
"""What Kubernetes gives a pod that says nothing else; a ServingRuntime cannot."""
# Their pods are made by controllers of others, from an image of others.
FOREIGN_IMAGES = {"neo4j", "deskgraph/answer-vllm"}
OVERLAYS = ("dev", "production")
OPTIONS = (
    *("assistant-inferenceservice", "answer-vllm", "argo-events", "keda", "monitoring"),
    "restricted",
)
STORE = {
    "AWS_ACCESS_KEY_ID": "of the store",
    "AWS_SECRET_ACCESS_KEY": 'a "quoted" $ecret: ü\\',
    "S3_ENDPOINT": "http://minio-service.kubeflow:9000",
    "GRAPH_PASSWORD": "a long password",
}

all_pods = pytest.mark.parametrize("pod", pods(objects()), ids=lambda pod: pod.owner)


@all_pods
def test_every_container_is_tight(pod: Pod) -> None:
    assert not {"hostNetwork", "hostPID", "hostIPC"} & pod.spec.keys()
    assert not any("hostPath" in each for each in pod.spec.get("volumes", []))
    for container in pod.containers:
        _check_container(container)


@pytest.mark.parametrize("kind", ["EventSource", "Sensor"])
def test_what_argo_makes_pods_of_is_tight(kind: str) -> None:
    _check_container(named(kind, "deskgraph-policy")["spec"]["template"]["container"])


def _check_container(container: Object) -> None:
    context = container["securityContext"]
    assert context["runAsNonRoot"] is True
    assert context["runAsUser"] >= 1000
    assert context["readOnlyRootFilesystem"] is True
    assert context["allowPrivilegeEscalation"] is False
    assert context["capabilities"] == {"drop": ["ALL"]}
    assert context["seccompProfile"] == {"type": "RuntimeDefault"}
    resources = container["resources"]
    assert {"cpu", "memory"} <= resources["requests"].keys()
    assert "memory" in resources["limits"]


@all_pods
def test_every_server_is_probed_and_has_a_place_to_write(pod: Pod) -> None:
    for container in pod.servers:
        assert {"startupProbe", "readinessProbe", "livenessProbe"} <= container.keys()
    volumes = {each["name"] for each in pod.spec.get("volumes", [])}
    volumes |= {each["metadata"]["name"] for each in _claims(pod)}
    for container in pod.containers:
        mounts = container["volumeMounts"]
        assert {each["name"] for each in mounts} <= volumes
        if container in pod.spec["containers"]:
            assert "/tmp" in {each["mountPath"] for each in mounts}  # noqa: S108 - a mount


def _claims(pod: Pod) -> list[Object]:
    owners = [each for each in of_kind("StatefulSet") if pod.owner.endswith(f" {_name(each)}")]
    return [claim for each in owners for claim in each["spec"].get("volumeClaimTemplates", [])]


def _name(each: Object) -> str:
    return f"{each['kind']} {each['metadata']['name']}"


@all_pods
def test_no_pod_can_speak_to_the_api_server_unless_it_must(pod: Pod) -> None:
    if "ServingRuntime" not in pod.owner:
        assert pod.spec["automountServiceAccountToken"] is False
        assert pod.spec["enableServiceLinks"] is False


@all_pods
def test_every_image_is_ours_to_set(pod: Pod) -> None:
    for container in pod.containers:
        name, _, tag = container["image"].partition(":")
        if name in FOREIGN_IMAGES:
            assert not tag
        else:
            assert name in ("deskgraph/train", "deskgraph/serve")
            assert tag == "unset", "a build's tag stands in an overlay, or above it"
        assert container["imagePullPolicy"] == "IfNotPresent"


def test_each_file_is_used_once() -> None:
    used: list[Path] = []
    for path in kustomizations():
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
        named_files = [*content.get("resources", []), *content.get("components", [])]
        named_files += [each["path"] for each in content.get("patches", []) if "path" in each]
        for name in named_files:
            target = (path.parent / name).resolve()
            assert target.exists(), f"{path}: {name}"
            used.append(target)
    plain = [path for path in used if path.is_file()]
    assert sorted(plain) == files()
    assert {MANIFESTS / name for name in PATCHES} <= set(plain)


def test_the_pipelines_account_may_do_what_its_steps_do_and_no_more() -> None:
    # What the tests' own API server allows, and every step was tested against.
    groups = {kind.plural: kind.group for kind in KINDS.values()}
    allowed = {(groups.get(resource, ""), resource): verbs for resource, verbs in ALLOWED.items()}
    assert _rights(named("Role", "deskgraph-pipeline")) == allowed
    binding = named("RoleBinding", "deskgraph-pipeline")
    assert binding["subjects"] == [
        {"kind": "ServiceAccount", "name": "pipeline-runner", "namespace": "kubeflow"}
    ]


def test_nobody_has_rights_in_the_whole_cluster() -> None:
    assert not of_kind("ClusterRole")
    assert not of_kind("ClusterRoleBinding")
    for role in of_kind("Role"):
        for rule in role["rules"]:
            assert "*" not in [*rule["apiGroups"], *rule["resources"], *rule["verbs"]]
            assert not {"secrets", "roles", "rolebindings"} & set(rule["resources"])


def _rights(role: Object) -> dict[tuple[str, str], set[str]]:
    return {
        (group, resource): set(rule["verbs"])
        for rule in role["rules"]
        for group in rule["apiGroups"]
        for resource in rule["resources"]
    }


def test_what_no_policy_allows_is_denied() -> None:
    deny = named("NetworkPolicy", "default-deny")["spec"]
    assert deny == {"podSelector": {}, "policyTypes": ["Ingress", "Egress"]}
    assert _security(named("Namespace", NAMESPACE)) == "baseline"


def _security(namespace: Object) -> str:
    label: str = namespace["metadata"]["labels"]["pod-security.kubernetes.io/enforce"]
    return label


@all_pods
def test_every_listening_port_is_let_in_by_some_policy(pod: Pod) -> None:
    ports = {port["containerPort"] for each in pod.servers for port in each["ports"]}
    let_in = {
        port["port"]
        for policy in of_kind("NetworkPolicy")
        if _selects(policy["spec"]["podSelector"], pod.labels)
        for rule in policy["spec"].get("ingress", [])
        for port in rule.get("ports", [])
    }
    assert ports <= let_in


def _selects(selector: Object, labels: dict[str, str]) -> bool:
    wanted = selector.get("matchLabels", {})
    return all(labels.get(key) == value for key, value in wanted.items()) and all(
        rule["operator"] == "In" and labels.get(rule["key"]) in rule["values"]
        for rule in selector.get("matchExpressions", [])
    )


def test_the_budget_and_the_monitor_find_the_assistants_pods() -> None:
    labels = named("ServingRuntime", "deskgraph")["spec"]["labels"]
    for kind in ("PodDisruptionBudget", "ServiceMonitor"):
        assert _selects(named(kind, "deskgraph-assistant")["spec"]["selector"], labels)


def _assistant() -> tuple[Object, ServerSettings]:
    (container,) = named("ServingRuntime", "deskgraph")["spec"]["containers"]
    assert container["command"] == ["python", "-m", "serving.app"]
    # KServe appends an InferenceService's own arguments; the later one holds.
    return container, parse_settings([*container["args"], "--model_name=mine"], {})


def test_the_assistant_understands_its_arguments() -> None:
    container, settings = _assistant()
    assert container["name"] == "kserve-container"
    assert (settings.name, str(settings.model)) == ("mine", "/mnt/models")
    assert [each["containerPort"] for each in container["ports"]] == [
        settings.port,
        settings.grpc_port,
    ]
    assert settings.drain_s > 0
    assert settings.drain_s + settings.grace_s < GRACE_S


def test_the_assistant_is_probed_where_it_answers() -> None:
    from kserve.model_repository import ModelRepository

    from serving.server import VerifiedDataPlane, make_app

    container, settings = _assistant()
    app = make_app(VerifiedDataPlane(ModelRepository()), settings)
    answered = {getattr(route, "path", "") for route in app.routes}
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        get = container[probe]["httpGet"]
        assert get["path"] in answered
        assert get["port"] == settings.port


def test_mlflow_understands_its_arguments_and_its_name() -> None:
    from click.testing import CliRunner
    from mlflow.cli import server
    from mlflow.server.security_utils import is_allowed_host_header

    (container,) = named("Deployment", "mlflow")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "mlflow"]
    name, *arguments = container["args"]
    assert name == "server"
    lines = (MANIFESTS / "base/mlflow/mlflow.env").read_text(encoding="utf-8").splitlines()
    given = dict(line.split("=", 1) for line in lines if not line.startswith("#"))
    with CliRunner(env=given).isolation():
        parsed = server.make_context("server", list(arguments)).params
    assert (parsed["host"], parsed["port"]) == ("0.0.0.0", 5000)  # noqa: S104 - a pod's
    assert parsed["serve_artifacts"] is False
    assert parsed["backend_store_uri"] == "sqlite:////data/mlflow.db"
    assert parsed["default_artifact_root"].startswith("s3://")
    hosts = given["MLFLOW_SERVER_ALLOWED_HOSTS"].split(",")
    for host in ("mlflow.deskgraph:5000", "localhost:8080"):
        assert is_allowed_host_header(hosts, host)
    assert not is_allowed_host_header(hosts, "elsewhere.example:5000")


def test_the_graph_server_understands_its_arguments() -> None:
    (container,) = named("Deployment", "neo4j")["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", foreground.__name__]
    parsed = foreground.build_parser().parse_args(container["args"])
    ports = [each["containerPort"] for each in container["ports"]]
    assert ports == [parsed.port, parsed.port + 1]
    assert parsed.host == "0.0.0.0"  # noqa: S104 - a pod's
    assert str(parsed.data) in {each["mountPath"] for each in container["volumeMounts"]}


def test_the_policy_watch_is_a_command_and_ends_before_the_next() -> None:
    from pipelines.cli import build_parser

    job = named("CronJob", "deskgraph-policy-watch")["spec"]
    assert job["concurrencyPolicy"] == "Forbid"
    assert job["jobTemplate"]["spec"]["activeDeadlineSeconds"] < 60
    (container,) = job["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert container["command"] == ["python", "-m", "pipelines.cli"]
    parsed = build_parser().parse_args(container["args"])
    assert parsed.handler == "watch"
    (mount,) = (each for each in container["volumeMounts"] if each["name"] == "pipelines-token")
    assert parsed.token_file == Path(mount["mountPath"]) / "token"


def test_a_training_jobs_runtime_has_the_node_that_the_job_fills_in() -> None:
    (job,) = named("TrainingRuntime", "deskgraph-torch")["spec"]["template"]["spec"][
        "replicatedJobs"
    ]
    assert job["name"] == "node"
    assert job["template"]["metadata"]["labels"] == {
        "trainer.kubeflow.org/trainjob-ancestor-step": "trainer"
    }
    (container,) = job["template"]["spec"]["template"]["spec"]["containers"]
    assert container["name"] == "node"
    given = {
        each["valueFrom"]["secretKeyRef"]["key"]: each["name"]
        for each in container["env"]
        if "valueFrom" in each
    }
    secret = load_profile("cluster").secrets["deskgraph-object-store"]
    assert given == secret.keys, "a rank reads the store as its step does"


def test_alerts_and_scaling_ask_for_what_the_server_counts() -> None:
    known = {f"{each.name}{suffix}" for each in REGISTRY.collect() for suffix in ("", "_total")}
    known |= {f"{telemetry.STEP_SECONDS._name}_bucket"}
    queries = [
        rule["expr"]
        for group in named("PrometheusRule", "deskgraph-assistant")["spec"]["groups"]
        for rule in group["rules"]
    ]
    (trigger,) = named("ScaledObject", "deskgraph-assistant")["spec"]["triggers"]
    asked = set(re.findall(r"\bdeskgraph_\w+", " ".join([*queries, trigger["metadata"]["query"]])))
    assert len(asked) >= 5
    assert asked <= known
    reasons = {each.reason for each in (INTERNAL, *PROBLEMS.values())}
    named_reasons = re.findall(r'reason=~"([^"]+)"', " ".join(queries))
    assert {reason for each in named_reasons for reason in each.split("|")} <= reasons


def _secrets(**environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["sh", str(MANIFESTS / "secrets.sh")],
        env={"PATH": os.environ["PATH"], **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def _decoded(text: str) -> dict[tuple[str, str], Object]:
    return {
        (each["metadata"]["namespace"], each["metadata"]["name"]): {
            **each["metadata"].get("annotations", {}),
            **{k: base64.b64decode(v).decode() for k, v in each["data"].items()},
        }
        for each in yaml.safe_load_all(text)
    }


def test_the_script_makes_every_secret_that_somebody_reads() -> None:
    made = _decoded(_secrets(**STORE).stdout)
    read = {
        (NAMESPACE, ref["name"], ref["key"])
        for pod in pods(objects())
        for container in pod.containers
        for variable in container.get("env", [])
        if (ref := variable.get("valueFrom", {}).get("secretKeyRef"))
    }
    read |= {
        ("kubeflow", name, key)
        for name, secret in load_profile("cluster").secrets.items()
        if name.startswith("deskgraph-")
        for key in secret.keys
    }
    assert {(space, name) for space, name, _ in read} <= made.keys()
    for space, name, key in read:
        assert made[space, name][key]
    (reference,) = named("ServiceAccount", "deskgraph-serving")["secrets"]
    assert made[NAMESPACE, reference["name"]] == {
        "serving.kserve.io/s3-endpoint": "minio-service.kubeflow:9000",
        "serving.kserve.io/s3-usehttps": "0",
        "serving.kserve.io/s3-region": "us-east-1",
        "serving.kserve.io/s3-useanoncredential": "false",
        "AWS_ACCESS_KEY_ID": STORE["AWS_ACCESS_KEY_ID"],
        "AWS_SECRET_ACCESS_KEY": STORE["AWS_SECRET_ACCESS_KEY"],
    }
    assert made["kubeflow", "deskgraph-object-store"]["endpoint"] == STORE["S3_ENDPOINT"]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"GRAPH_PASSWORD": ""}, "GRAPH_PASSWORD is not set"),
        ({"GRAPH_PASSWORD": "short"}, "8 characters or more"),
        ({"S3_ENDPOINT": "minio:9000"}, "no http:// or https:// before it"),
    ],
)
def test_the_script_says_what_it_lacks_and_makes_nothing(given: dict[str, str], said: str) -> None:
    done = _secrets(**{**STORE, **given})
    assert (done.returncode, done.stdout) == (2, "")
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.fixture(scope="module")
def kustomize_is_there() -> None:
    """Skips, loudly, where nothing here builds a kustomization."""
    if kustomize() is None:
        reason = "NOT BUILT: neither kubectl nor kustomize is on PATH"
        warnings.warn(reason, stacklevel=1)
        pytest.skip(reason)


@pytest.mark.usefixtures("kustomize_is_there")
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_an_overlay_builds_and_every_image_is_set_in_one_place(
    overlay: str, tmp_path: Path
) -> None:
    to = {"newTag": "sha-0123456789ab", "digest": ""}
    images = {name: to for name in ("deskgraph/train", "deskgraph/serve", "neo4j")}
    options = OPTIONS if overlay == "dev" else ()
    built = build(write_above(tmp_path, overlay, options, images))
    (namespace,) = [each for each in built if each["kind"] == "Namespace"]
    assert _security(namespace) == ("restricted" if options else "baseline")
    kinds = {each["kind"] for each in built}
    assert {"ServingRuntime", "TrainingRuntime", "CronJob", "NetworkPolicy"} <= kinds
    assert "StatefulSet" in kinds if overlay == "production" else "StatefulSet" not in kinds
    found = [
        container["image"]
        for pod in pods([("", each) for each in built])
        for container in pod.containers
    ]
    assert len(found) >= 5
    for image in found:
        assert image.endswith(":sha-0123456789ab") or image.startswith("vllm/vllm-openai@sha256:0")
    _check_tight(built)
    _check_schemas(built)


def _check_tight(built: list[Object]) -> None:
    """What patches and transformers made of it is as tight as the files are."""
    for pod in pods([("built", each) for each in built]):
        test_every_container_is_tight(pod)
    spaces = {each["metadata"].get("namespace") for each in built if each["kind"] != "Namespace"}
    assert spaces == {NAMESPACE}


def _check_schemas(built: list[Object]) -> None:
    """Where DESKGRAPH_CRDS names schemas, they hold, unknown fields included; core kinds always."""
    import kubernetes_validate

    for each in built:
        if "." in (group := each["apiVersion"].partition("/")[0]) and not group.endswith(".k8s.io"):
            validator = crd_validator(each["apiVersion"], each["kind"])
            known = group in ("serving.kserve.io", "trainer.kubeflow.org")
            assert validator or not (known and os.environ.get(FOLDER_VARIABLE)), _name(each)
            wrong: list[Any] = list(validator.iter_errors(each)) if validator else []
            assert not wrong, f"{_name(each)}: {wrong[0].message}"
        else:
            latest = kubernetes_validate.latest_version()
            kubernetes_validate.validate(each, latest, strict=True)

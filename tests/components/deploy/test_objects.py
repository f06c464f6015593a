from components.deploy.objects import (
    Release,
    RouteState,
    accepted,
    graph_of,
    http_route,
    inference_service,
    ready,
)
from components.deploy.settings import RolloutSettings
from components.deploy.target import parse_target

TARGET = parse_target("kserve://deskgraph/desk?gateway=gateway/main&hostname=desk.test")
RELEASE = Release("3", "s3://models/3", "ab" * 32, "bolt://neo4j.deskgraph:7687")


def test_a_versions_service_names_its_model_graph_runtime_and_account():
    service = inference_service(TARGET, RELEASE, RolloutSettings(min_replicas=2), run="r")
    metadata, predictor = service["metadata"], service["spec"]["predictor"]
    assert metadata["name"] == "desk-v3"
    assert metadata["labels"]["app.kubernetes.io/name"] == "deskgraph-assistant"
    assert metadata["labels"]["deskgraph/version"] == "3"
    assert metadata["annotations"]["serving.kserve.io/deploymentMode"] == "Standard"
    assert metadata["annotations"]["deskgraph/content-sha256"] == "ab" * 32
    assert predictor["serviceAccountName"] == "deskgraph-serving"
    assert (predictor["minReplicas"], predictor["maxReplicas"]) == (2, 3)
    assert predictor["model"] == {
        "modelFormat": {"name": "deskgraph"},
        "runtime": "deskgraph",
        "storageUri": "s3://models/3",
        "args": ["--graph=bolt://neo4j.deskgraph:7687"],
    }
    assert graph_of(service) == RELEASE.graph_uri
    plain = inference_service(TARGET, Release("3", "s3://m", "ab"), RolloutSettings())
    assert plain["spec"]["predictor"]["model"]["args"] == ["--graph="]
    assert graph_of(plain) == ""


def weights(state):
    (rule,) = http_route(TARGET, state)["spec"]["rules"]
    return {each["name"]: each["weight"] for each in rule["backendRefs"]}


def test_weights_follow_the_state():
    assert weights(RouteState()) == {}
    assert weights(RouteState(canary="1")) == {}
    assert weights(RouteState(canary="1", step="100")) == {"desk-v1-predictor": 100}
    stable = RouteState(stable="1", canary="2")
    assert weights(stable) == {"desk-v1-predictor": 100}
    moved = RouteState(stable="1", canary="2", step="10")
    assert weights(moved) == {"desk-v1-predictor": 90, "desk-v2-predictor": 10}
    failed = RouteState(stable="1", canary="2", step="10", failed="errors")
    assert weights(failed) == {"desk-v1-predictor": 100}


def test_a_state_is_read_back_from_its_route_and_others_metadata_stays():
    state = RouteState(stable="1", canary="2", step="10", failed_version="3", run="r")
    found = {"metadata": {"resourceVersion": "7", "annotations": {"theirs": "x"}}}
    route = http_route(TARGET, state, found)
    assert RouteState.of(route) == state
    assert route["metadata"]["annotations"]["theirs"] == "x"
    assert route["metadata"]["resourceVersion"] == "7"
    assert RouteState.of(None) == RouteState()


def test_metrics_are_not_routed():
    (rule,) = http_route(TARGET, RouteState(stable="1"))["spec"]["rules"]
    assert {match["path"]["value"] for match in rule["matches"]} == {"/v1", "/v2"}


def route_with(*conditions, generation=2, name="main"):
    parent = {"parentRef": {"name": name, "namespace": "gateway"}, "conditions": list(conditions)}
    return {"metadata": {"generation": generation}, "status": {"parents": [parent]}}


def says(kind, status="True", generation=2, **more):
    return {"type": kind, "status": status, "observedGeneration": generation, **more}


def test_a_route_is_taken_when_our_gateway_says_so_of_what_it_is_now():
    both = says("Accepted"), says("ResolvedRefs")
    assert accepted(TARGET, route_with(*both)) == (True, "")
    assert not accepted(TARGET, route_with(*both, name="other"))[0]
    assert not accepted(TARGET, route_with(*both, generation=3))[0]
    assert not accepted(TARGET, route_with(says("Accepted")))[0]
    refused = says("Accepted", "False", reason="NotAllowedByListeners", message="no")
    assert accepted(TARGET, route_with(refused)) == (False, "NotAllowedByListeners: no")


def test_ready_is_of_what_it_is_now_and_else_says_why():
    service = {
        "metadata": {"generation": 2},
        "status": {
            "observedGeneration": 2,
            "conditions": [{"type": "Ready", "status": "True"}],
        },
    }
    assert ready(service) == (True, "")
    assert not ready({**service, "metadata": {"generation": 3}})[0]
    assert ready({"metadata": {}}) == (False, "KServe has said nothing of it")
    condition = {"status": "False", "reason": "Failed", "message": "m"}
    failing = {
        "metadata": {},
        "status": {
            "conditions": [
                {"type": "PredictorReady", **condition},
                {"type": "Ready", **condition},
                {"type": "Stopped", "status": "False"},
            ],
            "modelStatus": {"lastFailureInfo": {"message": "Traceback:\n  line 1\nno bucket\n"}},
        },
    }
    assert ready(failing) == (False, "no bucket; Failed: m")

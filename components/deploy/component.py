"""The deploy step: the version answers before anybody is sent to it, and rolls back by itself."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def deploy(
    name: str,
    version: str,
    deploy_target: str,
    tracking_uri: str,
    graph_uri: str,
    graph_fingerprint: str,
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    run: str,
    rollout: dsl.Output[dsl.Artifact],
    metrics: dsl.Output[dsl.Metrics],
) -> NamedTuple("Outputs", [("url", str)]):
    """Rolls the version out and makes it champion; tells what each step saw. Never cached."""
    from pathlib import Path

    from components.deploy.deploying import DeployRequest, deploy_version
    from components.deploy.page import log_rollout
    from components.deploy.settings import RolloutSettings
    from components.stage import parse_settings, reported

    with reported():
        request = DeployRequest(
            name,
            version,
            deploy_target,
            tracking_uri,
            graph_uri if graph_fingerprint else "",
            Path(shards.path),
            run,
        )
        chosen = parse_settings(RolloutSettings, settings)
        try:
            url = deploy_version(request, chosen, out=rollout.path)
        finally:
            log_rollout(rollout, metrics)
        return (url,)

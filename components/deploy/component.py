"""The deploy step: the registered champion answers a ticket before anybody is sent to it."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def deploy(
    model: str,
    name: str,
    version: str,
    deploy_target: str,
    graph_uri: str,
    graph_fingerprint: str,
) -> NamedTuple("Outputs", [("url", str)]):
    """Brings the version up, checks an answer through it, and switches. Never cached."""
    from components.deploy.deployment import deploy_model
    from components.stage import reported

    with reported():
        uri = graph_uri if graph_fingerprint else ""
        return (deploy_model(model, name, version, deploy_target, uri).url,)

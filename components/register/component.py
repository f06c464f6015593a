"""The register step: the winner becomes a version, and champion where nothing is deployed."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    selection: dsl.Input[dsl.Artifact],
    name: str,
    tracking_uri: str,
    code: str,
    tickets: str,
    graph_fingerprint: str,
    deploy_target: str = "",
) -> NamedTuple("Outputs", [("version", str), ("location", str)]):
    """Registers by content: the same model twice is the same version. Never cached."""
    from components.register.registration import register_model
    from components.stage import reported

    with reported():
        lineage = {"code": code, "tickets": tickets, "graph": graph_fingerprint}
        done = register_model(
            model.path, selection.path, tracking_uri, name, lineage, deploy_target=deploy_target
        )
        return (done.version, done.location)

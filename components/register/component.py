"""The register step: the winner becomes a version, and champion where nothing is deployed."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def register(
    model: dsl.Input[dsl.Model],
    selection: dsl.Input[dsl.Artifact],
    model_card: dsl.Input[dsl.Markdown],
    data_card: dsl.Input[dsl.Markdown],
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
        cards = {"model_card.md": model_card.path, "data_card.md": data_card.path}
        done = register_model(
            model.path,
            selection.path,
            tracking_uri,
            name,
            lineage,
            cards=cards,
            deploy_target=deploy_target,
        )
        return (done.version, done.location)

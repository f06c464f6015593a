"""The conclude step: the champion carries what a retraining saw, and why it ended so."""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def conclude(
    model_name: str,
    tracking_uri: str,
    champion: str,
    reasons: list,
    stamps: dict,
    gate: str,
    gate_reason: str,
    candidate: str,
) -> NamedTuple("Outputs", [("outcome", str), ("reason", str), ("champion", str)]):
    """Says promoted, or re-stamps the champion and rolls nothing out. Never cached."""
    from components.conclude.concluding import conclude_retraining
    from components.stage import reported

    with reported():
        done = conclude_retraining(
            tracking_uri,
            model_name,
            champion=champion,
            reasons=reasons,
            stamps=stamps,
            gate=gate,
            gate_reason=gate_reason,
            candidate=candidate,
        )
        return (done.outcome, done.reason, done.champion)

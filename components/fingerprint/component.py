"""The fingerprint step: what does this run read, and who is champion now?"""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def fingerprint(
    tickets: str,
    test_tickets: str,
    unlabelled: str,
    graph: str,
    gold: str,
    task: str,
    model_name: str,
    tracking_uri: str,
) -> NamedTuple(
    "Outputs",
    [
        ("code", str),
        ("tickets", str),
        ("graph", str),
        ("gold", str),
        ("model_name", str),
        ("champion", str),
    ],
):
    """Digests code and inputs by content and looks up the champion. Never cached."""
    from dataclasses import astuple

    from components.fingerprint.hashing import fingerprint_inputs
    from components.stage import reported

    with reported():
        return astuple(
            fingerprint_inputs(
                tickets,
                test_tickets=test_tickets,
                unlabelled=unlabelled,
                graph=graph,
                gold=gold,
                task=task,
                model_name=model_name,
                tracking_uri=tracking_uri,
            )
        )

"""The detect_change step: is there a reason to train again?"""

from typing import NamedTuple

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def detect_change(
    tickets: str,
    test_tickets: str,
    unlabelled: str,
    text_column: str,
    label_column: str,
    task: str,
    model_name: str,
    graph: str,
    graph_uri: str,
    tracking_uri: str,
    traffic: str,
    settings: dict,
    findings: dsl.Output[dsl.Markdown],
) -> NamedTuple(
    "Outputs",
    [("Output", str), ("reasons", list), ("model_name", str), ("champion", str), ("stamps", dict)],
):
    """Compares with what the champion stands on. Never cached.

    `Output` is "true" or "false": a local run resolves conditions by that name alone.
    """
    from components.detect_change.detecting import Inputs
    from components.detect_change.detecting import detect_change as detect
    from components.detect_change.page import findings_page
    from components.detect_change.settings import DetectSettings
    from components.stage import parse_settings, reported
    from components.storage import output_file

    with reported():
        inputs = Inputs(
            tickets=tickets,
            tracking_uri=tracking_uri,
            test_tickets=test_tickets,
            unlabelled=unlabelled,
            text_column=text_column,
            label_column=label_column,
            task=task,
            model_name=model_name,
            graph_uri=graph_uri if graph else "",
            traffic=traffic,
        )
        found = detect(inputs, parse_settings(DetectSettings, settings))
        with output_file(findings.path) as path:
            path.write_text(findings_page(found), encoding="utf-8")
        changed = "true" if found.changed else "false"
        return (changed, found.reasons, found.model_name, found.champion, dict(found.stamps))

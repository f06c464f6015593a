"""The retraining pipeline: looks for a reason, and trains only then."""

# kfp reads the annotations themselves, so they are not postponed here.

import inspect
from typing import Any, NamedTuple

from kfp import dsl

from components.conclude.component import conclude
from components.detect_change.component import detect_change
from pipelines.placement import Placed, Profile
from pipelines.training import build_training

PIPELINE_NAME = "deskgraph-retraining"
DESCRIPTION = (
    "Compare policies, intents, tickets and live traffic with what the champion stands on; "
    "train only if something changed, and record why."
)
OWN_PARAMETERS = {
    "traffic": "Addresses of the servers' /metrics, by commas; empty looks at no live traffic.",
    "detect_settings": "Settings of detect_change (DetectSettings) by name.",
}
KEEP_CHAMPION = {"replace_equal": False}
"""What a retraining asks of select: what serves stays unless the candidate is better."""


class RetrainingOutputs(NamedTuple):
    """What a run leaves for whoever started it."""

    changed: str
    reasons: list
    model_name: str
    findings: dsl.Markdown


def build_retraining(profile: Profile) -> Any:
    """Builds the retraining DAG; it takes every parameter that training takes, and its own.

    Args:
        profile: See `pipelines.placement.Profile`.

    Returns:
        A kfp pipeline (`GraphComponent`), ready to compile.
    """
    placed = Placed(profile)
    training = build_training(profile)
    taken = inspect.signature(training.pipeline_func).parameters
    defaults = {
        "select_settings": {**placed.settings("select"), **KEEP_CHAMPION},
        "traffic": profile.parameter("traffic"),
        "detect_settings": placed.settings("detect_change"),
    }

    def retraining(*values: Any) -> RetrainingOutputs:
        given = dict(zip(signature.parameters, values, strict=True))
        read = detect_change.component_spec.inputs.keys() - {"settings"}
        detected = placed.add(
            "detect_change",
            detect_change(
                **{name: given[name] for name in read}, settings=given["detect_settings"]
            ),
        )
        detected.set_caching_options(False)
        seen = detected.outputs
        with dsl.If(seen["Output"] == "true", name="changed"):
            trained = training(**{name: given[name] for name in taken})
            placed.add(
                "conclude",
                conclude(
                    model_name=seen["model_name"],
                    tracking_uri=given["tracking_uri"],
                    champion=seen["champion"],
                    reasons=seen["reasons"],
                    stamps=seen["stamps"],
                    gate=trained.outputs["gate"],
                    gate_reason=trained.outputs["reason"],
                    candidate=trained.outputs["content_sha256"],
                ),
            ).set_caching_options(False)
        placed.apply()
        return RetrainingOutputs(
            changed=seen["Output"],
            reasons=seen["reasons"],
            model_name=seen["model_name"],
            findings=seen["findings"],
        )

    signature = _signature(taken, defaults)
    retraining.__signature__ = signature  # type: ignore[attr-defined]
    retraining.__doc__ = _documentation(training.component_spec.inputs)
    return dsl.pipeline(name=PIPELINE_NAME, description=DESCRIPTION)(retraining)


def _signature(taken: Any, defaults: dict[str, Any]) -> inspect.Signature:
    """Returns training's parameters, some with other defaults, and retraining's own."""
    parameters = [
        each.replace(default=defaults[name]) if name in defaults else each
        for name, each in taken.items()
    ]
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    parameters += [
        inspect.Parameter(name, kind, default=defaults[name], annotation=type(defaults[name]))
        for name in OWN_PARAMETERS
    ]
    return inspect.Signature(parameters, return_annotation=RetrainingOutputs)


def _documentation(inputs: Any) -> str:
    """Describes every parameter, as kfp reads it for the page's form."""
    told = {name: each.description for name, each in inputs.items()} | OWN_PARAMETERS
    lines = [f"    {name}: {text}" for name, text in told.items()]
    return "\n".join([DESCRIPTION, "", "Args:", *lines])

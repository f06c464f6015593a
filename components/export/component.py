"""The export step: a model in, the same model with its checked ONNX graph out."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def export(
    task: str,
    model: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    settings: dict,
    code: str,
    exported: dsl.Output[dsl.Model],
) -> None:
    """Exports to ONNX and refuses what disagrees with torch; `code` only keys the cache."""
    from dataclasses import asdict

    from components.export.exporting import ExportSettings, export_model
    from components.stage import parse_settings, reported

    with reported():
        chosen = parse_settings(ExportSettings, settings, task=task)
        result = export_model(model.path, shards.path, exported.path, chosen)
        exported.metadata.update(asdict(result))

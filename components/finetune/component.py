"""The finetune step: a base model in, the teacher out."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def finetune(
    task: str,
    shards: dsl.Input[dsl.Dataset],
    base_model: str,
    settings: dict,
    checkpoints: str,
    code: str,
    model: dsl.Output[dsl.Model],
) -> None:
    """Fine-tunes with torchrun, here or as a TrainJob; `code` only keys the cache."""
    from dataclasses import asdict

    from components.finetune.finetuning import FinetuneSettings, finetune_model
    from components.stage import parse_settings, reported
    from components.training.checkpoint import checkpoint_folder

    with reported(), checkpoint_folder(checkpoints, "teacher") as folder:
        chosen = parse_settings(FinetuneSettings, settings, task=task)
        data = shards.path
        if chosen.trainer:  # its pods reach the object store, and nothing of this pod
            data, folder = shards.uri, f"{model.uri}.staging"
        result = finetune_model(data, base_model, model.path, chosen, folder)
        model.metadata.update(asdict(result))

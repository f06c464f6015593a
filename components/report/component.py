"""The report step: one page a person can read, from what was measured."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def report(
    evaluation: dsl.Input[dsl.Artifact],
    selection: dsl.Input[dsl.Artifact],
    answers: dsl.Input[dsl.Artifact],
    shards: dsl.Input[dsl.Dataset],
    code: str,
    html: dsl.Output[dsl.HTML],
) -> None:
    """Writes one self-contained HTML file; `code` only keys the cache."""
    from components.report.page import write_report
    from components.stage import reported

    with reported():
        write_report(evaluation.path, selection.path, answers.path, shards.path, html.path)

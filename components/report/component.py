"""The report step: what a person can read of a run, from what was measured."""

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
    model_card: dsl.Output[dsl.Markdown],
    data_card: dsl.Output[dsl.Markdown],
) -> None:
    """Writes one self-contained HTML file and two cards; `code` only keys the cache."""
    from components.report.cards import write_cards
    from components.report.page import write_report
    from components.report.parts import read_parts
    from components.stage import reported

    with reported():
        parts = read_parts(evaluation.path, selection.path, answers.path, shards.path)
        write_report(parts, html.path)
        write_cards(parts, model_card.path, data_card.path)

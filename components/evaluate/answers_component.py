"""The evaluate_answers step: the winner's answers with and without the graph."""

from kfp import dsl

from components.image import TRAIN_IMAGE


@dsl.component(base_image=TRAIN_IMAGE, install_kfp_package=False)
def evaluate_answers(
    task: str,
    model: dsl.Input[dsl.Model],
    shards: dsl.Input[dsl.Dataset],
    graph_uri: str,
    graph_fingerprint: str,
    gold: str,
    gold_content: str,
    code: str,
    answers: dsl.Output[dsl.Artifact],
) -> None:
    """Answers each gold question twice; what has no graph or gold says that it was skipped.

    `gold_content` and `code` only key the cache.
    """
    from components.evaluate.answers import evaluate_answers as measure
    from components.stage import reported

    with reported():
        uri = graph_uri if graph_fingerprint else ""
        questions = gold if task == "intent" else ""
        measure(model.path, uri, questions, shards.path, answers.path)

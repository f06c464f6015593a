"""The training pipeline: one DAG, the same on a laptop and on Kubeflow."""

# kfp reads the annotations themselves, so they are not postponed here.

from typing import Any, NamedTuple

from kfp import dsl

from components.deploy.component import deploy
from components.distill.component import distill, distill_into
from components.evaluate.answers_component import evaluate_answers
from components.evaluate.component import evaluate
from components.export.component import export
from components.finetune.component import finetune
from components.fingerprint.component import fingerprint
from components.load_graph.component import load_graph, no_graph
from components.prune.component import prune
from components.register.component import register
from components.report.component import report
from components.select.component import select
from components.shard.component import shard
from pipelines.placement import Placed, Profile

PIPELINE_NAME = "deskgraph-training"
DESCRIPTION = (
    "Shard tickets, fine-tune a teacher, prune and distill it, compare the candidates, "
    "register the winner and serve it over the knowledge graph."
)


class TrainingOutputs(NamedTuple):
    """What a run leaves for whoever started it."""

    evaluation: dsl.Artifact
    selection: dsl.Artifact
    answers: dsl.Artifact
    report: dsl.HTML
    winner: dsl.Model
    gate: str
    reason: str
    content_sha256: str


def build_training(profile: Profile) -> Any:
    """Builds the training DAG with a profile's defaults, settings and placement.

    Args:
        profile: See `pipelines.placement.Profile`.

    Returns:
        A kfp pipeline (`GraphComponent`), ready to compile.
    """
    placed = Placed(profile)
    value = profile.parameter

    @dsl.pipeline(name=PIPELINE_NAME, description=DESCRIPTION)
    def training(
        tickets: str = value("tickets", "samples:tickets"),
        test_tickets: str = value("test_tickets"),
        unlabelled: str = value("unlabelled"),
        text_column: str = value("text_column", "text"),
        label_column: str = value("label_column", "intent"),
        graph: str = value("graph", "samples:graph"),
        gold: str = value("gold", "samples:gold"),
        task: str = value("task", "intent"),
        base_model: str = value("base_model", "minilm"),
        model_name: str = value("model_name"),
        graph_uri: str = value("graph_uri", "bolt://neo4j:7687"),
        tracking_uri: str = value("tracking_uri", "http://mlflow:5000"),
        deploy_target: str = value("deploy_target"),
        checkpoints: str = value("checkpoints"),
        shard_settings: dict = placed.settings("shard"),  # noqa: B008
        finetune_settings: dict = placed.settings("finetune"),  # noqa: B008
        prune_settings: dict = placed.settings("prune"),  # noqa: B008
        prune_small_settings: dict = placed.settings("prune_small"),  # noqa: B008
        distill_settings: dict = placed.settings("distill"),  # noqa: B008
        distill_pruned_settings: dict = placed.settings("distill_pruned"),  # noqa: B008
        export_settings: dict = placed.settings("export"),  # noqa: B008
        evaluate_settings: dict = placed.settings("evaluate"),  # noqa: B008
        select_settings: dict = placed.settings("select"),  # noqa: B008
        deploy_settings: dict = placed.settings("deploy"),  # noqa: B008
    ) -> TrainingOutputs:
        """Trains, compresses, compares, registers and deploys a ticket model over its graph.

        Args:
            tickets: Where the tickets are: a path, file://, s3://, or samples:tickets.
            test_tickets: Tickets of their own for the last report; empty holds some of tickets out.
            unlabelled: Tickets without labels, that students learn from too; empty for none.
            text_column: Column of the text where the tickets are CSV.
            label_column: Column of the label where the tickets are CSV.
            graph: Where the graph's files are (JSON Lines, CSV); empty skips the graph.
            gold: Gold questions that show what the graph adds; empty skips that part.
            task: intent (which question is it) or answer (write one).
            base_model: The model to fine-tune: a path, s3://, a Hub id, or minilm.
            model_name: Name in the registry; empty derives one from the tickets.
            graph_uri: Bolt address of the graph server.
            tracking_uri: MLflow's address, http(s):// or sqlite:///.
            deploy_target: Where the winner is served; empty registers and stops there.
            checkpoints: Where trainings keep resume points; empty keeps none between attempts.
            shard_settings: Settings of shard (ShardSettings) by name.
            finetune_settings: Settings of finetune (FinetuneSettings) by name.
            prune_settings: Settings of prune (PruneSettings) by name.
            prune_small_settings: Settings of the pruning that is distilled into (PruneSettings).
            distill_settings: Settings of the small student's distillation (DistillSettings).
            distill_pruned_settings: Settings of distilling into the pruned model (DistillSettings).
            export_settings: Settings of export (ExportSettings) by name.
            evaluate_settings: Settings of evaluate (EvaluateSettings) by name.
            select_settings: Settings of select (SelectSettings) by name.
            deploy_settings: Settings of a roll-out on a cluster (RolloutSettings) by name.
        """
        seen = placed.add(
            "fingerprint",
            fingerprint(
                tickets=tickets,
                test_tickets=test_tickets,
                unlabelled=unlabelled,
                graph=graph,
                gold=gold,
                task=task,
                model_name=model_name,
                tracking_uri=tracking_uri,
            ),
        )
        seen.set_caching_options(False)
        code = seen.outputs["code"]

        with dsl.If(graph != "", name="with-graph"):
            loaded = placed.add("load_graph", load_graph(graph=graph, graph_uri=graph_uri))
            loaded.set_caching_options(False)
        with dsl.Else(name="without-graph"):
            absent = placed.add("no_graph", no_graph())
        graph_state = dsl.OneOf(loaded.outputs["fingerprint"], absent.outputs["fingerprint"])

        shards = placed.add(
            "shard",
            shard(
                tickets=tickets,
                test_tickets=test_tickets,
                unlabelled=unlabelled,
                text_column=text_column,
                label_column=label_column,
                task=task,
                settings=shard_settings,
                code=code,
                content=seen.outputs["tickets"],
            ),
        ).outputs["shards"]
        teacher = placed.add(
            "finetune",
            finetune(
                task=task,
                shards=shards,
                base_model=base_model,
                settings=finetune_settings,
                checkpoints=checkpoints,
                code=code,
            ),
        ).outputs["model"]
        pruned = placed.add(
            "prune",
            prune(
                task=task,
                teacher=teacher,
                shards=shards,
                settings=prune_settings,
                checkpoints=checkpoints,
                name="pruned",
                code=code,
            ),
        ).outputs["model"]
        small = (
            placed.add(
                "prune",
                prune(
                    task=task,
                    teacher=teacher,
                    shards=shards,
                    settings=prune_small_settings,
                    checkpoints=checkpoints,
                    name="pruned_small",
                    code=code,
                ),
            )
            .set_display_name("prune-small")
            .outputs["model"]
        )
        distilled = placed.add(
            "distill",
            distill(
                task=task,
                teacher=teacher,
                shards=shards,
                settings=distill_settings,
                checkpoints=checkpoints,
                name="distilled",
                code=code,
            ),
        ).outputs["model"]
        pruned_distilled = (
            placed.add(
                "distill",
                distill_into(
                    task=task,
                    teacher=teacher,
                    student=small,
                    shards=shards,
                    settings=distill_pruned_settings,
                    checkpoints=checkpoints,
                    name="pruned_distilled",
                    code=code,
                ),
            )
            .set_display_name("distill-pruned")
            .outputs["model"]
        )

        exported = {
            name: placed.add(
                "export",
                export(task=task, model=model, shards=shards, settings=export_settings, code=code),
            )
            .set_display_name(f"export-{name.replace('_', '-')}")
            .outputs["exported"]
            for name, model in (
                ("teacher", teacher),
                ("pruned", pruned),
                ("distilled", distilled),
                ("pruned_distilled", pruned_distilled),
            )
        }
        evaluated = placed.add(
            "evaluate",
            evaluate(task=task, shards=shards, settings=evaluate_settings, code=code, **exported),
        )
        chosen = placed.add(
            "select",
            select(
                task=task,
                evaluation=evaluated.outputs["evaluation"],
                shards=shards,
                champion=seen.outputs["champion"],
                settings=select_settings,
                code=code,
                **exported,
            ),
        )
        answered = placed.add(
            "evaluate_answers",
            evaluate_answers(
                task=task,
                model=chosen.outputs["winner"],
                shards=shards,
                graph_uri=graph_uri,
                graph_fingerprint=graph_state,
                gold=gold,
                gold_content=seen.outputs["gold"],
                code=code,
            ),
        )
        written = placed.add(
            "report",
            report(
                evaluation=evaluated.outputs["evaluation"],
                selection=chosen.outputs["selection"],
                answers=answered.outputs["answers"],
                shards=shards,
                code=code,
            ),
        )
        with dsl.If(chosen.outputs["Output"] == "true", name="gate"):
            registered = placed.add(
                "register",
                register(
                    model=chosen.outputs["winner"],
                    selection=chosen.outputs["selection"],
                    model_card=written.outputs["model_card"],
                    data_card=written.outputs["data_card"],
                    name=seen.outputs["model_name"],
                    tracking_uri=tracking_uri,
                    code=code,
                    tickets=seen.outputs["tickets"],
                    graph_fingerprint=graph_state,
                    deploy_target=deploy_target,
                ),
            )
            registered.set_caching_options(False)
            with dsl.If(deploy_target != "", name="with-target"):
                placed.add(
                    "deploy",
                    deploy(
                        name=seen.outputs["model_name"],
                        version=registered.outputs["version"],
                        deploy_target=deploy_target,
                        tracking_uri=tracking_uri,
                        graph_uri=graph_uri,
                        graph_fingerprint=graph_state,
                        shards=shards,
                        settings=deploy_settings,
                        run=dsl.PIPELINE_JOB_ID_PLACEHOLDER,
                    ),
                ).set_caching_options(False)
        placed.apply()
        return TrainingOutputs(
            evaluation=evaluated.outputs["evaluation"],
            selection=chosen.outputs["selection"],
            answers=answered.outputs["answers"],
            report=written.outputs["html"],
            winner=chosen.outputs["winner"],
            gate=chosen.outputs["Output"],
            reason=chosen.outputs["reason"],
            content_sha256=chosen.outputs["content_sha256"],
        )

    return training

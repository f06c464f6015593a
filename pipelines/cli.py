"""The `deskgraph` command. Each subcommand imports what it needs when it runs."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TypeAlias

from kg_schema.errors import DeskGraphError

Subparsers: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"

OWN_PACKAGES = ("kg_schema", "serving", "components", "pipelines", "benchmarks", "samples")
DEFAULT_OUT = Path("out/demo")
EPILOG = """\
examples:
  deskgraph run --profile local --out out/demo          the whole road on the samples
  deskgraph run --profile local --tickets tickets.csv --text-column text --label-column intent \\
                --out out/mine                          the same on tickets of your own
  deskgraph ask "My X-200 phone hasn't been fast charging recently. What should I do?"

exit codes: 0 done; 1 it ran and the result is bad; 2 something given cannot be used.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Parses the command line, runs one subcommand, and turns typed errors into one line.

    Args:
        argv: Arguments without the program's name; those of the process by default.

    Returns:
        The exit code.
    """
    arguments = build_parser().parse_args(argv)
    # Asked to stop, it stops what it started, as at Ctrl-C.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    logging.basicConfig(
        level=logging.INFO if arguments.verbose else logging.WARNING,
        format="%(levelname)s %(name)s: %(message)s",
    )
    try:
        from pipelines import commands

        return int(getattr(commands, arguments.handler)(arguments))
    except DeskGraphError as error:
        sys.stderr.write(f"deskgraph: {error}\n")
        return error.exit_code
    except ModuleNotFoundError as error:
        if str(error.name).split(".")[0] in OWN_PACKAGES:
            raise
        extra = arguments.extra
        sys.stderr.write(
            f"deskgraph: {error.name} is not installed; pip install 'deskgraph[{extra}]'\n"
        )
        return 2
    except KeyboardInterrupt:
        sys.stderr.write("deskgraph: interrupted; the same command goes on from there\n")
        return 130
    except BrokenPipeError:
        # Whoever read our output has gone, such as `head`; nothing is wrong.
        sys.stderr.close()
        return 0


def build_parser() -> argparse.ArgumentParser:
    """Builds the whole command line."""
    parser = argparse.ArgumentParser(
        prog="deskgraph",
        description="Turn tickets and a knowledge graph into a small, fast, grounded recommender.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="say what happens underneath")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    _add_run(commands)
    _add_compile(commands)
    _add_images(commands)
    _add_submit(commands)
    _add_schedule(commands)
    _add_watch(commands)
    _add_graph(commands)
    _add_serve(commands)
    _add_ask(commands)
    _add_models(commands)
    _add_bench(commands)
    return parser


def _command(
    commands: Subparsers,
    name: str,
    summary: str,
    handler: str,
    extra: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=f"{summary}.")
    parser.set_defaults(handler=handler, extra=extra)
    return parser


def _add_run(commands: Subparsers) -> None:
    parser = _command(commands, "run", "Run a pipeline on this machine", "run", "train")
    add = parser.add_argument
    add("--pipeline", default="training", metavar="NAME", help="training (the default), retraining")
    add(
        "--profile",
        default="local",
        help="demo, local, gpu, cluster, or a YAML file (default: local)",
    )
    add("--out", type=Path, required=True, metavar="DIR", help="the run's folder")
    add("--tickets", metavar="WHERE", help="a path, s3://… or samples:tickets (the default)")
    add("--test-tickets", default="", metavar="WHERE", help="separate tickets for the last report")
    add("--unlabelled", default="", metavar="WHERE", help="tickets that students learn from too")
    add("--text-column", default="text", metavar="NAME", help="the text's column in a CSV")
    add("--label-column", default="intent", metavar="NAME", help="the label's column in a CSV")
    add("--graph", metavar="WHERE", help="the graph's files; none with tickets of your own")
    add("--gold", metavar="WHERE", help="gold questions; none with tickets of your own")
    add("--task", choices=("intent", "answer"), default="intent", help="what the model learns")
    add("--base-model", metavar="WHERE", help="a path, s3://…, a Hub id, or minilm (the default)")
    add("--model-name", default="", metavar="NAME", help="name in the registry")
    add(
        "--traffic",
        default="",
        metavar="URL",
        help="/metrics of what serves, for retraining; several by commas",
    )
    add("--fresh", action="store_true", help="run every step, whatever earlier runs finished")
    add("--ask", default="", metavar="TEXT", help="a ticket to answer through the served winner")


def _add_compile(commands: Subparsers) -> None:
    summary = "Write the pipeline as one YAML for the Kubeflow Pipelines page"
    parser = _command(commands, "compile", summary, "compile_pipeline", "train")
    parser.add_argument(
        "--pipeline", default="training", metavar="NAME", help="which one (default: training)"
    )
    parser.add_argument("--profile", default="cluster", help="as in run (default: cluster)")
    parser.add_argument("--out", type=Path, required=True, metavar="FILE", help="the YAML's path")
    _add_image(parser)
    parser.add_argument(
        "--objects",
        type=Path,
        metavar="FILE",
        help="also write it as Kubernetes objects: Pipeline and PipelineVersion",
    )
    parser.add_argument(
        "--namespace",
        default="kubeflow",
        metavar="NAME",
        help="the objects' namespace (default: kubeflow)",
    )


def _add_image(parser: argparse.ArgumentParser) -> None:
    """Which image the steps run in."""
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--image",
        default="",
        metavar="REF",
        help="the steps' image (default: the profile's, else the one of this tree)",
    )
    which.add_argument(
        "--images", type=Path, metavar="FILE", help="a build's record that names the image"
    )


def _add_images(commands: Subparsers) -> None:
    images = commands.add_parser(
        "images", help="Build the container images", description="Build the container images."
    )
    verbs = images.add_subparsers(title="commands", metavar="COMMAND", required=True)
    summary = "Build the images that are not there yet, with buildah, podman or docker"
    build = _command(verbs, "build", summary, "images_build", "serve")
    add = build.add_argument
    add("kinds", nargs="*", metavar="KIND", help="train, serve (default: both)")
    add("--registry", default="", metavar="HOST", help="push there, and record the digests")
    add("--base-image", default="", metavar="REF", help="a base other than the recipes'")
    add("--base-digest", default="", metavar="SHA", help="the base's digest, sha256:…")
    add("--build-flags", default="", metavar="=TEXT", help="further options of the build")
    add("--push-flags", default="", metavar="=TEXT", help="further options of the push")
    add("--out", type=Path, metavar="FILE", help="the record (default: out/images.json)")
    show = _command(verbs, "show", "Say which images were built", "images_show", "serve")
    show.add_argument("--images", type=Path, metavar="FILE", help="the record (as build)")


def _add_submit(commands: Subparsers) -> None:
    summary = "Run the pipeline on Kubeflow and follow it"
    parser = _command(commands, "submit", summary, "submit", "train")
    add = parser.add_argument
    _add_backend(parser)
    _add_package(parser, "training")
    add(
        "--ui",
        default="",
        metavar="URL",
        help="the page's address (default: UI_URL, else the host)",
    )
    add("--run-name", default="", metavar="NAME", help="as the page shows it")
    add("--no-follow", action="store_true", help="start the run and leave it")
    add("--cancel-on-interrupt", action="store_true", help="Ctrl-C ends the run, too")
    instead = parser.add_mutually_exclusive_group()
    instead.add_argument("--follow", metavar="RUN_ID", help="start none: follow this run")
    instead.add_argument("--end", metavar="RUN_ID", help="start none: end this run")


def _add_schedule(commands: Subparsers) -> None:
    summary = "Run a pipeline by the clock: one recurring run, kept as asked for"
    parser = _command(commands, "schedule", summary, "schedule", "train")
    _add_backend(parser)
    _add_package(parser, "retraining")
    parser.add_argument("--name", default="", help="the recurring run's (default: the pipeline's)")
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument(
        "--cron",
        metavar="FIELDS",
        help='six fields, seconds first, in UTC: "0 0 3 * * *" is every day at 03:00',
    )
    what.add_argument("--show", action="store_true", help="say what is scheduled")
    what.add_argument("--remove", action="store_true", help="delete it")


def _add_watch(commands: Subparsers) -> None:
    summary = "Start a retraining if the graph's policies changed; looks once, for a CronJob"
    parser = _command(commands, "watch", summary, "watch", "train")
    add = parser.add_argument
    _add_backend(parser)
    add("--graph-uri", metavar="URI", help="bolt://… (default: NEO4J_URI)")
    add("--tracking-uri", metavar="URI", help="the registry (default: MLFLOW_TRACKING_URI)")
    add("--model-name", default="", metavar="NAME", help="the model (default: the only one)")
    add("--pipeline", default="retraining", metavar="NAME", help="what runs (default: retraining)")
    add(
        "--schedule",
        default="",
        metavar="NAME",
        help="recurring run whose version and parameters it takes (default: the pipeline's)",
    )
    add(
        "--back-off",
        type=float,
        metavar="SECONDS",
        help="after a run for the same policies (default: 3600)",
    )


def _add_backend(parser: argparse.ArgumentParser) -> None:
    add = parser.add_argument
    add("--host", default="", metavar="URL", help="Kubeflow Pipelines (default: KFP_ENDPOINT)")
    add("--namespace", default="", metavar="NAME", help="yours, where Kubeflow has several users")
    add(
        "--token-file",
        type=Path,
        metavar="FILE",
        help="bearer token, read at each call (default: the pod's own, for Kubeflow's own host)",
    )
    add(
        "--cookie-file",
        type=Path,
        metavar="FILE",
        help="cookie of a log-in (default: DESKGRAPH_KFP_COOKIE)",
    )


def _add_package(parser: argparse.ArgumentParser, pipeline: str) -> None:
    add = parser.add_argument
    add("--pipeline", default=pipeline, metavar="NAME", help=f"which one (default: {pipeline})")
    add("--profile", default="cluster", help="as in run (default: cluster)")
    add(
        "--param",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a value of the pipeline's; structures as JSON; may be repeated",
    )
    _add_image(parser)
    add("--experiment", default="", metavar="NAME", help="default: deskgraph")


def _add_graph(commands: Subparsers) -> None:
    graph = commands.add_parser(
        "graph", help="Keep the knowledge graph", description="Keep the knowledge graph."
    )
    verbs = graph.add_subparsers(title="commands", metavar="COMMAND", required=True)
    start = _command(verbs, "start", "Start a graph server on loopback", "graph_start", "offline")
    start.add_argument("--engine", choices=("embedded", "neo4j"), default="embedded")
    start.add_argument("--port", type=int, default=0, help="Bolt port (default: a free one)")
    stop = _command(verbs, "stop", "Stop a folder's graph server", "graph_stop", "offline")
    for verb in (start, stop):
        verb.add_argument(
            "--data",
            type=Path,
            default=DEFAULT_OUT / "graph",
            metavar="DIR",
            help=f"the server's data folder (default: {DEFAULT_OUT / 'graph'})",
        )
    migrate = _command(verbs, "migrate", "Bring the schema up to date", "graph_migrate", "serve")
    load = _command(verbs, "load", "Load files; a repeat writes nothing", "graph_load", "serve")
    load.add_argument("files", nargs="+", metavar="FILE", help="graph files or a folder of them")
    load.add_argument("--source", default="", metavar="ID", help="who says it (default: the file)")
    load.add_argument(
        "--prune-source",
        default="",
        metavar="ID",
        help="load as this source, and take back what it says no more: the files are all it says",
    )
    load.add_argument(
        "--mapping", type=Path, metavar="FILE", help="YAML that reads CSV, JSON, Markdown"
    )
    summary = "Take back everything that a source says"
    withdraw = _command(verbs, "withdraw", summary, "graph_withdraw", "serve")
    withdraw.add_argument("source", metavar="ID", help="who says it")
    for verb in (load, withdraw):
        verb.add_argument("--dry-run", action="store_true", help="say what would change, no more")
    status = _command(verbs, "status", "Say what the graph holds", "graph_status", "serve")
    check = _command(verbs, "check", "Compare database and ontology", "graph_check", "serve")
    draw = _command(verbs, "draw", "Draw the ontology as SVG", "graph_draw", "serve")
    draw.add_argument("--out", type=Path, required=True, metavar="FILE", help="the SVG's path")
    for verb in (migrate, load, withdraw, status, check, *_add_policy(verbs)):
        verb.add_argument(
            "--data",
            type=Path,
            metavar="DIR",
            help=f"a running server's folder (default: NEO4J_URI, else {DEFAULT_OUT / 'graph'})",
        )
    for verb in (migrate, load, status, check, draw):
        verb.add_argument("--ontology", type=Path, metavar="FILE", help="an ontology of your own")


def _add_policy(commands: Subparsers) -> tuple[argparse.ArgumentParser, ...]:
    policy = commands.add_parser(
        "policy", help="Change policies in time", description="Change policies in time."
    )
    verbs = policy.add_subparsers(title="commands", metavar="COMMAND", required=True)
    write = _command(verbs, "set", "Write a new version", "graph_policy_set", "serve")
    write.add_argument("policy", metavar="POLICY_ID", help="such as PO_RETURN")
    said = write.add_mutually_exclusive_group(required=True)
    said.add_argument("--text-file", type=Path, metavar="FILE", help="tells what it says then")
    said.add_argument("--text", metavar="TEXT", help="what it says then")
    write.add_argument(
        "--valid-from",
        default="",
        metavar="DATE",
        help="first day (default: today); the first day of a version corrects that one",
    )
    write.add_argument("--dry-run", action="store_true", help="say what would change, no more")
    history = _command(verbs, "history", "Say all versions", "graph_policy_history", "serve")
    history.add_argument("policy", metavar="POLICY_ID", help="such as PO_RETURN")
    changes = _command(verbs, "changes", "Say the latest changes", "graph_policy_changes", "serve")
    changes.add_argument("policy", nargs="?", default="", metavar="POLICY_ID", help="of one alone")
    return write, history, changes


def _add_serve(commands: Subparsers) -> None:
    summary = "Serve a model directory over KServe's V1, V2 and gRPC"
    parser = _command(commands, "serve", summary, "serve", "serve")
    parser.add_argument("--model", metavar="DIR", help="the model (default: the run's champion)")
    parser.add_argument(
        "--run", type=Path, default=DEFAULT_OUT, metavar="DIR", help="a run's --out"
    )
    parser.add_argument("--port", type=int, default=8080, help="REST port (default: 8080)")
    parser.add_argument("--grpc-port", type=int, default=8081, help="gRPC port (default: 8081)")
    parser.add_argument(
        "--graph-uri", default="", metavar="URI", help="bolt://… (default: the run's)"
    )


def _add_ask(commands: Subparsers) -> None:
    parser = _command(commands, "ask", "Answer one ticket on this machine", "ask", "serve")
    add = parser.add_argument
    add("text", help="the ticket")
    add("--customer", default="", metavar="ID", help="whose orders may be read")
    add("--as-of", default="", metavar="DATE", help="the day to be right for (default: today)")
    add("--json", action="store_true", help="the whole answer as JSON")
    add("--model", metavar="DIR", help="a model directory (default: the run's champion)")
    add("--run", type=Path, default=DEFAULT_OUT, metavar="DIR", help="a run's --out")
    add("--graph-uri", default="", metavar="URI", help="bolt://… (default: the run's graph)")


def _add_models(commands: Subparsers) -> None:
    models = commands.add_parser(
        "models", help="Look at the registry, or roll back", description="Look at the registry."
    )
    verbs = models.add_subparsers(title="commands", metavar="COMMAND", required=True)
    listing = _command(verbs, "list", "List registered versions", "models_list", "train")
    show = _command(verbs, "show", "Show one version", "models_show", "train")
    show.add_argument("version", nargs="?", default="champion", help="a number or an alias")
    back = _command(
        verbs, "rollback", "Make an earlier version champion", "models_rollback", "train"
    )
    back.add_argument("version", nargs="?", default="previous", help="a number or an alias")
    back.add_argument(
        "--target", default="", metavar="WHERE", help="kserve://…: roll it out there first"
    )
    back.add_argument(
        "--now", action="store_true", help="with --target: all of the traffic in one step"
    )
    for verb in (listing, show, back):
        verb.add_argument(
            "--run", type=Path, default=DEFAULT_OUT, metavar="DIR", help="a run's --out"
        )
        verb.add_argument("--name", default="", help="the model (default: the run's only one)")


def _add_bench(commands: Subparsers) -> None:
    summary = "Measure a table and draw it"
    bench = commands.add_parser("bench", help=summary, description=f"{summary}.")
    tables = bench.add_subparsers(title="tables", metavar="TABLE", required=True)
    answers = _command(
        tables, "answers", "Answers without and with the graph", "bench_answers", "train"
    )
    answers.add_argument(
        "--run", type=Path, default=DEFAULT_OUT, metavar="DIR", help="a run's --out"
    )
    graph = _command(
        tables, "graph", "Loading and reading a large graph, on each engine", "bench_graph", "train"
    )
    graph.add_argument(
        "--engine", choices=("neo4j", "embedded"), action="append", help="only this one"
    )
    graph.add_argument(
        "--nodes", type=int, action="append", help="size of a company (default: 10k, 100k, 1M)"
    )
    graph.add_argument("--quick", action="store_true", help="a smoke run, not to be quoted")
    for table in (answers, graph, _add_compression(tables)):
        table.add_argument("--out", type=Path, required=True, metavar="DIR", help="where it goes")


def _add_compression(tables: Subparsers) -> argparse.ArgumentParser:
    summary = "A teacher, and what pruning and distillation make of it"
    parser = _command(tables, "compression", summary, "bench_compression", "train")
    add = parser.add_argument
    add(
        "--data",
        required=True,
        metavar="WHERE",
        help="tickets as CSV or JSON Lines, or a folder with train.csv and test.csv",
    )
    add("--text-column", default="text", metavar="NAME", help="the text's column in a CSV")
    add(
        "--label-column",
        default="",
        metavar="NAME",
        help="the label's column in a CSV (default: intent, label or category)",
    )
    add(
        "--base-model",
        default="minilm",
        metavar="WHERE",
        help="as in run, or tiny-qwen2, tiny-llama: decoders with random weights",
    )
    add("--task", choices=("intent", "answer"), default="intent", help="what the models learn")
    add("--seed", type=int, action="append", help="of the trainings (default: 7, 11 and 13)")
    add("--quick", action="store_true", help="a smoke run, not to be quoted")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())

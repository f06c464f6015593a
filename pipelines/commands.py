"""What each subcommand does; every one imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kg_schema.errors import InputError

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from kg_schema.connection import GraphSettings
    from pipelines.client import PipelinesClient
    from pipelines.images import BuiltImage
    from pipelines.kfp_api import Access
    from pipelines.placement import Profile

WATCH_RETRY_S = 20.0
"""It is run every minute, and ended before the next."""


def say(text: str = "") -> None:
    """Writes one line of a command's result to standard output."""
    sys.stdout.write(f"{text}\n")


def run(arguments: argparse.Namespace) -> int:
    """Runs a pipeline here, prints what came of it, and answers one ticket."""
    from pipelines.local import LocalRun, run_locally
    from pipelines.placement import load_profile
    from pipelines.summary import summarise, summarise_retraining
    from pipelines.workspace import Workspace

    own = arguments.tickets is not None
    intent = arguments.task == "intent"
    parameters: dict[str, Any] = {
        "text_column": arguments.text_column,
        "label_column": arguments.label_column,
        "task": arguments.task,
        "model_name": arguments.model_name,
    }
    if arguments.base_model:
        parameters["base_model"] = arguments.base_model
    retraining = arguments.pipeline == "retraining"
    if retraining:
        parameters["traffic"] = arguments.traffic
    # The samples' graph says nothing about anybody else's tickets.
    job = LocalRun(
        profile=load_profile(arguments.profile),
        tickets=arguments.tickets or "samples:tickets",
        pipeline=arguments.pipeline,
        test_tickets=arguments.test_tickets,
        unlabelled=arguments.unlabelled,
        graph=_chosen(arguments.graph, "" if own else "samples:graph"),
        gold=_chosen(arguments.gold, "" if own or not intent else "samples:gold"),
        parameters=parameters,
        fresh=arguments.fresh,
    )
    workspace = Workspace(arguments.out)
    with run_locally(job, workspace) as result:
        if retraining:
            there = summarise_retraining(result, workspace.tracking_uri, arguments.ask, say)
            return 0 if there else 1
        summarise(result, arguments.out, arguments.ask, say)
        return 0 if result.outputs["gate"] == "true" else 1


def _chosen(given: str | None, default: str) -> str:
    return default if given is None else given


def compile_pipeline(arguments: argparse.Namespace) -> int:
    """Writes the pipeline's YAML, and as Kubernetes objects where asked to."""
    from pipelines.packages import compile_objects, compile_package, read_package

    name, out, objects = arguments.pipeline, arguments.out, arguments.objects
    profile = _profile(arguments)
    compile_package(name, profile, out)
    say(f"wrote {out}: upload it on the pipelines page; its steps run in {profile.image}")
    if objects:
        version = read_package(out).object_name
        compile_objects(name, profile, objects, version=version, namespace=arguments.namespace)
        say(f"wrote {objects}: kubectl apply makes {version} of it")
    return 0


def _profile(arguments: argparse.Namespace) -> Profile:
    """The profile asked for, with the image that its steps run in."""
    from pipelines.images import profile_with_image

    return profile_with_image(arguments.profile, image=arguments.image, record=arguments.images)


def images_build(arguments: argparse.Namespace) -> int:
    """Builds the images that this tree lacks."""
    from pipelines.containers import find_engine
    from pipelines.images import KINDS, RECORD, Base, build_images

    record = arguments.out or RECORD
    engine = find_engine(shlex.split(arguments.build_flags), shlex.split(arguments.push_flags))
    images = build_images(
        arguments.kinds or KINDS,
        engine,
        registry=arguments.registry,
        base=Base(arguments.base_image, arguments.base_digest),
        record=record,
    )
    _say_images(images)
    say(f"wrote {record}")
    return 0


def images_show(arguments: argparse.Namespace) -> int:
    """Says which images a record names."""
    from pipelines.images import RECORD, read_record

    _say_images(read_record(arguments.images or RECORD))
    return 0


def _say_images(images: Mapping[str, BuiltImage]) -> None:
    for kind, image in sorted(images.items()):
        say(f"{kind:6} {image.size_bytes / 1e6:7.0f} MB  {image.named}")


def submit(arguments: argparse.Namespace) -> int:
    """Runs a pipeline on Kubeflow and follows it, or follows or ends a run that is there."""
    from pipelines.submission import EXPERIMENT, compiled, follow, run_link
    from pipelines.submission import submit as start

    client = _backend(arguments)
    host = client.access.host
    if arguments.end:
        client.end_run(arguments.end)
        say(f"asked run {arguments.end} to end")
        return 0
    run_id = arguments.follow
    if not run_id:
        with compiled(arguments.pipeline, _profile(arguments)) as package:
            run_id = start(
                client,
                package,
                say,
                parameters=arguments.param,
                experiment=arguments.experiment or EXPERIMENT,
                run_name=arguments.run_name,
            )
    link = run_link(arguments.ui or os.environ.get("UI_URL") or host, run_id)
    if arguments.no_follow:
        say(link)
        return 0
    return follow(
        client,
        run_id,
        say,
        link=link,
        again=_again(client.access, arguments.cookie_file),
        end_on_interrupt=arguments.cancel_on_interrupt,
    )


def schedule(arguments: argparse.Namespace) -> int:
    """Brings the one recurring run to what is asked for, shows it, or removes it."""
    from pipelines.cron import parse_cron
    from pipelines.packages import pipeline_name
    from pipelines.parameters import parse_parameters
    from pipelines.schedule import Schedule, reconcile, remove, show
    from pipelines.submission import EXPERIMENT, compiled

    name = arguments.name or pipeline_name(arguments.pipeline)
    if arguments.show or arguments.remove:
        (show if arguments.show else remove)(_backend(arguments), name, say)
        return 0
    cron = parse_cron(arguments.cron)
    with compiled(arguments.pipeline, _profile(arguments)) as package:
        values = parse_parameters(arguments.param, package.parameters)
        client = _backend(arguments)
        version = client.upload(package.path, package.pipeline, package.version)
        experiment = client.experiment(arguments.experiment or EXPERIMENT)
    reconcile(client, Schedule(name, version, values, experiment, cron), say)
    return 0


def watch(arguments: argparse.Namespace) -> int:
    """Starts a retraining where the graph's policies are not the champion's."""
    from kg_schema.connection import GraphSettings
    from pipelines.packages import pipeline_name
    from pipelines.policy_watch import BACK_OFF_S, Watch, check

    pipeline = pipeline_name(arguments.pipeline)
    wanted = Watch(
        graph=GraphSettings.from_env(arguments.graph_uri),
        tracking_uri=arguments.tracking_uri or os.environ.get("MLFLOW_TRACKING_URI", ""),
        model=arguments.model_name,
        pipeline=pipeline,
        schedule=arguments.schedule or pipeline,
        back_off_s=BACK_OFF_S if arguments.back_off is None else arguments.back_off,
    )
    check(_backend(arguments, retry_for_s=WATCH_RETRY_S), wanted, say)
    return 0


def _again(access: Access, cookie_file: Path | None) -> str:
    """The command line that reaches the same backend the same way."""
    options = {
        "--host": access.host,
        "--namespace": access.namespace,
        "--token-file": str(access.token_file or ""),
        "--cookie-file": str(cookie_file or ""),
    }
    given = (f"{name} {shlex.quote(value)}" for name, value in options.items() if value)
    return " ".join(["deskgraph submit", *given])


def _backend(arguments: argparse.Namespace, **options: float) -> PipelinesClient:
    from pipelines.client import PipelinesClient
    from pipelines.kfp_api import Access

    access = Access.find(
        arguments.host, arguments.namespace, arguments.token_file, arguments.cookie_file
    )
    return PipelinesClient(access, **options)


def ask(arguments: argparse.Namespace) -> int:
    """Answers one ticket with a run's champion, or a model directory, over its graph."""
    import asyncio

    from pydantic import ValidationError

    from pipelines.asking import answer_once, find_model
    from pipelines.rendering import answer_lines
    from pipelines.services import graph_of
    from serving.contracts import Ticket
    from serving.principal import Principal

    try:
        ticket = Ticket(text=arguments.text, as_of=arguments.as_of or None)
    except ValidationError as error:
        problem = error.errors()[0]
        raise InputError(str(problem["msg"]), where="the ticket") from None
    customer = arguments.customer
    principal = Principal.customer(customer) if customer else Principal.anonymous()
    model = find_model(arguments.model, arguments.run)
    with graph_of(arguments.run, arguments.graph_uri) as graph:
        answer = asyncio.run(answer_once(model, graph, ticket, principal))
    if arguments.json:
        say(answer.model_dump_json(indent=2))
    else:
        for line in answer_lines(answer.model_dump(mode="json")):
            say(line)
    return 0


def serve(arguments: argparse.Namespace) -> int:
    """Serves a model until it is told to stop."""
    from pipelines.asking import find_model
    from pipelines.services import environment, graph_of
    from serving.app import main as serve_main

    options = ["--model", str(find_model(arguments.model, arguments.run))]
    options += ["--port", str(arguments.port), "--grpc-port", str(arguments.grpc_port)]
    with graph_of(arguments.run, arguments.graph_uri) as graph:
        if graph is None:
            return serve_main(options)
        secrets = {"NEO4J_USERNAME": graph.username, "NEO4J_PASSWORD": graph.password}
        with environment({**secrets, "NEO4J_DATABASE": graph.database or ""}):
            return serve_main([*options, "--graph", graph.uri])


def models_list(arguments: argparse.Namespace) -> int:
    """Lists the registered versions, newest first."""
    from pipelines.registry import list_versions

    for row in list_versions(_tracking_uri(arguments), arguments.name):
        aliases = ", ".join(row.aliases) or "-"
        say(f"{row.name}  v{row.version}  {row.created_at}  {aliases}")
    return 0


def models_show(arguments: argparse.Namespace) -> int:
    """Shows one version with its lineage."""
    from pipelines.registry import show_version

    row = show_version(_tracking_uri(arguments), arguments.name, arguments.version)
    say(json.dumps(row, indent=2))
    return 0


def models_rollback(arguments: argparse.Namespace) -> int:
    """Makes an earlier version champion again."""
    from pipelines.registry import rollback, rollback_served

    if arguments.target:
        row = rollback_served(
            _tracking_uri(arguments),
            arguments.name,
            arguments.version,
            arguments.target,
            at_once=arguments.now,
        )
        say(f"champion of {row.name} is now v{row.version}, and serves at {arguments.target}")
        return 0
    if arguments.now:
        raise InputError("says where by nothing", where="--now", fix="give --target kserve://…")
    row = rollback(_tracking_uri(arguments), arguments.name, arguments.version)
    say(f"champion of {row.name} is now v{row.version}; serve it with")
    say(f"  deskgraph serve --model {row.location}")
    return 0


def _tracking_uri(arguments: argparse.Namespace) -> str:
    """The registry of MLFLOW_TRACKING_URI, else the run's own."""
    database = (arguments.run / "registry" / "mlflow.db").resolve()
    return os.environ.get("MLFLOW_TRACKING_URI") or f"sqlite:///{database}"


def graph_start(arguments: argparse.Namespace) -> int:
    """Starts a folder's graph server, which outlives the command."""
    from kg_schema import commands

    return commands.start(
        say, data_dir=arguments.data, engine=arguments.engine, port=arguments.port
    )


def graph_stop(arguments: argparse.Namespace) -> int:
    """Stops a folder's graph server."""
    from kg_schema import commands

    return commands.stop(say, data_dir=arguments.data)


def graph_migrate(arguments: argparse.Namespace) -> int:
    """Brings the schema up to date."""
    from kg_schema import commands

    return commands.migrate_graph(say, _graph(arguments), ontology=arguments.ontology)


def graph_load(arguments: argparse.Namespace) -> int:
    """Loads files into the graph and embeds what is new to vector search."""
    from components.load_graph.loading import embed_articles
    from components.storage import localise
    from kg_schema import commands
    from kg_schema.load import LoadOptions
    from kg_schema.ontology import load_ontology

    source, pruned = arguments.source, arguments.prune_source
    if source and pruned and source != pruned:
        raise InputError("--source names another", where=f"--prune-source {pruned}")
    graph = _graph(arguments)
    code = commands.load(
        say,
        graph,
        [localise(each) for each in arguments.files],
        source_id=pruned or source or Path(arguments.files[0]).name,
        ontology=arguments.ontology,
        mapping=arguments.mapping,
        options=LoadOptions(dry_run=arguments.dry_run, prune=bool(pruned)),
    )
    if not arguments.dry_run:
        model, embedded = embed_articles(graph, load_ontology(arguments.ontology))
        say(f"{embedded:,} articles were embedded with {model or 'nothing: no encoder is here'}")
    return code


def graph_withdraw(arguments: argparse.Namespace) -> int:
    """Takes back everything that a source says."""
    from kg_schema import commands

    return commands.withdraw(say, _graph(arguments), arguments.source, dry_run=arguments.dry_run)


def graph_policy_set(arguments: argparse.Namespace) -> int:
    """Writes a new version of a policy."""
    from kg_schema import commands

    return commands.policy_set(
        say,
        _graph(arguments),
        arguments.policy,
        arguments.text_file or arguments.text,
        valid_from=arguments.valid_from,
        dry_run=arguments.dry_run,
    )


def graph_policy_history(arguments: argparse.Namespace) -> int:
    """Says all versions of a policy."""
    from kg_schema import commands

    return commands.policy_show(say, _graph(arguments), arguments.policy)


def graph_policy_changes(arguments: argparse.Namespace) -> int:
    """Says the latest changes of policies."""
    from kg_schema import commands

    return commands.policy_events(say, _graph(arguments), arguments.policy)


def graph_status(arguments: argparse.Namespace) -> int:
    """Says what the graph holds."""
    from kg_schema import commands

    return commands.status(say, _graph(arguments), ontology=arguments.ontology)


def graph_draw(arguments: argparse.Namespace) -> int:
    """Draws the ontology."""
    from kg_schema import commands

    return commands.draw(say, arguments.out, ontology=arguments.ontology)


def graph_check(arguments: argparse.Namespace) -> int:
    """Compares database, ontology and migrations."""
    from kg_schema import commands

    return commands.check(say, _graph(arguments), ontology=arguments.ontology)


def _graph(arguments: argparse.Namespace) -> GraphSettings:
    """The graph of --data where given, else of NEO4J_URI, else of the demo's folder."""
    from kg_schema.commands import find_graph
    from pipelines.cli import DEFAULT_OUT

    if arguments.data is None and os.environ.get("NEO4J_URI"):
        return find_graph()
    return find_graph(data_dir=arguments.data or DEFAULT_OUT / "graph")


def bench_answers(arguments: argparse.Namespace) -> int:
    """Measures the answers table."""
    return _bench("answers", arguments.out, run=arguments.run)


def bench_graph(arguments: argparse.Namespace) -> int:
    """Measures the graph table."""
    chosen = {"engines": arguments.engine} if arguments.engine else {}
    sizes = arguments.nodes or ()
    return _bench("graph", arguments.out, sizes=sizes, quick=arguments.quick, **chosen)


def bench_compression(arguments: argparse.Namespace) -> int:
    """Measures the compression table."""
    chosen = {"seeds": arguments.seed} if arguments.seed else {}
    names = ("data", "text_column", "label_column", "base_model", "task", "quick")
    options = {name: getattr(arguments, name) for name in names}
    return _bench("compression", arguments.out, **options, **chosen)


def _bench(name: str, out: Path, **options: Any) -> int:
    from importlib import import_module

    # The tables stand above the pipelines and are looked up by name alone.
    table = import_module(f"benchmarks.{name}")
    result = getattr(table, f"bench_{name}")(out=out, **options)
    say((result.parent / table.TABLE_NAME).read_text(encoding="utf-8").rstrip())
    say(f"wrote {result}")
    return 0

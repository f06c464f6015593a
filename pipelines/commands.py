"""What each subcommand does; every one imports what it needs when it runs."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING, Any

from kg_schema.errors import InputError

if TYPE_CHECKING:
    import argparse

    from serving.contracts import Answer


def say(text: str = "") -> None:
    """Writes one line of a command's result to standard output."""
    sys.stdout.write(f"{text}\n")


def run(arguments: argparse.Namespace) -> int:
    """Runs the training pipeline here, prints what came of it, and answers one ticket."""
    from pipelines.local import LocalRun, run_locally
    from pipelines.placement import load_profile
    from pipelines.summary import print_summary
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
    # The samples' graph says nothing about anybody else's tickets.
    job = LocalRun(
        profile=load_profile(arguments.profile),
        tickets=arguments.tickets or "samples:tickets",
        test_tickets=arguments.test_tickets,
        graph=_chosen(arguments.graph, "" if own else "samples:graph"),
        gold=_chosen(arguments.gold, "" if own or not intent else "samples:gold"),
        parameters=parameters,
        fresh=arguments.fresh,
    )
    with run_locally(job, Workspace(arguments.out)) as result:
        print_summary(result, arguments.out, arguments.ask)
        return 0 if result.outputs["gate"] == "true" else 1


def _chosen(given: str | None, default: str) -> str:
    return default if given is None else given


def compile_pipeline(arguments: argparse.Namespace) -> int:
    """Writes the pipeline's YAML."""
    from pipelines.placement import load_profile
    from pipelines.training import compile_training

    compile_training(load_profile(arguments.profile), arguments.out)
    say(f"wrote {arguments.out}: upload it on the pipelines page")
    return 0


def ask(arguments: argparse.Namespace) -> int:
    """Answers one ticket with a run's champion, or a model directory, over its graph."""
    import asyncio

    from pydantic import ValidationError

    from pipelines.asking import answer_once, find_model
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
        print_answer(answer)
    return 0


def print_answer(answer: Answer) -> None:
    """Prints an answer with its claims' facts beneath it."""
    for line in answer_lines(answer.model_dump(mode="json")):
        say(line)


def answer_lines(answer: dict[str, Any]) -> list[str]:
    """Formats an answer (its JSON form) for a terminal: the claims, then the facts they cite."""
    said = answer["answer"]
    intent = answer["intent"]
    lines = [f"intent   {intent['label']} ({intent['confidence']:.2f}), {answer['problem_type']}"]
    if answer["entities"]:
        names = ", ".join(f"{e['label']} {e['id']} ({e['text']})" for e in answer["entities"])
        lines.append(f"entities {names}")
    if said["abstained"]:
        lines.append(f"no answer: {said['reason']}")
    numbers: dict[str, int] = {}
    for claim in said["claims"]:
        marks = [numbers.setdefault(fact, len(numbers) + 1) for fact in claim["facts"]]
        cited = "".join(f"[{mark}]" for mark in marks)
        lines.append(f"  {claim['text']} {cited}")
    facts = {fact["id"]: fact for fact in answer["facts"]}
    for fact_id, number in numbers.items():
        fact = facts[fact_id]
        shown = fact["object_name"] or fact["object"]
        subject = fact["subject_name"] or fact["subject"]
        lines.append(f"    [{number}] {subject} · {fact['predicate']} · {shown}")
    if answer["recommendations"]:
        best = ", ".join(f"{r['title']} ({r['id']})" for r in answer["recommendations"][:5])
        lines.append(f"  recommended: {best}")
    if answer["degraded"]:
        lines.append(f"  degraded: {', '.join(answer['degraded'])}")
    return lines


def serve(arguments: argparse.Namespace) -> int:
    """Serves a model until it is told to stop."""
    from serving.app import main as serve_main

    from pipelines.asking import find_model
    from pipelines.services import environment, graph_of

    options = ["--model", str(find_model(arguments.model, arguments.run))]
    options += ["--port", str(arguments.port), "--grpc-port", str(arguments.grpc_port)]
    with graph_of(arguments.run, arguments.graph_uri) as graph:
        if graph is None:
            return serve_main(options)
        secrets = {"NEO4J_USERNAME": graph.username, "NEO4J_PASSWORD": graph.password}
        with environment({**secrets, "NEO4J_DATABASE": graph.database or ""}):
            return serve_main([*options, "--graph", graph.uri])


def models_list(arguments: argparse.Namespace) -> int:
    """Lists the registered versions."""
    from pipelines.registry import list_versions

    for row in list_versions(_tracking_uri(arguments), arguments.name):
        aliases = ", ".join(row.aliases)
        say(f"{row.name}  v{row.version}  {row.created_at}  {aliases}")
    return 0


def models_show(arguments: argparse.Namespace) -> int:
    """Shows one version with its lineage."""
    from pipelines.registry import show_version

    say(
        json.dumps(
            show_version(_tracking_uri(arguments), arguments.name, arguments.version), indent=2
        )
    )
    return 0


def models_rollback(arguments: argparse.Namespace) -> int:
    """Makes an earlier version champion again."""
    from pipelines.registry import rollback

    row = rollback(_tracking_uri(arguments), arguments.name, arguments.version)
    say(f"champion of {row.name} is now v{row.version}")
    return 0


def _tracking_uri(arguments: argparse.Namespace) -> str:
    from pipelines.workspace import Workspace

    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    if not (arguments.run / "registry" / "mlflow.db").exists():
        raise InputError("no registry there", where=str(arguments.run), fix="check --run")
    return Workspace(arguments.run).tracking_uri

"""Content digests of the inputs and of the code that reads them."""

from __future__ import annotations

from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from components.digests import default_model_name, digest_locations, digest_text
from components.registry import champion_location
from serving.manifest import file_sha256

CODE_PACKAGES = ("kg_schema", "serving", "components")
CODE_SUFFIXES = (".py", ".yaml", ".cypher", ".sql", ".html", ".md")


@dataclass(frozen=True)
class Fingerprint:
    """What a run stands on.

    Args:
        code: Digest of the stages' own code and data.
        tickets: Digest of the tickets, separate test tickets and unlabelled ones included.
        graph: Digest of the graph's files; empty without a graph.
        gold: Digest of the gold questions; empty without them.
        model_name: Name of the registered model, which belongs to the data set.
        champion: Location of the registered champion; empty where there is none yet.
    """

    code: str
    tickets: str
    graph: str
    gold: str
    model_name: str
    champion: str


def fingerprint_inputs(
    tickets: str,
    *,
    test_tickets: str = "",
    unlabelled: str = "",
    graph: str = "",
    gold: str = "",
    task: str = "intent",
    model_name: str = "",
    tracking_uri: str = "",
) -> Fingerprint:
    """Digests everything a run reads by content, not by name or time.

    Args:
        tickets: Location of the tickets.
        test_tickets: Location of separate test tickets; empty for none.
        unlabelled: Location of tickets without labels; empty for none.
        graph: Location of the graph's files; empty for none.
        gold: Location of the gold questions; empty for none.
        task: `intent` or `answer`; part of the model's name.
        model_name: Name to register under; derived from `tickets` where empty.
        tracking_uri: MLflow's; empty knows no champion.

    Returns:
        The digests, each 16 hexadecimal characters.

    Raises:
        InputError: A location that holds nothing.
    """
    name = model_name or default_model_name(tickets, task)
    return Fingerprint(
        code=digest_code(),
        tickets=digest_locations(tickets, test_tickets, unlabelled),
        graph=digest_locations(graph),
        gold=digest_locations(gold),
        model_name=name,
        champion=(champion_location(tracking_uri, name) or "") if tracking_uri else "",
    )


def digest_code() -> str:
    """Digests the code of the floors that stages run."""
    lines = []
    for package in CODE_PACKAGES:
        root = Path(str(resources.files(package)))
        lines += [
            f"{package}/{path.relative_to(root).as_posix()}\t{file_sha256(path)}"
            for path in sorted(root.rglob("*"))
            if path.suffix in CODE_SUFFIXES
        ]
    return digest_text("\n".join(lines))

"""What `deskgraph models list|show|rollback` tells of the registry, as rows to print."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from components.registry import CHAMPION, PREVIOUS, ModelRegistry, RegisteredVersion, database_path
from kg_schema.errors import InputError


def list_versions(tracking_uri: str, name: str = "") -> list[RegisteredVersion]:
    """Returns registered versions, newest first within each model.

    Args:
        tracking_uri: `sqlite:///…` or a server.
        name: One model; every model where empty.

    Raises:
        InputError: There is no registry yet, or no such model.
    """
    registry = _open(tracking_uri)
    names = registry.names()
    if name and name not in names:
        known = ", ".join(names) or "none"
        raise InputError("no such model", where=name, fix=f"registered are: {known}")
    return [row for each in ([name] if name else names) for row in registry.versions(each)]


def show_version(tracking_uri: str, name: str = "", version: str = CHAMPION) -> dict[str, Any]:
    """Returns one version with its lineage and numbers, as JSON has it.

    Args and errors: as in `find_version`.
    """
    return asdict(find_version(tracking_uri, name, version))


def find_version(tracking_uri: str, name: str = "", version: str = CHAMPION) -> RegisteredVersion:
    """Returns one version, by number or by alias.

    Args:
        tracking_uri: As in `list_versions`.
        name: The model; may be empty where the registry holds one only.
        version: A number, `champion` or `previous`.

    Raises:
        InputError: No such version, or no name where there are several models.
    """
    rows = list_versions(tracking_uri, _only_model(tracking_uri, name))
    for row in rows:
        if version == row.version or version in row.aliases:
            return row
    there = ", ".join(sorted({alias for row in rows for alias in row.aliases})) or "no alias"
    raise InputError(
        "no such version", where=version, fix=f"there are {len(rows)} versions and {there}"
    )


def read_champion(tracking_uri: str, name: str = "") -> RegisteredVersion | None:
    """Returns the champion's row, wherever its files are; None where no version was promoted yet.

    Args:
        tracking_uri: As in `list_versions`.
        name: As in `find_version`.

    Raises:
        InputError: There is no registry yet, or no name where there are several models.
    """
    model = _only_model(tracking_uri, name)
    return _open(tracking_uri).with_alias(model, CHAMPION) if model else None


def rollback(tracking_uri: str, name: str = "", version: str = PREVIOUS) -> RegisteredVersion:
    """Makes an earlier version champion; the champion becomes `previous`, so twice is back again.

    What serves is not touched: deploy the version that is returned.

    Raises:
        InputError: There is no such version.
    """
    row = find_version(tracking_uri, name, version)
    _open(tracking_uri).promote(row.name, row.version)
    return find_version(tracking_uri, row.name, row.version)


def rollback_served(
    tracking_uri: str, name: str, version: str, target: str, *, at_once: bool = False
) -> RegisteredVersion:
    """Rolls an earlier version out on a cluster, over the graph of what serves there now.

    The champion alias moves when it serves all of the traffic, and not before.

    Args:
        tracking_uri: As in `list_versions`.
        name: As in `find_version`.
        version: A number or an alias.
        target: `kserve://…` (see `components.deploy.target`).
        at_once: In one step and without comparison; a roll-out under way is taken away.

    Raises:
        InputError: There is no such version, or the target is none.
        DeskGraphError: It was not rolled out; what served before still serves.
    """
    from components.deploy.deploying import DeployRequest, deploy_version
    from components.deploy.target import parse_target

    parse_target(target)
    row = find_version(tracking_uri, name, version)
    deploy_version(
        DeployRequest(row.name, row.version, target, tracking_uri, graph_uri=None, at_once=at_once)
    )
    return find_version(tracking_uri, row.name, row.version)


def _only_model(tracking_uri: str, name: str) -> str:
    """The model's name where none is given; empty where the registry holds none."""
    names = [name] if name else _open(tracking_uri).names()
    if len(names) > 1:
        raise InputError(
            "several models are registered",
            where=tracking_uri,
            fix=f"name one of {', '.join(names)}",
        )
    return names[0] if names else ""


def _open(tracking_uri: str) -> ModelRegistry:
    database = database_path(tracking_uri)
    if database is not None and not database.exists():
        raise InputError("no registry there yet", where=str(database), fix="run a pipeline first")
    return ModelRegistry(tracking_uri)

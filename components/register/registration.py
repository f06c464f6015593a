"""Registers a model directory: its files, numbers and lineage in one MLflow run, then the alias."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from components.digests import digest_labels
from components.model_dir import read_compression
from components.registry import (
    CONTENT_TAG,
    MODEL_FOLDER,
    ModelRegistry,
    RegisteredVersion,
    plain_location,
)
from components.storage import localise
from kg_schema.errors import InputError
from serving.manifest import content_sha256, verify_manifest

PICKLE_SUFFIXES = frozenset({".bin", ".pt", ".pth", ".pkl", ".pickle", ".joblib"})
SELECTION_NAME = "selection.json"
MANIFEST_TAGS = ("task", "base_model", "parent", "data")
_METRIC_NAME = re.compile(r"[^\w./ -]")
_MAX_TAG = 5000


@dataclass(frozen=True, slots=True)
class Registration:
    """What became of a registration.

    Attributes:
        name: The registered model.
        version: Its version; an earlier one where the same content is registered already.
        location: Of the version's model directory.
        content_sha256: Digest of its files.
        created: False where the content was there already.
    """

    name: str
    version: str
    location: str
    content_sha256: str
    created: bool


def register_model(
    model: str,
    selection: str,
    tracking_uri: str,
    name: str,
    lineage: Mapping[str, str],
    *,
    cards: Mapping[str, str] | None = None,
    deploy_target: str = "",
) -> Registration:
    """Makes a model directory a version of its name, and champion where nothing is to be deployed.

    The files are copied into the registry as they are (safetensors and ONNX, no MLflow flavour, so
    nothing is pickled). The version is made after its files are whole, the alias moves last: an
    interrupted registration leaves the old champion, and is repeated without a second version.

    Args:
        model: Location of the model directory, with its manifest.
        selection: Location of the selection's directory or `selection.json`; its numbers become
            the run's metrics.
        tracking_uri: `sqlite:///…` or a server.
        name: The registered model's name.
        lineage: Digests of code, tickets and graph, and whatever else tells where it comes from;
            empty values are left out.
        cards: Locations of further texts to keep beside the model, by file name.
        deploy_target: Where it will be served; the version is then `candidate` until it serves
            there. Empty makes it champion at once.

    Raises:
        InputError: A location holds nothing, or the directory holds a pickle.
        ManifestError: The directory is not whole.
        RegistryError: The registry cannot be reached.
    """
    directory = localise(model)
    manifest = verify_manifest(directory, "model")
    _refuse_pickles(directory)
    digest = content_sha256(manifest)
    registry = ModelRegistry(tracking_uri)
    known = _find(registry, name, digest)
    texts = {file: localise(place).read_text("utf-8") for file, place in (cards or {}).items()}
    version = known or _add(
        registry,
        name,
        directory,
        localise(selection),
        {CONTENT_TAG: digest, **_tags(directory, manifest, lineage)},
        texts,
    )
    (registry.nominate if deploy_target else registry.promote)(name, version.version)
    return Registration(name, version.version, version.location, digest, known is None)


def _refuse_pickles(directory: Path) -> None:
    for path in sorted(directory.rglob("*")):
        if path.suffix in PICKLE_SUFFIXES:
            raise InputError(
                "a pickle can run code when it is loaded",
                where=str(path),
                fix="save the weights as safetensors",
            )


def _find(registry: ModelRegistry, name: str, digest: str) -> RegisteredVersion | None:
    same = (row for row in registry.versions(name) if row.tags.get(CONTENT_TAG) == digest)
    return next(same, None)


def _add(
    registry: ModelRegistry,
    name: str,
    directory: Path,
    selection: Path,
    tags: dict[str, str],
    texts: Mapping[str, str],
) -> RegisteredVersion:
    client = registry.client
    experiment = registry.experiment(name)
    with registry.errors():
        run = client.create_run(experiment, run_name=f"register {tags[CONTENT_TAG][:12]}")
        run_id = run.info.run_id
        for key, value in tags.items():
            client.set_tag(run_id, key, value)
        for key, number in _metrics(selection).items():
            client.log_metric(run_id, key, number)
        client.log_artifacts(run_id, str(directory), MODEL_FOLDER)
        if selection.is_dir():
            client.log_artifacts(run_id, str(selection), "selection")
        else:
            client.log_artifact(run_id, str(selection), "selection")
        for file, text in texts.items():
            client.log_text(run_id, text, file)
        source = f"{run.info.artifact_uri}/{MODEL_FOLDER}"
        copied = Path(plain_location(source))
        if copied.is_absolute():
            verify_manifest(copied, "model")
        client.set_terminated(run_id)
        _ensure_model(registry, name)
        made = client.create_model_version(name, source, run_id, tags=tags)
    return next(row for row in registry.versions(name) if row.version == str(made.version))


def _ensure_model(registry: ModelRegistry, name: str) -> None:
    from mlflow.exceptions import MlflowException

    try:
        registry.client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise


def _tags(
    directory: Path, manifest: Mapping[str, Any], lineage: Mapping[str, str]
) -> dict[str, str]:
    told = {key: manifest[key] for key in MANIFEST_TAGS if manifest.get(key)}
    numbers = _scalars(manifest.get("parameters", {}), "parameters.")
    compression = _scalars(read_compression(directory), "compression.")
    tags = {**told, **numbers, **compression, **lineage}
    labels = manifest.get("labels", [])
    tags |= {"labels": len(labels), "intents": digest_labels(labels)}
    return {key: str(value)[:_MAX_TAG] for key, value in tags.items() if value not in ("", None)}


def _metrics(selection: Path) -> dict[str, float]:
    path = selection / SELECTION_NAME if selection.is_dir() else selection
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"no readable selection: {error}", where=str(path)) from error
    return {
        _METRIC_NAME.sub("_", key): float(value)
        for key, value in _scalars(content).items()
        if isinstance(value, int | float) and not isinstance(value, bool)
    }


def _scalars(content: Any, prefix: str = "") -> dict[str, Any]:
    """Flattens nested objects to dotted names; lists are left out."""
    if not isinstance(content, dict):
        return {}
    flat: dict[str, Any] = {}
    for key, value in content.items():
        if isinstance(value, dict):
            flat.update(_scalars(value, f"{prefix}{key}."))
        elif isinstance(value, str | int | float):
            flat[f"{prefix}{key}"] = value
    return flat

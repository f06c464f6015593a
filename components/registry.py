"""The model registry: MLflow on SQLite or behind a server, spoken to by content and by alias.

Three aliases tell everything: `champion` is served, `previous` is what a rollback returns to,
`candidate` is registered and not rolled out yet.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from kg_schema.errors import DeskGraphError, InputError

if TYPE_CHECKING:
    from mlflow import MlflowClient
    from mlflow.entities.model_registry import ModelVersion

CHAMPION = "champion"
PREVIOUS = "previous"
CANDIDATE = "candidate"
CONTENT_TAG = "content_sha256"
STAMP_SUFFIX = "_stamp"
"""Ends a tag that stands for the one without it, since a retraining found no better candidate."""
ARTIFACT_FOLDER = "artifacts"
MODEL_FOLDER = "model"
SQLITE = "sqlite:///"
MAX_MODELS = 1000
# Untold, MLflow starts job workers (2.3 GB), reports usage and retries for minutes.
CLIENT_ENVIRONMENT = {
    "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "2",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
}

_NO_ANSWER = " failed with exception "

logger = logging.getLogger(__name__)


class RegistryError(DeskGraphError):
    """The registry cannot be reached, or refuses; what it held is as it was."""


@dataclass(frozen=True, slots=True)
class RegisteredVersion:
    """One version of a registered model.

    Attributes:
        name: The model's name, which belongs to its data set.
        version: Counted up from 1.
        location: Of its model directory: a path or `s3://…`.
        created_at: ISO 8601, UTC.
        aliases: `champion`, `previous`, `candidate` or others, sorted.
        tags: Lineage and numbers, as text.
        run_id: The MLflow run that holds metrics and files.
    """

    name: str
    version: str
    location: str
    created_at: str
    aliases: tuple[str, ...]
    tags: Mapping[str, str]
    run_id: str


class ModelRegistry:
    """Reads and moves versions and aliases.

    Args:
        tracking_uri: `sqlite:///path/mlflow.db` (made where it is missing), or a server's URL.

    Raises:
        InputError: The URI is neither.
    """

    def __init__(self, tracking_uri: str) -> None:
        if "://" not in tracking_uri and not tracking_uri.startswith(SQLITE):
            raise InputError(
                "is no registry",
                where=tracking_uri or "tracking_uri",
                fix="give sqlite:///PATH/mlflow.db or a server's http:// address",
            )
        self.tracking_uri = tracking_uri
        if (database := self.database) is not None:
            database.parent.mkdir(parents=True, exist_ok=True)
        for name, value in CLIENT_ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        from mlflow import MlflowClient

        with self.errors():
            self.client: MlflowClient = MlflowClient(tracking_uri, tracking_uri)

    @property
    def database(self) -> Path | None:
        """The SQLite file; None behind a server."""
        return database_path(self.tracking_uri)

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turns the errors of MLflow, its database and its files into one line."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except MlflowException as error:
            what = str(error.message)
            if _NO_ANSWER in what:  # a page long: the request, and the library's own words of it
                what = "the registry does not answer"
            raise RegistryError(what, where=self.tracking_uri) from error
        except SQLAlchemyError as error:
            what = str(getattr(error, "orig", None) or error).splitlines()[0]
            raise RegistryError(what, where=self.tracking_uri) from error
        except OSError as error:
            raise InputError(
                f"cannot be written: {error.strerror or error}",
                where=self.tracking_uri,
                fix="make room, or give a registry that can be written",
            ) from error

    def experiment(self, name: str) -> str:
        """Returns the id of the experiment of that name, made where it is missing.

        On SQLite its files lie beside the database, not wherever the process happens to run.

        Raises:
            InputError: The server hands files through itself, so that nothing but an MLflow client
                could read a model from where it lies.
        """
        with self.errors():
            found = self.client.get_experiment_by_name(name)
            if found is None:
                place = None
                if self.database is not None:
                    place = (self.database.parent / ARTIFACT_FOLDER / name).as_uri()
                made = self.client.create_experiment(name, artifact_location=place)
                found = self.client.get_experiment(made)
        if found.artifact_location.startswith("mlflow-artifacts:"):
            raise InputError(
                "the registry's server proxies artifacts",
                where=self.tracking_uri,
                fix="start it with --no-serve-artifacts --default-artifact-root s3://…",
            )
        return str(found.experiment_id)

    def names(self) -> list[str]:
        """Names of the registered models, sorted."""
        with self.errors():
            return sorted(
                model.name for model in self.client.search_registered_models(max_results=1000)
            )

    def versions(self, name: str) -> list[RegisteredVersion]:
        """Returns a model's versions, newest first; none for an unknown name."""
        aliases: dict[str, list[str]] = {}
        for alias, version in self._aliases(name).items():
            aliases.setdefault(version, []).append(alias)
        with self.errors():
            found = self.client.search_model_versions(f"name='{_quotable(name)}'")
        rows = [_row(each, aliases.get(str(each.version), [])) for each in found]
        return sorted(rows, key=lambda row: -int(row.version))

    def with_alias(self, name: str, alias: str) -> RegisteredVersion | None:
        """Returns the version an alias stands on, or None."""
        return next((row for row in self.versions(name) if alias in row.aliases), None)

    def version(self, name: str, version: str) -> RegisteredVersion:
        """Returns a version by its number.

        Raises:
            InputError: There is none of that number.
        """
        found = next((row for row in self.versions(name) if row.version == version), None)
        if found is None:
            raise InputError(f"no version {version} of {name}", where=self.tracking_uri)
        return found

    def nominate(self, name: str, version: str) -> None:
        """Makes a version the candidate of a roll-out; nothing where it is champion already."""
        if self._aliases(name).get(CHAMPION) == version:
            return
        with self.errors():
            self.client.set_registered_model_alias(name, CANDIDATE, version)
        logger.info("%s: version %s is candidate", name, version)

    def promote(self, name: str, version: str) -> None:
        """Makes a version champion and the champion `previous`; nothing where it is champion.

        `previous` moves first: whoever is interrupted in between still has the old champion, and
        doing it again ends the same. A champion is no candidate any more.
        """
        aliases = self._aliases(name)
        champion = aliases.get(CHAMPION)
        with self.errors():
            if champion != version:
                if champion is not None:
                    self.client.set_registered_model_alias(name, PREVIOUS, champion)
                self.client.set_registered_model_alias(name, CHAMPION, version)
                logger.info("%s: version %s is champion, was %s", name, version, champion or "none")
            if aliases.get(CANDIDATE) == version:
                self.client.delete_registered_model_alias(name, CANDIDATE)

    def note(self, name: str, version: str, key: str, value: str) -> None:
        """Writes a tag of a version."""
        with self.errors():
            self.client.set_model_version_tag(name, version, key, value)

    def keep(self, version: RegisteredVersion, file: str, text: str) -> bool:
        """Keeps a text among a version's files, over what is there by that name. Never raises.

        Returns:
            Whether it is kept; not where the version has no run, or its store cannot be written.
        """
        if not version.run_id:
            return False
        try:
            self.client.log_text(version.run_id, text, file)
        except Exception as error:  # noqa: BLE001 - whatever the artifact store's client raises
            logger.warning("%s is not kept: %s: %s", file, type(error).__name__, error)
            return False
        return True

    def artifact(self, version: RegisteredVersion, path: str) -> str:
        """Returns the location of a file that was registered with a version.

        Raises:
            RegistryError: The version's run is gone.
        """
        with self.errors():
            run = self.client.get_run(version.run_id)
        return f"{plain_location(run.info.artifact_uri).rstrip('/')}/{path}"

    def _aliases(self, name: str) -> dict[str, str]:
        from mlflow.exceptions import MlflowException

        try:
            aliases = self.client.get_registered_model(name).aliases
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return {}
            raise RegistryError(str(error.message), where=self.tracking_uri) from error
        return {alias: str(version) for alias, version in aliases.items()}


def recorded(version: RegisteredVersion, tag: str) -> str:
    """Returns what a version stands on: what it was last stamped with, else registered with.

    Args:
        version: The version.
        tag: `graph`, `tickets` or `intents`.
    """
    return version.tags.get(f"{tag}{STAMP_SUFFIX}") or version.tags.get(tag, "")


def recorded_fingerprint(version: RegisteredVersion) -> str:
    """Returns the fingerprint of the policies a version stands on; empty where it had no graph."""
    return recorded(version, "graph")


def champion_location(tracking_uri: str, name: str) -> str | None:
    """Returns where the champion's model directory lies; None where there is no champion.

    Raises:
        RegistryError: The registry cannot be reached.
    """
    champion = find_champion(tracking_uri, name)
    return champion.location if champion else None


def find_champion(tracking_uri: str, name: str) -> RegisteredVersion | None:
    """Returns the champion; None where there is none, or its files are gone.

    A registry that does not exist yet has none, and is not made.

    Raises:
        RegistryError: The registry cannot be reached.
    """
    database = database_path(tracking_uri)
    if database is not None and not database.exists():
        return None
    champion = ModelRegistry(tracking_uri).with_alias(name, CHAMPION)
    if champion is None:
        return None
    if champion.location.startswith("/") and not Path(champion.location).is_dir():
        logger.warning("%s: the champion's files are gone from %s", name, champion.location)
        return None
    return champion


def database_path(tracking_uri: str) -> Path | None:
    """Returns the file behind a `sqlite:///` URI, absolute; None for any other URI."""
    if not tracking_uri.startswith(SQLITE):
        return None
    return Path(tracking_uri.removeprefix(SQLITE).split("?")[0]).absolute()


def plain_location(uri: str) -> str:
    """Returns a path for a `file:` URI and any other location as it is."""
    parts = urlsplit(uri)
    return unquote(parts.path) if parts.scheme == "file" else uri


def _row(version: ModelVersion, aliases: list[str]) -> RegisteredVersion:
    moment = datetime.fromtimestamp((version.creation_timestamp or 0) / 1000, UTC)
    return RegisteredVersion(
        name=version.name,
        version=str(version.version),
        location=plain_location(version.source or ""),
        created_at=moment.isoformat(timespec="seconds"),
        aliases=tuple(sorted(aliases)),
        tags=dict(version.tags),
        run_id=version.run_id or "",
    )


def _quotable(name: str) -> str:
    if "'" in name:
        raise InputError("a model's name holds no quotes", where=name)
    return name

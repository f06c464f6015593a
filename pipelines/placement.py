"""Where and with what the stages run: a profile is a YAML file, applied in one pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from components.image import IMAGE_VARIABLE
from kg_schema.errors import InputError

if TYPE_CHECKING:
    from kfp import dsl

RETRY_FACTOR = 2.0
LONGEST_RETRY = 10
"""Times `retry_after_s` that a further attempt waits at most."""


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Toleration(_Strict):
    """A taint that a stage's pod may live with (Kubernetes' own words)."""

    key: str
    operator: str = "Equal"
    value: str = ""
    effect: str = "NoSchedule"


class Resources(_Strict):
    """What one stage's pod gets.

    Attributes:
        cpu: Cores, the limit, and what is requested unless `cpu_request` says less.
        cpu_request: Cores requested where stages share a node's; empty requests the limit.
        memory: Bytes in Kubernetes' notation, requested and the limit.
        gpus: Whole accelerators of `gpu_type`.
        gpu_type: The accelerator's resource name.
        retries: Further attempts after a failure.
        retry_after_s: Seconds before the first of them, twice as many before each later one: what
            was away for a moment, an object store or an API server, shall be back.
        timeout_s: Seconds after which the pod is ended; 0 for none.
        node_selector: Labels that the node must carry.
        tolerations: Taints that the pod tolerates.
    """

    cpu: str = "1"
    cpu_request: str = ""
    memory: str = "2Gi"
    gpus: int = 0
    gpu_type: str = "nvidia.com/gpu"
    retries: int = 0
    retry_after_s: int = 30
    timeout_s: int = 0
    node_selector: dict[str, str] = {}
    tolerations: tuple[Toleration, ...] = ()


class Secret(_Strict):
    """A Kubernetes secret whose keys become environment variables.

    Attributes:
        keys: Environment variable's name by the secret's key.
        stages: Stages that get it.
    """

    keys: dict[str, str]
    stages: tuple[str, ...]


class Profile(_Strict):
    """A recipe: the pipeline's defaults, the stages' settings, and where they run.

    Attributes:
        name: The file's name.
        description: One sentence for a reader.
        image: The image the stages run in; empty takes the built one (see pipelines.images).
        parameters: Defaults of the pipeline's parameters, by name.
        settings: Settings by stage; see each stage's settings dataclass.
        placement: Resources by stage; `default` for those not named. None on a laptop.
        secrets: Secrets by name.
        environment: Plain variables of every stage.
        expected_seconds: Rough duration by step on the samples, for the first time left shown.
    """

    name: str
    description: str
    image: str = ""
    parameters: dict[str, Any] = {}
    settings: dict[str, dict[str, Any]] = {}
    placement: dict[str, Resources] = {}
    secrets: dict[str, Secret] = {}
    environment: dict[str, str] = {}
    expected_seconds: Annotated[dict[str, float], Field(default_factory=dict)]

    def parameter(self, name: str, default: Any = "") -> Any:
        """Returns the profile's default of a pipeline parameter."""
        return self.parameters.get(name, default)

    def resources(self, stage: str) -> Resources | None:
        """Returns what a stage's pod gets; None where the profile places nothing."""
        return self.placement.get(stage) or self.placement.get("default")

    def ignored_locally(self) -> list[str]:
        """Names the settings that a run without Kubernetes has no use for."""
        return [
            word
            for word, given in (
                ("image", self.image),
                ("placement", self.placement),
                ("secrets", self.secrets),
            )
            if given
        ]


def profile_names() -> list[str]:
    """Names of the profiles that come with the package."""
    folder = resources.files("pipelines") / "profiles"
    return sorted(Path(entry.name).stem for entry in folder.iterdir())


def load_profile(name: str) -> Profile:
    """Reads a profile by name, or from a YAML file of one's own.

    Args:
        name: `local`, `gpu`, `cluster`, or a path that ends in .yaml.

    Raises:
        InputError: No such profile, or one that does not fit.
    """
    folder = Path(str(resources.files("pipelines"))) / "profiles"
    path = Path(name) if name.endswith((".yaml", ".yml")) else folder / f"{name}.yaml"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"no profile {name!r}", fix=f"use one of {', '.join(profile_names())}, or a YAML file"
        ) from None
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise InputError(f"not YAML: {error}", where=str(path)) from error
    try:
        return Profile.model_validate({"name": path.stem, **(content or {})})
    except (ValidationError, TypeError) as error:
        raise InputError(f"not a profile: {error}", where=str(path)) from error


@dataclass
class Placed:
    """The tasks of a DAG by stage, collected while it is built.

    Args:
        profile: What they are placed by.
        tasks: Tasks by stage, in the order they were added.
    """

    profile: Profile
    tasks: dict[str, list[dsl.PipelineTask]] = field(default_factory=dict)

    def add(self, stage: str, task: dsl.PipelineTask) -> dsl.PipelineTask:
        """Notes a task of a stage and hands it back."""
        self.tasks.setdefault(stage, []).append(task)
        return task

    def settings(self, stage: str) -> dict[str, Any]:
        """Returns the profile's settings of a stage."""
        return self.profile.settings.get(stage, {})

    def apply(self) -> None:
        """Gives every task its resources, image, secrets and environment: the one pass."""
        for stage, tasks in self.tasks.items():
            for task in tasks:
                self._configure(stage, task)

    def _configure(self, stage: str, task: dsl.PipelineTask) -> None:
        from kfp import kubernetes

        if self.profile.image:
            task.set_container_image(self.profile.image)
            # For the ranks of a TrainJob, so that they run the code of the step that starts them.
            task.set_env_variable(IMAGE_VARIABLE, self.profile.image)
        for name, value in self.profile.environment.items():
            task.set_env_variable(name, value)
        for secret, entry in self.profile.secrets.items():
            if stage in entry.stages:
                kubernetes.use_secret_as_env(task, secret, dict(entry.keys))
        if (given := self.profile.resources(stage)) is not None:
            _place(task, given)


def _place(task: dsl.PipelineTask, given: Resources) -> None:
    from kfp import kubernetes

    task.set_cpu_request(given.cpu_request or given.cpu).set_cpu_limit(given.cpu)
    task.set_memory_request(given.memory).set_memory_limit(given.memory)
    if given.gpus:
        task.set_accelerator_type(given.gpu_type).set_accelerator_limit(given.gpus)
    if given.retries:
        task.set_retry(
            given.retries,
            backoff_duration=f"{given.retry_after_s}s",
            backoff_factor=RETRY_FACTOR,
            backoff_max_duration=f"{given.retry_after_s * LONGEST_RETRY}s",
        )
    if given.timeout_s:
        kubernetes.set_timeout(task, given.timeout_s)
    for key, value in given.node_selector.items():
        kubernetes.add_node_selector(task, key, value)
    for toleration in given.tolerations:
        kubernetes.add_toleration(task, **_filled(toleration.model_dump()))


def _filled(values: Mapping[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if value}

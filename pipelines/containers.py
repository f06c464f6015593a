"""buildah, podman or docker: whichever is here, one way to build, look up and push an image."""

from __future__ import annotations

import json
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from kg_schema.errors import DeskGraphError, InputError

PROGRAMS = ("buildah", "podman", "docker")


@dataclass(frozen=True)
class Engine:
    """A program that builds images.

    Args:
        program: One of `PROGRAMS`.
        build_options: Further options of `build`, where a machine needs them.
        push_options: Further options of `push`.
    """

    program: str
    build_options: tuple[str, ...] = ()
    push_options: tuple[str, ...] = ()

    def size(self, reference: str) -> int | None:
        """Returns an image's bytes, unpacked; None where it is not here."""
        done = self._ask("inspect", "--type", "image", reference)
        if done.returncode:
            return None
        told = json.loads(done.stdout)
        if self.program == "buildah":
            manifest = json.loads(told["Manifest"])
            return sum(int(layer["size"]) for layer in manifest["layers"])
        return int(told[0]["Size"])

    def build(
        self, context: Path, containerfile: Path, reference: str, values: Mapping[str, str]
    ) -> None:
        """Builds an image; what the build says goes to standard error.

        Args:
            context: The folder that COPY reads.
            containerfile: The recipe.
            reference: What the image is called.
            values: Build arguments by name.

        Raises:
            DeskGraphError: The build failed.
        """
        given = [f"--build-arg={name}={value}" for name, value in values.items()]
        # buildah keeps no layers unless it is told to; the others do.
        layers = ["--layers"] if self.program == "buildah" else []
        self._do(
            "build", *layers, *given, *self.build_options, "--tag", reference,
            "--file", str(containerfile), str(context),
            what=f"{self.program} could not build {reference}",
        )  # fmt: skip

    def push(self, reference: str) -> str:
        """Pushes an image to the registry in its name.

        Returns:
            The digest under which the registry has it, `sha256:…`.

        Raises:
            DeskGraphError: The registry cannot be reached or refuses.
        """
        what = f"{self.program} could not push {reference}"
        if self.program == "docker":
            self._do("push", *self.push_options, reference, what=what)
            told = json.loads(self._ask("inspect", "--type", "image", reference).stdout)
            repository = reference.rpartition(":")[0]
            known = (str(each) for each in told[0]["RepoDigests"])
            return next(d for d in known if d.startswith(f"{repository}@")).partition("@")[2]
        with tempfile.TemporaryDirectory() as folder:
            digest = Path(folder) / "digest"
            self._do(
                "push", *self.push_options, "--digestfile", str(digest), reference, what=what
            )  # fmt: skip
            return digest.read_text(encoding="utf-8").strip()

    def _ask(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([self.program, *arguments], capture_output=True, text=True)

    def _do(self, *arguments: str, what: str) -> None:
        # The command's own standard output holds its result alone.
        done = subprocess.run([self.program, *arguments], stdout=2)
        if done.returncode:
            raise DeskGraphError(what, fix="what it said stands above")


def find_engine(build_options: Sequence[str] = (), push_options: Sequence[str] = ()) -> Engine:
    """Finds the first of buildah, podman and docker that works here.

    Raises:
        InputError: None is here, or docker's daemon does not answer.
    """
    here = [program for program in PROGRAMS if shutil.which(program)]
    if not here:
        raise InputError(
            "nothing here builds container images", fix="install buildah, podman or docker"
        )
    engine = Engine(here[0], tuple(build_options), tuple(push_options))
    if engine.program == "docker" and engine._ask("version").returncode:
        raise InputError(
            "docker is here, but its daemon does not answer",
            fix="start it, or install buildah or podman",
        )
    return engine

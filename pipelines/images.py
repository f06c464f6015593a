"""The container images: a tag that is their content, a record of builds, and which one is named."""

from __future__ import annotations

import configparser
import hashlib
import logging
import os
import re
import shutil
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from kg_schema.errors import InputError
from pipelines.placement import Profile, load_profile
from serving.manifest import file_sha256

if TYPE_CHECKING:
    from pipelines.containers import Engine

KINDS = ("train", "serve")
RECORD = Path("out/images.json")
RECIPES = Path("manifests/images")
ROOT = Path(__file__).resolve().parent.parent
# The oldest time that a wheel can hold; one time for all files gives one layer for one content.
TIMESTAMP = 315532800

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Base:
    """What an image stands on.

    Args:
        image: Its name; empty for the recipe's own.
        digest: Its digest, `sha256:…`; empty takes what the name means where it is built.
    """

    image: str = ""
    digest: str = ""

    def arguments(self) -> dict[str, str]:
        """Returns the build arguments that say so."""
        given = {"BASE_IMAGE": self.image, "BASE_DIGEST": self.digest}
        return {name: value for name, value in given.items() if value}


class BuiltImage(BaseModel):
    """What is known of an image that was built.

    Attributes:
        reference: Its name with the content tag.
        digest: The registry's `sha256:…`; empty where it was pushed nowhere.
        size_bytes: Its layers, unpacked.
        base_image: See `Base`.
        base_digest: See `Base`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    reference: str
    digest: str = ""
    size_bytes: int
    base_image: str = ""
    base_digest: str = ""

    @property
    def tag(self) -> str:
        """The content tag."""
        return self.reference.rpartition(":")[2]

    @property
    def named(self) -> str:
        """How a pod names it: by digest where there is one."""
        if not self.digest:
            return self.reference
        return f"{self.reference.rpartition(':')[0]}@{self.digest}"


_RECORDS = TypeAdapter(dict[str, BuiltImage])


def instructions(containerfile: str) -> list[tuple[str, str]]:
    """Splits a recipe into instructions and their arguments, lines joined and comments left out."""
    lines = [line for line in containerfile.splitlines() if not line.lstrip().startswith("#")]
    whole = "\n".join(lines).replace("\\\n", " ")
    split = (line.strip().partition(" ") for line in whole.splitlines() if line.strip())
    return [(word.upper(), rest.strip()) for word, _, rest in split]


def content_tag(kind: str, base: Base | None = None, root: Path = ROOT) -> str:
    """Names an image by what goes into it: its recipe, all that the recipe copies, and the base.

    Args:
        kind: One of `KINDS`.
        base: What it stands on; the recipe's own by default.
        root: The project's folder.

    Returns:
        `sha-` and 12 hexadecimal characters; the same for the same content, whenever and
        wherever it was written.

    Raises:
        InputError: No such image, or no checkout of the project here.
    """
    base = base or Base()
    lines = [f"{name}={value}" for name, value in base.arguments().items()]
    lines += [f"{path.as_posix()}\t{file_sha256(root / path)}" for path in _inputs(kind, root)]
    content = "\n".join(lines)
    return f"sha-{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def _recipe(kind: str) -> Path:
    return RECIPES / f"{kind}.Containerfile"


def _inputs(kind: str, root: Path) -> list[Path]:
    """The recipe and every file that it copies from the project, relative to the root."""
    if kind not in KINDS:
        raise InputError(f"no image {kind!r}", fix=f"use one of {', '.join(KINDS)}")
    recipe = root / _recipe(kind)
    if not recipe.is_file():
        raise InputError(
            "no recipe: this is an installed package, not a checkout of the project",
            where=str(recipe),
            fix="name the image (--image), or give a build's record (--images)",
        )
    sources = []
    for word, rest in instructions(recipe.read_text(encoding="utf-8")):
        if word == "COPY" and "--from=" not in rest:
            sources += [part for part in rest.split() if not part.startswith("--")][:-1]
    return sorted({_recipe(kind), *(file for name in sources for file in _files(name, root))})


def _files(name: str, root: Path) -> Iterable[Path]:
    path = root / name
    if path.is_file():
        return [Path(name)]
    return (
        file.relative_to(root)
        for file in path.rglob("*")
        if file.is_file() and "__pycache__" not in file.parts
    )


def _stage(kind: str, root: Path, folder: Path) -> None:
    """Copies what goes in to a folder of its own, so that the tag tells of all the build sees."""
    for path in _inputs(kind, root):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(root / path, target)
        target.chmod(0o644)
        os.utime(target, (TIMESTAMP, TIMESTAMP))


def build_images(
    kinds: Sequence[str],
    engine: Engine,
    *,
    registry: str = "",
    base: Base | None = None,
    record: Path = RECORD,
    root: Path = ROOT,
) -> dict[str, BuiltImage]:
    """Builds the images that are not there yet, pushes them where a registry is named.

    Args:
        kinds: Some of `KINDS`.
        engine: What builds.
        registry: Host and path before the images' names; empty pushes nothing.
        base: What they stand on; the recipes' own by default.
        record: The file that says what was built; other kinds in it stay.
        root: The project's folder.

    Returns:
        What the record then holds, by kind.

    Raises:
        InputError: No such image, or a file that is no record.
        DeskGraphError: A build or a push failed; the record tells of what was done before.
    """
    base = base or Base()
    known = read_record(record) if record.exists() else {}
    for kind in kinds:
        tag = content_tag(kind, base, root)
        reference = "/".join(filter(None, (registry.rstrip("/"), "deskgraph", f"{kind}:{tag}")))
        size = engine.size(reference)
        if size is None:
            with tempfile.TemporaryDirectory() as folder:
                context = Path(folder)
                _stage(kind, root, context)
                values = {**base.arguments(), "VERSION": _version(root), "SOURCE": tag}
                engine.build(context, context / _recipe(kind), reference, values)
            size = engine.size(reference)
        known[kind] = BuiltImage(
            reference=reference,
            digest=engine.push(reference) if registry else "",
            size_bytes=size or 0,
            base_image=base.image,
            base_digest=base.digest,
        )
        record.parent.mkdir(parents=True, exist_ok=True)
        record.write_bytes(_RECORDS.dump_json(known, indent=2) + b"\n")
    return known


def _version(root: Path) -> str:
    metadata = configparser.ConfigParser(interpolation=None)
    metadata.read(root / "setup.cfg", encoding="utf-8")
    return metadata["metadata"]["version"]


def read_record(path: Path) -> dict[str, BuiltImage]:
    """Reads what `build_images` wrote: images by kind.

    Raises:
        InputError: There is no such file, or it is no record.
    """
    try:
        return _RECORDS.validate_json(path.read_bytes())
    except FileNotFoundError:
        raise InputError("no record of images", where=str(path), fix="run make images") from None
    except (ValidationError, OSError) as error:
        reason = re.sub(r"\s+", " ", str(error))
        raise InputError(f"not a record of images: {reason}", where=str(path)) from error


def image_of(kind: str, record: Path | None = None, root: Path = ROOT) -> str:
    """Names an image for a pod: by digest where it was pushed, else by its content tag.

    Args:
        kind: One of `KINDS`.
        record: A build's record, believed as it is, so that a package can name a release's
            images. By default `RECORD`, where it tells of this tree.
        root: The project's folder.

    Raises:
        InputError: A record was given and lacks the image, or nothing here tells its name.
    """
    if record is not None:
        built = read_record(record).get(kind)
        if built is None:
            raise InputError(f"holds no image {kind!r}", where=str(record))
        return built.named
    built = read_record(RECORD).get(kind) if RECORD.exists() else None
    base = Base(built.base_image, built.base_digest) if built else Base()
    tag = content_tag(kind, base, root)
    if built and built.tag == tag:
        return built.named
    if built:
        logger.warning("%s is of other code than this tree's; make images builds it", RECORD)
    return f"deskgraph/{kind}:{tag}"


def profile_with_image(name: str, *, image: str = "", record: Path | None = None) -> Profile:
    """Reads a profile and says which image its stages run in.

    The first of these that is given holds: `image`, `record`, the profile's own; else `image_of`.

    Args:
        name: See `pipelines.placement.load_profile`.
        image: The image's name.
        record: See `image_of`.

    Raises:
        InputError: No such profile, or nothing tells the image's name.
    """
    profile = load_profile(name)
    own = "" if record else profile.image
    chosen = image or own or image_of("train", record)
    return profile.model_copy(update={"image": chosen})

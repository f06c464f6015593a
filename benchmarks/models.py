"""The models of the compression table: trained, compressed and exported, one seed after another."""

from __future__ import annotations

import hashlib
import json
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.recipes import Recipe
from components.base_model import find_base
from components.distill.distilling import cut_student, distill_model
from components.export.exporting import export_model
from components.finetune.finetuning import finetune_model
from components.model_dir import read_model_manifest
from components.prune.pruning import prune_model
from components.shards import read_manifest
from components.slicing.scorers import SCORERS, ScoreKind
from components.training.checkpoint import content_digest
from kg_schema.progress import format_duration
from serving.manifest import ManifestError, content_sha256

ROWS = ("teacher", "pruned", "distilled", "winner", "scratch")
DIGITS = 12


@dataclass(frozen=True)
class Workbench:
    """Where the models of one seed are made; what is whole there is not made again.

    Args:
        folder: Of this seed.
        shards: Location of the shards.
        base_model: What the teacher is made from.
        recipe: How.
        keys: Digest of what each model depends on, by its name (`model_keys`).
        narrows: Whether the pruning scores are compared here; one seed is enough to see that they
            differ, and four prunings a seed would take a quarter of the time.
    """

    folder: Path
    shards: str
    base_model: str
    recipe: Recipe
    keys: Mapping[str, str]
    narrows: bool

    def trained(self, name: str) -> Path:
        """Returns where a model is."""
        return self.folder / f"{name}-{self.keys[name]}"

    def served(self, name: str) -> Path:
        """Returns where its export is."""
        return self.trained(f"{name}-served")

    def narrowed(self, score: str) -> Path:
        """Returns where the model is whose parts were chosen by a score."""
        return self.trained(f"narrowed-{score}")

    def steps(self) -> Iterator[tuple[str, Path, Callable[[Path], object]]]:
        """Yields what is to be made, in order: its name, where it goes, and what makes it."""
        makers: dict[str, Callable[[Path], object]] = {
            "teacher": self._teacher,
            "pruned": self._pruned,
            "distilled": self._distilled,
            "winner-start": self._start,
            "winner": self._winner,
            "scratch-start": self._scratch_start,
            "scratch": self._scratch,
        }
        for name, make in makers.items():
            yield name, self.trained(name), make
        for name in ROWS:
            yield f"export of {name}", self.served(name), self._exporter(name)
        for score in SCORERS if self.narrows else ():
            yield f"narrowed by {score}", self.narrowed(score), self._narrower(score)

    def _teacher(self, out: Path) -> None:
        checkpoints = self._checkpoints("teacher")
        finetune_model(self.shards, self.base_model, str(out), self.recipe.teacher, checkpoints)

    def _pruned(self, out: Path) -> None:
        checkpoints = self._checkpoints("pruned")
        settings = replace(self.recipe.pruned, teacher_cache=self._cache)
        prune_model(self._said, self.shards, str(out), settings, checkpoints)

    def _distilled(self, out: Path) -> None:
        checkpoints = self._checkpoints("distilled")
        settings = replace(self.recipe.distilled, teacher_cache=self._cache)
        distill_model(self._said, self.shards, str(out), settings, checkpoints)

    def _start(self, out: Path) -> None:
        prune_model(self._said, self.shards, str(out), self.recipe.start, self._checkpoints("s"))

    def _winner(self, out: Path) -> None:
        start, checkpoints = str(self.trained("winner-start")), self._checkpoints("winner")
        settings = replace(self.recipe.winner, teacher_cache=self._cache)
        distill_model(self._said, self.shards, str(out), settings, checkpoints, start)

    def _scratch_start(self, out: Path) -> None:
        cut_student(self._said, self.shards, str(out), self.recipe.distilled)

    def _scratch(self, out: Path) -> None:
        start, checkpoints = str(self.trained("scratch-start")), self._checkpoints("scratch")
        finetune_model(self.shards, start, str(out), self.recipe.scratch, checkpoints)

    def _exporter(self, name: str) -> Callable[[Path], object]:
        return lambda out: export_model(
            str(self.trained(name)), self.shards, str(out), self.recipe.export
        )

    def _narrower(self, score: ScoreKind) -> Callable[[Path], object]:
        settings = replace(self.recipe.narrowed, score=score, teacher_cache=self._cache)
        checkpoints = self._checkpoints(f"narrowed-{score}")
        return lambda out: prune_model(self._said, self.shards, str(out), settings, checkpoints)

    @property
    def _said(self) -> str:
        return str(self.trained("teacher"))

    @property
    def _cache(self) -> str:
        """What the teacher says of the train split serves every student."""
        return self._checkpoints("teacher-outputs")

    def _checkpoints(self, name: str) -> str:
        return str(self.folder / "checkpoints" / name)


def model_keys(recipe: Recipe, sources: Sequence[str]) -> dict[str, str]:
    """Returns a digest for each model: of its own settings, and of all that it is made from.

    Args:
        recipe: The settings.
        sources: Digests of the data and of the base model.
    """
    own = recipe.distilled
    teacher = _digest(*sources, asdict(recipe.teacher))
    start = _digest(teacher, asdict(recipe.start))
    # Of these settings alone a student is cut; how it is taught is not among them.
    cut = _digest(teacher, asdict(own.size), own.vocabulary, own.max_length, own.seed)
    keys = {
        "teacher": teacher,
        "pruned": _digest(teacher, asdict(recipe.pruned)),
        "distilled": _digest(teacher, asdict(own)),
        "winner-start": start,
        "winner": _digest(start, asdict(recipe.winner)),
        "scratch-start": cut,
        "scratch": _digest(cut, asdict(recipe.scratch)),
    }
    exports = {f"{name}-served": _digest(keys[name], asdict(recipe.export)) for name in ROWS}
    narrowed = _digest(teacher, asdict(recipe.narrowed))
    return {**keys, **exports, **{f"narrowed-{score}": narrowed for score in SCORERS}}


def _digest(*parts: object) -> str:
    content = json.dumps(parts, sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:DIGITS]


def workbenches(
    work: Path, shards: Path, base_model: str, recipes: Mapping[int, Recipe]
) -> list[Workbench]:
    """Returns the workbench of each seed.

    Args:
        work: Where all of them are.
        shards: A shards directory.
        base_model: What the teachers are made from.
        recipes: By seed; the pruning scores are compared on the first.
    """
    sources = [content_sha256(read_manifest(shards)), content_digest(find_base(base_model))]
    return [
        Workbench(
            folder=work / f"seed-{seed}",
            shards=str(shards),
            base_model=base_model,
            recipe=recipe,
            keys=model_keys(recipe, sources),
            narrows=at == 0,
        )
        for at, (seed, recipe) in enumerate(recipes.items())
    ]


def make_all(benches: Sequence[Workbench]) -> None:
    """Makes what is not there yet, and says on standard error how it comes along."""
    steps = [(bench, *step) for bench in benches for step in bench.steps()]
    took: dict[str, float] = {}
    for done, (bench, name, out, make) in enumerate(steps, start=1):
        what = f"[{done:2d}/{len(steps)}] {bench.folder.name}: {name}"
        if _is_whole(out):
            _say(f"{what} is there")
            continue
        _say(f"{what} …")
        begun = time.monotonic()
        make(out)
        took[name] = time.monotonic() - begun
        left = _expected([step[1] for step in steps[done:]], took)
        _say(f"{what} done in {format_duration(took[name])} | about {format_duration(left)} left")
    for bench in benches:
        shutil.rmtree(bench.folder / "checkpoints", ignore_errors=True)


def _expected(names: Sequence[str], took: Mapping[str, float]) -> float:
    """Returns the seconds that steps will take: as long as their like did, else the mean."""
    mean = sum(took.values()) / len(took)
    return sum(took.get(name, mean) for name in names)


def _is_whole(directory: Path) -> bool:
    try:
        read_model_manifest(directory)
    except ManifestError:
        return False
    return True


def _say(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()

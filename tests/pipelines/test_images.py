"""An image's tag is its content, one that is there is not built again, and packages name it."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from kg_schema.errors import DeskGraphError, InputError
from pipelines import images
from pipelines.cli import build_parser, main
from pipelines.containers import Engine, find_engine
from pipelines.images import (
    KINDS,
    RECORD,
    ROOT,
    Base,
    BuiltImage,
    build_images,
    content_tag,
    image_of,
    profile_with_image,
    read_record,
)

DIGEST = "sha256:" + "1" * 64
RECIPE = """\
ARG BASE_IMAGE=scratch
FROM ${BASE_IMAGE} AS builder
COPY lock.txt /lock.txt
COPY code /code
FROM ${BASE_IMAGE}
COPY --from=builder /code /code
ARG VERSION
ARG SOURCE
LABEL version=${VERSION} source=${SOURCE}
USER 65532
"""


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A project with two images of a few bytes."""
    root = tmp_path / "tree"
    for kind in KINDS:
        write(root / f"manifests/images/{kind}.Containerfile", RECIPE)
    write(root / "setup.cfg", "[metadata]\nversion = 1.2.3\n")
    write(root / "lock.txt", "a==1\n")
    write(root / "code/a.py", "a = 1\n")
    write(root / "code/deep/b.yaml", "b: 1\n")
    write(root / "docs/read.md", "words\n")
    return root


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def remove(root: Path) -> None:
    (root / "code/a.py").unlink()


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write(root / "code/a.py", "a = 2\n"),
        lambda root: write(root / "code/deep/b.yaml", "b: 2\n"),
        lambda root: write(root / "code/deep/new.py", ""),
        lambda root: (root / "code/a.py").rename(root / "code/z.py"),
        remove,
        lambda root: write(root / "lock.txt", "a==2\n"),
        lambda root: write(root / "manifests/images/serve.Containerfile", RECIPE + "USER 7\n"),
    ],
)
def test_what_goes_in_changes_the_tag(tree: Path, change: Callable[[Path], None]) -> None:
    before = content_tag("serve", root=tree)
    change(tree)
    assert content_tag("serve", root=tree) != before


@pytest.mark.parametrize(
    "change",
    [
        lambda root: os.utime(root / "code/a.py", (1, 1)),
        lambda root: (root / "code/a.py").chmod(0o600),
        lambda root: write(root / "docs/read.md", "other words\n"),
        lambda root: write(root / "code/__pycache__/a.cpython-311.pyc", "x"),
        lambda root: write(root / "out/images.json", "{}"),
        lambda root: write(root / "manifests/images/train.Containerfile", RECIPE + "USER 7\n"),
    ],
)
def test_what_stays_out_does_not(tree: Path, change: Callable[[Path], None]) -> None:
    before = content_tag("serve", root=tree)
    change(tree)
    assert content_tag("serve", root=tree) == before


def test_the_tag_tells_of_the_base(tree: Path) -> None:
    bases = [None, Base("debian:12"), Base("debian:13"), Base("debian:12", DIGEST)]
    assert len({content_tag("serve", base, tree) for base in bases}) == len(bases)


def test_the_projects_own_tags_tell_of_the_code_and_its_lock(tmp_path: Path) -> None:
    root = tmp_path / "copy"
    for name in ("kg_schema", "serving", "components", "pipelines", "benchmarks", "samples"):
        shutil.copytree(ROOT / name, root / name)
    for name in ("setup.cfg", "pyproject.toml", "LICENSE"):
        shutil.copy(ROOT / name, root / name)
    shutil.copytree(ROOT / images.RECIPES, root / images.RECIPES)
    tags = {kind: content_tag(kind) for kind in KINDS}
    assert {kind: content_tag(kind, root=root) for kind in KINDS} == tags
    assert len(set(tags.values())) == len(KINDS)
    lock = root / images.RECIPES / "requirements-serve.txt"
    write(lock, lock.read_text(encoding="utf-8") + "extra==1\n")
    assert content_tag("serve", root=root) != tags["serve"]
    assert content_tag("train", root=root) == tags["train"]
    write(root / "kg_schema/ontology.yaml", "nodes: {}\n")
    assert content_tag("train", root=root) != tags["train"]


# Refuses what a real one refuses; stands in where none is installed.
STAND_IN = """\
#!{python}
import argparse, hashlib, json, pathlib, sys
store = pathlib.Path({store!r})
known = json.loads(store.read_text()) if store.exists() else {{}}
top = argparse.ArgumentParser(allow_abbrev=False)
verbs = top.add_subparsers(dest="verb", required=True)
inspect = verbs.add_parser("inspect")
inspect.add_argument("--type", choices=["image", "container"])
build = verbs.add_parser("build", allow_abbrev=False)
build.add_argument("--layers", action="store_true")
build.add_argument("--build-arg", action="append")
build.add_argument("--isolation", choices=["chroot", "oci", "rootless"])
build.add_argument("--tag", required=True)
build.add_argument("--file", required=True, type=pathlib.Path)
push = verbs.add_parser("push", allow_abbrev=False)
push.add_argument("--digestfile", type=pathlib.Path)
push.add_argument("--tls-verify", choices=["true", "false"])
for verb in (inspect, build, push):
    verb.add_argument("name")
given = top.parse_args()
if given.verb == "build":
    context = pathlib.Path(given.name)
    content = given.file.read_text()
    for line in content.splitlines():
        word, *rest = line.split()
        if word not in ("ARG", "FROM", "COPY", "LABEL", "USER"):
            sys.exit(f"Error: unknown instruction: {{word}}")
        if word == "COPY" and not rest[0].startswith("--from"):
            if not (context / rest[0]).exists():
                sys.exit(f"Error: no items matching {{rest[0]!r}}")
    known[given.tag] = {{"size": 10, "args": sorted(given.build_arg), "text": content}}
    store.write_text(json.dumps(known))
    print("STEP 1")
elif given.name not in known:
    print(f"Error: {{given.name}}: image not known", file=sys.stderr)
    sys.exit(125)
elif given.verb == "inspect":
    print(json.dumps({{"Manifest": json.dumps({{"layers": [{{"size": 10}}, {{"size": 5}}]}})}}))
elif given.name.count("/") < 2:
    sys.exit("Error: requested access to the resource is denied")
else:
    given.digestfile.write_text("sha256:" + hashlib.sha256(given.name.encode()).hexdigest())
"""


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A buildah of a few lines on the path; returns the file where it keeps its images."""
    store = tmp_path / "store.json"
    program = tmp_path / "bin" / "buildah"
    write(program, STAND_IN.format(python=sys.executable, store=str(store)))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
    return store


def test_an_image_is_built_once_and_recorded(tree: Path, tmp_path: Path, stand_in: Path) -> None:
    record = tmp_path / "out/images.json"
    made = build_images(KINDS, find_engine(), record=record, root=tree)
    tag = content_tag("serve", root=tree)
    assert made["serve"] == BuiltImage(reference=f"deskgraph/serve:{tag}", size_bytes=15)
    assert read_record(record) == made
    kept = json.loads(stand_in.read_text())
    assert kept[f"deskgraph/serve:{tag}"]["args"] == [f"SOURCE={tag}", "VERSION=1.2.3"]
    # Were it built again, the recipe that is no recipe would stop it.
    kept[f"deskgraph/serve:{tag}"]["text"] = "built before"
    stand_in.write_text(json.dumps(kept))
    assert build_images(["serve"], find_engine(), record=record, root=tree) == made
    assert json.loads(stand_in.read_text()) == kept


def test_a_pushed_image_is_known_by_its_digest(tree: Path, tmp_path: Path, stand_in: Path) -> None:
    record = tmp_path / "images.json"
    engine = find_engine(["--isolation", "chroot"], ["--tls-verify=false"])
    base = Base("debian:12", DIGEST)
    options = {"registry": "registry.example/desk/", "base": base, "record": record, "root": tree}
    made = build_images(["train"], engine, **options)["train"]
    assert (
        made.reference
        == f"registry.example/desk/deskgraph/train:{content_tag('train', base, tree)}"
    )
    assert made.named == f"registry.example/desk/deskgraph/train@{made.digest}"
    assert (made.base_image, made.base_digest) == ("debian:12", DIGEST)
    arguments = json.loads(stand_in.read_text())[made.reference]["args"]
    assert {"BASE_IMAGE=debian:12", f"BASE_DIGEST={DIGEST}"} <= set(arguments)


def test_a_build_that_fails_keeps_what_was_recorded(
    tree: Path, tmp_path: Path, stand_in: Path
) -> None:
    record = tmp_path / "images.json"
    before = build_images(["train"], find_engine(), record=record, root=tree)
    write(tree / "manifests/images/serve.Containerfile", "FORM scratch\n")
    with pytest.raises(DeskGraphError, match="buildah could not build deskgraph/serve:sha-"):
        build_images(["serve"], find_engine(), record=record, root=tree)
    assert read_record(record) == before


def test_a_registry_that_refuses_is_one_line(tree: Path, tmp_path: Path, stand_in: Path) -> None:
    # One word is a repository of somebody else's on the default registry.
    engine = Engine("buildah")
    build_images(["serve"], engine, record=tmp_path / "r.json", root=tree)
    with pytest.raises(DeskGraphError, match="could not push") as error:
        engine.push(f"deskgraph/serve:{content_tag('serve', root=tree)}")
    assert "\n" not in str(error.value)


def own_storage(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = f"""
    [storage]
    driver = "vfs"
    graphroot = "{folder}/graph"
    runroot = "{folder}/run"
    """
    write(folder / "storage.conf", textwrap.dedent(lines))
    monkeypatch.setenv("CONTAINERS_STORAGE_CONF", str(folder / "storage.conf"))


@pytest.mark.parametrize("program", ["buildah", "podman"])
def test_a_real_engine_builds_what_the_tag_says(
    program: str, tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")
    own_storage(tmp_path / "storage", monkeypatch)
    record = tmp_path / "images.json"
    engine = Engine(program, ("--isolation", "chroot"))
    made = build_images(["serve"], engine, record=record, root=tree)["serve"]
    assert 0 < made.size_bytes < 100_000
    told = subprocess.run(
        [program, "inspect", "--type", "image", made.reference], capture_output=True, check=True
    )
    assert f'"{made.tag}"' in told.stdout.decode()
    identity = told.stdout
    build_images(["serve"], engine, record=record, root=tree)
    again = subprocess.run(
        [program, "inspect", "--type", "image", made.reference], capture_output=True, check=True
    )
    assert again.stdout == identity
    write(tree / "manifests/images/serve.Containerfile", "FORM scratch\n")
    with pytest.raises(DeskGraphError, match=f"{program} could not build"):
        build_images(["serve"], engine, record=record, root=tree)


def test_without_an_engine_one_line_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert main(["images", "build"]) == 2
    said = capsys.readouterr().err
    assert "install buildah, podman or docker" in said
    assert said.count("\n") == 1


def test_a_docker_without_its_daemon_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program = tmp_path / "docker"
    write(program, "#!/bin/sh\necho Cannot connect to the Docker daemon >&2\nexit 1\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="daemon does not answer"):
        find_engine()


@pytest.fixture
def empty(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with no record of images."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def built(tag: str, digest: str = "", kind: str = "train") -> str:
    entry = {"reference": f"reg.example/deskgraph/{kind}:{tag}", "digest": digest, "size_bytes": 1}
    return json.dumps({kind: entry})


def test_without_a_record_an_image_is_named_by_its_content(empty: Path) -> None:
    assert image_of("serve") == f"deskgraph/serve:{content_tag('serve')}"


def test_a_record_of_this_tree_names_by_digest_where_there_is_one(empty: Path) -> None:
    write(empty / RECORD, built(content_tag("train"), DIGEST))
    assert image_of("train") == f"reg.example/deskgraph/train@{DIGEST}"
    write(empty / RECORD, built(content_tag("train")))
    assert image_of("train") == f"reg.example/deskgraph/train:{content_tag('train')}"


def test_a_record_of_another_base_is_still_of_this_tree(empty: Path) -> None:
    base = Base("debian:12", DIGEST)
    entry = json.loads(built(content_tag("train", base), DIGEST))
    entry["train"] |= {"base_image": base.image, "base_digest": base.digest}
    write(empty / RECORD, json.dumps(entry))
    assert image_of("train") == f"reg.example/deskgraph/train@{DIGEST}"


def test_a_record_of_other_code_is_passed_over_with_a_word(
    empty: Path, caplog: pytest.LogCaptureFixture
) -> None:
    write(empty / RECORD, built("sha-000000000000", DIGEST))
    assert image_of("train") == f"deskgraph/train:{content_tag('train')}"
    assert "make images" in caplog.text


def test_what_is_given_comes_before_what_is_found(empty: Path) -> None:
    write(empty / RECORD, built(content_tag("train"), DIGEST))
    release = empty / "release.json"
    write(release, built("sha-000000000000", DIGEST.replace("1", "2")))
    own = empty / "own.yaml"
    write(own, "description: mine\nimage: mine:1\n")
    second = f"reg.example/deskgraph/train@{DIGEST.replace('1', '2')}"
    assert profile_with_image("cluster").image == f"reg.example/deskgraph/train@{DIGEST}"
    assert profile_with_image("cluster", record=release).image == second
    assert profile_with_image(str(own)).image == "mine:1"
    assert profile_with_image(str(own), record=release).image == second
    assert profile_with_image(str(own), image="given:1").image == "given:1"


@pytest.mark.parametrize("command", ["compile --out p.yaml", "submit", "schedule --show"])
def test_an_image_and_a_record_of_images_are_not_given_together(
    command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--image", "given:1", "--images", "release.json"]
    with pytest.raises(SystemExit) as caught:
        build_parser().parse_args([*command.split(), *given])
    assert caught.value.code == 2
    assert "--images: not allowed with argument --image" in capsys.readouterr().err


def test_a_given_record_must_name_the_image(empty: Path) -> None:
    record = empty / "images.json"
    with pytest.raises(InputError, match="no record of images"):
        image_of("train", record)
    write(record, built("sha-0", kind="serve"))
    with pytest.raises(InputError, match="holds no image 'train'"):
        image_of("train", record)
    write(record, '{"train": {"reference": 1}}')
    with pytest.raises(InputError, match="not a record of images") as error:
        image_of("train", record)
    assert "\n" not in str(error.value)


def test_an_installed_package_says_how_to_name_the_image(empty: Path) -> None:
    with pytest.raises(InputError, match="--image"):
        image_of("train", root=empty)

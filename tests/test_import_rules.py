"""Who may import whom: kg_schema <- serving <- components <- pipelines, and serving stays slim."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FLOORS = ("kg_schema", "serving", "components", "pipelines", "benchmarks")
HEAVY = {"torch", "transformers", "peft", "accelerate", "kfp", "mlflow", "sklearn", "matplotlib"}
STAGES = sorted(path.parent.name for path in (ROOT / "components").glob("*/component.py"))


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: relative import"
            yield node.module


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


@pytest.mark.parametrize("package", FLOORS)
def test_a_floor_imports_only_floors_below_it(package: str) -> None:
    above = set(FLOORS[FLOORS.index(package) + 1 :]) | {"tests"}
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in above
    ]
    assert not wrong


@pytest.mark.parametrize("package", ["kg_schema", "serving"])
def test_what_answers_needs_nothing_that_trains(package: str) -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for path in modules(package)
        for name in imports(path)
        if name.split(".")[0] in HEAVY
    ]
    assert not wrong


def test_no_stage_reads_another_stages_folder() -> None:
    wrong = [
        f"{path.relative_to(ROOT)} imports {name}"
        for stage in STAGES
        for path in modules(f"components/{stage}")
        for name in imports(path)
        if name.startswith("components.")
        and name.split(".")[1] in STAGES
        and name.split(".")[1] != stage
    ]
    assert not wrong


def test_every_folder_of_code_is_a_package_that_the_wheel_takes_along() -> None:
    packages = (*FLOORS, "samples")
    folders = {path.parent for package in packages for path in modules(package)}
    missing = [str(f.relative_to(ROOT)) for f in folders if not (f / "__init__.py").exists()]
    assert not missing


def test_the_rules_see_a_forbidden_import(tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text("def f():\n    from pipelines.cli import main\n")
    assert list(imports(module)) == ["pipelines.cli"]


BLOCKED = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"blocked {{name}}", name=name)
sys.meta_path.insert(0, Refuse())
{body}
"""


def run_without(blocked: set[str], body: str) -> subprocess.CompletedProcess[str]:
    code = BLOCKED.format(blocked=blocked, body=body)
    return subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120
    )


@pytest.mark.parametrize("command", ["--help", "ask --help", "serve --help", "run --help"])
def test_help_works_where_only_serving_is_installed(command: str) -> None:
    body = f"from pipelines.cli import main\nmain({command.split()!r})"
    done = run_without(HEAVY, body)
    assert done.returncode == 0, done.stderr
    assert "deskgraph" in done.stdout


def test_a_base_install_loads_graphs_without_an_encoder() -> None:
    body = """
from components.load_graph.loading import embed_articles
from kg_schema.connection import GraphSettings
from kg_schema.ontology import load_ontology
print(embed_articles(GraphSettings("bolt://127.0.0.1:1"), load_ontology()))
"""
    done = run_without({*HEAVY, "numpy", "onnxruntime", "tokenizers"}, body)
    assert done.returncode == 0, done.stderr
    assert done.stdout == "('', 0)\n"
    assert "found by their words alone: no numpy is installed" in done.stderr


def test_everything_that_answers_imports_without_what_trains() -> None:
    names = [
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for package in ("kg_schema", "serving")
        for path in modules(package)
        if path.name != "__init__.py"
    ]
    names += ["pipelines.asking", "pipelines.commands"]
    body = "import importlib\n" + "\n".join(f"importlib.import_module({n!r})" for n in names)
    done = run_without(HEAVY, body)
    assert done.returncode == 0, done.stderr

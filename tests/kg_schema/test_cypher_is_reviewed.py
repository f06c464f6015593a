"""A linter: every read is a file in `queries/`, every other Cypher comes out of `statements`."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kg_schema import statements
from kg_schema.ontology import IDENTIFIER
from kg_schema.templates import load_templates

ROOT = Path(__file__).parents[2]
FLOORS = ("kg_schema", "serving", "components", "pipelines", "samples", "benchmarks")
GENERATOR = "kg_schema/statements.py"
CYPHER = re.compile(
    r"\b(?:OPTIONAL\s+)?MATCH\s*\(|\bMERGE\s*\(|\bCREATE\s*\(|\bDETACH\s+DELETE\b"
    r"|\bUNWIND\s+[$\[a-z]|\bSET\s+\w+(?:\.\w+|\s*\+?=)|\bREMOVE\s+\w+[.:]|\bFOREACH\s*\("
    r"|\b(?:CREATE|DROP|ALTER)\s+(?:\w+\s+)?(?:CONSTRAINT|INDEX|USER|DATABASE|PROPERTY|TYPE)\b"
    r"|\bCALL\s+(?:db|dbms|apoc)\.|\bSHOW\s+(?:CONSTRAINTS|INDEXES)\b|\bLOAD\s+CSV\b"
    r"|\bWITH\s+\w+\s+WHERE\b|\bRETURN\s+(?:\d|\w+\(|\w+\.\w+)|\bCALL\s*\{"
)
# What no ontology stands behind: whether a fresh server answers, its first password, and the
# embedded engine's search indexes, which its SQL alone can make.
EXCEPTIONS = {
    ("kg_schema/recipes.py", "RETURN 1"),
    ("kg_schema/recipes.py", "ALTER CURRENT USER SET PASSWORD FROM $old TO $new"),
    ("kg_schema/engines.py", "CREATE VERTEX TYPE {} IF NOT EXISTS"),
    ("kg_schema/engines.py", "CREATE PROPERTY {}.{} IF NOT EXISTS {}"),
    ("kg_schema/engines.py", "CREATE PROPERTY {}.{} IF NOT EXISTS ARRAY_OF_FLOATS"),
    ("kg_schema/engines.py", "DROP INDEX {} IF EXISTS"),
    ("kg_schema/engines.py", "CREATE INDEX {} IF NOT EXISTS ON {} ({}{}) FULL_TEXT"),
    (
        "kg_schema/engines.py",
        "CREATE INDEX {} IF NOT EXISTS ON {} ({}) LSM_VECTOR "
        "METADATA {dimensions: {}, similarity: 'COSINE'}",
    ),
}
# Of `statements`: what a statement's text may be put together from besides `name(…)`: the module's
# own constants, an integer, `keys` and `texts`, which are joined of checked names, and a part that
# another function of the module makes.
CONSTANT = re.compile(
    r"_?[A-Z][A-Z_]*(?:\.lower\(\)|\.format\(v='\w+'(?:, \w=\d)*\))?|keys|texts|int\(dimensions\)"
    r"|int\(place\)|_match_relationship\(kind, start, end\)"
    r"|_values\(\d, \([^()]*\*keys\)(?:, _FIRST)?\)"
)


def literals(tree: ast.AST) -> Iterator[tuple[ast.expr, str]]:
    """Every string of a module that is no docstring; an f-string with `{}` for its values."""
    docstrings = {
        id(node.body[0].value)
        for node in ast.walk(tree)
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
        and node.body
        and isinstance(node.body[0], ast.Expr)
    }
    inside = {
        id(part)
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for part in ast.walk(node)
        if part is not node
    }
    for node in ast.walk(tree):
        if id(node) in docstrings or id(node) in inside:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node, node.value
        elif isinstance(node, ast.JoinedStr):
            parts = (p.value if isinstance(p, ast.Constant) else "{}" for p in node.values)
            yield node, "".join(map(str, parts))


def cypher_in(source: str) -> list[str]:
    """The strings of a module that a database would take for Cypher."""
    return [text for _, text in literals(ast.parse(source)) if CYPHER.search(text)]


def modules() -> list[Path]:
    return [path for floor in FLOORS for path in sorted((ROOT / floor).rglob("*.py"))]


def test_only_the_generator_holds_cypher() -> None:
    found = {
        (path.relative_to(ROOT).as_posix(), text)
        for path in modules()
        for text in cypher_in(path.read_text(encoding="utf-8"))
    }
    assert len({module for module, _ in found}) > 1, "the linter is blind"
    strangers = {(module, text) for module, text in found if module != GENERATOR}
    assert strangers == EXCEPTIONS


@pytest.mark.parametrize(
    "source",
    [
        'q = "MATCH (n) RETURN n"',
        'q = f"MATCH (n:{label}) DETACH DELETE n"',
        'q = "match" if x else "UNWIND $rows AS row CREATE (n)"',
        'q = "CREATE CONSTRAINT x IF NOT EXISTS FOR (n:A) REQUIRE n.id IS UNIQUE"',
        "q = \"CALL db.index.fulltext.queryNodes('article_text', $q)\"",
        'q = "SET n.price = 3"',
        'q = f"CALL {{ {text} }}"',
        'q = "RETURN collect([a, b]) AS facts"',
        'def f():\n    """Reads."""\n    return "RETURN n.secret"',
    ],
)
def test_the_linter_sees_cypher(source: str) -> None:
    assert cypher_in(source)


def test_the_linter_leaves_prose_alone() -> None:
    assert (
        cypher_in('"""MATCH (n) in a docstring."""\nx = "a match (of sorts), set in stone"') == []
    )


def test_a_statement_is_made_of_checked_names_alone() -> None:
    """Nothing gets into a statement's text but `name(…)`, a constant of the module, or both."""
    tree = ast.parse((ROOT / GENERATOR).read_text(encoding="utf-8"))
    held = [
        value.value
        for node in ast.walk(tree)
        if isinstance(node, ast.JoinedStr)
        for value in node.values
        if isinstance(value, ast.FormattedValue)
    ]
    assert len(held) > 20
    for value in held:
        text = ast.unparse(value)
        checked = isinstance(value, ast.Call) and ast.unparse(value.func) == "name"
        refusal = text == "identifier"  # in the message of the error that `name` raises
        assert checked or refusal or CONSTANT.fullmatch(text), text


@given(st.text(max_size=80))
def test_only_identifiers_get_into_a_statement(text: str) -> None:
    if re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", text, re.ASCII):
        assert statements.name(text) == text
        assert f"(n:{text} " in statements.merge_nodes(text, [text])
        assert f"{text}: row[3]" in statements.merge_relationships(text, text, text, [text])
        return
    for make in (
        statements.name,
        lambda name: statements.merge_nodes(name, ()),
        lambda name: statements.merge_nodes("A", [name]),
        lambda name: statements.create_nodes(name, ()),
        lambda name: statements.create_nodes("A", [name]),
        statements.compare_nodes,
        statements.existing_ids,
        statements.drop_index,
        lambda name: statements.merge_relationships("R", "A", name, ()),
        lambda name: statements.merge_relationships(name, "A", "B", ()),
        lambda name: statements.merge_relationships("R", "A", "B", [name]),
        lambda name: statements.create_relationships("R", name, "B", ()),
        lambda name: statements.create_relationships("R", "A", "B", [name]),
        lambda name: statements.full_text_index("i", "A", [name]),
    ):
        with pytest.raises(ValueError, match="no identifier"):
            make(text)


def test_the_pattern_is_the_issues() -> None:
    assert IDENTIFIER.pattern == r"^[A-Za-z][A-Za-z0-9_]*$"
    with pytest.raises(ValueError, match="no identifier"):
        statements.name("Product\n")


def test_every_file_of_queries_is_a_template() -> None:
    files = {path.stem for path in (ROOT / "kg_schema" / "queries").iterdir()}
    assert files == set(load_templates())

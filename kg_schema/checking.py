"""Checks graph files before anything is written: every row, every end, every repetition."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import Any, NamedTuple

from kg_schema import json_rows
from kg_schema.csv_rows import CsvMapping, load_mapping, read_csv
from kg_schema.errors import InputError
from kg_schema.ontology import Ontology
from kg_schema.progress import Progress
from kg_schema.rows import (
    BadRow,
    Edge,
    Literal,
    Node,
    Place,
    Row,
    check_row,
    content_hash,
    read_json_lines,
)
from kg_schema.spool import Kind, Spool

MAX_BAD_ROWS = 100_000
MAPPING_FILE = "mapping.yaml"
ENDINGS = (".jsonl", ".csv")
ALL_ENDINGS = (*ENDINGS, *json_rows.ENDINGS)


@dataclass(frozen=True)
class Source:
    """The files of one load and how to read them."""

    files: tuple[Path, ...]
    ontology: Ontology
    mapping: CsvMapping | None = None

    def rows(self, file: Path) -> Iterator[tuple[Place, Row | str]]:
        """A file's rows, each with its place; a reason instead of a row that is bad."""
        if file.suffix == ".csv":
            return read_csv(file, file.name, self.ontology, self.mapping)
        if file.suffix in json_rows.ENDINGS:
            documents = self.mapping.documents if self.mapping else {}
            return json_rows.read_document(
                file, file.name, self.ontology, documents.get(file.name, ())
            )
        return read_json_lines(file, file.name, self.ontology)


def open_source(
    paths: Sequence[str | Path], ontology: Ontology, mapping: Path | None = None
) -> Source:
    """The graph files among files and folders, sorted, and the mapping that goes with them.

    A folder stands for its `.jsonl` and `.csv` files and for the documents that the mapping names;
    its `mapping.yaml` serves where no mapping is given.

    Raises:
        InputError: A path is not there, or is no graph file, or a folder has none, two files have
            one name, or the mapping is none.
    """
    given = list(map(Path, paths))
    own = (path / MAPPING_FILE for path in given)
    mapping = mapping or next((path for path in own if path.is_file()), None)
    read = load_mapping(mapping) if mapping else None
    documents = read.documents if read else {}
    found: list[Path] = []
    for path in given:
        if path.is_dir():
            found.extend(_inside(path, documents))
        elif not path.is_file():
            raise InputError("no such file or folder", where=str(path))
        elif path.suffix not in ALL_ENDINGS:
            raise InputError("no graph file", where=str(path), fix=f"give {', '.join(ALL_ENDINGS)}")
        else:
            found.append(path)
    names = [path.name for path in found]
    for name in names:
        if names.count(name) > 1:
            raise InputError("two files of this name", where=name, fix="load them one by one")
    return Source(tuple(found), ontology, read)


def _inside(folder: Path, documents: Collection[str]) -> list[Path]:
    inside = sorted(
        path
        for path in folder.iterdir()
        if path.is_file() and (path.suffix in ENDINGS or path.name in documents)
    )
    if not inside:
        raise InputError(
            "no .jsonl and no .csv files in it, and none that a mapping names", where=str(folder)
        )
    return inside


@dataclass
class Checked:
    """What a check found out; the rows to write lie in the spool.

    Attributes:
        hashes: Content hash of each good row by its identity: all that the files say.
        outside: Identities of nodes that stand in the database alone and that a row ends at.
        nodes: How many nodes there are to write.
        edges: How many relationships there are to write.
        lines: How many rows were read.
        duplicates: Rows that only repeat another.
        bad: Rows that cannot be loaded.
    """

    hashes: dict[int, str] = field(default_factory=dict)
    outside: set[int] = field(default_factory=set)
    nodes: int = 0
    edges: int = 0
    lines: int = 0
    duplicates: int = 0
    bad: list[BadRow] = field(default_factory=list)


def identity(row: Node | Edge) -> int:
    """A 64-bit key of what a row is about.

    Among five million rows two would share one with a chance of less than one in a million.
    """
    if isinstance(row, Node):
        return hash((row.label, row.id))
    return hash((row.type, row.start_label, row.start, row.end_label, row.end))


class _OpenEnd(NamedTuple):
    place: Place
    edge: int
    kind: Kind
    number: int
    label: str
    id: str


class _Ready(NamedTuple):
    """A good row with what tells it from others."""

    row: Node | Edge
    key: int
    digest: str


class Checker:
    """Checks the rows of a source, one pass over its files, and spools those to write.

    Args:
        source: The files.
        existing: Says which of some ids of a label the database holds.
        spool: Gets nodes as [id, content hash, a value for each column of the ontology] and
            relationships as [start, end, content hash, a value for each].
    """

    def __init__(
        self,
        source: Source,
        existing: Callable[[str, Sequence[str]], Iterable[str]],
        spool: Spool,
    ) -> None:
        self._source = source
        self._existing = existing
        self._spool = spool
        self._found = Checked()
        self._open_ends: list[_OpenEnd] = []
        self._literals: dict[tuple[str, str], tuple[Place, dict[str, Any]]] = {}

    def check(self) -> Checked:
        """Reads every row.

        Raises:
            InputError: A file cannot be read, or has 100,000 bad rows.
            GraphUnavailable: The database cannot be asked for ends that are not in the files.
        """
        with Progress(0, "checking", "rows") as progress:
            for file in self._source.files:
                for place, group in groupby(self._source.rows(file), key=lambda pair: pair[0]):
                    self._found.lines += 1
                    self._line(place, [row for _, row in group])
                    progress.advance()
        self._close_literals()
        self._close_ends()
        return self._found

    def _line(self, place: Place, rows: list[Row | str]) -> None:
        """Takes all rows of a line, or none."""
        try:
            ready = [self._ready(row) for row in rows]
        except ValueError as error:
            self._bad(place, str(error))
            return
        for each in ready:
            if isinstance(each, Literal):
                self._literals.setdefault((each.label, each.id), (place, {}))
                self._add_literal(each)
                continue
            self._add(each, place)

    def _ready(self, row: Row | str) -> Literal | _Ready:
        if isinstance(row, str):
            raise ValueError(row)
        if isinstance(row, Literal):
            _, held = self._literals.get((row.label, row.id), (None, {}))
            kind = self._source.ontology.labels[row.label].properties[row.key].type
            if row.key in held and kind != "strings" and held[row.key] != row.value:
                raise ValueError(f"{row.label}/{row.id} has another {row.key} already")
            return row
        checked = check_row(row, self._source.ontology)
        ready = _Ready(checked, identity(checked), content_hash(checked.props))
        if self._found.hashes.get(ready.key, ready.digest) != ready.digest:
            raise ValueError(f"{_title(checked)} was given before with other properties")
        return ready

    def _add_literal(self, row: Literal) -> None:
        held = self._literals[row.label, row.id][1]
        kind = self._source.ontology.labels[row.label].properties[row.key].type
        if kind == "strings":
            items = row.value if isinstance(row.value, list) else [row.value]
            held[row.key] = [*held.get(row.key, []), *items]
        else:
            held[row.key] = row.value

    def _add(self, ready: _Ready, place: Place) -> None:
        found, row, key = self._found, ready.row, ready.key
        if key in found.hashes:
            found.duplicates += 1
            return
        found.hashes[key] = ready.digest
        if isinstance(row, Node):
            found.nodes += 1
            keys = self._source.ontology.node_columns[row.label]
            self._spool.add((row.label,), [row.id, ready.digest, *map(row.props.get, keys)])
            return
        found.edges += 1
        kind = (row.type, row.start_label, row.end_label)
        keys = self._source.ontology.relationship_columns[row.type]
        ends = (row.start, row.end, ready.digest)
        number = self._spool.add(kind, [*ends, *map(row.props.get, keys)])
        for label, node_id in ((row.start_label, row.start), (row.end_label, row.end)):
            if hash((label, node_id)) not in found.hashes:
                self._open_ends.append(_OpenEnd(place, key, kind, number, label, node_id))

    def _close_literals(self) -> None:
        for (label, node_id), (place, props) in self._literals.items():
            try:
                row = check_row(Node(label, node_id, props), self._source.ontology)
                if identity(row) in self._found.hashes:
                    raise ValueError(f"{_title(row)} is given both as a node and by triples")
            except ValueError as error:
                self._bad(place, str(error))
                continue
            self._add(_Ready(row, identity(row), content_hash(row.props)), place)

    def _close_ends(self) -> None:
        """Refuses relationships whose ends are neither in the files nor in the database."""
        wanted: dict[str, set[str]] = defaultdict(set)
        still_open = [
            end for end in self._open_ends if hash((end.label, end.id)) not in self._found.hashes
        ]
        for end in still_open:
            wanted[end.label].add(end.id)
        held = {label: set(self._existing(label, sorted(ids))) for label, ids in wanted.items()}
        for end in still_open:
            if end.id in held[end.label]:
                self._found.outside.add(hash((end.label, end.id)))
                continue
            self._bad(end.place, f"its end {end.label}/{end.id} is nowhere")
            if self._found.hashes.pop(end.edge, None) is not None:
                self._found.edges -= 1
                self._spool.take_back(end.kind, end.number)

    def _bad(self, place: Place, reason: str) -> None:
        self._found.bad.append(BadRow(place, reason))
        if len(self._found.bad) >= MAX_BAD_ROWS:
            raise InputError(
                f"{MAX_BAD_ROWS:,} rows are bad; the first: {self._found.bad[0].reason}",
                where=str(self._found.bad[0].place),
            )


def _title(row: Node | Edge) -> str:
    if isinstance(row, Node):
        return f"{row.label}/{row.id}"
    return f"{row.start_label}/{row.start} {row.type} {row.end_label}/{row.end}"

"""Tickets as they come: JSON Lines or CSV, read row by row, with what could not be read set aside.

A file that is no text, lacks a column or is mostly broken is refused with one line. Single bad
rows go to quarantine with file, line and reason, so that nobody's export has to be perfect.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from kg_schema.errors import InputError
from serving.conversation import Turn, ticket_text

JSON_SUFFIXES = (".jsonl", ".ndjson")
CSV_SUFFIXES = (".csv", ".tsv")
MIN_TEXT_CHARACTERS = 2
APOSTROPHES = dict.fromkeys(map(ord, "'`\u00b4\u2018\u2019"))

Reason = Literal[
    "unreadable", "too short", "duplicate", "conflict", "in test", "no label", "no answer"
]


class TicketError(InputError):
    """A ticket file cannot be used."""


@dataclass(frozen=True)
class TicketColumns:
    """Which column holds what; the others have the names of the ticket contract.

    Attributes:
        text: The ticket's words. A JSON row may carry `turns` instead.
        label: The intent.
        label_needed: Whether a file without the label column is refused.
    """

    text: str = "text"
    label: str = "intent"
    label_needed: bool = True


@dataclass(frozen=True)
class Ticket:
    """One ticket, with where it was read.

    Attributes:
        ticket_id: Its own id, else `file:line`.
        text: The ticket's words; of a dialogue, what `ticket_text` makes of its turns.
        intent: Its label; None where it has none.
        answer: The resolved answer, if any.
        solution_ids: The solutions that resolved it, if any.
        language: As given.
        created_at: As given.
        file: File name.
        line: Line its row starts on, from 1.
    """

    ticket_id: str
    text: str
    intent: str | None
    answer: str | None
    solution_ids: tuple[str, ...]
    language: str | None
    created_at: str | None
    file: str
    line: int


@dataclass(frozen=True)
class Quarantined:
    """A row set aside."""

    file: str
    line: int
    reason: Reason
    detail: str


@dataclass
class TicketReader:
    """Iterates over the tickets of a file or of every ticket file in a folder.

    Attributes:
        path: A file, or a folder of them.
        columns: Which column holds what.
        bad_share: The largest share of unreadable rows of a file that is still accepted; with 0
            the first one is refused.
        quarantined: Rows set aside so far; complete when the iteration has ended.
    """

    path: Path
    columns: TicketColumns
    bad_share: float = 0.01
    quarantined: list[Quarantined] = field(default_factory=list)

    def files(self) -> list[Path]:
        """Returns the files that are read, in order.

        Raises:
            TicketError: There is none, or its name ends in nothing known.
        """
        known = JSON_SUFFIXES + CSV_SUFFIXES
        if not self.path.is_dir():
            if self.path.suffix.lower() not in known:
                raise TicketError(
                    f"not a ticket file: its name ends in none of {', '.join(known)}",
                    where=str(self.path),
                )
            return [self.path]
        found = sorted(
            each for each in self.path.iterdir() if each.suffix.lower() in known and each.is_file()
        )
        if not found:
            raise TicketError(
                "no ticket files in this folder",
                where=str(self.path),
                fix=f"their names end in one of {', '.join(known)}",
            )
        return found

    def __iter__(self) -> Iterator[Ticket]:
        """Yields the readable tickets.

        Raises:
            TicketError: A file is not UTF-8, lacks a column, is empty or has too many bad rows.
        """
        columns: dict[str, None] = {}
        for path in self.files():
            yield from self._read_file(path, columns)
        if self.columns.label_needed and columns and self.columns.label not in columns:
            raise self._lacks(self.columns.label, self.path, columns)

    def _read_file(self, path: Path, all_columns: dict[str, None]) -> Iterator[Ticket]:
        rows, columns, bad = 0, dict[str, None](), list[Quarantined]()
        for line, row in _rows(path):
            rows += 1
            if isinstance(row, Mapping):
                columns.update(dict.fromkeys(row))
            try:
                ticket = _ticket(row, path.name, line, self.columns)
            except _BadRow as error:
                bad.append(Quarantined(path.name, line, error.reason, str(error)))
                continue
            yield ticket
        if not rows:
            raise TicketError("the file holds no tickets", where=str(path))
        # where not one row could be read, what is wrong with them says more than their columns
        if columns and self.columns.text not in columns and "turns" not in columns:
            raise self._lacks(self.columns.text, path, columns)
        self._check_share(path, rows, bad)
        self.quarantined.extend(bad)
        all_columns.update(columns)

    def _lacks(self, column: str, path: Path, columns: Iterable[str]) -> TicketError:
        listed = f"the columns are {', '.join(columns)}"
        return TicketError(f"no column {column!r}", where=str(path), fix=listed)

    def _check_share(self, path: Path, rows: int, bad: list[Quarantined]) -> None:
        unreadable = [each for each in bad if each.reason == "unreadable"]
        if len(unreadable) > self.bad_share * rows:
            first = unreadable[0]
            raise TicketError(
                first.detail,
                where=f"{path}:{first.line}",
                fix=f"{len(unreadable)} of {rows} rows cannot be read, more than "
                f"{self.bad_share:.1%} are refused",
            )


class _BadRow(Exception):
    """A row that goes to quarantine."""

    def __init__(self, detail: str, reason: Reason = "unreadable") -> None:
        self.reason = reason
        super().__init__(detail)


def normalise_text(text: str) -> str:
    """Returns what two texts share if they are the same ticket: letters, digits and symbols.

    NFKC, case folded, apostrophes dropped, other punctuation and white space as single spaces.
    """
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    kept = (
        " " if unicodedata.category(letter)[0] in "PZC" else letter
        for letter in folded.translate(APOSTROPHES)
    )
    return " ".join("".join(kept).split())


def _rows(path: Path) -> Iterator[tuple[int, object]]:
    """Yields line number and row; a row that is broken is a `_BadRow`."""
    lines = _lines(path)
    if path.suffix.lower() in JSON_SUFFIXES:
        return _json_rows(lines)
    return _csv_rows(lines, path)


def _lines(path: Path) -> Iterator[str]:
    """Yields the lines of a UTF-8 file with their ends.

    Raises:
        TicketError: The file cannot be read, or is not UTF-8 (line and byte offset are told).
    """
    offset = 0
    try:
        with path.open("rb") as stream:
            for number, raw in enumerate(stream, start=1):
                try:
                    text = raw.decode("utf-8")
                except UnicodeDecodeError as error:
                    raise TicketError(
                        f"not UTF-8: byte 0x{raw[error.start]:02x} at offset "
                        f"{offset + error.start}",
                        where=f"{path}:{number}",
                        fix="save the file as UTF-8",
                    ) from None
                offset += len(raw)
                yield text.removeprefix("\ufeff") if number == 1 else text
    except OSError as error:
        raise TicketError((error.strerror or str(error)).lower(), where=str(path)) from error


def _json_rows(lines: Iterable[str]) -> Iterator[tuple[int, object]]:
    for number, text in enumerate(lines, start=1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except json.JSONDecodeError as error:
            yield (
                number,
                _BadRow(f"broken JSON: {error.msg.removesuffix(' at')} at column {error.colno}"),
            )
            continue
        except (ValueError, RecursionError) as error:  # a number too long, nesting too deep
            yield number, _BadRow(f"broken JSON: {error}")
            continue
        yield number, row if isinstance(row, dict) else _BadRow("not a JSON object")


def _csv_rows(lines: Iterable[str], path: Path) -> Iterator[tuple[int, object]]:
    delimiter = "\t" if path.suffix.lower() == ".tsv" else ","
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    header: list[str] | None = None
    while True:
        start = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            if header is None:
                raise TicketError(f"broken CSV: {error}", where=f"{path}:{start}") from None
            yield start, _BadRow(f"broken CSV: {error}")
            continue
        if not any(cell.strip() for cell in cells):
            continue
        if header is None:
            header = [cell.strip() for cell in cells]
            if len(set(header)) < len(header):
                raise TicketError("two columns have the same name", where=f"{path}:{start}")
        elif len(cells) != len(header):
            yield start, _BadRow(f"{len(cells)} cells where the header has {len(header)}")
        else:
            yield start, dict(zip(header, cells, strict=True))


def _ticket(row: object, file: str, line: int, columns: TicketColumns) -> Ticket:
    if isinstance(row, _BadRow):
        raise row
    if not isinstance(row, dict):
        raise _BadRow("not a row")
    answer, solution_ids = _resolution(row)
    text = _words(row, columns.text)
    if len(normalise_text(text)) < MIN_TEXT_CHARACTERS:
        raise _BadRow(f"fewer than {MIN_TEXT_CHARACTERS} letters or digits", "too short")
    return Ticket(
        ticket_id=_string(row, "ticket_id") or f"{file}:{line}",
        text=text,
        intent=_string(row, columns.label),
        answer=answer,
        solution_ids=solution_ids,
        language=_string(row, "language"),
        created_at=_string(row, "created_at"),
        file=file,
        line=line,
    )


def _words(row: dict[str, Any], column: str) -> str:
    value, turns = row.get(column), row.get("turns")
    if isinstance(value, str):
        return " ".join(_encodable(value, column).split())
    if value is not None:
        raise _BadRow(f"{column!r} is no text")
    if turns is None:
        raise _BadRow(f"no {column!r}")
    if not isinstance(turns, list) or not all(
        isinstance(turn, dict)
        and isinstance(turn.get("role"), str)
        and isinstance(turn.get("text"), str)
        for turn in turns
    ):
        raise _BadRow("'turns' is no list of objects with role and text")
    spoken = [Turn(role=turn["role"], text=_encodable(turn["text"], "turns")) for turn in turns]
    return ticket_text(spoken)


def _resolution(row: dict[str, Any]) -> tuple[str | None, tuple[str, ...]]:
    """Returns answer and solution ids, from `resolution` or from columns of these names."""
    nested = row.get("resolution")
    if nested is not None and not isinstance(nested, dict):
        raise _BadRow("'resolution' is no object")
    source = nested if nested is not None else row
    ids = source.get("solution_ids")
    if isinstance(ids, str):
        ids = [each.strip() for each in ids.split(";") if each.strip()]
    if ids is not None and not (isinstance(ids, list) and all(isinstance(i, str) for i in ids)):
        raise _BadRow("'solution_ids' is no list of texts")
    return _string(source, "answer"), tuple(_encodable(each, "solution_ids") for each in ids or ())


def _string(row: dict[str, Any], column: str) -> str | None:
    """Returns a cell as text; None where it is absent or blank."""
    value = row.get(column)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _BadRow(f"{column!r} is no text")
    return _encodable(str(value), column).strip() or None


def _encodable(value: str, column: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError:
        raise _BadRow(f"{column!r} holds half of a surrogate pair") from None
    return value

"""The exception tree: every error a user can meet says what, where and how to mend it."""

from __future__ import annotations


class DeskGraphError(Exception):
    """Base of every error a user can meet; its text is one line.

    Args:
        what: What went wrong.
        where: The file, line, column, address or setting it concerns.
        fix: What the reader can do about it.

    Attributes:
        exit_code: What the command line exits with: 1, it ran and the result is bad.
    """

    exit_code = 1

    def __init__(self, what: str, *, where: str = "", fix: str = "") -> None:
        self.what = what
        self.where = where
        self.fix = fix
        parts = [f"{where}: {what}" if where else what]
        if fix:
            parts.append(fix)
        super().__init__("; ".join(" ".join(part.split()) for part in parts))


class InputError(DeskGraphError):
    """Something handed in cannot be used; earlier results are as they were."""

    exit_code = 2

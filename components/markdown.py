"""Text from the data inside Markdown that the pipelines page shows."""

from __future__ import annotations


def cell(text: object) -> str:
    """Keeps a name from the tickets from breaking out of its table cell, or into markup."""
    escaped = str(text).replace("&", "&amp;")
    for mark in "\\|`<>[]*":
        escaped = escaped.replace(mark, f"&#{ord(mark)};")
    return " ".join(escaped.split())

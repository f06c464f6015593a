"""`python -m samples.generate [--out DIR]` writes the samples again."""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from samples.generate.gold import gold_rows
from samples.generate.graph import build_graph
from samples.generate.tickets import ticket_rows
from samples.generate.write import write_file, write_rows

_DATA = Path(__file__).resolve().parents[1] / "data"


def generate(out: Path) -> None:
    """Write graph, tickets and gold below a folder; each replaces the one before it when whole.

    Args:
        out: The data folder; made where it does not exist.
    """
    out.mkdir(parents=True, exist_ok=True)
    world = build_graph()
    with tempfile.TemporaryDirectory(dir=out, prefix=".generate-") as made:
        new = Path(made)
        write_rows(new / "graph", "nodes", world.node_rows())
        write_rows(new / "graph", "relationships", world.edge_rows())
        write_rows(new / "tickets", "tickets", ticket_rows(world))
        for problem_type, rows in gold_rows(world).items():
            write_file(new / "gold" / f"{problem_type}.jsonl", rows)
        for part in ("graph", "tickets", "gold"):
            if (out / part).is_dir():
                (out / part).rename(new / f"old-{part}")
            (new / part).rename(out / part)


def main() -> None:
    """Parse the command line and generate."""
    parser = argparse.ArgumentParser(prog="python -m samples.generate", description=__doc__)
    parser.add_argument("--out", type=Path, default=_DATA, help="data folder (default: samples/)")
    generate(parser.parse_args().out)


if __name__ == "__main__":
    main()

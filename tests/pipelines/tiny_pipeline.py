"""A pipeline of two steps with an input of every kind, small enough for tests of the way there."""

# kfp reads the annotations themselves, so they are not postponed here.

from pathlib import Path

from kfp import compiler, dsl

NAME = "deskgraph-tiny"
STEPS = ("count", "look")


def compile_tiny(out: Path, *, image: str = "local/none:0", name: str = NAME) -> Path:
    """Compiles it; another image is another content."""

    @dsl.component(base_image=image, install_kfp_package=False)
    def count(rows: int) -> int:
        if rows < 0:
            raise ValueError(f"{rows} rows")
        return rows * rows

    @dsl.component(base_image=image, install_kfp_package=False)
    def look(total: int, fail: bool, note: str, options: dict) -> str:
        import json
        import sys

        if fail:
            line = json.dumps({"message": f"{note}: {total} is too much", "exit_code": 2})
            sys.stderr.write(f"deskgraph-error {line}\n")
            raise SystemExit(2)
        return f"{note} {options}"

    @dsl.pipeline(name=name)
    def tiny(
        rows: int = 3,
        fail: bool = False,
        note: str = "",
        share: float = 0.5,
        options: dict = {"a": 1},  # noqa: B006
        words: list = [],  # noqa: B006
    ) -> None:
        counted = count(rows=rows)
        looked = look(total=counted.output, fail=fail, note=note, options=options)
        looked.set_caching_options(False).set_retry(1)

    compiler.Compiler().compile(tiny, package_path=str(out))
    return out

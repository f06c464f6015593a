"""A module that torchrun starts in tests: `python -m … ranks MODE [FOLDER]`."""

import os
import sys
import time
from pathlib import Path

from components.launch import emit, leave_with_launcher


def main(mode: str, folder: str = "") -> None:
    leave_with_launcher()
    rank = int(os.environ["RANK"])
    emit("hello", rank=rank, pid=os.getpid(), threads=os.environ["OMP_NUM_THREADS"])
    if mode == "fail":
        said = Path(folder, "rank-0-said-hello")
        if rank == 0:
            said.touch()
        while not said.exists():
            time.sleep(0.01)
        if rank == 1:
            sys.stderr.write("first things first\nthe shelf is empty\n")
            sys.exit(3)
    time.sleep(60)


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A module that torchrun starts in tests: `python -m … ranks MODE`."""

import os
import sys
import time

from components.launch import emit, leave_with_launcher


def main(mode: str) -> None:
    leave_with_launcher()
    rank = int(os.environ["RANK"])
    emit("hello", rank=rank, pid=os.getpid(), threads=os.environ["OMP_NUM_THREADS"])
    if mode == "fail" and rank == 1:
        sys.stderr.write("first things first\nthe shelf is empty\n")
        sys.exit(3)
    if mode == "plain":
        sys.stdout.write("a line that is no event\n")
        return
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])

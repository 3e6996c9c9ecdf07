"""Read a process tree's memory and processor time from outside, ten times a second.

    python -m scripts.load.sampler PID FILE

A process of its own, so that neither the load test's threads nor the watched delay it; it appends a line of JSON for
each reading to the file and ends with the tree. PSS takes the kernel long for large processes: a reading is followed by
a pause at least twice as long as it took, so that never more than a third of a core is spent on it.
"""

import contextlib
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from scripts.measure import ROOT, Tree, pss_bytes

EVERY_S = 0.1
SHARE = 1 / 3


@dataclass(frozen=True, slots=True)
class Sample:
    """One reading. at: monotonic seconds. cpu_s: of the tree since it began, its reaped members included."""

    at: float
    rss_bytes: int
    pss_bytes: int
    processes: int
    cpu_s: float


class Sampler:
    """The sampler of one tree, as its starter sees it; a context manager."""

    def __init__(self, pid: int, file: Path) -> None:
        self._words = [sys.executable, "-m", "scripts.load.sampler", str(pid), str(file)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(
            self._words,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # ^C is for its starter
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        self._process.wait()


def samples(file: Path) -> Iterator[Sample]:
    """Read what was written so far. A last line that is not whole is left out."""
    with contextlib.suppress(FileNotFoundError):
        for line in file.read_text("ascii").splitlines(keepends=True):
            if line.endswith("\n"):
                yield Sample(**json.loads(line))


def main() -> None:
    """Sample until the tree has ended."""
    tree = Tree(int(sys.argv[1]))
    with Path(sys.argv[2]).open("a", encoding="ascii", buffering=1) as file:
        while tree.alive:
            began = monotonic()
            cpu_s = tree.cpu_s()
            members = tree.read()
            if members:
                sample = Sample(
                    at=round(began, 3),
                    rss_bytes=sum(member.rss_bytes for member in members),
                    pss_bytes=pss_bytes(members),
                    processes=len(members),
                    cpu_s=round(cpu_s, 2),
                )
                file.write(json.dumps(asdict(sample)) + "\n")
            took = monotonic() - began
            sleep(max(EVERY_S - took, took / SHARE - took))


if __name__ == "__main__":
    main()

"""Watch the memory of a process's children from outside: the resident bytes of each, read every few milliseconds.

    python -m scripts.faults.observer PID

A process of its own, first in line for the processor where that is allowed, so that neither the watched nor its
starter makes it look away. It says itself how long it did: a peak between two looks is not seen. Children are found by
reading /proc, not told by the supervisor. For each line on its standard input it prints a JSON report of the time since
the last one; at the end of its input it ends.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from time import monotonic
from typing import Self

PAGE = os.sysconf("SC_PAGE_SIZE")
EVERY_S = 0.005
PRIORITY = 2
"""Above the supervisor's own 1: it is watched too."""
CHECKOUT = Path(__file__).resolve().parents[2]


@dataclass
class Report:
    """What was seen: the largest resident bytes by pid, the number of looks, the longest time between two of them."""

    peaks: dict[int, int] = field(default_factory=dict)
    looks: int = 0
    largest_gap_ms: float = 0.0
    first_in_line: bool = False

    @property
    def peak_bytes(self) -> int:
        return max(self.peaks.values(), default=0)

    def above(self, limit_bytes: int) -> dict[int, int]:
        """Give those that were seen above a limit, with their peaks."""
        return {pid: peak for pid, peak in self.peaks.items() if peak > limit_bytes}


class Observer:
    """An observer process, as its starter sees it; a context manager."""

    def __init__(self, pid: int) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "scripts.faults.observer", str(pid)],
            cwd=CHECKOUT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def report(self) -> Report:
        """Ask what was seen since the last time."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        told = json.loads(self._process.stdout.readline())
        return Report(**told | {"peaks": {int(pid): peak for pid, peak in told["peaks"].items()}})

    def __enter__(self) -> Self:
        self.report()  # from here on it looks
        return self

    def __exit__(self, *_: object) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


class Brood:
    """The children of a process, each with a descriptor that is its own: never that of a later owner of its pid."""

    def __init__(self, parent: int) -> None:
        self._parent = parent
        self._statm: dict[int, int] = {}
        self._strangers: set[int] = set()

    def resident(self) -> Iterator[tuple[int, int]]:
        """Give pid and resident bytes of every child that lives."""
        self._find()
        for pid, statm in list(self._statm.items()):
            try:
                yield pid, int(os.pread(statm, 128, 0).split()[1]) * PAGE
            except (OSError, IndexError):
                os.close(self._statm.pop(pid))

    def _find(self) -> None:
        pids = {int(name) for name in os.listdir("/proc") if name.isdecimal()}  # noqa: PTH208 (a third of the time)
        self._strangers &= pids
        for pid in pids - self._strangers - self._statm.keys():
            with contextlib.suppress(OSError):
                statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY)
                if _parent_of(pid) == self._parent:
                    self._statm[pid] = statm
                else:
                    os.close(statm)
                    self._strangers.add(pid)


def _parent_of(pid: int) -> int:
    # The name, in brackets, may hold anything
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


def main() -> None:
    """Look until the standard input ends."""
    first = False
    with contextlib.suppress(OSError):
        os.sched_setscheduler(0, os.SCHED_RR, os.sched_param(PRIORITY))
        first = True
    brood = Brood(int(sys.argv[1]))
    report = Report(first_in_line=first)
    last = due = monotonic()
    while True:
        asked, _, _ = select.select([sys.stdin], [], [], max(0.0, due - monotonic()))
        now = monotonic()
        report.largest_gap_ms = round(max(report.largest_gap_ms, (now - last) * 1000), 3)
        last, due = now, now + EVERY_S
        for pid, resident in brood.resident():
            report.peaks[pid] = max(resident, report.peaks.get(pid, 0))
        report.looks += 1
        if asked:
            if not sys.stdin.readline():
                return
            print(json.dumps(asdict(report)), flush=True)
            report = Report(first_in_line=first)


if __name__ == "__main__":
    main()

"""The highest RSS of every process of a tree, watched while something happens to it.

The kernel keeps each process's highest RSS itself (VmHWM in /proc/PID/status): a peak between two readings is not
missed. It is read every few milliseconds only because it is gone with the process.
"""

import contextlib
import threading
from pathlib import Path
from typing import Self

from scripts.measure import Tree

PAUSE_S = 0.005
LOOK_FOR_NEW_EVERY = 10  # readings; the list of a tree's processes takes a walk through /proc


class Heights:
    """A thread that reads; a context manager. `highest` is (bytes, pid), of all processes that were seen."""

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._by_pid: dict[int, int] = {}

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    @property
    def highest(self) -> tuple[int, int]:
        return max(((height, pid) for pid, height in self._by_pid.items()), default=(0, 0))

    def _watch(self) -> None:
        turn, pids = 0, list[int]()
        while True:
            ending = self._end.is_set()  # asked before the reading: the last one is after all that happened
            if turn % LOOK_FOR_NEW_EVERY == 0 or ending:
                pids = [process.pid for process in self._tree.members()]
            for pid in pids:
                self._by_pid[pid] = max(self._by_pid.get(pid, 0), high_water_bytes(pid))
            if ending:
                return
            turn += 1
            self._end.wait(PAUSE_S)


def high_water_bytes(pid: int | str) -> int:
    """Return a process's highest RSS so far, "self" for this one; 0 when it is gone or a zombie."""
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text("utf-8", "replace").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    return 0

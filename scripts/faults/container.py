"""A memory limit around a process tree: a control group where one can be made, else a watch that enforces it."""

import contextlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from time import monotonic, sleep
from typing import Protocol

import psutil

from scripts.measure import Tree
from supervisor.container import Group

MEMORY = Path("/sys/fs/cgroup/memory")
WATCH_EVERY_S = 0.2
ENTER_LIMIT_S = 5.0
REMOVE_LIMIT_S = 5.0


class Limit(Protocol):
    """What surrounds a tree."""

    @property
    def name(self) -> str:
        """How a report calls it."""
        ...

    def inside(self, words: Sequence[str]) -> Sequence[str]:
        """Make a command line one that runs inside."""
        ...

    def enforce_on(self, pid: int) -> None:
        """Begin to count: this is the process that was started inside."""
        ...

    def kills(self) -> int:
        """Return how often the limit killed: a process, or where none can be singled out the whole tree."""
        ...

    def peak_bytes(self) -> int:
        """Return the largest use so far."""
        ...


class ControlGroup:
    """A version 1 group: the kernel counts and kills."""

    name = "cgroup"

    def __init__(self, directory: Path) -> None:
        self._group = Group(directory, 1)

    def inside(self, words: Sequence[str]) -> Sequence[str]:
        # The shell enters the group and becomes the program, so nothing of it is charged elsewhere
        return [
            "/bin/sh",
            "-c",
            'echo $$ > "$0" && exec "$@"',
            str(self._group.directory / "cgroup.procs"),
            *words,
        ]

    def enforce_on(self, pid: int) -> None:
        tree = Tree(pid)
        end = monotonic() + ENTER_LIMIT_S  # the shell has been started, and may not have run yet
        while str(pid) not in (self._group.directory / "cgroup.procs").read_text().split():
            if not tree.alive:
                return
            if monotonic() > end:
                raise TimeoutError("the worker never entered its group")
            sleep(0.01)

    def kills(self) -> int:
        return self._group.oom_kills or 0

    def peak_bytes(self) -> int:
        return int((self._group.directory / "memory.max_usage_in_bytes").read_text())


class Watch:
    """Where no group can be made: a tree's PSS is read again and again, and above the limit all of it is killed."""

    name = "watch (PSS)"

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._peak = self._kills = 0
        self._tree: Tree | None = None
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._enforce, daemon=True)

    def inside(self, words: Sequence[str]) -> Sequence[str]:
        return words

    def enforce_on(self, pid: int) -> None:
        self._tree = Tree(pid)
        if not self._thread.is_alive():
            self._thread.start()

    def kills(self) -> int:
        return self._kills

    def peak_bytes(self) -> int:
        return self._peak

    def close(self) -> None:
        self._end.set()
        if self._thread.is_alive():
            self._thread.join()

    def look(self) -> None:
        """Read the tree that was entered last, and kill it if it is above the limit."""
        tree = self._tree
        if tree is None:
            return
        pss = tree.pss_bytes()
        self._peak = max(self._peak, pss)
        if pss > self._limit_bytes:
            self._kills += 1
            for process in tree.members():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal.SIGKILL)

    def _enforce(self) -> None:
        while not self._end.wait(WATCH_EVERY_S):
            self.look()


@contextlib.contextmanager
def limited(limit_bytes: int, parent: Path = MEMORY) -> Iterator[Limit]:
    """Make the best limit that this machine allows, and remove it when what ran inside is gone."""
    directory = parent / f"friendship-{os.getpid()}"
    try:
        directory.mkdir()
    except OSError:
        with contextlib.closing(Watch(limit_bytes)) as watch:
            yield watch
        return
    try:
        (directory / "memory.limit_in_bytes").write_text(str(limit_bytes))
        with contextlib.suppress(OSError):  # where the kernel counts swap, there is none to flee to
            (directory / "memory.memsw.limit_in_bytes").write_text(str(limit_bytes))
        yield ControlGroup(directory)
    finally:
        _remove(directory)


def _remove(directory: Path) -> None:
    """Remove a group. A process that was just killed may be counted in it for a moment."""
    end = monotonic() + REMOVE_LIMIT_S
    while True:
        try:
            directory.rmdir()
        except OSError:
            if monotonic() > end:
                raise
            sleep(0.02)
        else:
            return

"""Memory as the system tells it: resident bytes, the allocator's thresholds, the OOM killer's counter."""

import contextlib
import ctypes
import gc
import os
from pathlib import Path

import psutil

PAGE = os.sysconf("SC_PAGE_SIZE")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
THRESHOLD_BYTES = 128 * 1024
"""glibc's own start values. Setting them stops it from raising them after the first large message, for good."""

_libc = ctypes.CDLL(None, use_errno=True)
# musl has neither call; there the allocator gives memory back in its own way.
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)


def prepare() -> None:
    """Make this process a light one to fork from: thresholds set, garbage gone, the rest kept out of collections.

    Frozen objects are never visited by a child's collector, so their pages stay shared.
    """
    if _mallopt is not None:
        _mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
        _mallopt(M_TRIM_THRESHOLD, THRESHOLD_BYTES)
    gc.collect()
    gc.freeze()


def rest() -> None:
    """Give back what the last message took."""
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)


def own_rss_bytes() -> int:
    """Return the resident bytes of this process."""
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE


class Resident:
    """The resident bytes of one child, read cheaply and often.

    The kept descriptor belongs to that process alone: once it is gone a read fails, whoever has its number now.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, *, dense: bool) -> int | None:
        """Return the resident bytes; None when the process is gone, a zombie, or cannot be read.

        dense: read the kept descriptor (2.4 us) instead of asking psutil (17 us).
        """
        try:
            rss: int = self._statm_rss() if dense else self._process.memory_info().rss
        except (psutil.Error, OSError, IndexError, ValueError):
            return None
        return rss or None

    def _statm_rss(self) -> int:
        return int(os.pread(self._statm, 128, 0).split()[1]) * PAGE

    def close(self) -> None:
        """Let the descriptor go."""
        os.close(self._statm)


class OomKills:
    """The kernel's count of processes killed for memory in this control group, version 1 or 2."""

    def __init__(self, cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> None:
        self._path = _counter(cgroup, root)
        self._seen = self._count()

    def rose(self) -> bool:
        """Say whether the count has risen since the last call: then a SIGKILL just seen was the kernel's."""
        count = self._count()
        risen, self._seen = count > self._seen, count
        return risen

    def _count(self) -> int:
        if self._path is not None:
            with contextlib.suppress(OSError, ValueError):
                for line in self._path.read_text().splitlines():
                    name, _, value = line.partition(" ")
                    if name == "oom_kill":
                        return int(value)
        return 0


def _counter(cgroup: Path, root: Path) -> Path | None:
    """Find the file with the counter nearest above us. A container sees its own group as the root of the tree."""
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return None
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "memory":
            top, file = root / "memory", "memory.oom_control"
        elif not controllers:
            top, file = root, "memory.events"
        else:
            continue
        place = top / name.lstrip("/")
        for directory in (place, *place.parents):
            if _has_counter(directory / file):
                return directory / file
            if directory == top:
                break
    return None


def _has_counter(path: Path) -> bool:
    try:
        return "oom_kill " in path.read_text()
    except OSError:
        return False

"""Memory as the system tells it: resident bytes, the allocator's thresholds, the OOM killer's counter."""

import contextlib
import ctypes
import gc
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path

import psutil

from supervisor import container

PAGE = os.sysconf("SC_PAGE_SIZE")
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
THRESHOLD_BYTES = 128 * 1024
"""glibc's own start values. Setting them stops it from raising them after the first large message, for good."""

MADV_DONTNEED = 4
MAPPING = re.compile(
    r"^(?P<start>[0-9a-f]+)-(?P<end>[0-9a-f]+) r-[x-]p [0-9a-f]+ \S+ (?P<inode>\d+).*\n"
    r"(?:[A-Z]\w+:.*\n)*?Anonymous: +(?P<anonymous>\d+) kB$",
    re.MULTILINE,
)

RESET_PEAK = b"5"
PEAK = re.compile(rb"^VmHWM:\s+(\d+) kB$", re.MULTILINE)

PSUTIL_EVERY_S = 1.0
OOM_LOOK_S = 1.0
OOM_FRESH_S = 2.0
"""Until a victim is reaped: 27 ms from the kill for a child of 300 MB, more while the system is short of memory."""

_files: list[tuple[int, int]] = []
_libc = ctypes.CDLL(None, use_errno=True)
# musl has neither call; there the allocator gives memory back in its own way.
_mallopt = getattr(_libc, "mallopt", None)
_malloc_trim = getattr(_libc, "malloc_trim", None)


def tune() -> None:
    """Tell the allocator how to behave in this process and in all that it forks. Before a first thread."""
    if _mallopt is None:
        return
    _mallopt(M_MMAP_THRESHOLD, THRESHOLD_BYTES)
    _mallopt(M_TRIM_THRESHOLD, THRESHOLD_BYTES)
    # A second thread, should a library ever start one, would reserve 64 MB of address space, which the wall cannot
    # refuse: to make use of what is mapped already (mprotect) is not held against RLIMIT_AS
    _mallopt(M_ARENA_MAX, 1)


def prepare() -> None:
    """Make this process a light one to fork from: tuned, garbage gone, the rest kept out of collections.

    Frozen objects are never visited by a child's collector, so their pages stay shared. File pages that only the start
    needed are let go (11 MB resident in the parent); what is used again comes back from the page cache.
    """
    tune()
    rest()
    gc.freeze()
    _files[:] = clean_mappings(Path("/proc/self/smaps").read_text())
    forget_files()


def forget_files() -> None:
    """Let go of the file pages that were mapped when this process was prepared, or the one that it was forked from."""
    for start, size in _files:
        _libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), MADV_DONTNEED)


def clean_mappings(smaps: str) -> list[tuple[int, int]]:
    """Return (start, bytes) of the mappings of files that hold nothing but what is in the file.

    smaps: the text of /proc/PID/smaps. A mapping that is read-only by now may have been written to before
    (relocations): it has anonymous pages then, and is none of these.
    """
    found: list[tuple[int, int]] = []
    for mapping in MAPPING.finditer(smaps):
        start, end = int(mapping["start"], 16), int(mapping["end"], 16)
        if mapping["inode"] != "0" and mapping["anonymous"] == "0":
            found.append((start, end - start))
    return found


def rest() -> None:
    """Give back what the last message took."""
    gc.collect()
    if _malloc_trim is not None:
        _malloc_trim(0)


@dataclass(frozen=True, slots=True)
class Sizes:
    """Bytes of this process: all that it has mapped, what of that is resident, and what is private and writable."""

    mapped: int
    resident: int
    data: int


def own_sizes() -> Sizes:
    """Measure this process."""
    # Plain calls: a file object and a path would touch pages that are still shared with the parent
    statm = os.open("/proc/self/statm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fields = os.read(statm, 128).split()
    finally:
        os.close(statm)
    return Sizes(int(fields[0]) * PAGE, int(fields[1]) * PAGE, int(fields[5]) * PAGE)


def own_rss_bytes() -> int:
    """Return the resident bytes of this process."""
    return own_sizes().resident


class HighWater:
    """The highest resident size of this process since the last reset.

    Where the kernel cannot reset it, it is that of the whole life: of the child, as a fork begins with its own.
    """

    def __init__(self) -> None:
        self._status = os.open("/proc/self/status", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._reset: int | None = os.open("/proc/self/clear_refs", os.O_WRONLY | os.O_CLOEXEC)
        except OSError:
            self._reset = None

    def reset(self) -> None:
        """Begin anew, from the present size."""
        if self._reset is not None:
            with contextlib.suppress(OSError):
                os.write(self._reset, RESET_PEAK)

    def read_bytes(self) -> int:
        """Return the peak; 0 when the kernel does not tell it."""
        found = PEAK.search(os.pread(self._status, 8192, 0))
        return int(found[1]) * 1024 if found else 0


class Resident:
    """The resident bytes of one child, read cheaply and often.

    The kept descriptor belongs to that process alone: once it is gone a read fails, whoever has its number now.
    """

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._statm = os.open(f"/proc/{pid}/statm", os.O_RDONLY | os.O_CLOEXEC)
        self._psutil_due_at = -math.inf

    def read(self, now: float) -> int | None:
        """Return the resident bytes; None when the process is gone, a zombie, or cannot be read.

        Once in PSUTIL_EVERY_S psutil is asked (17 us), in between the kept descriptor is read (2.4 us).
        """
        if now >= self._psutil_due_at:
            self._psutil_due_at = now + PSUTIL_EVERY_S
            # psutil opens a file each time: with no descriptor left to open, the kept one still answers.
            with contextlib.suppress(psutil.Error, OSError):
                return int(self._process.memory_info().rss) or None
        try:
            return int(os.pread(self._statm, 128, 0).split(None, 2)[1]) * PAGE or None
        except (OSError, IndexError, ValueError):
            return None

    def close(self) -> None:
        """Let the descriptor go."""
        os.close(self._statm)


class OomKills:
    """The kernel's kills for memory in this control group (version 1 or 2), each to be charged to one death at most.

    The count rises before its victim is gone. So a rise waits a moment for its death; after that it was a stranger's,
    and no later death is charged with it.
    """

    def __init__(self, cgroup: Path = container.PROC_CGROUP, root: Path = container.CGROUP_ROOT) -> None:
        counting = (group for group in container.groups(cgroup, root) if group.oom_kills is not None)
        self._group = next(counting, None)
        self._seen = self._count()
        self._looked_at = 0.0
        self._rises: list[tuple[float, int]] = []

    def look(self, now: float) -> None:
        """Read the counter if that is due: often enough that no rise looks younger than it is by more than a pause."""
        if now - self._looked_at >= OOM_LOOK_S:
            self._read(now)

    def fresh(self, now: float) -> int:
        """Return how many kills are not charged yet and recent enough to be, as of this very moment."""
        self._read(now)
        return sum(kills for _, kills in self._rises)

    def charge(self, deaths: int) -> None:
        """Strike out so many, the oldest first."""
        while deaths > 0 and self._rises:
            at, kills = self._rises.pop(0)
            if kills > deaths:
                self._rises.insert(0, (at, kills - deaths))
            deaths -= kills

    def _read(self, now: float) -> None:
        count = self._count()
        if count > self._seen:
            self._rises.append((now, count - self._seen))
        self._seen, self._looked_at = count, now
        self._rises = [(at, kills) for at, kills in self._rises if now - at <= OOM_FRESH_S]

    def _count(self) -> int:
        return (self._group.oom_kills if self._group else None) or 0

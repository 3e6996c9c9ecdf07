"""The memory limit that surrounds us: the smallest of our control group and those above it, version 1 or 2.

A container usually sees its own group as the root of the mount: the path that /proc tells does not exist below it then,
and the walk ends at the root, which is the group itself. On a hybrid system the version 2 tree is there too, without
memory files; whatever cannot be read is passed over.
"""

import contextlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PROC_CGROUP = Path("/proc/self/cgroup")
CGROUP_ROOT = Path("/sys/fs/cgroup")

NO_LIMIT_BYTES = 2**60
"""From here on a version 1 limit means none: the kernel writes its largest page count, which depends on the page."""


@dataclass(frozen=True, slots=True)
class Group:
    """One directory of a control group tree, with the names that its version gives to things."""

    directory: Path
    version: int

    @property
    def limit_bytes(self) -> int | None:
        """Return this group's own limit; None without one, or when it cannot be read."""
        return self._bytes("memory.max" if self.version == 2 else "memory.limit_in_bytes")

    @property
    def throttle_bytes(self) -> int | None:
        """Return where the kernel begins to slow this group down (version 2: memory.high); None without that."""
        return self._bytes("memory.high") if self.version == 2 else None

    @property
    def effective_limit_bytes(self) -> int | None:
        """Return the limit with all groups above counted, also those out of sight (version 1 tells); else None."""
        return (
            _limited(self.counted("memory.stat", "hierarchical_memory_limit")) if self.version == 1 else None
        )

    @property
    def working_set_bytes(self) -> int | None:
        """Return what is charged to this group and cannot simply be dropped; None when it cannot be read."""
        if self.version == 2:
            used, inactive = self._bytes("memory.current"), self.counted("memory.stat", "inactive_file")
        else:
            used = self._bytes("memory.usage_in_bytes")
            inactive = self.counted("memory.stat", "total_inactive_file")
        return None if used is None or inactive is None else max(0, used - inactive)

    @property
    def oom_kills(self) -> int | None:
        """Return how often the kernel has killed in this group for want of memory; None without a counter."""
        return self.counted("memory.events" if self.version == 2 else "memory.oom_control", "oom_kill")

    def counted(self, file: str, name: str) -> int | None:
        """Return the number behind `name` in a file of such lines."""
        with contextlib.suppress(OSError, ValueError):
            found = re.search(rf"^{name} (\d+)$", (self.directory / file).read_text(), re.MULTILINE)
            return int(found[1]) if found else None
        return None

    def _bytes(self, file: str) -> int | None:
        with contextlib.suppress(OSError, ValueError):
            return _limited(int((self.directory / file).read_text()))  # "max", for none, is no number
        return None


def _limited(amount: int | None) -> int | None:
    return amount if amount is not None and amount < NO_LIMIT_BYTES else None


@dataclass(frozen=True, slots=True)
class Container:
    """The limit that we are under: bytes, or None for none known; and the group that sets it.

    throttle_bytes: from here on the kernel slows everything down instead of killing; None without such a mark.
    """

    limit_bytes: int | None = None
    group: Group | None = None
    throttle_bytes: int | None = None

    @property
    def name(self) -> str:
        """How a message names the place of the limit."""
        return str(self.group.directory) if self.group else "no control group"

    def working_set_bytes(self) -> int | None:
        """Return the group's usage without inactive file pages: what the limit will be held against.

        None without a limit, or when it cannot be read. Everybody in the group counts, not only our processes. Two
        files are read, in 60 us.
        """
        return self.group.working_set_bytes if self.group else None


def find(cgroup: Path = PROC_CGROUP, root: Path = CGROUP_ROOT) -> Container:
    """Find the smallest memory limit from our own group up to the root of the tree."""
    way = list(groups(cgroup, root))
    limits = [(limit, group) for group in way if (limit := group.limit_bytes) is not None]
    for group in way:
        if (effective := group.effective_limit_bytes) is not None:
            # Set below the root of our mount it is in the list already, and its group comes first; set above, out of
            # sight, the nearest group that can be seen is the outermost.
            limits.append((effective, [each for each in way if each.version == group.version][-1]))
            break
    limit, setter = min(limits, key=lambda found: found[0], default=(None, None))
    throttle = min((mark for group in way if (mark := group.throttle_bytes) is not None), default=None)
    return Container(limit, setter, throttle)


def groups(cgroup: Path = PROC_CGROUP, root: Path = CGROUP_ROOT) -> Iterator[Group]:
    """Give the groups whose memory files count for us, our own first, then those above, as far as they are there.

    Nothing is raised: without control groups there are none.
    """
    try:
        lines = cgroup.read_text().splitlines()
    except OSError:
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if "memory" in controllers.split(","):
            yield from _upwards(root / "memory", name, version=1)
        elif not controllers:
            # A hybrid system has the version 2 tree in a directory of its own.
            for top in (root / "unified", root):
                yield from _upwards(top, name, version=2)


def _upwards(top: Path, name: str, *, version: int) -> Iterator[Group]:
    parts = Path(name.lstrip("/")).parts
    if ".." in parts:  # our group is not below the namespace's root
        parts = ()
    for depth in range(len(parts), -1, -1):
        directory = top.joinpath(*parts[:depth])
        if directory.is_dir():
            yield Group(directory, version)

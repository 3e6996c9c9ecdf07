"""This machine: open files, processes, temporary files, and what the kernel must be able to do."""

import os
import resource
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

from consumer.intake import Spool
from consumer.settings import MIB
from supervisor.cli.checks.finding import Finding, fail, ok, warn
from supervisor.container import groups
from supervisor.memory import own_sizes
from supervisor.process import first_in_line

FILES_OF_A_CHILD = 4
"""Descriptors that the parent holds for one: its pidfd and its memory file, twice while it is being replaced."""
FILES_BESIDE = 64
PROCESSES_BESIDE = 8
"""Status, retry pass, janitor, and one child more than usual while another is replaced; the rest is reserve."""
IN_MEMORY = frozenset({"tmpfs", "ramfs"})


@dataclass(frozen=True, slots=True)
class Allowed:
    """What this process may have; None is no limit. processes: how many more this user, or its group, may start."""

    files: int | None
    processes: int | None


def look(children: int, hard_bytes: int, max_message_bytes: int) -> Iterator[Finding]:
    """Look around. Nothing stays behind: the temporary file that is tried has no name."""
    yield limits(children, allowed())
    yield from cramped(hard_bytes)
    yield _spool(max_message_bytes)
    yield _kernel()


def limits(children: int, has: Allowed) -> Finding:
    """Hold the limits of files and processes against what so many children need."""
    files, processes = FILES_OF_A_CHILD * children + FILES_BESIDE, children + PROCESSES_BESIDE
    seen = f"open files {_spelled(has.files)}, further processes {_spelled(has.processes)}"
    if has.files is not None and has.files < files:
        return fail(
            "limits", f"{seen}: {children} children need {files} files", f"ulimit -n {files} (LimitNOFILE=)"
        )
    if has.processes is not None and has.processes < processes:
        return fail(
            "limits",
            f"{seen}: {children} children need {processes} processes",
            "raise ulimit -u (LimitNPROC=), or pids.max (TasksMax=, --pids-limit)",
        )
    return ok("limits", seen, files=has.files, processes=has.processes)


def cramped(hard_bytes: int) -> Iterator[Finding]:
    """Tell of each limit of memory that keeps a child from its hard budget: messages would be blamed for it."""
    sizes = own_sizes()
    for kind, size, name, remedy in (
        (resource.RLIMIT_AS, sizes.mapped, "address space", "ulimit -v {} (LimitAS=)"),
        (resource.RLIMIT_DATA, sizes.data, "data", "ulimit -d {} (LimitDATA=)"),
    ):
        _, most = resource.getrlimit(kind)
        if most != resource.RLIM_INFINITY and most < size + hard_bytes:
            needed = f"a child needs {(size + hard_bytes) // MIB} MB to grow to its hard budget"
            kilobytes = -(-(size + hard_bytes) // 1024)
            yield fail("limits", f"{name} {most // MIB} MB: {needed}", remedy.format(kilobytes))


def make_room(children: int) -> Finding:
    """Raise the limit of open files as far as children need and the kernel lets us; tell what is then allowed."""
    files = FILES_OF_A_CHILD * children + FILES_BESIDE
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < files:
        most = files if hard == resource.RLIM_INFINITY else min(files, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
    return limits(children, Allowed(allowed().files, None))


def allowed() -> Allowed:
    """Ask the kernel. Of files the hard limit counts: `run` raises the soft one."""
    _, files = resource.getrlimit(resource.RLIMIT_NOFILE)
    return Allowed(None if files == resource.RLIM_INFINITY else files, _processes())


def _processes() -> int | None:
    rooms = [room for room in (_room_of_user(), *map(_room_of_group, _pids_groups())) if room is not None]
    return min(rooms, default=None)


def _room_of_user() -> int | None:
    most, _ = resource.getrlimit(resource.RLIMIT_NPROC)
    if most == resource.RLIM_INFINITY or os.getuid() == 0:  # root is never held to it
        return None
    mine = os.getuid()
    # The kernel counts threads, of all containers that share the user
    threads = [
        process.info["num_threads"] or 1
        for process in psutil.process_iter(["uids", "num_threads"])
        if process.info["uids"] and process.info["uids"].real == mine
    ]
    return max(0, most - sum(threads))


def _pids_groups() -> list[Path]:
    # Version 2, or version 1's own tree beside the one of memory
    found = [group.directory for group in groups()]
    return [*found, *(Path(str(path).replace("/memory", "/pids", 1)) for path in found)]


def _room_of_group(directory: Path) -> int | None:
    try:
        most, there = ((directory / name).read_text() for name in ("pids.max", "pids.current"))
        return max(0, int(most) - int(there))
    except (OSError, ValueError):  # no such controller, or "max"
        return None


def _spelled(count: int | None) -> str:
    return "without limit" if count is None else str(count)


def _spool(max_message_bytes: int) -> Finding:
    """Try the directory into which bodies go that are too large for memory."""
    subject = "temp files"
    try:
        directory = tempfile.gettempdir()
        spool = Spool.open()
        spool.append(b"\0")
        free = psutil.disk_usage(directory).free
    except OSError as error:
        return fail(
            subject, f"cannot be written: {error.strerror}", "point TMPDIR to a directory that can, with room"
        )
    seen = f"{directory}: {free // MIB} MB free"
    if free < max_message_bytes:
        return warn(
            subject,
            f"{seen}, and a body of over {max_message_bytes // MIB} MB is set aside through a file there",
            "point TMPDIR to a directory with room",
            free_bytes=free,
        )
    if _filesystem(directory) in IN_MEMORY:
        return warn(
            subject,
            f"{seen}, in memory: a body that is set aside through a file there counts against the memory limit",
            "point TMPDIR to a directory on a disk",
            free_bytes=free,
        )
    return ok(subject, seen, free_bytes=free)


def _filesystem(directory: str) -> str:
    path = os.path.realpath(directory)
    mounts = {each.mountpoint: each.fstype for each in psutil.disk_partitions(all=True)}
    while path not in mounts and path != "/":
        path = os.path.dirname(path)  # noqa: PTH120 (psutil gives texts)
    return mounts.get(path, "")


def _kernel() -> Finding:
    """See that children can be watched by descriptor, and say whether the parent will get the processor first."""
    try:
        os.close(os.pidfd_open(os.getpid()))
    except OSError as error:
        return fail(
            "kernel",
            f"{os.uname().release} gives no descriptor of a process (pidfd_open: {error.strerror})",
            "Linux 5.4 or newer, and a seccomp profile that lets pidfd_open through",
        )
    with first_in_line() as first:
        share = (
            "gets the processor before ordinary processes"
            if first
            else "waits for the processor as others do (CAP_SYS_NICE would put it first)"
        )
    return ok("kernel", f"{os.uname().release}; the supervisor {share}", first_in_line=first)

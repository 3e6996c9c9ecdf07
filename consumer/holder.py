"""Who holds a claim, in words that tell whether it can still live: machine, supervisor, process and slot."""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def _here() -> str | None:
    """Name this machine and its view of processes: host, start of the system, PID namespace. None if hidden."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
        return f"{_host()}:{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return None


def _host() -> str:
    # What is no UTF-8 in it would be refused by the database
    return socket.gethostname().encode("utf-8", "replace").decode()[:64]


def owner(slot: int) -> str:
    """Name this process by the supervisor that forked it and the slot that it fills."""
    return f"{_here() or _host()}:{os.getppid()}:{os.getpid()}:{slot}"


def is_gone(claimed_by: str) -> bool:
    """Say whether a claim, named by its `owner` and what makes it unique, is known to have lost process and supervisor.

    While its supervisor lives, an account of the process is to come. Only of processes that this one could see is
    anything known.
    """
    here = _here()
    place, found, rest = claimed_by.partition(f"{here}:")
    pids = rest.split(":")[:2]
    if here is None or place or not found or len(pids) < 2 or not all(pid.isdecimal() for pid in pids):
        return False
    return not any(_lives(int(pid)) for pid in pids)


def _lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except (PermissionError, OverflowError):
        pass
    return True

"""Who holds a claim, in words that tell whether it can still live: machine, process and slot."""

import os
import socket
from functools import cache
from pathlib import Path


@cache
def _here() -> str:
    """Name this machine and its view of processes: host, start of the system, PID namespace."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii")[:8]
    return f"{socket.gethostname()[:64]}:{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"


def owner(slot: int) -> str:
    """Name this process, and the slot that it fills."""
    return f"{_here()}:{os.getpid()}:{slot}"


def is_gone(claimed_by: str) -> bool:
    """Say whether the process of a claim, named by its `owner` and what makes the claim unique, is known to have ended.

    Only of processes that this one could see is that known.
    """
    place, _, rest = claimed_by.partition(f"{_here()}:")
    pid = rest.partition(":")[0]
    if place or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):
        pass
    return False

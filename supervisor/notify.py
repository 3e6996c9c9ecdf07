"""What a service manager is told: one datagram from a socket that is made and closed at once (sd_notify(3)).

Without NOTIFY_SOCKET, or with one of another kind than a path or an abstract name, there is nobody to tell.
"""

import os
import re
import socket
from collections import Counter
from collections.abc import Mapping
from typing import Any

from supervisor.logs import printable

MICROSECONDS = 1_000_000


class Notifier:
    """The line to the service manager. Every method is cheap, never waits and never raises.

    Each says whether the word has been taken. Not taken is what finds the manager's queue full, or the manager gone;
    whoever needs it to arrive (READY) says it again. With nobody to tell, every word counts as taken.

    environ: where the manager left NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID. Made by the process that is the
    service: the watchdog is asked of a pid.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = _address(environ.get("NOTIFY_SOCKET", ""))
        self._watchdog_every_s = _every_s(environ, os.getpid()) if self._address else None

    @property
    def is_heard(self) -> bool:
        """Say whether there is a manager at all."""
        return self._address is not None

    @property
    def watchdog_every_s(self) -> float | None:
        """How often `watchdog` has to be called: half of what the manager allows. None: nobody waits for it."""
        return self._watchdog_every_s

    def ready(self, text: str) -> bool:
        """Say that the start is over, and how things stand."""
        return self._tell("READY=1", _status(text))

    def status(self, text: str) -> bool:
        """Say how things stand: one line for people."""
        return self._tell(_status(text))

    def stopping(self, text: str) -> bool:
        """Say that the end has begun."""
        return self._tell("STOPPING=1", _status(text))

    def watchdog(self) -> bool:
        """Say that all is well inside; the manager kills who has not said so for too long."""
        return self._tell("WATCHDOG=1")

    def _tell(self, *words: str) -> bool:
        if self._address is None:
            return True
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as line:
                line.sendto(
                    "\n".join(words).encode("utf-8", "replace"),
                    socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL,
                    self._address,
                )
        except OSError:
            return False
        return True


def spell(status: Mapping[str, Any]) -> str:
    """Spell the object of /status as one line: "8 of 8 ready, 3 busy, 120 processed, 4 failed; breaker closed"."""
    whole, totals = status["supervisor"], status["totals"]
    states = Counter(child["state"] for child in status["children"])
    counts = (
        f"{states['idle'] + states['busy']} of {whole['children_target']} ready, {states['busy']} busy, "
        f"{totals['processed']} processed, {totals['failed']} failed; breaker {whole['breaker']['state']}"
    )
    stopping = "stopping: " if whole["state"] == "stopping" else ""
    not_ready = whole.get("not_ready")
    return f"{stopping}{counts}; {not_ready}" if not_ready and not stopping else f"{stopping}{counts}"


def _status(text: str) -> str:
    # A line break would begin another assignment
    return f"STATUS={printable(text)}"


def _address(name: str) -> bytes | None:
    """Read NOTIFY_SOCKET: a path, or @ and an abstract name."""
    match name[:1]:
        case "/":
            return os.fsencode(name)
        case "@" if len(name) > 1:
            return b"\0" + os.fsencode(name[1:])
        case _:
            return None


def _every_s(environ: Mapping[str, str], pid: int) -> float | None:
    allowed, of = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
    # A manager's number is one of 64 bits; of more digits not even a float can be made
    if not re.fullmatch(r"0*[1-9][0-9]{0,19}", allowed, re.ASCII) or of not in ("", str(pid)):
        return None
    return int(allowed) / MICROSECONDS / 2

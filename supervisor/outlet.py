"""Where lines go out: a descriptor that is written to without ever waiting for whoever reads it.

Parent and children share one standard output, and whether it waits is a flag of the open file that they share with
strangers too. So the flag is left alone, and each kind of file has its own way:

- a pipe or a terminal is opened once more, as an open file of our own that does not wait;
- a socket (the journal's) is asked not to wait, call by call;
- any other file never waits for a reader. A pipe of another user's cannot be opened again: it is asked first whether it
  has room, and then a neighbour may be quicker to take it. That is the one case left in which a write can wait.
"""

import contextlib
import os
import select
import socket
import stat
from collections.abc import Callable

MOST_BYTES = select.PIPE_BUF
"""A pipe takes so much whole or not at all, and unmixed with the lines of others."""


class Outlet:
    """An own way to write to the file behind a descriptor."""

    def __init__(self, fd: int) -> None:
        self._file: socket.socket | None = None
        self._own_fd: int | None = None
        self._torn = False
        self._send = self._way(fd)

    def write(self, line: bytes) -> bool:
        """Write the line, at most MOST_BYTES; False when there is no room, or nobody reads. Never waits or raises."""
        try:
            # A terminal may take half a line: what comes next must not continue it.
            data = b"\n" + line if self._torn else line
            self._torn = self._send(data) < len(data)
        except (OSError, ValueError):
            return False
        return not self._torn

    def close(self) -> None:
        """Let go of what was opened here. A later write says False."""
        self._send = _closed
        if self._file is not None:
            self._file.close()
        if self._own_fd is not None:
            os.close(self._own_fd)
        self._file = self._own_fd = None

    def _way(self, fd: int) -> Callable[[bytes], int]:
        mode = os.fstat(fd).st_mode
        if stat.S_ISSOCK(mode):
            self._file = peer = socket.socket(fileno=os.dup(fd))
            return lambda data: peer.send(data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not stat.S_ISFIFO(mode) and not os.isatty(fd):
            return lambda data: os.write(fd, data)
        with contextlib.suppress(OSError):
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY
            self._own_fd = own = os.open(f"/proc/self/fd/{fd}", flags)
            return lambda data: os.write(own, data)
        room = select.poll()
        room.register(fd, select.POLLOUT)
        return lambda data: os.write(fd, data) if room.poll(0) else 0


def _closed(_line: bytes) -> int:
    raise OSError("closed")

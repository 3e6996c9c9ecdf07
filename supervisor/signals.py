"""Signals as values. Handlers do nothing: the interpreter writes each signal's number to a pipe that wakes the loop."""

import os
import signal
from types import FrameType, TracebackType
from typing import Any, Self

ASKED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGUSR1,
)
HANDLED = (*ASKED, signal.SIGCHLD)


def hold() -> None:
    """Let what is ASKED wait from now on, until there is a `Signals` to take it.

    A start takes a while, and a stop that comes in between must be a stop like any other. Blocked signals wait even for
    PID 1, for which the kernel discards what it has no handler for.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, ASKED)


def release() -> None:
    """Let signals do what they usually do; those held arrive now."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, ASKED)


class Signals:
    """The signals that have arrived, those that were held included.

    Old handlers come back at the end of the `with` block, and what was held before is held again.
    """

    def __enter__(self) -> Self:
        self._old_mask = signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        self.fd, self._pen = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self._old_fd = signal.set_wakeup_fd(self._pen, warn_on_full_buffer=False)
        self._old: dict[signal.Signals, Any] = {number: signal.signal(number, _wake) for number in HANDLED}
        signal.pthread_sigmask(signal.SIG_UNBLOCK, HANDLED)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.pthread_sigmask(signal.SIG_BLOCK, HANDLED)
        for number, handler in self._old.items():
            # None: it was not set from Python and cannot be put back from here.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(self._old_fd)
        self._close()
        signal.pthread_sigmask(signal.SIG_SETMASK, self._old_mask)

    def take(self) -> list[signal.Signals]:
        """Return what has arrived since the last call, in order."""
        arrived = bytearray()
        while True:
            try:
                chunk = os.read(self.fd, 512)
            except BlockingIOError:
                break
            arrived += chunk
        if not arrived:
            return []
        known = signal.valid_signals()
        return [signal.Signals(number) for number in arrived if number in known]

    def forget(self) -> None:
        """In a forked child, signals blocked: let go of the parent's pipe, and of its handlers."""
        signal.set_wakeup_fd(-1)
        for number in HANDLED:
            signal.signal(number, signal.SIG_DFL)
        self._close()

    def _close(self) -> None:
        os.close(self.fd)
        os.close(self._pen)


def _wake(_number: int, _frame: FrameType | None) -> None:
    """Exist, so that the interpreter catches the signal and writes its number."""

"""A program that answers by what it prints, and does not outlive its question."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any

LIMIT_S = 10.0
PR_SET_PDEATHSIG = 1

_libc = ctypes.CDLL(None, use_errno=True)


class BoundedProgram(subprocess.Popen[bytes]):
    """A program in a session of its own: killed with what it started when it takes too long, alone when we die.

    For a process of one thread, as code runs between fork and exec.
    """

    def __init__(self, arguments: Sequence[str], **how: Any) -> None:
        die = partial(_die_with, os.getpid())
        super().__init__(arguments, start_new_session=True, preexec_fn=die, **how)

    def communicate(self, input: bytes | None = None, timeout: float | None = LIMIT_S) -> tuple[Any, Any]:  # noqa: A002
        """Give what it prints, to both its streams. Raises subprocess.TimeoutExpired."""
        try:
            return super().communicate(input, timeout)
        except BaseException:
            # Nobody has waited for it yet, so its number is still its own
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
            self.wait()
            for stream in (self.stdout, self.stderr):
                if stream is not None:
                    stream.close()
            raise


def _die_with(parent: int) -> None:
    """Have the kernel kill this process when its parent dies, however that is."""
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before
        os.kill(os.getpid(), signal.SIGKILL)

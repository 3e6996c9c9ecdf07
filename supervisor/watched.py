"""One process of ours as its supervisor holds it: a descriptor to signal and reap it by, and its memory to read."""

import os
import signal

from supervisor import process
from supervisor.memory import Resident
from supervisor.sampling import AT_ONCE


class Watched:
    """The descriptors of one process of ours, closed together.

    weigh: it is a child, whose memory is read, the next time when it is due. Raises OSError or psutil.Error when the
    process cannot be watched; it is gone then.
    """

    def __init__(self, pid: int, *, weigh: bool) -> None:
        self.pid = pid
        self.pidfd = process.watch(pid)
        self.resident: Resident | None = None
        self.due = AT_ONCE
        if weigh:
            try:
                self.resident = Resident(pid)
            except BaseException:
                process.send(self.pidfd, signal.SIGKILL)
                os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED)
                os.close(self.pidfd)
                raise

    def close(self) -> None:
        os.close(self.pidfd)
        if self.resident is not None:
            self.resident.close()

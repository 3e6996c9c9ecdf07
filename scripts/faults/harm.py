"""What happens to a process that works on a conversation, when faults are injected.

A conversation whose id names a runaway (`scripts.faults.runaway`) becomes one. One whose id begins with `poison-` makes
its process die as of a broken pointer, and one whose id begins with `unreadable-` already when it is parsed. With
FRIENDSHIP_FAULT_LEAK_MB set, every conversation leaves that much memory behind in its process; with
FRIENDSHIP_FAULT_USE_MB it uses as much and gives it back.
"""

import resource
import signal
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self

from scripts.faults import runaway

LEAK, USE = "FRIENDSHIP_FAULT_LEAK_MB", "FRIENDSHIP_FAULT_USE_MB"
POISON = "poison-"
UNREADABLE = b'"unreadable-'
HEAD_BYTES = 4096  # the ids come before the texts

_leaked: list[bytes] = []


@dataclass(frozen=True, slots=True)
class Harm:
    """How much memory a conversation leaves behind, and how much it uses for a moment."""

    leak_bytes: int = 0
    use_bytes: int = 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Self:
        """Read the two variables; neither set: no harm but to conversations that ask for it by their ids."""
        return cls(*(int(float(environment.get(name) or "0") * runaway.MB) for name in (LEAK, USE)))

    def befall(self, conversation_id: str) -> None:
        """Do it to this process. Returns, unless the conversation's id says otherwise."""
        kind = runaway.kind_of(conversation_id)
        if kind is not None:
            runaway.run(kind)
        if conversation_id.startswith(POISON):
            die()
        taken = b"\1" * (self.leak_bytes + self.use_bytes)
        if self.leak_bytes:
            _leaked.append(taken)


def die() -> None:
    """End this process by SIGSEGV, in this thread and at once, and leave no core behind."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.pthread_kill(threading.get_ident(), signal.SIGSEGV)

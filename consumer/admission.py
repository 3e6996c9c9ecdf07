"""Whether a message may come into this process, judged by its size before a byte of it has come.

1. One over the limit is never held in memory: it passes through a file on its way to the dead queue.
2. Nor is one that not even a fresh child has room for.
3. A fresh child keeps any other.
4. One that this child, which has grown, has no room for is left to others, and the child is to be replaced.
"""

from enum import Enum, auto

COST = 2
"""Bytes of memory that a byte of a body may take in a fresh child (CONTRACT section 1)."""
FULL_COST = 3
"""Those that it may take when all goes wrong: itself, its texts, and a log that hardly shrinks on its way to its row
(2.55 times the body was measured). A child that has grown has to have room for that."""


class Admission(Enum):
    """What becomes of a body that is about to come."""

    KEEP = auto()
    SPOOL = auto()
    LEAVE = auto()


def admit(
    size_bytes: int, *, limit_bytes: int, room_bytes: int, fresh_room_bytes: int, fresh: bool
) -> Admission:
    """Choose by the rules above.

    limit_bytes: the largest body that is parsed. room_bytes: by how much this process may still grow before it is
    stopped; fresh_room_bytes: by how much a fresh one may at the most. fresh: whether this is one.
    """
    if size_bytes > limit_bytes or COST * size_bytes > fresh_room_bytes:
        return Admission.SPOOL
    if fresh or FULL_COST * size_bytes <= room_bytes:
        return Admission.KEEP
    return Admission.LEAVE

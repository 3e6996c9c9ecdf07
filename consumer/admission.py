"""Whether a message may come into this process, judged by its size before a byte of it has come.

1. One over the limit is never held in memory: it passes through a file on its way to the dead queue.
2. Nor is one that not even a fresh child has room for.
3. One that only this child has no room for is left to others, and the child is to be replaced.
4. Any other is kept.
"""

from enum import Enum, auto

COST = 2
"""Bytes of memory that a byte of a body may take: itself, and as much for finding its texts and parking it."""


class Admission(Enum):
    """What becomes of a body that is about to come."""

    KEEP = auto()
    SPOOL = auto()
    LEAVE = auto()


def admit(size_bytes: int, *, limit_bytes: int, room_bytes: int, fresh_room_bytes: int) -> Admission:
    """Choose by the rules above.

    limit_bytes: the largest body that is parsed. room_bytes: by how much this process may still grow;
    fresh_room_bytes: by how much it might when it was new.
    """
    if size_bytes > limit_bytes or COST * size_bytes > fresh_room_bytes:
        return Admission.SPOOL
    if COST * size_bytes > room_bytes:
        return Admission.LEAVE
    return Admission.KEEP

"""The last line of the hard budget: the kernel refuses what would take a child over it.

A child may map as much as it may still grow. RLIMIT_AS counts every mapping; RLIMIT_DATA, which counts private ones
only, would let a shared file in, and no sampler is as fast as a mapping of cached pages. Nothing that is refused
becomes resident, so what is left is what was mapped before and not yet touched: code, for the most part, which is why
the wall is built again when the child has been ready once.
"""

import resource
import sys

from supervisor.limits import MB
from supervisor.memory import Sizes, own_sizes

MARGIN_BYTES = 8 * MB
"""Kept below the hard budget for mapped code that is touched later."""
RELIEF_BYTES = 4 * MB
"""Of the margin, what a MemoryError releases: its handling needs memory too."""


def build(hard_bytes: int, resident_bytes: int) -> None:
    """Let this process grow to `hard_bytes` and no further, whatever it does. resident_bytes: what it weighs now."""
    room = max(0, hard_bytes - resident_bytes - MARGIN_BYTES)
    sizes = own_sizes()
    _limit(resource.RLIMIT_AS, sizes.mapped + room)
    _limit(resource.RLIMIT_DATA, sizes.data + room)


def room_bytes(sizes: Sizes) -> int:
    """Return how much more this process may map, of either kind."""
    room = sys.maxsize
    for kind, size in ((resource.RLIMIT_AS, sizes.mapped), (resource.RLIMIT_DATA, sizes.data)):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            room = min(room, soft - size)
    return room


def relieve() -> None:
    """Open the wall by what the handling of a MemoryError takes."""
    for kind in (resource.RLIMIT_AS, resource.RLIMIT_DATA):
        soft, _ = resource.getrlimit(kind)
        if soft != resource.RLIM_INFINITY:
            _limit(kind, soft + RELIEF_BYTES)


def _limit(kind: int, size: int) -> None:
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or size <= hard:
        resource.setrlimit(kind, (size, hard))

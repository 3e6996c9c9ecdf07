"""How deliveries end."""

from enum import StrEnum


class Outcome(StrEnum):
    """How a delivery ended; also the names of the board's counters."""

    PROCESSED = "processed"
    FAILED = "failed"
    SKIPPED = "skipped"
    DEAD_LETTERED = "dead_lettered"
    DUPLICATE = "duplicate"
    EARLY = "early"
    FENCED = "fenced"
    DEFERRED = "deferred"
    RETURNED = "returned"

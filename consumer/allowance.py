"""How much of what is due may be published now: a wave of retries must not stand before the new messages."""

LEAST = 100
PER_CHILD = 20
"""Messages a pass for each child: with calls of 15 s, about what a child does between two passes."""
RESCUES = 20
"""Messages a pass for events that a vanished holder left, however many are ready: theirs may be in no queue."""


def allowance(depth: int, cap: int) -> int:
    """Say how many messages may be added to a queue that is to hold no more than `cap` ready ones.

    depth: messages that are ready in it, whoever published them. Both are counts; the result is in 0..cap.
    """
    return max(0, min(cap, cap - depth))


def built_in_cap(children: int) -> int:
    """Give the cap of the pass that the supervisor makes by itself, for so many children."""
    return max(LEAST, PER_CHILD * children)

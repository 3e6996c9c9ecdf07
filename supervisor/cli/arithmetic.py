"""The memory sums that are checked before anything starts."""

import psutil

from consumer.settings import MIB

# What a child adds to the pages that it shares with the parent until it consumes: its connections and their buffers
CHILD_OWN_BYTES = 8 * MIB


def idle_child_bytes() -> int:
    """Estimate the RSS of an idle child: this process, with all code loaded, and a child's own connections."""
    resident: int = psutil.Process().memory_info().rss
    return resident + CHILD_OWN_BYTES


def receiving_problem(max_message_bytes: int, hard_bytes: int) -> str | None:
    """Say what is wrong when receiving the largest message alone could pass the hard budget.

    pika holds a body twice while it joins the frames: before anything of ours can look at its size.
    """
    idle = idle_child_bytes()
    if 2 * max_message_bytes + idle <= hard_bytes:
        return None
    fitting = max((hard_bytes - idle) // 2, 0) // MIB
    return (
        f"--max-message-mb {max_message_bytes / MIB:g} does not fit: twice that and an idle child "
        f"({idle / MIB:.0f} MB) are over the hard budget of {hard_bytes / MIB:g} MB; "
        f"the largest that fits is --max-message-mb {fitting}"
    )

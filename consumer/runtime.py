"""What a child asks of whoever runs it, and tells it: the only tie between a consumer and its supervisor.

Every method that returns nothing, but `wake_with`, is a report of where the child stands. A report is a write to
shared memory of about ten microseconds, never blocks, and stays readable after the child was killed.
"""

from collections.abc import Callable
from typing import Literal, Protocol


class Runtime(Protocol):
    """The child's side of its slot."""

    @property
    def slot(self) -> int:
        """The numbered place that this child fills, from 0."""
        ...

    def stop_requested(self) -> bool:
        """Say whether to finish the delivery in hand and take no more."""
        ...

    def hurry_requested(self) -> bool:
        """Say whether even a delivery in hand is to be given back if its work has not really begun."""
        ...

    def seated(self) -> bool:
        """Say whether messages may be taken: not before the predecessor has gone, nor while calls fail for everyone."""
        ...

    def wake_with(self, wake: Callable[[], None] | None) -> None:
        """Call `wake` when a stop is asked for, or a seat free, from inside the signal handler; None forgets it."""
        ...

    def waiting(self, on: Literal["database", "broker", "schema"], reason: str) -> None:
        """Stand still through no fault of the message: such time does not count against its deadline."""
        ...

    def empty_handed(self) -> None:
        """Have nothing in hand, wherever the child stands: told before messages are sent, and when they went back."""
        ...

    def ready(self, doubt: str = "") -> None:
        """Consume, which the broker has confirmed; a message may be on its way already. The first call ends the boot.

        Told before, too, by a child that has all that it takes and may take no messages yet.
        doubt: why the connection may not last, told as `cut_off` does; empty ends what that told.
        """
        ...

    def cut_off(self, reason: str) -> None:
        """Be without the broker while it is not waited for: with work in hand that goes on. Empty: no more."""
        ...

    def idle(self) -> None:
        """Still have nothing in hand: a sign of life, given every few seconds."""
        ...

    def receiving(self, body_bytes: int, message_id: str | None) -> None:
        """Be sent a delivery of that size. Its deadline starts here."""
        ...

    def received(self, body_bytes: int, body_crc32: int) -> None:
        """Hold a delivery. body_crc32: of its beginning, to know it again."""
        ...

    def claiming(self, conversation_id: str, claimed_by: str) -> None:
        """Ask the database for the event, under this owner's name (unique per delivery)."""
        ...

    def claimed(self, event_id: int, epoch: int) -> None:
        """Own the event under this fencing token, and read its log."""
        ...

    def trim(self) -> None:
        """Give what is free back to the kernel, in the middle of a long wait (0.1 to 0.4 ms)."""
        ...

    def holding(self, reason: str) -> None:
        """Keep the delivery, for this reason, which is not its own. Not counted against the deadline."""
        ...

    def fetching(self) -> None:
        """Fetch the log from S3."""
        ...

    def fetched(self, result: Literal["read", "failed", "away"]) -> None:
        """Be done with that. failed: this log is not to be had; away: none is."""
        ...

    def analysing(self) -> None:
        """Wait for the LLM."""
        ...

    def analysed(self, result: str) -> None:
        """Be done with that, with this result (consumer.analysis.Result)."""
        ...

    def calling(self) -> None:
        """Wait for the Memory API."""
        ...

    def called(self, end: Literal["answered", "failed", "barred"]) -> None:
        """Be done with the call. barred: refused for who we are, or where we ask, so that every other would be."""
        ...

    def writing(self) -> None:
        """Write the outcome: from here to `acking` row locks may be held."""
        ...

    def acking(self) -> None:
        """Acknowledge a delivery whose outcome is committed."""
        ...

    def failing(self, code: str) -> None:
        """Say which error code the delivery in hand ends with; it is settled next."""
        ...

    def settled(self, outcome: str) -> None:
        """Be done with the delivery: it counts under `outcome`. Nothing is in hand any more."""
        ...

    def no_room(self) -> None:
        """Ask to be replaced, with nothing in hand: the next message is too large to be taken here."""
        ...

    def room_bytes(self) -> int:
        """Return by how much this process may still grow before it is stopped."""
        ...

    def fresh_room_bytes(self) -> int:
        """Return by how much it might grow when it was first ready."""
        ...

    def fresh(self) -> bool:
        """Say whether this process weighs at rest about what it did when it was first ready."""
        ...

    def crowded(self, in_hand_bytes: int) -> bool:
        """Say whether this process, in_hand_bytes lighter, could not grow by what messages usually leave behind."""
        ...

    def peak_rss_bytes(self) -> int:
        """Return the highest resident size since the last delivery began to arrive."""
        ...

    def returned(self) -> None:
        """Give the delivery back to the broker, uncounted. Nothing is in hand any more."""
        ...

"""What is known of a child at one moment: its own words on the board, and its resident memory."""

from collections.abc import Callable
from dataclasses import dataclass, replace

from supervisor.lifecycle import UNCOUNTED, WAITING, WORKING, Phase


@dataclass(frozen=True, slots=True)
class SlotView:
    """One record of the board.

    Times are monotonic seconds as the child wrote them; the supervisor reads them in awake time. message_since is None
    with nothing in hand; claimed_by is None until the child asks for the event. event_id and epoch are 0 until the
    claim is granted *and read*.
    resting_rss_bytes is what the child last weighed with nothing in hand and all tidied up; rested_at is when it found
    that, 0 while it has not since its last delivery. fresh_rss_bytes: the first such weight. last_conversation_id: of
    the last message that was settled; its end may be cut. note: why the child waits or holds its message; while it does
    neither, why it will have to wait, as the broker is lost.
    """

    generation: int
    phase: Phase
    phase_since: float
    heartbeat: float
    message_since: float | None = None
    waited_s: float = 0.0
    conversation_id: str | None = None
    claimed_by: str | None = None
    event_id: int = 0
    epoch: int = 0
    body_bytes: int = 0
    body_crc32: int = 0
    note: str = ""
    messages: int = 0
    resting_rss_bytes: int = 0
    rested_at: float = 0.0
    fresh_rss_bytes: int = 0
    last_conversation_id: str = ""

    @property
    def claims(self) -> bool:
        """Say whether an event may be this child's: its death has to be accounted for."""
        return self.claimed_by is not None

    @property
    def in_hand(self) -> bool:
        """Say whether a message is there, claimed or not."""
        return self.message_since is not None

    @property
    def waits_for(self) -> Phase | None:
        """Return the wait for a server that this child is in, or is in for once its work in hand is done."""
        if self.phase in WAITING:
            return self.phase
        return Phase.WAITING_BROKER if self.note and self.phase is not Phase.HOLDING else None

    @property
    def past_boot(self) -> bool:
        """Say whether the child has been ready, even if it waits for a server now."""
        return self.phase in WORKING or self.messages > 0 or self.message_since is not None

    def phase_age_s(self, now: float) -> float:
        """Return for how long the phase has lasted."""
        return max(0.0, now - self.phase_since)

    def silence_s(self, now: float) -> float:
        """Return how long ago the child last said anything."""
        return max(0.0, now - self.heartbeat)

    def age_s(self, now: float) -> float:
        """Return for how long the message in hand has been there, waiting included; 0 with none."""
        return 0.0 if self.message_since is None else max(0.0, now - self.message_since)

    def worked_s(self, now: float) -> float:
        """Return how much of that time the message answers for.

        waited_s is the child's own count and holds what passed while nobody ran, too. So waits are taken off the time
        before this phase only: no child that hangs in a phase has waits to its credit.
        """
        if self.message_since is None:
            return 0.0
        since = max(self.message_since, self.phase_since)
        before_s = max(0.0, since - self.message_since - self.waited_s)
        return before_s + (0.0 if self.phase in UNCOUNTED else max(0.0, now - since))

    def timed(self, at: Callable[[float], float]) -> "SlotView":
        """Return the view with its times turned into others; what was never stays never."""
        return replace(
            self,
            phase_since=at(self.phase_since),
            heartbeat=at(self.heartbeat),
            message_since=None if self.message_since is None else at(self.message_since),
            rested_at=at(self.rested_at) if self.rested_at else 0.0,
        )


@dataclass(frozen=True, slots=True)
class Reading:
    """A child seen from outside.

    rss_bytes is None when unknown (a zombie, unreadable), which is never healthy. It was read at read_at (monotonic
    seconds) or a little later, and before the view.
    """

    view: SlotView
    rss_bytes: int | None = None
    read_at: float = 0.0

    @property
    def rss_at_rest_bytes(self) -> int:
        """Return what the child weighs with nothing in hand: read while it rests, else what it last told of itself.

        A size read before the child had tidied up is still that of its last message, whatever the view says by now.
        """
        view = self.view
        resting = view.phase is Phase.IDLE and 0.0 < view.rested_at <= self.read_at
        return self.rss_bytes if resting and self.rss_bytes is not None else view.resting_rss_bytes

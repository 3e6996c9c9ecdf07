"""What the repository takes and gives: frozen values."""

from dataclasses import dataclass
from datetime import datetime
from enum import Enum
from typing import Literal


@dataclass(frozen=True, slots=True, kw_only=True)
class ClaimRequest:
    """A delivery that asks for its event.

    claimed_by: unique per delivery, so that a claim under this name is this delivery's, whatever became of the reply.
    redelivered: the broker says that an earlier holder lost the message.
    carries_log: the message holds the conversation's log itself (not its URL).
    """

    conversation_id: str
    user_id: str
    claimed_by: str
    redelivered: bool = False
    carries_log: bool = False
    bot_type: str | None = None
    bot_id: str | None = None
    bot_name: str | None = None
    agent_tag: str | None = None
    conversation_log_url: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventKey:
    """Names one row. After a restore its number may be another conversation's, so all three are compared."""

    event_id: int
    conversation_id: str
    user_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Claimed:
    """The event is the caller's, under `epoch`, until its lease runs out or another takes it over.

    attempt: counted from 1, this one included.
    claims_since_outcome: this one included.
    blamed_deaths: holders that the message killed since the last outcome; last_blame: cause of the newest.
    """

    event_id: int
    conversation_id: str
    user_id: str
    epoch: int
    attempt: int
    claimed_by: str
    bot_type: str | None = None
    agent_tag: str | None = None
    conversation_log_url: str | None = None
    log_in_row: bool = False
    log_parked: bool = False
    claims_since_outcome: int = 1
    blamed_deaths: int = 0
    last_blame: str | None = None

    @property
    def key(self) -> EventKey:
        return EventKey(self.event_id, self.conversation_id, self.user_id)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill:
    """What one message cost the child that worked on it.

    body_bytes: of the message's body, or of the stored log that was worked on when the message carried none.
    peak_rss_bytes: the highest resident size of the child while it had this message in hand, its idle size included.
    processing_ms: milliseconds from the receipt of the message to the write of its outcome.
    """

    body_bytes: int
    peak_rss_bytes: int
    processing_ms: int


class Refusal(Enum):
    """Why an event cannot be had."""

    DONE = "done"  # PROCESSED or SKIPPED
    DUPLICATE = "duplicate"  # another holder is at work on it
    EARLY = "early"  # FAILED, and not due (or never again by itself)
    FOREIGN_USER = "foreign user"  # the event is another user's


@dataclass(frozen=True, slots=True)
class Refused:
    """The event cannot be had; nothing was changed.

    key: None when the row is gone, and only the ledger or a mark still knows the conversation.
    log_durable: the log is in the row or parked there, so a message that carries it may be acknowledged; see the one
    ack rule.
    settled: PROCESSED or SKIPPED.
    """

    reason: Refusal
    key: EventKey | None
    log_durable: bool
    settled: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Sighting:
    """One look at an event that another holds.

    accounted: an account of the death of this very holder is there.
    blamed_deaths, last_blame, claims_since_outcome: as in Claimed, for the claim that was seen.
    unexplained_takeovers: takeovers in a row without an account.
    log_durable: as in Refused.
    """

    event_id: int
    conversation_id: str
    user_id: str
    status: str
    epoch: int
    claimed_by: str | None = None
    attempt: int = 0
    lease_live: bool
    accounted: bool
    blamed_deaths: int
    last_blame: str | None
    claims_since_outcome: int
    unexplained_takeovers: int
    log_durable: bool

    @property
    def key(self) -> EventKey:
        return EventKey(self.event_id, self.conversation_id, self.user_id)


@dataclass(frozen=True, slots=True)
class Contended:
    """Another holds the event, but is said to have lost it: redelivered, or its lease ran out."""

    sighting: Sighting


@dataclass(frozen=True, slots=True)
class UserStatus:
    """A user's friendship: score (no unit) and level name."""

    score: float
    level: str


@dataclass(frozen=True, slots=True)
class StoredLog:
    """A log out of the event's row.

    row: the JSON list, UTF-8. parked: the zlib-compressed body of an earlier message. data: None for one too large.
    """

    kind: Literal["row", "parked"]
    data: bytes | None

"""What happened, as frozen values: the causes of an end, the account of the dead, and what the log is told."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import ClassVar

INFO, WARNING, ERROR = 20, 30, 40


class Cause(StrEnum):
    """Why a child ended, as it reads in the log, in the metrics and in the account of its death."""

    RSS_SOFT = "rss_soft"
    RSS_HARD = "rss_hard"
    DEADLINE = "deadline"
    CRASHED = "crashed"
    OOM_KILLED = "oom_killed"
    KILLED = "killed"
    MAX_MESSAGES = "max_messages"
    RELOAD = "reload"
    FEWER = "fewer"
    SHUTDOWN = "shutdown"


VOLUNTARY = frozenset({Cause.RSS_SOFT, Cause.MAX_MESSAGES, Cause.RELOAD})
"""Replacements by choice: one at a time."""

CHOSEN = VOLUNTARY | {Cause.FEWER, Cause.SHUTDOWN}
"""Ends that were asked for."""

RESTARTS = tuple(cause for cause in Cause if cause not in {Cause.FEWER, Cause.SHUTDOWN})
"""Causes after which a successor is forked."""


@dataclass(frozen=True, slots=True)
class Death:
    """The account of a child that ended with an event in its hands, or is about to.

    cause, blamed: why, and whether it counts against the message. died_at: wall clock, UTC. rss_bytes: its last
    reading, None when there was none. event_id, epoch: 0 when the reply to the claim may not have been read.
    claimed_by: empty when no event was asked for yet; conversation_id is then what came with the message, or empty.
    body_bytes, body_crc32: of the body, and of its beginning. claiming: it was asking for the event.
    """

    slot: int
    pid: int
    cause: Cause
    blamed: bool
    died_at: datetime
    host: str
    rss_bytes: int | None
    conversation_id: str
    event_id: int
    epoch: int
    claimed_by: str
    body_bytes: int
    body_crc32: int
    claiming: bool = False


@dataclass(frozen=True, slots=True)
class SupervisorStarted:
    level: ClassVar[int] = INFO
    pid: int
    children: int
    rss_budget_mb: int
    rss_hard_mb: int
    first_in_line: bool


@dataclass(frozen=True, slots=True)
class ChildForked:
    level: ClassVar[int] = INFO
    slot: int
    pid: int
    generation: int


@dataclass(frozen=True, slots=True)
class ForkFailed:
    level: ClassVar[int] = ERROR
    what: str
    reason: str


@dataclass(frozen=True, slots=True)
class ChildReady:
    level: ClassVar[int] = INFO
    slot: int
    pid: int
    ms: int


@dataclass(frozen=True, slots=True)
class ChildDraining:
    level: ClassVar[int] = INFO
    slot: int
    pid: int
    reason: Cause
    rss_mb: int | None


@dataclass(frozen=True, slots=True)
class ChildFrozen:
    level: ClassVar[int] = WARNING
    slot: int
    pid: int
    reason: Cause
    rss_mb: int | None
    conversation_id: str | None


@dataclass(frozen=True, slots=True)
class ChildThawed:
    level: ClassVar[int] = INFO
    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class ChildKilled:
    level: ClassVar[int] = WARNING
    slot: int
    pid: int
    reason: Cause
    rss_mb: int | None
    conversation_id: str | None


@dataclass(frozen=True, slots=True)
class ChildExited:
    """A warning when nobody chose it. conversation_id: in hand; with none, after_conversation_id: the last settled."""

    slot: int
    pid: int
    reason: Cause
    exit: int | None
    signal: int | None
    rss_mb: int | None
    uptime_s: float
    messages: int
    conversation_id: str | None
    after_conversation_id: str | None = None

    @property
    def level(self) -> int:
        return INFO if self.reason in CHOSEN else WARNING


@dataclass(frozen=True, slots=True)
class BootFailed:
    level: ClassVar[int] = WARNING
    slot: int
    pid: int
    times: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class CrashLoop:
    level: ClassVar[int] = WARNING
    slot: int
    times: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class AccountWritten:
    level: ClassVar[int] = INFO
    slot: int
    pid: int
    reason: Cause
    blamed: bool
    conversation_id: str


@dataclass(frozen=True, slots=True)
class AccountDelayed:
    level: ClassVar[int] = WARNING
    accounts: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class AccountUnwritten:
    """The supervisor ends before the database took an account: the message is tried again when its lease is over."""

    level: ClassVar[int] = WARNING
    slot: int
    pid: int
    reason: Cause
    blamed: bool
    conversation_id: str


@dataclass(frozen=True, slots=True)
class StoodStill:
    """The supervisor itself could not run for so long in all, once or many times: no limit counts that time."""

    level: ClassVar[int] = WARNING
    seconds: float
    within_s: float


@dataclass(frozen=True, slots=True)
class MemoryTight:
    """The container is near its limit: idle children are replaced, the largest first, until it is not."""

    level: ClassVar[int] = WARNING
    working_set_mb: int
    limit_mb: int


@dataclass(frozen=True, slots=True)
class Waiting:
    """Children wait for a server; said when it begins, and again while it lasts."""

    level: ClassVar[int] = WARNING
    on: str
    reason: str
    children: int
    waited_s: float


@dataclass(frozen=True, slots=True)
class Back:
    level: ClassVar[int] = INFO
    on: str
    waited_s: float


@dataclass(frozen=True, slots=True)
class BreakerOpened:
    """Nobody takes messages: so many calls failed in a row. failed_probes: tries since it opened first."""

    level: ClassVar[int] = WARNING
    failures: int
    failed_probes: int
    next_probe_in_s: float


@dataclass(frozen=True, slots=True)
class BreakerHalfOpen:
    """One child may make one call."""

    level: ClassVar[int] = INFO
    slot: int
    pid: int


@dataclass(frozen=True, slots=True)
class BreakerClosed:
    level: ClassVar[int] = INFO
    open_s: float


@dataclass(frozen=True, slots=True)
class StatusEnded:
    """The status process is gone; no child notices."""

    level: ClassVar[int] = WARNING
    pid: int
    retry_in_s: float


@dataclass(frozen=True, slots=True)
class Resized:
    level: ClassVar[int] = INFO
    children: int


@dataclass(frozen=True, slots=True)
class ResizeRefused:
    level: ClassVar[int] = WARNING
    children: int
    reason: str


@dataclass(frozen=True, slots=True)
class Reloading:
    level: ClassVar[int] = INFO
    children: int


@dataclass(frozen=True, slots=True)
class Stopping:
    level: ClassVar[int] = INFO
    how: str
    children: int


@dataclass(frozen=True, slots=True)
class GivingUp:
    level: ClassVar[int] = ERROR
    exit: int
    reason: str


@dataclass(frozen=True, slots=True)
class Stopped:
    level: ClassVar[int] = INFO
    exit: int
    uptime_s: float


Event = (
    SupervisorStarted
    | ChildForked
    | ForkFailed
    | ChildReady
    | ChildDraining
    | ChildFrozen
    | ChildThawed
    | ChildKilled
    | ChildExited
    | BootFailed
    | CrashLoop
    | AccountWritten
    | AccountDelayed
    | AccountUnwritten
    | MemoryTight
    | StoodStill
    | Waiting
    | Back
    | BreakerOpened
    | BreakerHalfOpen
    | BreakerClosed
    | StatusEnded
    | Resized
    | ResizeRefused
    | Reloading
    | Stopping
    | GivingUp
    | Stopped
)


def is_routine(event: Event) -> bool:
    """Say whether an event is not worth the page's room: it comes with every child, or with every probe."""
    match event:
        case ChildForked() | ChildReady() | ChildDraining() | AccountWritten() | BreakerHalfOpen():
            return True
        case BreakerOpened(failed_probes=probes):
            return probes > 0
    return False

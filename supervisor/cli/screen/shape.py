"""What of an object of /status can be drawn: its shape, in letters that a terminal shows and does not obey.

Anybody may have answered. So the object is made legible once, before anything is drawn of it, and whatever draws need
not think of it again: every text is printable and short, no value is nested deeply, and each that we know by name is
of its kind and of a sane size. Names that we do not know pass, as far as they are legible; those that came with a later
version may be absent.
"""

from collections.abc import Mapping
from typing import Annotated, Any, NotRequired, TypedDict

import msgspec

from supervisor.logs import printable

Status = Mapping[str, Any]

MOST_CHARS = 1000
"""Of a text: an id has at most 255, a note somewhat more."""
MOST_CHILDREN = 10_000
DEEPEST = 5
"""Levels of values within values; ours has four."""

Number = Annotated[float, msgspec.Meta(ge=-1e15, le=1e15)]
Count = Annotated[float, msgspec.Meta(ge=0, le=1e15)]
Megabytes = Annotated[float, msgspec.Meta(ge=1, le=1e15)]
Moment = Annotated[float, msgspec.Meta(ge=0, le=1e11)]
"""Seconds since 1970, up to a year that a calendar can name in any zone."""


class Foreign(Exception):
    """The object is not of a shape that can be drawn."""


class _Breaker(TypedDict):
    state: str
    failed_in_a_row: Count
    open_s: Number
    next_probe_in_s: NotRequired[Number | None]


class _Whole(TypedDict):
    pid: Count
    version: str
    host: NotRequired[str]
    uptime_s: Number
    rss_budget_mb: Count
    rss_hard_mb: Megabytes
    message_deadline_s: NotRequired[Number | None]
    state: str
    ready: NotRequired[bool]
    not_ready: NotRequired[str | None]
    heartbeat_age_s: NotRequired[Number | None]
    breaker: _Breaker
    retry_every_s: NotRequired[Number | None]
    last_retry_pass_s: NotRequired[Number | None]
    waiting_accounts: NotRequired[Count]


class _End(TypedDict):
    reason: str
    at: Moment
    conversation_id: NotRequired[str | None]
    after_conversation_id: NotRequired[str | None]
    rss_mb: NotRequired[Count | None]


class _Child(TypedDict):
    slot: Count
    pid: Count | None
    state: str
    phase: NotRequired[str | None]
    note: NotRequired[str | None]
    rss_mb: NotRequired[Count | None]
    growth_mb_per_100_messages: NotRequired[Number | None]
    messages: Count
    restarts: Count
    conversation_id: NotRequired[str | None]
    message_age_s: Number
    message_worked_s: NotRequired[Number]
    body_mb: NotRequired[Number | None]
    refill_in_s: NotRequired[Number | None]
    last_end: NotRequired[_End | None]


class _Totals(TypedDict):
    processed: Count
    failed: Count
    skipped: NotRequired[Count]
    dead_lettered: NotRequired[Count]
    duplicate: NotRequired[Count]
    early: NotRequired[Count]
    fenced: NotRequired[Count]
    restarts: dict[str, Count]
    failures: NotRequired[dict[str, Count]]


class _Rates(TypedDict):
    processed_per_min: Number
    failed_per_min: Number


class _Queue(TypedDict):
    name: str | None
    ready: NotRequired[Count | None]
    unacked: NotRequired[Count | None]
    dead: NotRequired[Count | None]
    consumers: NotRequired[Count | None]
    error: NotRequired[str | None]


class _Event(TypedDict):
    ts: Moment
    event: str
    level: NotRequired[str]


class _Standing(TypedDict):
    supervisor: _Whole
    children: Annotated[list[_Child], msgspec.Meta(max_length=MOST_CHILDREN)]
    totals: _Totals
    rates: NotRequired[_Rates | None]
    queue: NotRequired[_Queue | None]
    events: NotRequired[list[_Event]]
    as_of: Moment


def legible(standing: Status) -> Status:
    """Return the object as it may be drawn. Raises Foreign when it is of another shape than ours."""
    told = _legible(standing, DEEPEST)
    try:
        msgspec.convert(told, _Standing)
    except msgspec.ValidationError as error:
        foreign = Foreign(str(error))
    else:
        assert isinstance(told, dict)
        return told
    raise foreign


def _legible(value: Any, levels: int) -> Any:
    match value:
        case str():
            return printable(value if len(value) <= MOST_CHARS else f"{value[:MOST_CHARS]}…")
        case dict() if levels:
            return {_legible(name, 0): _legible(each, levels - 1) for name, each in value.items()}
        case list() if levels:
            return [_legible(each, levels - 1) for each in value]
        case dict() | list():
            return "…"
        case _:
            return value

"""What an operator may ask of the events, and do to them: list, show, requeue, prune, forget.

Every change is a few rows and a short transaction, right beside running workers. Times are the database's.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

import orjson

from repository.connection import Connection, Database, Row, rows
from repository.errors import Busy
from repository.statements import load

SQL = load("operations")

BATCH = 200
IDS_AT_ONCE = 2000
"""Serial numbers that one step of a prune goes through: a table of any size is read once, in short statements."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events: all filters that are given hold.

    older_than_s: seconds since their last change, at least. due: their time has come, or their lease is over.
    """

    ids: Sequence[str] | None = None
    status: str | None = None
    user_id: str | None = None
    code: str | None = None
    older_than_s: float | None = None
    due: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """An event in a list."""

    conversation_id: str
    user_id: str
    status: str
    error_code: str | None
    attempts: int
    next_attempt_at: datetime | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class EventFile:
    """All that is known of one conversation but its text.

    event: the columns of its row, None when that is gone; of a log only its bytes. deaths: accounts of children that
    died with it in hand. ledger: its change of a user's score.
    """

    event: Row | None
    deaths: list[Row]
    ledger: Row | None


@dataclass(frozen=True, slots=True)
class Requeued:
    """An event that was made PENDING anew; its id is to be published."""

    id: int
    conversation_id: str
    user_id: str


@dataclass(slots=True, kw_only=True)
class Pruned:
    """Rows that were deleted, or would be. deaths: accounts of dead children, of events and of unread messages."""

    events: int = 0
    deaths: int = 0
    rejected: int = 0


@dataclass(slots=True, kw_only=True)
class Forgotten:
    """Rows that were deleted. urls: logs in S3 that the events knew of, which are somebody else's to delete."""

    events: int = 0
    deaths: int = 0
    ledger: int = 0
    friendship_status: int = 0
    urls: list[str] = field(default_factory=list)


def listing(database: Database, selection: Selection, limit: int) -> list[EventLine]:
    """List events, the last changed first. Raises DatabaseAway."""
    found = database.execute(SQL["list"], asdict(selection) | {"limit": limit})
    return [EventLine(**row) for row in found]


def files(database: Database, ids: Sequence[str]) -> dict[str, EventFile]:
    """Give what is known of these conversations, by id; those of which nothing is known are left out."""
    shown = database.execute(SQL["show"], {"ids": list(ids)})
    events = {
        row["conversation_id"]: row
        | {"score_calculation_details": _breakdown(row["score_calculation_details"])}
        for row in shown
    }
    ledger = {row["conversation_id"]: row for row in database.execute(SQL["ledger"], {"ids": list(ids)})}
    event_ids = [row["id"] for row in events.values()]
    deaths = database.execute(SQL["deaths"], {"event_ids": event_ids, "ids": list(ids)})
    return {
        each: EventFile(
            events.get(each),
            [death for death in deaths if each == death["conversation_id"] and each in events],
            ledger.get(each),
        )
        for each in ids
        if each in events or each in ledger
    }


def _breakdown(text: str | None) -> Any:
    """Read a breakdown; one that is cut, or that another program wrote for nobody to read, stays a text."""
    if text is None:
        return None
    try:
        value = json.loads(text)
        orjson.dumps(value)  # as it will be printed
    except (ValueError, RecursionError, TypeError):
        return text
    return value


def count_requeueable(database: Database, selection: Selection) -> int:
    """Count what `requeue` would take."""
    return int(database.execute(SQL["count_requeueable"], asdict(selection))[0]["events"])


def requeue(database: Database, selection: Selection, limit: int | None = None) -> Iterator[list[Requeued]]:
    """Make events PENDING, as if they had never been tried, a batch at a time; the caller publishes their ids.

    Each batch is committed before it is given, and due again in 10 minutes should its ids get lost. Events that are
    done, or that a live holder is at work on, are passed over. limit: of all batches. Raises DatabaseAway.
    """
    after, left = 0, limit
    while left is None or left > 0:
        values = {"after": after, "limit": BATCH if left is None else min(BATCH, left)}
        batch = [Requeued(**row) for row in database.execute(SQL["requeue"], asdict(selection) | values)]
        if not batch:
            return
        # Not those again that are PENDING now
        after = max(event.id for event in batch)
        left = left if left is None else left - len(batch)
        yield sorted(batch, key=lambda event: event.id)


def objections(database: Database, ids: Sequence[str], requeued: Sequence[str]) -> dict[str, str]:
    """Say, by id, why events that were asked for by name were not requeued."""
    missing = [each for each in ids if each not in set(requeued)]
    found = {row["conversation_id"]: row for row in database.execute(SQL["standing"], {"ids": missing})}
    return {each: objection(found.get(each)) for each in missing}


def objection(row: Row | None) -> str:
    match row:
        case None:
            return "not known"
        case {"status": "PROCESSING", "lease_until": datetime() as until}:
            return f"PROCESSING: a child is at work on it, until {until:%H:%M:%S} UTC at the latest"
        case {"status": "PROCESSED" | "SKIPPED" as status}:
            return f"{status}: it is done, and would not be worked on again"
        case _:
            return f"{row['status']}: a filter passes it over, or it changed meanwhile"


def prune(database: Database, older_than_s: float, *, dry_run: bool) -> Pruned:
    """Delete ended events with their deaths, and refused bodies, that have not changed for so many seconds.

    Ended: PROCESSED, SKIPPED, or FAILED for good. The ledger stays. dry_run: only count. Raises DatabaseAway; what was
    deleted until then stays deleted.
    """
    (found,) = database.execute(SQL["cutoff"], {"older_than_s": older_than_s})
    before = {"before": found["before"], "limit": BATCH}
    if dry_run:
        (would,) = database.execute(SQL["prunable"], before)
        return Pruned(
            events=would["events"],
            deaths=would["deaths"] + would["message_deaths"],
            rejected=would["rejected"],
        )
    pruned = Pruned()
    for after in range(found["first"] - 1, found["last"], IDS_AT_ONCE):
        window = before | {"after": after, "upto": after + IDS_AT_ONCE}
        (gone,) = database.execute(SQL["prune_events"], window)
        pruned.events += gone["events"]
        pruned.deaths += gone["deaths"]
    for name in ("prune_orphans", "prune_message_deaths"):
        pruned.deaths += _until_none(database, name, before)
    pruned.rejected = _until_none(database, "prune_rejected", before)
    return pruned


def _until_none(database: Database, name: str, values: Row) -> int:
    total = 0
    while count := int(database.execute(SQL[name], values)[0]["rows"]):
        total += count
    return total


def urls(database: Database, user_id: str) -> list[str]:
    """Name the logs in S3 that a user's events know of: once they are forgotten nobody does. Raises DatabaseAway."""
    return [row["url"] for row in database.execute(SQL["urls"], {"user_id": user_id})]


def forget(database: Database, user_id: str) -> Forgotten:
    """Delete a user's events, deaths, ledger and score, and mark the conversations, so that none comes back.

    A child at work on one of them is fenced out and changes nothing. Raises DatabaseAway; to be called again then.
    """
    values = {"user_id": user_id}
    # Committed first: whoever finds an event gone must find its mark
    database.execute(SQL["mark_forgotten"], values)
    return database.run(lambda connection: _forget_rows(connection, values))


def _forget_rows(connection: Connection, values: Row) -> Forgotten:
    rows(connection, SQL["mark_forgotten"], values)
    (unread,) = rows(connection, SQL["forget_message_deaths"], values)
    (events,) = rows(connection, SQL["forget_events"], values)
    status = rows(connection, SQL["forget_status"], values)
    (ledger,) = rows(connection, SQL["forget_ledger"], values)
    if ledger["overtaken"]:
        # A new conversation was completed between two of these statements: its event must not stay without a ledger
        raise Busy("the user's conversations go on")
    return Forgotten(
        events=events["events"],
        deaths=unread["rows"] + events["deaths"] + ledger["deaths"],
        ledger=ledger["rows"],
        friendship_status=status[0]["rows"],
        urls=events["urls"],
    )


def is_forgotten(database: Database, conversation_id: str) -> bool:
    """Say whether a conversation belonged to a user who was forgotten."""
    return bool(database.execute(SQL["forgotten"], {"conversation_id": conversation_id})[0]["known"])

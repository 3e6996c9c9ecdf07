"""What `check` wants to know of the server, of the role, and of others who write to our tables. It changes nothing."""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime

from repository.connection import Database
from repository.statements import load

SQL = load("server")

OLDEST_VERSION = 140_000
RECENT_LEDGER_ROWS = 1000

Needs = Mapping[str, frozenset[str]]


def _needs(**tables: str) -> Needs:
    return {table: frozenset(privileges.split()) for table, privileges in tables.items()}


WORKER = _needs(
    conversation_events="SELECT INSERT UPDATE",
    friendship_status="SELECT INSERT UPDATE",
    rejected_messages="SELECT INSERT UPDATE",
    message_deaths="SELECT INSERT DELETE",
    rejected_parts="SELECT INSERT DELETE",
    score_ledger="SELECT INSERT",
    child_deaths="SELECT INSERT",
    forgotten_conversations="SELECT",
    friendship_migrations="SELECT",
)
"""What the statements of `run` and `retry` need (scripts/role.sql grants it)."""

OPERATOR = _needs(
    conversation_events="SELECT UPDATE DELETE",
    friendship_status="SELECT DELETE",
    rejected_messages="SELECT DELETE",
    message_deaths="SELECT DELETE",
    rejected_parts="SELECT DELETE",
    score_ledger="SELECT DELETE",
    child_deaths="SELECT DELETE",
    forgotten_conversations="SELECT INSERT",
    friendship_migrations="SELECT",
)
"""What the operator's commands need."""

TABLES = tuple(WORKER)
PRIVILEGES = ("SELECT", "INSERT", "UPDATE", "DELETE")


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """The server and our session in it.

    pooled: a pooler stands between. now_s: its clock, seconds since 1970.
    """

    version_number: int
    version: str
    in_recovery: bool
    read_only: bool
    encoding: str
    synchronous_commit: str
    fsync: bool
    full_page_writes: bool
    superuser: bool
    role: str
    database: str
    encrypted: bool
    pooled: bool
    now_s: float


@dataclass(frozen=True, slots=True)
class Clock:
    """How far the server's clock is ahead of ours, give or take `error_s`, both in seconds."""

    ahead_s: float
    error_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Seats:
    """Connections. free: for further sessions of this role; None is no limit of that kind. ours: of any host."""

    most: int
    taken: int
    ours: int
    free_in_server: int
    free_in_database: int | None
    free_for_role: int | None

    @property
    def free(self) -> int:
        """The least of the three."""
        limits = (self.free_in_server, self.free_in_database, self.free_for_role)
        return max(0, min(limit for limit in limits if limit is not None))


@dataclass(frozen=True, slots=True)
class Numbers:
    """The serial numbers of events. used: the part that is used up. by_hand: a MAXVALUE ends them, not a type."""

    name: str
    used: float
    by_hand: bool


@dataclass(frozen=True, slots=True)
class Rights:
    """What the role has. present: tables that are there. sequence: one that it may not use, or None."""

    granted: Needs
    present: frozenset[str]
    sequence: str | None
    partly_hidden: tuple[str, ...]

    def missing(self, needs: Needs) -> Needs:
        """Say what is lacking, by table; a table that is not there lacks nothing."""
        lacking = {
            table: needs[table] - self.granted.get(table, frozenset()) for table in self.present & set(needs)
        }
        return {table: lacking[table] for table in needs if lacking.get(table)}


@dataclass(frozen=True, slots=True)
class Strangers:
    """What others do to our tables.

    scores: users whose score is not where the ledger left it, among the newest RECENT_LEDGER_ROWS of the ledger.
    unleased: events that are PROCESSING without a lease, and when the last of them changed. triggers: (name, table).
    writers: applications with a lock for writing now, and how many sessions each.
    """

    scores: tuple[str, ...]
    unleased: int
    unleased_at: datetime | None
    triggers: tuple[tuple[str, str], ...]
    writers: tuple[tuple[str, int], ...]


def look(database: Database) -> tuple[Server, Clock]:
    """Ask the server about itself, and compare its clock with ours. Raises DatabaseAway."""
    database.connection()
    before = time.time()
    (row,) = database.execute(SQL["server"])
    after = time.time()
    server = Server(**row, pooled=database.is_pooled)
    return server, Clock(server.now_s - (before + after) / 2, (after - before) / 2)


def seats(database: Database) -> Seats:
    """Count connections. Raises DatabaseAway."""
    (row,) = database.execute(SQL["seats"])
    return Seats(**row)


def numbers(database: Database) -> Numbers | None:
    """Say how many of the events' serial numbers are used up; None where that is not told. Raises DatabaseAway."""
    found = database.execute(SQL["serial_numbers"])
    return Numbers(**found[0]) if found else None


def rights(database: Database) -> Rights:
    """Ask what the role may do. Raises DatabaseAway."""
    tables = list(TABLES)
    granted: dict[str, set[str]] = {}
    for row in database.execute(SQL["rights"], {"tables": tables, "privileges": list(PRIVILEGES)}):
        granted.setdefault(row["name"], set()).add(row["privilege"])
    present = _names(database.execute(SQL["present"], {"tables": tables}))
    sequence = database.execute(SQL["sequence"]) if "conversation_events" in present else []
    hidden = database.execute(SQL["row_security"], {"tables": tables})
    return Rights(
        {table: frozenset(privileges) for table, privileges in granted.items()},
        frozenset(present),
        next((row["name"] for row in sequence if not row["granted"]), None),
        tuple(_names(hidden)),
    )


def strangers(database: Database) -> Strangers:
    """Look for other writers, as far as that is cheap on tables of any size. Raises DatabaseAway."""
    tables = {"tables": list(TABLES)}
    (unleased,) = database.execute(SQL["unleased"])
    return Strangers(
        scores=tuple(
            row["user_id"] for row in database.execute(SQL["strange_scores"], {"rows": RECENT_LEDGER_ROWS})
        ),
        unleased=unleased["events"],
        unleased_at=unleased["last_at"],
        triggers=tuple((row["name"], row["table"]) for row in database.execute(SQL["triggers"], tables)),
        writers=tuple(
            (row["application"], row["sessions"]) for row in database.execute(SQL["writers"], tables)
        ),
    )


def _names(rows: Iterable[Mapping[str, str]]) -> list[str]:
    return [row["name"] for row in rows]

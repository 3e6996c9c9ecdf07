"""Who is connected to the database, what transactions are open, and who waits for whom. Never what they ask."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from repository.connection import APPLICATION_NAME, Database
from repository.statements import load

SQL = load("activity")


@dataclass(frozen=True, slots=True)
class Transaction:
    """An open transaction. age_s: since it began; idle_s: since its session last did something, in seconds."""

    pid: int
    application: str
    state: str
    age_s: float
    idle_s: float

    @property
    def idle(self) -> bool:
        """Nothing is being done in it."""
        return self.state.startswith("idle in transaction")

    @property
    def ours(self) -> bool:
        """It is a session of this program."""
        return self.application.startswith(APPLICATION_NAME)


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session that waits for a lock. waits_s: None when the server has not said yet. blocked_by: pids."""

    pid: int
    application: str
    waits_s: float | None
    blocked_by: tuple[int, ...]
    blockers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Activity:
    """A look at all sessions but the one that looks.

    connections: by application, how many in which state. hidden: sessions of other roles, of which neither state nor
    transaction is told. transactions: the longest first.
    """

    connections: Mapping[str, Counter[str]]
    hidden: int
    transactions: tuple[Transaction, ...]
    waiting: tuple[Waiting, ...]


def look(database: Database) -> Activity:
    """Look once. Raises DatabaseAway."""
    connections: dict[str, Counter[str]] = {}
    hidden = 0
    for row in database.execute(SQL["connections"]):
        state = row["state"] or "hidden"
        hidden += 0 if row["state"] else row["sessions"]
        connections.setdefault(row["application"], Counter())[state] += row["sessions"]
    return Activity(
        connections,
        hidden,
        tuple(Transaction(**row) for row in database.execute(SQL["transactions"])),
        tuple(
            Waiting(
                row["pid"],
                row["application"],
                row["waits_s"],
                tuple(row["blocked_by"] or ()),
                tuple(row["blockers"]),
            )
            for row in database.execute(SQL["waiting"])
        ),
    )

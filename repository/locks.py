"""Which sessions keep rows or whole tables of ours locked."""

from dataclasses import dataclass
from enum import Enum

from repository.connection import APPLICATION_NAME, Database
from repository.statements import load

SQL = load("locks")


class Kind(Enum):
    """What is locked, and how sure it is who does it."""

    TABLE = "table"
    ROW = "row"
    WAITS = "waits"  # a session of ours waits for them just now, whatever for
    PERHAPS = "perhaps"  # they have written to our tables, and that they hold just this row is a guess


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction that holds locks. pid: None of a prepared one. age_s: None where it is not told."""

    pid: int | None
    application: str
    state: str
    age_s: float | None

    def __str__(self) -> str:
        if self.pid is None:
            return "a prepared transaction (pg_prepared_xacts)"
        told = [self.application or "unnamed", *([self.state] if self.state else [])]
        told += [] if self.age_s is None else [f"for {self.age_s:.0f} s"]
        return f"session {self.pid} ({', '.join(told)})"


@dataclass(frozen=True, slots=True)
class Locks:
    """One look. kind: None when nobody was found. holders: the oldest transaction first."""

    kind: Kind | None
    holders: tuple[Holder, ...]

    @property
    def table(self) -> bool:
        """Nobody can write, whichever row."""
        return self.kind is Kind.TABLE

    @property
    def strange(self) -> bool:
        """Another program surely keeps the row locked: our own let go of it in milliseconds."""
        return self.kind is Kind.ROW and not all(
            holder.application.startswith(APPLICATION_NAME) for holder in self.holders
        )

    def __str__(self) -> str:
        what = "a table is locked" if self.table else "a row is locked"
        if not self.holders:
            return f"{what} by another session"
        by = "perhaps by" if self.kind is Kind.PERHAPS else "by"
        more = f" and {len(self.holders) - 1} more" if len(self.holders) > 1 else ""
        return f"{what} {by} {self.holders[0]}{more}"


def look(database: Database, conversation_id: str | None = None, user_id: str | None = None) -> Locks:
    """Look once, without waiting for anybody. The two say which rows somebody waited for. Raises DatabaseAway."""
    found = database.execute(SQL["tables"]) or database.execute(
        SQL["rows"], {"conversation_id": conversation_id, "user_id": user_id}
    )
    holders = tuple(Holder(row["pid"], row["application"], row["state"], row["age_s"]) for row in found)
    return Locks(Kind(found[0]["kind"]) if found else None, holders)

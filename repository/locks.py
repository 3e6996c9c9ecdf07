"""Which sessions keep rows or whole tables of ours locked."""

from dataclasses import dataclass

from repository.connection import Connection, Database, rows
from repository.errors import Locked
from repository.statements import load

SQL = load("locks")


@dataclass(frozen=True, slots=True)
class Holder:
    """A transaction with locks on our tables. pid: None of a prepared one. age_s: None where it is not told."""

    pid: int | None
    application: str
    state: str
    age_s: float | None
    tables: tuple[str, ...]

    def __str__(self) -> str:
        if self.pid is None:
            return f"a prepared transaction (pg_prepared_xacts) with locks on {', '.join(self.tables)}"
        told = [self.application or "unnamed", *([self.state] if self.state else [])]
        told += [] if self.age_s is None else [f"for {self.age_s:.0f} s"]
        return f"session {self.pid} ({', '.join(told)}) with locks on {', '.join(self.tables)}"


@dataclass(frozen=True, slots=True)
class Locks:
    """One look. table: a whole table is locked, so that nobody can write. holders: the oldest transaction first."""

    table: bool
    holders: tuple[Holder, ...]

    def __str__(self) -> str:
        what = "a table" if self.table else "a row"
        by = str(self.holders[0]) if self.holders else "another session"
        more = f", and {len(self.holders) - 1} more" if len(self.holders) > 1 else ""
        return f"{what} is locked: {by}{more}"


def look(database: Database) -> Locks:
    """Look once, without waiting for any of them. Raises DatabaseAway."""
    found = database.execute(SQL["holders"])
    holders = tuple(Holder(**row | {"tables": tuple(row["tables"])}) for row in found)

    def lock(connection: Connection) -> None:
        for name in ("write", "read"):
            rows(connection, SQL[name])

    try:
        database.run(lock)
    except Locked:
        return Locks(True, holders)
    return Locks(False, holders)

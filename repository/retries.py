"""The retry pass's rows: what is due, taken by exactly one host, ready to be published again."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from repository.connection import Connection, Database, rows
from repository.statements import load

SQL = load("retries")

Kind = Literal["rescued", "failed", "pending"]


@dataclass(frozen=True, slots=True)
class Due:
    """An event to publish again.

    rescued: its holder's lease ran out. failed: its backoff is over. pending: no consumer came for its message.
    """

    conversation_id: str
    user_id: str
    kind: Kind


def due(database: Database, limit: int = 500, kinds: Sequence[Kind] = get_args(Kind)) -> list[Due]:
    """Take at most `limit` events of these kinds whose time has come; the caller publishes their ids.

    Committed before it returns: each is PENDING, due again in 10 minutes x 2^(times published since the last outcome),
    at most 640. So an id that is never published is only late. Raises DatabaseAway.
    """

    def take(connection: Connection) -> list[Due]:
        taken: list[Due] = []
        for kind in kinds:
            found = rows(connection, SQL[kind], {"limit": limit - len(taken)})
            taken += [Due(row["conversation_id"], row["user_id"], kind) for row in found]
        return taken

    return database.run(take)


def waiting(database: Database) -> int:
    """Count the events that are due, those that another pass is just taking included. Raises DatabaseAway."""
    return int(database.execute(SQL["waiting"])[0]["events"])

"""Bodies that belong into the dead-letter queue, kept here while it cannot be written."""

from repository.connection import Database
from repository.events import plain
from repository.statements import load

SQL = load("rejects")


def keep(database: Database, body: bytes, reason: str, message_id: str | None) -> None:
    """Keep a body, once however often it comes; the hits are counted. Raises DatabaseAway."""
    database.execute(
        SQL["keep"],
        {
            "body": body,
            "reason": plain(reason),
            "message_id": None if message_id is None else plain(message_id),
            "bytes": len(body),
        },
    )

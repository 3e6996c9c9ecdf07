"""A log that is put into its event's row before its message is published."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum
from typing import Any

from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from repository.connection import Database
from repository.errors import ServerTrouble
from repository.failures import JSON, TEXTS
from repository.statements import load

SQL = load("logs")


@dataclass(frozen=True, slots=True, kw_only=True)
class Heading:
    """What a message says of its conversation, beside the log."""

    conversation_id: str
    user_id: str
    bot_type: str | None = None
    bot_id: str | None = None
    bot_name: str | None = None
    agent_tag: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


class Stored(Enum):
    """What became of a log."""

    IN_ROW = "it is in its event's row now"
    NOT_NEEDED = "the event has a log, or is done, or was forgotten: nothing was written"
    ELSEWHERE = "the row names an object in S3, which is asked first: nothing was written"
    TOO_LARGE = "its text in the row would be over the limit: nothing was written"
    FOREIGN = "the conversation is another user's: nothing was written"


def store(database: Database, heading: Heading, log: bytes, max_bytes: int) -> Stored:
    """Put a log into its event's row, which is made if there is none. Committed when it returns.

    log: the UTF-8 JSON of a list. max_bytes: of its text as a row gives it back, where 1e9 is written out.
    Calling again changes nothing. Raises BadData for a log that no row can hold (a NUL character, a number of 131,073
    digits, a text over a gigabyte), DatabaseAway.
    """
    values = asdict(heading) | {"log": log, "max_bytes": max_bytes}
    try:
        (became,) = database.execute(SQL["store"], values, blaming=TEXTS)
    except ServerTrouble:
        # Only what is refused without a table, whose triggers and indexes are anybody's, is the log's own fault
        database.execute(SQL["read"], {"log": log}, blaming=JSON)
        raise
    if became["stored"]:
        return Stored.IN_ROW
    if not became["fits"]:
        return Stored.TOO_LARGE
    found = database.execute(SQL["standing"], {"conversation_id": heading.conversation_id})
    if found and found[0]["user_id"] != heading.user_id:
        return Stored.FOREIGN
    return Stored.ELSEWHERE if found and found[0]["elsewhere"] else Stored.NOT_NEEDED


def server(url: str) -> str:
    """Say which database a URL means, without a user or a secret: host:port/name. url: any of libpq's forms."""
    parts: dict[str, Any] = {
        option.keyword.decode(): (option.val or b"").decode(errors="replace")
        for option in Conninfo.get_defaults()
    }
    parts |= conninfo_to_dict(url)
    place = f"{parts['hostaddr'] or parts['host']}:{parts['port']}/{parts['dbname']}"
    return f"{place} of {parts['service']}" if parts["service"] else place

"""A log that is put into its event's row before its message is published."""

from dataclasses import asdict, dataclass
from datetime import datetime
from enum import Enum

from repository.connection import Database
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
    FOREIGN = "the conversation is another user's: nothing was written"


def store(database: Database, heading: Heading, log: bytes) -> Stored:
    """Put a log into its event's row, which is made if there is none. Committed when it returns.

    log: the UTF-8 JSON of a list. Calling again changes nothing. Raises BadData for a log that no row can hold (a NUL
    character in a text), DatabaseAway.
    """
    if database.execute(SQL["store"], asdict(heading) | {"log": log}):
        return Stored.IN_ROW
    found = database.execute(SQL["standing"], {"conversation_id": heading.conversation_id})
    foreign = bool(found) and found[0]["user_id"] != heading.user_id
    return Stored.FOREIGN if foreign else Stored.NOT_NEEDED

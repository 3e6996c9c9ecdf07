"""The account of the dead: a supervisor writes how the holder of a claim ended."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from repository.connection import Database
from repository.statements import load

SQL = load("deaths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One death, as the parent read it from the child's record.

    event_id, epoch: 0 when the child had not read the reply to its claim; the row tells them by claimed_by then.
    blamed: the message caused it. died_at: with a time zone. rss_bytes: resident at the last reading.
    """

    conversation_id: str
    event_id: int
    epoch: int
    claimed_by: str
    cause: str
    blamed: bool
    died_at: datetime
    host: str
    slot: int
    pid: int
    rss_bytes: int


def record(database: Database, accounts: Sequence[Account]) -> int:
    """Write the accounts and return how many are new.

    One that is there already stays as it is; one whose claim cannot be found (it was never committed) is dropped.
    Raises DatabaseAway; it may be called again with the same accounts.
    """
    return sum(len(database.execute(SQL["record"], asdict(account))) for account in accounts)

"""The account of the dead: a supervisor writes how the holder of a message ended."""

import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import datetime

from repository.connection import Database, Row
from repository.errors import DatabaseAway, RepositoryError, ServerTrouble
from repository.statements import load

log = logging.getLogger("friendship.deaths")

SQL = load("deaths")


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """One death, as the parent read it from the child's record.

    conversation_id: before the claim, what the message's properties say, or empty.
    event_id, epoch: 0 when the child had not read the reply to its claim; the row tells them by claimed_by then.
    claimed_by: empty before the claim was asked for. claiming: its reply had not come.
    body_crc32: of the body's beginning, 0 while it was arriving.
    blamed: the message caused it. died_at: with a time zone. rss_bytes: resident at the last reading.
    """

    conversation_id: str
    event_id: int
    epoch: int
    claimed_by: str
    body_bytes: int
    body_crc32: int
    claiming: bool
    cause: str
    blamed: bool
    died_at: datetime
    host: str
    slot: int
    pid: int
    rss_bytes: int


@dataclass(frozen=True, slots=True)
class Mark:
    """What a body is known by before anyone has opened it."""

    body_bytes: int
    body_crc32: int
    message_id: str | None


@dataclass(frozen=True, slots=True)
class History:
    """What is known of a body: deaths with it in hand before a claim.

    blamed: those that count against it; last_blame: cause of the newest. explained: its last holder got beyond that, as
    the event is, or was just now, in somebody's hands, or the account of who had it has just come.
    """

    deaths: int
    blamed: int
    last_blame: str | None
    explained: bool


NO_HISTORY = History(0, 0, None, explained=False)


def record(database: Database, accounts: Sequence[Account]) -> int:
    """Write the accounts and return how many are new.

    One that is there already stays as it is; one whose claim cannot be found (it was never committed) is told of its
    body if the child was at it, and dropped if not. One that the database refuses for its values is dropped, too; one
    that it refuses otherwise holds up no other. Raises DatabaseAway; it may be called again with the same accounts.
    """
    new, trouble = 0, ""
    for account in accounts:
        try:
            new += len(_record(database, account))
        except ServerTrouble as refused:
            trouble = refused.reason
    if trouble:
        raise ServerTrouble(trouble)
    return new


def _record(database: Database, account: Account) -> list[Row]:
    try:
        return _told(database, account)
    except DatabaseAway:
        raise
    except RepositoryError as error:
        # It would be refused at every try, and those behind it never be written
        told = {"slot": account.slot, "pid": account.pid, "reason": account.cause, "error": error.reason}
        log.error("account_refused", extra=told | {"conversation_id": account.conversation_id})  # noqa: TRY400
        return []


def _told(database: Database, account: Account) -> list[Row]:
    values = asdict(account) | {"message_id": account.conversation_id or None}
    if account.claimed_by:
        found = database.execute(SQL["record"], values)
        # Who knew the number of its event had claimed it: where it is gone, the body is told of
        if found or not (account.claiming or account.event_id):
            return found
    values["unclaimed"] = account.claiming or not account.claimed_by
    return database.execute(SQL["record_unclaimed"], values)


class Past:
    """What became of those who had a message in hand before."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def history(self, mark: Mark) -> History:
        """Look a body up. Raises DatabaseAway."""
        return History(**self._database.execute(SQL["history"], asdict(mark))[0])

    def forgive(self, mark: Mark) -> None:
        """Forget the deaths: whoever sends the body again starts anew. Raises DatabaseAway."""
        self._database.execute(SQL["forgive"], asdict(mark))

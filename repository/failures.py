"""What an error of psycopg means here: decided from its SQLSTATE, and worded without a secret."""

import psycopg

from repository.errors import BadData, Busy, DatabaseAway, RepositoryError

# Another session is in the way; nothing was written
BUSY = {
    "40001",  # serialization failure
    "40P01",  # deadlock
    "55P03",  # lock timeout
}
AWAY_CLASSES = {
    "08",  # connection
    "28",  # authorization: ours or the operator's to mend, never the event's fault
    "3D",  # no such database
    "53",  # too many connections, disk full, out of memory
    "57",  # shutdown, crash, statement timeout
    "58",  # the server's own system calls
    "F0",  # its configuration
    "XX",  # internal error, corrupted data
}
AWAY = {
    "25006",  # read-only: a standby since a failover
    "25P03",  # idle in transaction for too long: the session is gone
    "25P04",  # likewise, in a transaction for too long
    "42501",  # a privilege is missing: a grant mends it
}
SCHEMA = {
    "42P01",  # undefined table
    "42703",  # undefined column
}
BAD_DATA_CLASSES = {
    "22",  # data
    "23",  # constraint
}
STATEMENT_TIMEOUT = "57014"
LOST_CLASSES = {"08", "28", "57"}
LOST = {"25006", "25P03", "25P04"}


def translate(error: Exception, secrets: frozenset[str] = frozenset()) -> RepositoryError:
    """Turn an error of psycopg, or of encoding a text for it, into ours."""
    if isinstance(error, UnicodeEncodeError):
        return BadData("a text holds a lone surrogate")
    if not isinstance(error, psycopg.Error):
        raise TypeError(type(error).__name__)
    return meaning(error)(wording(error, secrets))


def meaning(error: psycopg.Error) -> type[RepositoryError]:
    """Choose whose fault it is: another session's, the database's, the event's, or nobody foresaw it."""
    match error.sqlstate:
        case None:
            return meaning_without_answer(error)
        case code if code in BUSY:
            return Busy
        case code if code in AWAY or code in SCHEMA or code[:2] in AWAY_CLASSES:
            return DatabaseAway
        case code if code[:2] in BAD_DATA_CLASSES:
            return BadData
    return RepositoryError


def meaning_without_answer(error: psycopg.Error) -> type[RepositoryError]:
    """The server said nothing: psycopg refused a value (a NUL), or the connection is gone."""
    if isinstance(error, psycopg.DataError):
        return BadData
    return (
        DatabaseAway
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        else RepositoryError
    )


def ends_session(error: Exception) -> bool:
    """Say whether the connection is of no more use, should it seem open: another may reach a better server."""
    code = error.sqlstate if isinstance(error, psycopg.Error) else ""
    if code is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return code in LOST or (code[:2] in LOST_CLASSES and code != STATEMENT_TIMEOUT)


def wording(error: psycopg.Error, secrets: frozenset[str]) -> str:
    """Say in one line what happened. The server's details are left out: they quote the row's values."""
    text = error.diag.message_primary or str(error)
    line = " ".join(text.split())
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, "***")
    code = f" [{error.sqlstate}]" if error.sqlstate else ""
    return f"{line[:300]}{code}"

"""What an error of psycopg means here: decided from its SQLSTATE, and worded without a secret."""

import re

import psycopg

from repository.errors import BadData, Busy, DatabaseAway, Locked, RepositoryError

# Another session is in the way; nothing was written
BUSY = {
    "40001",  # serialization failure
    "40P01",  # deadlock
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
    "54",  # a limit of the server's: a text over a gigabyte, a statement too complex
}
# This process has no memory for libpq, OpenSSL or the resolver: there is no code for it, only these words. The server's
# come with a code, or at connect after a severity and two spaces ("FATAL:  out of memory").
CLIENT_MEMORY = re.compile(
    r"^(?!.*:  ).*(out of memory|cannot allocate memory for (input|output) buffer"
    r"|malloc failure|Memory allocation failure)",
    re.MULTILINE,
)
STATEMENT_TIMEOUT = "57014"
LOST_CLASSES = {"08", "28", "57"}
LOST = {"25006", "25P03", "25P04"}


def translate(error: Exception, secrets: frozenset[str] = frozenset()) -> RepositoryError | MemoryError:
    """Turn an error of psycopg, or of encoding a text for it, into ours; MemoryError where memory ran out here."""
    if isinstance(error, UnicodeEncodeError):
        return BadData("a text holds a lone surrogate")
    if not isinstance(error, psycopg.Error):
        raise TypeError(type(error).__name__)
    return meaning(error)(wording(error, secrets))


def meaning(error: psycopg.Error) -> type[RepositoryError] | type[MemoryError]:
    """Choose whose fault it is: another session's, the database's, the event's, or nobody foresaw it."""
    match error.sqlstate:
        case None:
            return meaning_without_answer(error)
        case "55P03":
            return Locked
        case code if code in BUSY:
            return Busy
        case code if code in AWAY or code in SCHEMA or code[:2] in AWAY_CLASSES:
            return DatabaseAway
        case code if code[:2] in BAD_DATA_CLASSES:
            return BadData
    return RepositoryError


def meaning_without_answer(error: psycopg.Error) -> type[RepositoryError] | type[MemoryError]:
    """The server said nothing: no memory here, psycopg refused a value (a NUL), or the connection is gone."""
    if out_of_memory(error):
        # Not DatabaseAway: the database is there, and waiting for it would never end
        return MemoryError
    if isinstance(error, psycopg.DataError):
        return BadData
    return (
        DatabaseAway
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
        else RepositoryError
    )


def out_of_memory(error: psycopg.Error) -> bool:
    """Say whether memory ran out in this process, not in the server."""
    return error.sqlstate is None and CLIENT_MEMORY.search(str(error)) is not None


def ends_session(error: Exception) -> bool:
    """Say whether the connection is of no more use, should it seem open: another may reach a better server."""
    if not isinstance(error, psycopg.Error):
        return False
    code = error.sqlstate
    if code is None:
        return meaning_without_answer(error) in {DatabaseAway, MemoryError}
    return code in LOST or (code[:2] in LOST_CLASSES and code != STATEMENT_TIMEOUT)


def wording(error: psycopg.Error, secrets: frozenset[str]) -> str:
    """Say in one line what happened. The server's details are left out: they quote the row's values."""
    text = error.diag.message_primary or str(error)
    line = " ".join(text.split())
    for secret in sorted(secrets, key=len, reverse=True):
        line = line.replace(secret, "***")
    code = f" [{error.sqlstate}]" if error.sqlstate else ""
    return f"{line[:300]}{code}"

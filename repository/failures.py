"""What an error of psycopg means here: decided from its SQLSTATE, and worded without a secret."""

import re

import psycopg

from repository.errors import BadData, Busy, DatabaseAway, Locked, RepositoryError, ServerTrouble

# Another session is in the way; nothing was written
BUSY = {
    "40001",  # serialization failure
    "40P01",  # deadlock
}
AWAY_CLASSES = {
    "08",  # connection
    "28",  # authorization
    "3D",  # no such database
    "53",  # too many connections, disk full, out of memory
    "57",  # shutdown, crash, statement timeout
    "58",  # the server's own system calls
    "F0",  # its configuration
    "XX",  # internal error, corrupted data
}
AWAY = {
    "25006",  # read-only: a standby since a failover
    "0A000",  # likewise, to BEGIN READ WRITE
    "25P03",  # idle in transaction for too long: the session is gone
    "25P04",  # likewise, in a transaction for too long
}
# A statement names the codes that its own parameters can cause; any other, and the same in another statement, blames no
# message. A claim's are of texts that were parsed and bounded before, and of times.
NOTHING: frozenset[str] = frozenset()
"""Nothing that is sent can be refused for what it says."""
TEXTS = frozenset(
    {
        "22001",  # a text too long for its column
        "23503",  # a key of another table that nobody has
        "23514",  # a check refuses it
        "54000",  # a key too long for its index
    }
)
"""What may be wrong with the texts of a message where they meet a table; each is looked at closer."""
JSON = frozenset(
    {
        "22003",  # a number of 131,073 digits
        "22021",  # no UTF-8
        "22P02",  # no JSON
        "22P05",  # \u0000
        "54000",  # a text over a gigabyte
        "54001",  # nested too deeply
    }
)
"""What may be wrong with a log by itself, no table being near."""

FROM_MESSAGE = (
    *("conversation_id", "user_id", "bot_type", "bot_id", "bot_name", "agent_tag"),
    *("conversation_log", "conversation_log_url", "start_time", "end_time"),
)
"""Columns that a message fills, and parameters of the same names."""

# This process has no memory for libpq, OpenSSL or the resolver: there is no code for it, only these words. The server's
# come with a code, or at connect after a severity and two spaces ("FATAL:  out of memory").
CLIENT_MEMORY = re.compile(
    r"^(?!.*:  ).*(out of memory|cannot allocate memory for (input|output) buffer"
    r"|malloc failure|Memory allocation failure)",
    re.MULTILINE,
)
SEVERITY = ":  "
"""What follows it, in whatever language: "FATAL:  no such role"."""
STATEMENT_TIMEOUT = "57014"
LOST_CLASSES = {"08", "28", "57"}
LOST = {"0A000", "25006", "25P03", "25P04"}


def translate(
    error: Exception, secrets: frozenset[str] = frozenset(), blaming: frozenset[str] = NOTHING
) -> RepositoryError | MemoryError:
    """Turn an error of psycopg, or of encoding a text for it, into ours; MemoryError where memory ran out here.

    blaming: codes that can name a value of the message in what was sent.
    """
    if isinstance(error, UnicodeEncodeError):
        return BadData("a text holds a lone surrogate")
    if not isinstance(error, psycopg.Error):
        raise TypeError(type(error).__name__)
    return meaning(error, blaming)(wording(error, secrets))


def meaning(
    error: psycopg.Error, blaming: frozenset[str] = NOTHING
) -> type[RepositoryError] | type[MemoryError]:
    """Choose whose fault it is. Only a code that names a value blames the event: any other is the server's trouble.

    So a code that nobody foresaw holds the queue, where a person sees it, and sets no message aside.
    """
    match error.sqlstate:
        case None:
            return meaning_without_answer(error)
        case "55P03":
            return Locked
        case code if code in BUSY:
            return Busy
        case code if code in AWAY or code[:2] in AWAY_CLASSES:
            return DatabaseAway
        case code if code in blaming:
            return BadData
    return ServerTrouble


def meaning_without_answer(error: psycopg.Error) -> type[RepositoryError] | type[MemoryError]:
    """The server said nothing: no memory here, psycopg refused a value (a NUL), or the connection is gone."""
    if out_of_memory(error):
        # Not DatabaseAway: the database is there, and waiting for it would never end
        return MemoryError
    if isinstance(error, psycopg.DataError):
        return BadData
    return (
        DatabaseAway
        if isinstance(error, psycopg.OperationalError | psycopg.InterfaceError | psycopg.InternalError)
        else RepositoryError
    )


def out_of_memory(error: psycopg.Error) -> bool:
    """Say whether memory ran out in this process, not in the server."""
    return error.sqlstate is None and CLIENT_MEMORY.search(str(error)) is not None


def is_answer(error: psycopg.Error) -> bool:
    """Say whether it was the server that refused a connection: libpq gives no code then, only its severity."""
    return error.sqlstate is not None or SEVERITY in str(error)


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

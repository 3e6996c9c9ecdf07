"""What can go wrong at the database, in the words of this project.

RepositoryError            anything; by itself: the database's library refused a statement that was never sent
├── BadDatabaseUrl         the URL cannot be meant; nothing of it is repeated, as it may hold a password
├── DatabaseAway           nobody's fault here: hold the message and ask again later
│   ├── Busy               another session was in the way: at once may be enough
│   │   └── Locked         it keeps a row or a table locked, and did not let go within the lock timeout
│   ├── TurnedAway         it answers, and opens no session: a login, a parameter, a start or a limit
│   └── ServerTrouble      it answers, and refuses: an exhausted sequence, a missing right, a foreign trigger
├── Fenced                 somebody else holds the event now, or wrote its outcome: this holder changed nothing
│   └── EventGone          nobody does: the row is not there any more, or is another conversation's
├── BadData                this event's values can never be stored: permanent
│   └── LedgerClash        its change is in the score of another user
└── SchemaOld              `migrate` of an older version was the last one
    └── SchemaMissing      `migrate` has not been run here
"""


class RepositoryError(Exception):
    """The database's library refused a statement."""

    def __init__(self, reason: str | None = None) -> None:
        self.reason = reason or (self.__doc__ or "").strip()
        super().__init__(self.reason)


class BadDatabaseUrl(RepositoryError):
    """The database URL is not valid."""


class DatabaseAway(RepositoryError):
    """The database cannot be reached, or cannot write now."""


class Busy(DatabaseAway):
    """Another session holds what this one needs."""


class Locked(Busy):
    """Another session keeps a row or a table locked."""


class TurnedAway(DatabaseAway):
    """The database answers, and opens no session."""


class ServerTrouble(DatabaseAway):
    """The database refuses what is asked for, through no fault of the event: a person has to mend it."""


class Fenced(RepositoryError):
    """The event belongs to another holder now."""


class EventGone(Fenced):
    """The event's row was deleted, or its number is another conversation's now."""


class BadData(RepositoryError):
    """The event's own values cannot be stored."""


class LedgerClash(BadData):
    """The ledger counts this conversation for another user."""


class SchemaOld(RepositoryError):
    """The schema is older than this program."""

    def __init__(self, found: int, wanted: int) -> None:
        self.found = found
        self.wanted = wanted
        super().__init__(
            f"the database schema is at version {found}, this program needs {wanted}: "
            "run `friendship-supervisor migrate`"
        )


class SchemaMissing(SchemaOld):
    """The database has no schema of ours."""

    def __init__(self, wanted: int) -> None:
        super().__init__(0, wanted)

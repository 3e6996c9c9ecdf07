"""What the operator's commands share: the database, one line for what went wrong, a question before harm."""

import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import IO, Any

import click
import orjson

from consumer.errors import BodyNotKept, BrokerAway
from repository import migrations
from repository.connection import Database
from repository.errors import DatabaseAway, RepositoryError, SchemaOld
from supervisor.cli.settings import Settings
from supervisor.errors import InvalidSettings
from supervisor.logs import printable

STATEMENT_TIMEOUT_S = 60.0
FORBIDDEN = "[42501]"  # insufficient_privilege
PROGRAM = "friendship-supervisor"

as_json = click.option("--json", "as_json", is_flag=True, help="JSON instead of a table, an object a line.")


class Failed(click.ClickException):
    """The command did not do what was asked, or not all: one line that says why, exit code 1."""

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it on standard error."""
        click.echo(f"{PROGRAM}: {self.message}", err=True, file=file)


@contextmanager
def visit(given: Settings, command: str, timeout_s: float = STATEMENT_TIMEOUT_S) -> Iterator[Database]:
    """Open the database for a command; errors of database and broker become one line each.

    timeout_s: of one statement; some read a table whole.
    """
    database = Database(
        given.consumer.database_url,
        application_name=f"{PROGRAM} {command}",
        statement_timeout_s=timeout_s,
    )
    try:
        with said():
            migrations.require(database)
            yield database
    finally:
        database.close()


@contextmanager
def said() -> Iterator[None]:
    """Make one line with a remedy of what database and broker raise."""
    problem = None
    try:
        yield
    except SchemaOld as old:
        raise InvalidSettings([str(old)]) from None
    except DatabaseAway as away:
        remedy = "scripts/role.sql grants it" if FORBIDDEN in away.reason else "`check` says more"
        problem = f"the database: {away.reason} ({remedy}); what was done until then stays done"
    except RepositoryError as error:
        problem = f"the database: {error.reason}; what was done until then stays done"
    except BrokerAway as away:
        problem = f"the broker: {away.reason} (`check` says more); what was done until then stays done"
    except BodyNotKept as error:
        problem = f"{error.reason}: point TMPDIR to a directory with room"
    if problem is not None:
        raise Failed(problem)


def ask(question: str, *, yes: bool) -> None:
    """Have a person at a terminal confirm; elsewhere only --yes will do."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise click.UsageError("this deletes for good, and nobody is there to be asked: give --yes")
    click.confirm(question, abort=True, err=True)


def tell_counts(counts: Mapping[str, Any], *, as_json: bool) -> None:
    """Say how many of each."""
    if as_json:
        json_line(counts)
    else:
        click.echo(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in counts.items()))


def json_line(value: Any) -> None:
    """Print one object as a line of JSON. Times are RFC 3339, bytes hexadecimal; what is not printable is escaped."""
    line = orjson.dumps(value, default=_spelled, option=orjson.OPT_UTC_Z | orjson.OPT_NON_STR_KEYS)
    click.echo(printable(line.decode()))


def _spelled(value: Any) -> str:
    return bytes(value).hex() if isinstance(value, bytes | bytearray | memoryview) else str(value)

"""`forget`: a child's data on request, out of every place that this system keeps."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from enum import Enum
from functools import partial
from typing import Any, Literal, assert_never

import click

from consumer.dead_letters import DeadQueue
from consumer.message import ID_LENGTH_MAX
from consumer.naming import Bytes, Named, named
from repository import operations, rejects
from repository.connection import Database
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.table import size
from supervisor.cli.visit import Failed, as_json, ask, json_line, visit
from supervisor.logs import printable


class Whose(Enum):
    """Whose a body is, seen from the user who is to be forgotten."""

    THEIRS = "theirs"
    SHARED = "shared"  # it names others too, and nothing says whose it is
    OTHERS = "others"


def an_id(_: click.Context, __: click.Parameter, value: str) -> str:
    """Refuse what can be nobody's id: an empty variable in a script, above all."""
    if not 1 <= len(value) <= ID_LENGTH_MAX:
        raise click.BadParameter(f"an id has 1 to {ID_LENGTH_MAX} characters")
    return value


@click.command(cls=SectionedCommand, short_help="Delete all that is kept of a user.")
@click.argument("user_id", metavar="USER_ID", callback=an_id)
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def forget(context: click.Context, user_id: str, yes: bool, as_json: bool) -> None:
    """Delete all that is kept of a user: events with their logs, deaths, score, ledger, refused and dead messages.

    Of each conversation a hash stays, so that a message of it that is still queued, or comes again, is acknowledged and
    changes nothing. To be repeated as often as wanted. The main queue is not searched, S3 is not reached, and log lines
    hold ids. A message that cannot be read and names others too stays, is told, and makes the exit code 1.
    """
    ask(f"Delete everything of user {printable(user_id)} for good?", yes=yes)
    given = command_settings(context)
    broker = given.consumer.broker
    told = Told(as_json)
    try:
        with visit(given, "forget") as database:
            search = Search(database, user_id, given.consumer.max_message_bytes)
            # Reached first: nothing is deleted that could not be deleted everywhere
            with DeadQueue(broker, bodies=True) as queue:
                _forget_rows(database, user_id, told)
                for letter in queue.letters():
                    assert letter.body is not None
                    whose = search.whose(letter.body.parts(), letter.size, letter.message_id)
                    if told.takes(whose, "queue", letter.size, letter.message_id):
                        queue.drop(letter)
                        told.counts["dead"] += 1
            for kept in rejects.kept(database):
                body = rejects.slices(database, kept.sha256)
                whose = search.whose(body, kept.bytes, kept.message_id)
                if told.takes(whose, "table", kept.bytes, kept.message_id):
                    told.counts["rejected"] += rejects.drop(database, kept.sha256)
    finally:
        told.deleted()
    if not as_json:
        click.echo(
            f"The queue {broker.queue} was not searched: what is in it of these conversations changes nothing any more;"
            " of a conversation that was not known yet it is worked on when it comes. Then run this again."
        )
    if told.shared:
        raise Failed(
            f"messages that cannot be read and name others beside {printable(user_id)}: {told.shared}; they stay:"
            " `dead show --body` shows them, `dead drop --id` removes one"
        )


@dataclass(slots=True)
class Told:
    """What the command says, line by line as it comes to know: whatever ends it, that much was said."""

    as_json: bool
    counts: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(
            ("events", "deaths", "ledger", "friendship_status", "rejected", "dead"), 0
        )
    )
    shared: int = 0

    def urls(self, urls: list[str]) -> None:
        """Name logs in S3, which nobody can find any more once the rows are gone."""
        if self.as_json:
            json_line({"urls": urls})
            return
        for url in urls:
            click.echo(f"in S3, for you to delete: {printable(url)}")

    def takes(
        self, whose: Whose, place: Literal["queue", "table"], body_bytes: int, message_id: str | None
    ) -> bool:
        """Say whether a message is to be deleted; one that may be another's stays, and is named."""
        match whose:
            case Whose.THEIRS:
                return True
            case Whose.OTHERS:
                return False
            case Whose.SHARED:
                self.shared += 1
            case _:
                assert_never(whose)
        if self.as_json:
            json_line({"stays": {"place": place, "bytes": body_bytes, "message_id": message_id}})
        else:
            name = "no message_id" if message_id is None else f"message_id {printable(message_id)}"
            click.echo(f"stays, it names others too: in the {place}, {size(body_bytes)}, {name}")
        return False

    def deleted(self) -> None:
        """Say how many of each are gone."""
        if self.as_json:
            json_line(self.counts)
        else:
            click.echo("deleted: " + ", ".join(f"{name} {count}" for name, count in self.counts.items()))


@dataclass(frozen=True, slots=True)
class Search:
    """Looks for a user in bodies. whole_bytes_max: a larger one is not parsed."""

    database: Database
    user_id: str
    whole_bytes_max: int

    def whose(self, parts: Iterable[Bytes], body_bytes: int, message_id: str | None) -> Whose:
        """Say whose a body is."""
        names = named(parts, body_bytes, self.user_id, self.whole_bytes_max)
        return whose_is(names, message_id, partial(operations.is_forgotten, self.database))


def whose_is(names: Named, message_id: str | None, is_forgotten: Callable[[str], bool]) -> Whose:
    """Choose.

    1. Who alone is named has the body.
    2. Else, if the user is one of those named or nobody is, a message_id that is a conversation of theirs decides.
    3. Else it is not theirs, or not theirs alone.
    """
    match names:
        case Named(wanted=True, another=False):
            return Whose.THEIRS
        case Named(wanted=False, another=True):
            return Whose.OTHERS
    if message_id is not None and is_forgotten(message_id):
        return Whose.THEIRS
    return Whose.SHARED if names.wanted else Whose.OTHERS


def _forget_rows(database: Database, user_id: str, told: Told) -> None:
    known = operations.urls(database, user_id)
    # Before: a kill, or a commit whose answer is lost, must not leave logs that nobody knows of
    told.urls(known)
    counts: dict[str, Any] = asdict(operations.forget(database, user_id))
    if late := sorted(set(counts.pop("urls")) - set(known)):
        told.urls(late)
    told.counts |= counts

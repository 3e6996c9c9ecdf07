"""`dead`: what can never be processed, in `<queue>.dead` and, where that could not be written, in rejected_messages."""

import sys
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, Literal

import click

from consumer.amqp import Publisher
from consumer.dead_letters import DeadLetter, DeadQueue
from consumer.errors import BodyNotKept, BrokerAway
from consumer.intake import Spool
from repository import rejects
from repository.connection import Database
from repository.rejects import Kept
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.table import lines, pairs, size
from supervisor.cli.visit import Failed, as_json, ask, json_line, tell_counts, visit
from supervisor.logs import printable

SHOWN_BYTES = 1000


def countable(_: click.Context, __: click.Parameter, limit: int | None) -> int | None:
    """Bring a limit down to what islice and deque can count to; there are never so many."""
    return None if limit is None else min(limit, sys.maxsize)


reason = click.option("--reason", metavar="CODE", help="Only with this reason, such as INVALID_MESSAGE.")
message_id = click.option("--id", "message_id", metavar="MESSAGE_ID", help="Only with this AMQP message_id.")
everything = click.option("--all", "everything", is_flag=True, help="All of them.")
limit_none = click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    callback=countable,
    help="Messages, at most.  [default: all]",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which messages: both hold where they are given."""

    reason: str | None
    message_id: str | None

    def covers(self, entry: "Entry") -> bool:
        """Say whether a message is one of these."""
        return self.reason in {None, entry.reason} and self.message_id in {None, entry.message_id}

    def __str__(self) -> str:
        asked = (("reason", self.reason), ("message_id", self.message_id))
        return " and ".join(f"{name} {printable(value)}" for name, value in asked if value is not None)


@dataclass(frozen=True, slots=True)
class Entry:
    """One message. position: in its place, from 1, the oldest first. size: bytes of its body."""

    place: Literal["queue", "table"]
    position: int
    reason: str | None
    details: str | None
    message_id: str | None
    size: int
    source: DeadLetter | Kept

    def summary(self) -> dict[str, Any]:
        """Give what a list shows."""
        names = ("place", "position", "reason", "details", "message_id", "size")
        return {name: getattr(self, name) for name in names}


@click.group(short_help="List, show, requeue and drop what can never be processed.")
def dead() -> None:
    """List, show, requeue and drop what can never be processed: <queue>.dead, and the table that stands in for it."""


@dead.command("list", cls=SectionedCommand)
@reason
@message_id
@click.option("--newest", is_flag=True, help="The newest first; each place by itself.")
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    callback=countable,
    default=50,
    show_default=True,
    help="Messages, at most.",
)
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def list_dead(context: click.Context, /, *, newest: bool, limit: int, as_json: bool, **which: Any) -> None:
    """List them, the oldest first. All stay, in their order; with --limit those looked at go behind the rest.

    To the broker each look is a delivery: in a queue with a delivery limit of its own (RabbitMQ 4 has 20 for a quorum
    queue that names none, and ours names one) look sparingly.
    """
    wanted, given = Wanted(**which), command_settings(context)
    problem = None
    found: list[Entry] = []
    with visit(given, "dead") as database:
        try:
            with DeadQueue(given.consumer.broker, bodies=False) as queue:
                found += _end(filter(wanted.covers, map(_letter, queue.letters())), limit, newest=newest)
        except BrokerAway as away:
            # The table is what there is in such an hour
            problem = f"the broker: {away.reason}; what is in the queue is not listed"
        found += _end(filter(wanted.covers, _table(database)), limit - len(found), newest=newest)
    if as_json:
        for entry in found:
            json_line(entry.summary())
    else:
        head = ("PLACE", "POSITION", "REASON", "MESSAGE ID", "SIZE", "DETAILS")
        rows = [(e.place, e.position, e.reason, e.message_id, size(e.size), e.details) for e in found]
        for line in lines(head, rows):
            click.echo(line)
        if len(found) == limit:
            click.echo(f"({limit} of them; --limit shows more)", err=True)
    if problem:
        raise Failed(problem)


@dead.command("show", cls=SectionedCommand)
@reason
@message_id
@click.option(
    "--body", "with_body", is_flag=True, help=f"Print the first {SHOWN_BYTES} bytes: a child's words."
)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(min=1),
    callback=countable,
    default=5,
    show_default=True,
    help="Messages, at most.",
)
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def show_dead(context: click.Context, /, *, with_body: bool, limit: int, as_json: bool, **which: Any) -> None:
    """Show messages with all their headers. All stay; with --limit those looked at go behind the rest."""
    wanted, given = Wanted(**which), command_settings(context)
    shown = 0
    with (
        visit(given, "dead") as database,
        DeadQueue(given.consumer.broker, bodies=with_body) as queue,
    ):
        for entry in islice(filter(wanted.covers, _all(queue, database)), limit):
            shown += 1
            more, body = _details(database, entry, with_body=with_body)
            if as_json:
                json_line(entry.summary() | more | ({"body": body} if with_body else {}))
            else:
                _print(entry, more, body if with_body else None)
    if not shown and str(wanted):
        raise Failed(f"no dead letter with {wanted}")


@dead.command("requeue", cls=SectionedCommand, short_help="Give messages back to the main queue.")
@reason
@message_id
@everything
@limit_none
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def requeue_dead(
    context: click.Context, /, *, everything: bool, limit: int | None, as_json: bool, **which: Any
) -> None:
    """Give messages back to the main queue: each is published there, confirmed, and only then removed here.

    Should this be killed in between, a message is in both places. That does no harm: an event is scored once, however
    often its message comes.
    """
    wanted = _chosen(Wanted(**which), everything=everything)
    given = command_settings(context)
    broker = given.consumer.broker
    counts = {"requeued": 0}
    try:
        with (
            visit(given, "dead") as database,
            Publisher(broker, "requeue") as publisher,
            DeadQueue(broker, bodies=True) as queue,
        ):
            for entry in islice(filter(wanted.covers, _all(queue, database)), limit):
                if isinstance(entry.source, DeadLetter):
                    queue.requeue(entry.source, publisher)
                else:
                    publisher.publish(broker.queue, _spooled(database, entry.source), entry.message_id)
                    rejects.drop(database, entry.source.sha256)
                counts["requeued"] += 1
    finally:
        tell_counts(counts, as_json=as_json)


@dead.command("drop", cls=SectionedCommand)
@reason
@message_id
@everything
@limit_none
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def drop_dead(
    context: click.Context, /, *, everything: bool, limit: int | None, yes: bool, as_json: bool, **which: Any
) -> None:
    """Remove messages for good."""
    wanted = _chosen(Wanted(**which), everything=everything)
    ask("Remove these messages for good?", yes=yes)
    given = command_settings(context)
    counts = {"dropped": 0}
    try:
        with visit(given, "dead") as database, DeadQueue(given.consumer.broker, bodies=False) as queue:
            for entry in islice(filter(wanted.covers, _all(queue, database)), limit):
                if isinstance(entry.source, DeadLetter):
                    queue.drop(entry.source)
                else:
                    rejects.drop(database, entry.source.sha256)
                counts["dropped"] += 1
    finally:
        tell_counts(counts, as_json=as_json)


def _chosen(wanted: Wanted, *, everything: bool) -> Wanted:
    if everything != (wanted == Wanted(None, None)):
        raise click.UsageError("say which: --reason or --id or both, or --all")
    return wanted


def _all(queue: DeadQueue, database: Database) -> Iterator[Entry]:
    return chain(map(_letter, queue.letters()), _table(database))


def _table(database: Database) -> Iterator[Entry]:
    for position, kept in enumerate(rejects.kept(database), 1):
        # As `<code>: <details>`, which are two headers in the queue
        code, _, details = kept.reason.partition(": ")
        yield Entry("table", position, code, details or None, kept.message_id, kept.bytes, kept)


def _letter(letter: DeadLetter) -> Entry:
    details = letter.headers.get("details")
    return Entry(
        "queue",
        letter.position,
        letter.reason,
        None if details is None else str(details),
        letter.message_id,
        letter.size,
        letter,
    )


def _end(entries: Iterable[Entry], limit: int, *, newest: bool) -> list[Entry]:
    """Take so many from the old or from the new end."""
    return list(reversed(deque(entries, maxlen=limit))) if newest else list(islice(entries, limit))


def _details(database: Database, entry: Entry, *, with_body: bool) -> tuple[dict[str, Any], str]:
    """Give what else is known of a message, and the beginning of its body when that is asked for."""
    more: dict[str, Any]
    match entry.source:
        case DeadLetter(headers=headers, body=body):
            more = {"headers": headers}
            start = b"" if body is None else body[:SHOWN_BYTES]
        case Kept() as kept:
            more = {"hits": kept.hits, "first_seen": kept.first_seen, "last_seen": kept.last_seen}
            start = (
                bytes(next(rejects.slices(database, kept.sha256), b""))[:SHOWN_BYTES] if with_body else b""
            )
    return more, start.decode("utf-8", "replace")


def _print(entry: Entry, more: dict[str, Any], body: str | None) -> None:
    headers = {f"header {name}": value for name, value in more.pop("headers", {}).items()}
    for line in pairs((entry.summary() | headers | more).items()):
        click.echo(line)
    if body is not None:
        click.echo(f"body  {printable(body)}")
    click.echo()


def _spooled(database: Database, kept: Kept) -> Spool:
    """Bring a body of any size into a file without a name."""
    try:
        spool = Spool.open()
        for piece in rejects.slices(database, kept.sha256):
            spool.append(bytes(piece))
    except OSError as error:
        raise BodyNotKept(f"no room for {kept.bytes} bytes: {error.strerror}") from None
    if len(spool) != kept.bytes:
        raise Failed(f"parts of the body {kept.sha256.hex()} are missing: drop it")
    return spool

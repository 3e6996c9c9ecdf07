"""`publish`: conversations out of files into the queue, each accepted when the broker has confirmed it."""

import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click
from click.core import ParameterSource

from consumer import amqp
from consumer.buckets import Server, log_url
from consumer.errors import BrokerAway, LogUnavailable
from consumer.settings import BrokerSettings, S3Settings
from repository import migrations
from repository.connection import Database
from repository.errors import RepositoryError, SchemaOld
from repository.logs import server
from supervisor.cli import surroundings
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS, MESSAGES, SOURCES
from supervisor.cli.publishing.delivery import Book, Delivery
from supervisor.cli.publishing.doors import Door, MessageDoor, RowDoor, S3Door
from supervisor.cli.publishing.files import Sheet, sheets
from supervisor.cli.publishing.journal import Journal, Target, state_directory
from supervisor.cli.publishing.outbox import Outbox
from supervisor.cli.publishing.pacing import Pace
from supervisor.cli.publishing.screen import Screen, Tally
from supervisor.cli.publishing.stopping import Stop
from supervisor.cli.settings import Settings
from supervisor.cli.visit import PROGRAM, STATEMENT_TIMEOUT_S, as_json
from supervisor.errors import InvalidSettings
from supervisor.logs import printable

MESSAGE, ROW, S3 = "message", "row", "s3"
KEEPER = {MESSAGE: (), ROW: (surroundings.DATABASE,), S3: (surroundings.S3,)}
"""The server that keeps the logs, beside the broker."""
SLOWEST, FASTEST = 0.001, 1e6


def _rate(_context: click.Context, _parameter: click.Parameter, value: float | None) -> float | None:
    if value is not None and not (math.isfinite(value) and SLOWEST <= value <= FASTEST):
        raise click.BadParameter(f"{value:g} is not between {SLOWEST:g} and {FASTEST:g}")
    return value


def _prefix(_context: click.Context, _parameter: click.Parameter, value: str) -> str:
    prefix = value.strip("/")
    if any(part in {"", ".", ".."} for part in prefix.split("/") if prefix) or not prefix.isprintable():
        raise click.BadParameter("must be names with / between them, none of them empty, . or ..")
    return prefix


def _directory(_context: click.Context, _parameter: click.Parameter, value: str | None) -> Path | None:
    if value == "":  # of an unset variable, likely; as a path it would be the working directory
        raise click.BadParameter("it is empty")
    return None if value is None else Path(value)


@click.command(cls=SectionedCommand)
@as_json
@click.option(
    "--rate", metavar="N", type=float, callback=_rate, help="Messages a second, at most.  [default: no limit]"
)
@click.option(
    "--log-to",
    type=click.Choice([MESSAGE, ROW, S3]),
    default=MESSAGE,
    show_default=True,
    help="Where the logs go: they stay in the messages, or into the events' rows, or into S3 (gzip).",
)
@click.option(
    "--bucket", metavar="NAME", help="For --log-to s3.  [default: the only one of S3_ALLOWED_BUCKETS]"
)
@click.option(
    "--prefix",
    metavar="PATH",
    default="conversations",
    show_default=True,
    callback=_prefix,
    help="For --log-to s3: what the keys begin with; empty: nothing.",
)
@click.option("--from-start", is_flag=True, help="Begin anew where an earlier run was interrupted.")
@click.option(
    "--journal",
    metavar="DIR",
    type=click.Path(),
    callback=_directory,
    help="Where to record how far each file has come.  [default: friendship-supervisor/publish in $XDG_STATE_HOME, "
    "or in ~/.local/state]",
)
@options(CONNECTIONS, MESSAGES, LOGS)
@click.argument("words", nargs=-1, required=True, metavar="FILE...|DIR...|-")
@click.pass_context
def publish(  # noqa: PLR0913 (an option is a parameter)
    context: click.Context,
    /,
    *,
    words: Sequence[str],
    rate: float | None,
    log_to: str,
    bucket: str | None,
    prefix: str,
    from_start: bool,
    journal: Path | None,
    as_json: bool,
) -> None:
    """Publish conversations: JSON Lines (.jsonl, - for standard input), one JSON text (.json: an object, or a list of
    them), either compressed (.gz), or all such files below a folder.

    A line counts as accepted when the broker has confirmed it. Lines that are no valid message are named by number
    and make the exit status 1; the others are published all the same.

    Interrupted by ^C, SIGTERM or a lost broker, it records where it stands: the same command goes on from there.
    The first ^C lets the line under way be confirmed, a second stops at once. Standard input is not gone on with.
    """
    _require_meant(context, log_to)
    found = sheets(words, _pass_over)
    uses = (surroundings.BROKER, *KEEPER[log_to])
    given = command_settings(
        context, CONNECTIONS, LOGS, MESSAGES, *([SOURCES] if log_to == S3 else []), uses=uses
    )
    broker = given.consumer.broker
    _require_usable(journal)
    tally = Tally()
    stop = Stop()
    delivery: Delivery | None = None
    lost = None
    screen = Screen(found, tally, as_json=as_json)
    try:
        with stop, _door(given, log_to, bucket, prefix) as (door, where), Outbox(broker) as outbox, screen:
            delivery = Delivery(
                outbox=outbox,
                door=door,
                stop=stop,
                screen=screen,
                tally=tally,
                journal=Journal(journal or state_directory(os.environ), _target(broker, where)),
                max_bytes=given.consumer.max_message_bytes,
                pace=Pace.of(rate),
                from_start=from_start,
            )
            delivery.run(found)
    except BrokerAway as away:
        lost = f"the broker was lost: {away.reason}" if delivery else f"the broker is away: {away.reason}"
    except LogUnavailable as away:
        lost = f"S3 took no log: {away.reason}"
    except RepositoryError as away:
        lost = f"the database took no log: {away.reason}"
    except KeyboardInterrupt:
        lost = "interrupted"
    screen.total()
    if lost:
        click.echo(f"{PROGRAM}: {lost}; {_standing(delivery, in_doubt=stop.in_doubt)}", err=True)
    sys.exit(1 if lost or tally.refused or tally.before_refused or tally.broken else 0)


def _require_meant(context: click.Context, log_to: str) -> None:
    """Refuse options that would change nothing: who gave them believes that the logs go to S3."""
    for name in ("bucket", "prefix"):
        if log_to != S3 and context.get_parameter_source(name) is not ParameterSource.DEFAULT:
            raise click.UsageError(f"--{name} is for --log-to s3", context)


def _require_usable(directory: Path | None) -> None:
    """Refuse a directory that was asked for and takes no record; the default one is done without."""
    if directory is None:
        return
    try:
        Journal(directory, Target("", "", "")).require()
    except OSError as error:
        name = printable(click.format_filename(directory))
        raise click.BadParameter(f"{name} cannot be used: {error.strerror}", param_hint="--journal") from None


def _pass_over(name: str) -> None:
    click.echo(f"{PROGRAM}: {name}: passed over, as it is no regular file", err=True)


def _standing(delivery: Delivery | None, *, in_doubt: bool) -> str:
    """Say what was sent, and how it goes on."""
    if delivery is None:
        return "nothing was sent"
    doubt = "the line under way may have arrived; " if in_doubt else ""
    match delivery.current:
        case None:
            return f"{doubt}all files were done"
        case Sheet() as sheet, Book() as book:
            here = f"{sheet.unit} {book.place.number} of {sheet.name}"
            done = f"after {here}" if book.place.number else f"with {sheet.name}"
            if book.is_kept:
                same = "the same command without --from-start" if delivery.from_start else "the same command"
                return f"{doubt}{same} goes on {done}"
            return f"{doubt}done up to {here}, which is recorded nowhere"
    raise AssertionError


def _target(broker: BrokerSettings, where: str) -> Target:
    found = amqp.parameters(broker, "publish")
    return Target(broker.queue, f"{found.host}:{found.port}/{found.virtual_host}", where)


@contextmanager
def _door(given: Settings, log_to: str, bucket: str | None, prefix: str) -> Iterator[tuple[Door, str]]:
    """Open the way that logs go, with its name. Raises InvalidSettings, RepositoryError."""
    if log_to == S3:
        chosen = _bucket(given.consumer.s3, bucket)
        yield (
            _s3_door(given.consumer.s3, chosen, prefix),
            f"s3://{chosen}/{prefix} at {_s3_server(given.consumer.s3)}",
        )
    elif log_to == ROW:
        database = Database(
            given.consumer.database_url,
            application_name=f"{PROGRAM} publish",
            statement_timeout_s=STATEMENT_TIMEOUT_S,
        )
        try:
            _require_schema(database)
            yield (
                RowDoor(database, given.consumer.max_message_bytes),
                f"{log_to} of {server(given.consumer.database_url)}",
            )
        finally:
            database.close()
    else:
        yield MessageDoor(), log_to


def _require_schema(database: Database) -> None:
    try:
        migrations.require(database)
    except SchemaOld as old:
        raise InvalidSettings([str(old)]) from None


def _bucket(settings: S3Settings | None, wanted: str | None) -> str:
    if settings is None:
        raise InvalidSettings(["--log-to s3: S3_ALLOWED_BUCKETS names no bucket"])
    buckets = sorted(settings.buckets)
    if wanted is None and len(buckets) > 1:
        raise InvalidSettings(
            [f"--log-to s3: give --bucket, one of {', '.join(buckets)} (S3_ALLOWED_BUCKETS)"]
        )
    if wanted is not None and wanted not in settings.buckets:
        raise InvalidSettings(
            [f"--bucket {wanted!r}: S3_ALLOWED_BUCKETS does not name it, nobody may read there"]
        )
    return wanted or buckets[0]


def _s3_server(settings: S3Settings | None) -> str:
    """Say which server keeps the objects; on AWS a bucket's name is enough."""
    if settings is None or settings.endpoint is None:
        return "AWS"
    found = Server.at(settings.endpoint)
    return f"{found.host}:{found.port or found.scheme}{found.path}"


def _s3_door(settings: S3Settings | None, bucket: str, prefix: str) -> Door:
    from consumer import s3  # noqa: PLC0415 - costs megabytes, and needs the extra

    assert settings is not None, "the bucket is one of its own"
    try:
        s3.prepare()
    except ImportError:
        missing = "--log-to s3: the extra s3 is not installed (friendship-supervisor[s3])"
        raise InvalidSettings([missing]) from None
    archive = s3.Archive(settings, ssl_context=None, pump=lambda: None)
    return S3Door(archive.write, lambda conversation_id, mark: log_url(bucket, prefix, conversation_id, mark))

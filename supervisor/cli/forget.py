"""`forget`: a child's data on request, out of every place that this system keeps."""

import sys
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from typing import Any

import click

from consumer.dead_letters import DeadQueue
from consumer.naming import users_named
from repository import operations, rejects
from repository.connection import Database
from supervisor.cli.given import options, settings, start_logs
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.table import plain
from supervisor.cli.visit import as_json, ask, json_line, visit


@click.command(cls=SectionedCommand, short_help="Delete all that is kept of a user.")
@click.argument("user_id", metavar="USER_ID")
@click.option("--yes", is_flag=True, help="Do not ask.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def forget(context: click.Context, user_id: str, yes: bool, as_json: bool) -> None:
    """Delete all that is kept of a user: events with their logs, deaths, score, ledger, refused and dead messages.

    Of each conversation a hash stays, so that a message of it that is still queued, or comes again, is acknowledged and
    changes nothing. To be repeated as often as wanted. The main queue is not searched, S3 is not reached, and log lines
    hold ids.
    """
    ask(f"Delete everything of user {plain(user_id)} for good?", yes=yes)
    given = settings(context, CONNECTIONS, LOGS)
    start_logs(given.logs, sys.stderr)
    broker = given.consumer.broker
    with visit(given, "forget") as database:
        counts: dict[str, Any] = asdict(operations.forget(database, user_id))
        counts["rejected"] = _forget_rejected(database, user_id)
        known = partial(operations.is_forgotten, database)
        with DeadQueue(broker, bodies=True) as queue:
            counts["dead"] = 0
            for letter in queue.letters():
                assert letter.body is not None
                if is_theirs(users_named(letter.body.parts()), letter.message_id, user_id, known):
                    queue.drop(letter)
                    counts["dead"] += 1
    urls = counts.pop("urls")
    if as_json:
        json_line(counts | {"urls": urls})
        return
    click.echo("deleted: " + ", ".join(f"{name} {count}" for name, count in counts.items()))
    for url in urls:
        click.echo(f"left in S3, for you to delete: {plain(url)}")
    click.echo(
        f"The queue {broker.queue} was not searched: what is in it of these conversations changes nothing any more;"
        " of a conversation that was not known yet it is worked on when it comes. Then run this again."
    )


def is_theirs(
    named: set[str], message_id: str | None, user_id: str, is_forgotten: Callable[[str], bool]
) -> bool:
    """Say whether a body is a user's: it names them, or nobody, and its message_id is a conversation of theirs."""
    return user_id in named or (not named and message_id is not None and is_forgotten(message_id))


def _forget_rejected(database: Database, user_id: str) -> int:
    known = partial(operations.is_forgotten, database)
    count = 0
    for kept in rejects.kept(database):
        named = users_named(rejects.slices(database, kept.sha256))
        if is_theirs(named, kept.message_id, user_id, known):
            count += rejects.drop(database, kept.sha256)
    return count

"""`events`: which conversations stand where, what is known of one, and another try for those that failed."""

from dataclasses import asdict
from typing import Any

import click

from consumer.amqp import Publisher
from consumer.errors import BrokerAway
from consumer.retries import publish_ids
from repository import operations
from repository.connection import Database
from repository.errors import RepositoryError
from repository.operations import EventFile, EventLine, Selection
from supervisor.cli.age import age_s
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.settings import Settings
from supervisor.cli.surroundings import BROKER, DATABASE
from supervisor.cli.table import lines, pairs
from supervisor.cli.visit import Failed, as_json, json_line, tell_counts, visit
from supervisor.logs import printable

STATES = ("PENDING", "PROCESSING", "PROCESSED", "FAILED", "SKIPPED")
OPEN_STATES = ("PENDING", "PROCESSING", "FAILED")

user = click.option("--user", "user_id", metavar="USER_ID", help="Only this user's.")
code = click.option("--code", metavar="CODE", help="Only with this error code, such as MEMORY_API_TIMEOUT.")
countable = click.IntRange(1, 2**31 - 1)  # what PostgreSQL can count to is more
older_than = click.option(
    "--older-than",
    "older_than_s",
    type=age_s,
    metavar="AGE",
    help="Only without a change for so long: 30m, 12h, 90d.",
)


@click.group()
def events() -> None:
    """List, show and requeue conversations. Their text is never shown."""


@events.command("list", cls=SectionedCommand)
@click.option("--status", type=click.Choice(STATES, case_sensitive=False), help="Only in this state.")
@user
@code
@older_than
@click.option("--due", is_flag=True, help="Only those that the next retry pass takes.")
@click.option("--limit", metavar="N", type=countable, default=50, show_default=True, help="Events, at most.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def list_events(context: click.Context, /, *, limit: int, as_json: bool, **filters: Any) -> None:
    """List events, the last changed first."""
    with visit(command_settings(context, uses=[DATABASE]), "events") as database:
        found = operations.listing(database, Selection(**filters), limit)
    if as_json:
        for event in found:
            json_line(event)
        return
    for line in lines(
        ("CONVERSATION", "USER", "STATUS", "CODE", "ATTEMPTS", "NEXT ATTEMPT", "CHANGED"),
        [_cells(event) for event in found],
    ):
        click.echo(line)
    if len(found) == limit:
        click.echo(f"(the last {limit}; --limit shows more)", err=True)


def _cells(event: EventLine) -> tuple[Any, ...]:
    return (
        event.conversation_id,
        event.user_id,
        event.status,
        event.error_code,
        event.attempts,
        "never" if event.status == "FAILED" and event.next_attempt_at is None else event.next_attempt_at,
        event.updated_at,
    )


@events.command("show", cls=SectionedCommand)
@click.argument("ids", nargs=-1, required=True, metavar="CONVERSATION_ID...")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def show_events(context: click.Context, ids: tuple[str, ...], as_json: bool) -> None:
    """Show all that is known of conversations but their text: row, deaths of children, change of score."""
    with visit(command_settings(context, uses=[DATABASE]), "events") as database:
        found = operations.files(database, ids)
    for each, file in found.items():
        if as_json:
            json_line({"conversation_id": each} | asdict(file))
        else:
            _print(each, file)
    unknown = [each for each in ids if each not in found]
    if unknown:
        raise Failed(f"not known: {', '.join(map(printable, unknown))}")


def _print(conversation_id: str, file: EventFile) -> None:
    event = file.event or {"conversation_id": conversation_id, "status": "its row is gone"}
    for line in pairs(event.items()):
        click.echo(line)
    if file.ledger is not None:
        click.echo("change of score")
        for line in pairs(file.ledger.items()):
            click.echo(f"  {line}")
    if file.deaths:
        click.echo("children that died with it in hand")
        head = [name for name in file.deaths[0] if name not in {"event_id", "conversation_id"}]
        for line in lines(head, [[death[name] for name in head] for death in file.deaths]):
            click.echo(f"  {line}")
    click.echo()


@events.command("requeue", cls=SectionedCommand)
@click.argument("ids", nargs=-1, metavar="[CONVERSATION_ID...]")
@click.option(
    "--status",
    type=click.Choice(OPEN_STATES, case_sensitive=False),
    help="Only in this state; PROCESSING only when its lease is over.  [default: FAILED, when no id is given]",
)
@user
@code
@older_than
@click.option(
    "--limit",
    metavar="N",
    type=countable,
    help="Events, at most, the oldest first.  [default: all]",
)
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def requeue_events(
    context: click.Context,
    /,
    *,
    ids: tuple[str, ...],
    limit: int | None,
    dry_run: bool,
    as_json: bool,
    **filters: Any,
) -> None:
    """Try events again at once, by id, or by state, user, code and age.

    They become PENDING as if never tried (all counts start again) and their ids are published, confirmed. What is done,
    or in the hands of a live child, is refused by name. An old message that is still queued does no harm: an event is
    worked on once at a time, and scored once for ever.
    """
    if not ids and set(filters.values()) == {None}:
        raise click.UsageError("say which: ids, or at least one of --status, --user, --code, --older-than")
    if not ids and filters["status"] is None:
        filters["status"] = "FAILED"
    selection = Selection(ids=list(ids) or None, **filters)
    given = command_settings(context, uses=[DATABASE] if dry_run else [DATABASE, BROKER])
    with visit(given, "events") as database:
        if dry_run:
            count = operations.count_requeueable(database, selection)
            tell_counts({"would_requeue": count if limit is None else min(count, limit)}, as_json=as_json)
            return
        _requeue(database, given, selection, limit, as_json)


def _requeue(
    database: Database, given: Settings, selection: Selection, limit: int | None, as_json: bool
) -> None:
    broker = given.consumer.broker
    counts: dict[str, Any] = {"requeued": 0, "published": 0}
    by_name: list[str] = []
    try:
        # The broker first: with it away no row is touched
        with Publisher(broker, "requeue") as publisher:
            for batch in operations.requeue(database, selection, limit):
                counts["requeued"] += len(batch)
                by_name += [event.conversation_id for event in batch] if selection.ids else []
                for _ in publish_ids(publisher, broker.queue, batch):
                    counts["published"] += 1
        refused = operations.objections(database, selection.ids or (), by_name)
    except (RepositoryError, BrokerAway):
        # What has no message yet is due again in ten minutes
        tell_counts(counts, as_json=as_json)
        raise
    tell_counts(counts | {"refused": refused} if as_json else counts, as_json=as_json)
    if refused:
        raise Failed(
            "not requeued: " + "; ".join(f"{printable(each)} ({why})" for each, why in refused.items())
        )

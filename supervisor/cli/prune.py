"""`prune`: old rows go; what makes a conversation known stays."""

from dataclasses import asdict

import click

from repository import operations
from supervisor.cli.age import UNITS_S, age_s
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.surroundings import DATABASE
from supervisor.cli.visit import as_json, ask, json_line, visit

# To count reads tables whole; to delete goes in short steps
COUNT_TIMEOUT_S = 600.0
# What ended within the last day somebody may still want to look at: an age so small is more likely a slip
ASKED_BELOW_S = UNITS_S["d"]


@click.command(cls=SectionedCommand, short_help="Delete what has ended and is old.")
@click.option(
    "--older-than",
    type=age_s,
    required=True,
    metavar="AGE",
    help="Without a change for so long: 90d, 12h, 30m.",
)
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Do not ask, though AGE is less than a day.")
@as_json
@options(CONNECTIONS, LOGS)
@click.pass_context
def prune(context: click.Context, older_than: float, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Delete what has ended: PROCESSED, SKIPPED and for good FAILED events, their deaths, refused bodies.

    In short transactions, beside running workers. Scores stay, and so does the ledger: a conversation that is in it is
    known when its message comes again. A SKIPPED or FAILED one whose message comes again is worked on as new.
    """
    if older_than < ASKED_BELOW_S and not dry_run:
        ask("Delete for good also what ended within the last day?", yes=yes)
    given = command_settings(context, uses=[DATABASE])
    with visit(given, "prune", COUNT_TIMEOUT_S) as database:
        pruned = operations.prune(database, older_than, dry_run=dry_run)
    if as_json:
        json_line(pruned)
        return
    counts = ", ".join(f"{name} {count}" for name, count in asdict(pruned).items())
    click.echo(f"{'would delete' if dry_run else 'deleted'}: {counts}")

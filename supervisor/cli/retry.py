"""`retry`: one retry pass. Due events are published again, once each."""

import sys

import click
import orjson

from consumer.errors import BrokerAway
from consumer.retries import CAP, Counts, pass_alone
from repository import migrations
from repository.connection import Database
from repository.errors import RepositoryError, SchemaOld
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.errors import InvalidSettings


@click.command(cls=SectionedCommand)
@click.option(
    "--limit",
    metavar="N",
    type=click.IntRange(1, 2**31 - 1),
    default=CAP,
    envvar="FRIENDSHIP_RETRY_LIMIT",
    help="Messages: publish no more than N, and only while fewer than N are ready in the queue; the rest is `left`."
    f"  [FRIENDSHIP_RETRY_LIMIT; default: {CAP}]",
)
@options(CONNECTIONS, LOGS)
@click.pass_context
def retry(context: click.Context, limit: int) -> None:
    """Run one retry pass: publish what is due again, once each. Prints a JSON line of counts.

    Due are FAILED and PENDING events whose time has come, and PROCESSING ones whose lease ran out. While another pass
    is under way on this host it does nothing, and says so.
    """
    given = command_settings(context)
    consumer = given.consumer
    counts = Counts()
    problem = None
    database = Database(consumer.database_url, application_name="friendship-supervisor retry")
    try:
        migrations.require(database)
        pass_alone(database, consumer, counts, limit)
    except SchemaOld as old:
        raise InvalidSettings([str(old)]) from None
    except (RepositoryError, BrokerAway) as error:
        problem = str(error)
    finally:
        database.close()
    click.echo(orjson.dumps(counts).decode())
    if problem:
        click.echo(
            f"friendship-supervisor: the pass ended early: {problem}; what it took is due again later",
            err=True,
        )
        sys.exit(1)

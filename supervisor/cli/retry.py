"""`retry`: one retry pass. Due events are published again, once each."""

import sys

import click
import orjson

from consumer.errors import BrokerAway
from consumer.retries import Counts, pass_once
from repository import migrations
from repository.connection import Database
from repository.errors import RepositoryError, SchemaOld
from supervisor.cli.given import options, settings, start_logs
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.errors import InvalidSettings


@click.command(cls=SectionedCommand)
@options(CONNECTIONS, LOGS)
@click.pass_context
def retry(context: click.Context) -> None:
    """Run one retry pass: publish what is due again, once each. Prints a JSON line of counts.

    Due are FAILED and PENDING events whose time has come, and PROCESSING ones whose lease ran out.
    """
    given = settings(context, CONNECTIONS, LOGS)
    start_logs(given.logs, sys.stderr)
    consumer = given.consumer
    counts = Counts()
    problem = None
    database = Database(consumer.database_url, application_name="friendship-supervisor retry")
    try:
        migrations.require(database)
        pass_once(database, consumer.broker, counts)
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

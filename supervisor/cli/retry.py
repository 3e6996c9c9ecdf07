"""`retry`: one retry pass. Due events are published again, once each."""

import sys

import click
import orjson

from consumer.errors import BrokerAway
from consumer.retries import Counts, pass_once
from repository.connection import Database
from repository.errors import RepositoryError
from supervisor.cli.given import options, settings
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS


@click.command(cls=SectionedCommand)
@options(CONNECTIONS, LOGS)
@click.pass_context
def retry(context: click.Context) -> None:
    """Run one retry pass: publish what is due again, once each. Prints a JSON line of counts.

    Due are FAILED and PENDING events whose time has come, and PROCESSING ones whose lease ran out.
    """
    consumer = settings(context).consumer
    counts = Counts()
    problem = None
    database = Database(consumer.database_url, application_name="friendship-supervisor retry")
    try:
        pass_once(database, consumer.broker, counts)
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

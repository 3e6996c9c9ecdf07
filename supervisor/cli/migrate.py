"""`migrate`: create or upgrade the schema."""

import sys

import click

from repository import migrations
from repository.connection import Database
from repository.errors import RepositoryError
from supervisor.cli.given import command_settings, options
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS
from supervisor.cli.surroundings import DATABASE


@click.command(cls=SectionedCommand)
@options(CONNECTIONS, LOGS)
@click.pass_context
def migrate(context: click.Context) -> None:
    """Create or upgrade the schema. Does nothing the second time; safe while workers run."""
    given = command_settings(context, uses=[DATABASE])
    database = Database(given.consumer.database_url, application_name="friendship-supervisor migrate")
    try:
        for name in migrations.migrate(given.consumer.database_url):
            click.echo(f"applied {name}")
        click.echo(f"the schema is at version {migrations.schema_version(database)}")
    except RepositoryError as error:
        # Each step is a transaction of its own: those that were logged as applied stay
        click.echo(f"friendship-supervisor: not at version {migrations.LATEST}: {error}", err=True)
        sys.exit(1)
    finally:
        database.close()

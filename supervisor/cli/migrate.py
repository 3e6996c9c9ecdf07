"""`migrate`: create or upgrade the schema."""

import sys

import click

from repository import migrations
from repository.errors import RepositoryError
from supervisor.cli.given import options, settings
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import CONNECTIONS, LOGS


@click.command(cls=SectionedCommand)
@options(CONNECTIONS, LOGS)
@click.pass_context
def migrate(context: click.Context) -> None:
    """Create or upgrade the schema. Does nothing the second time; safe while workers run."""
    url = settings(context).consumer.database_url
    try:
        applied = migrations.migrate(url)
    except RepositoryError as error:
        click.echo(f"friendship-supervisor: the schema is unchanged: {error}", err=True)
        sys.exit(1)
    for name in applied:
        click.echo(f"applied {name}")
    click.echo(f"the schema is at version {migrations.LATEST}")

"""The command line: the one place that ties supervisor, consumer and repository together.

Each command is a module; errors become exit codes here.
"""

import sys

import click
from setproctitle import setproctitle

from supervisor import __version__
from supervisor.cli import check, dead, events, forget, migrate, prune, publish, retry, run, status
from supervisor.cli.given import options
from supervisor.cli.help import SectionedGroup
from supervisor.errors import InvalidSettings

PROGRAM = "friendship-supervisor"


@click.group(
    cls=SectionedGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)
@options()
@click.version_option(__version__, prog_name=PROGRAM)
@click.pass_context
def cli(context: click.Context) -> None:
    """Keep N consumer children turning queued conversations into friendship scores, each within its memory budget.

    Without a command it runs the supervisor in the foreground. Every option has an environment variable, in
    brackets; an option beats the variable. MB are 2^20 bytes.
    """
    if context.invoked_subcommand is None:
        context.invoke(run.run)


COMMANDS: tuple[click.Command, ...] = (
    run.run,
    migrate.migrate,
    publish.publish,
    retry.retry,
    status.status,
    check.check,
    events.events,
    dead.dead,
    prune.prune,
    forget.forget,
)

for command in COMMANDS:
    cli.add_command(command)


def main() -> None:
    """Run the command line and exit with its code."""
    # The arguments may hold passwords, and everybody may read /proc/PID/cmdline
    setproctitle(PROGRAM)
    try:
        cli(prog_name=PROGRAM)
    except InvalidSettings as invalid:
        for problem in invalid.problems:
            click.echo(f"{PROGRAM}: {problem}", err=True)
        sys.exit(invalid.exit_code)

"""The command line: the one place that ties supervisor, consumer and repository together.

Each command is a module; errors become exit codes here.
"""

import sys
from importlib import import_module

import click
from setproctitle import setproctitle

from supervisor import __version__
from supervisor.cli.given import options
from supervisor.cli.help import SectionedGroup
from supervisor.errors import InvalidSettings

PROGRAM = "friendship-supervisor"

COMMANDS = (
    "run",
    "migrate",
    "publish",
    "retry",
    "status",
    "check",
    "events",
    "dead",
    "prune",
    "forget",
)
"""Each the name of a module here, and of the command in it."""


class Program(SectionedGroup):
    """The commands, each loaded when it is asked for: every child would carry the others with it (0.9 MB)."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's
        return sorted(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(f"supervisor.cli.{cmd_name}"), cmd_name)
        return command


@click.group(
    cls=Program,
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
        run = cli.get_command(context, "run")
        assert run is not None
        context.invoke(run)


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

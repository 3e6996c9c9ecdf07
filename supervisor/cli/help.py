"""Help that a person can scan: commands first, options under headings, then the variables that have no option.

And usage errors without secrets.
"""

import contextlib
from collections.abc import Iterator

import click

from supervisor.cli.options import OPTIONS
from supervisor.cli.redaction import redacted

OTHER = "Other"


@contextlib.contextmanager
def unquoted() -> Iterator[None]:
    """Let usage errors through with all that might be a secret left out."""
    told = None
    try:
        yield
    except click.UsageError as error:
        told = click.UsageError(redacted(error.format_message()), error.ctx)
    if told is not None:
        raise told


class SectionedCommand(click.Command):
    """A command whose options stand under the headings of the options table."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        with unquoted():
            return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        section_of = {option.flag: option.section for option in OPTIONS}
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None and isinstance(parameter, click.Option):
                heading = next((section_of[flag] for flag in parameter.opts if flag in section_of), OTHER)
                sections.setdefault(heading, []).append(record)
        for heading, records in sections.items():
            with formatter.section(heading):
                formatter.write_dl(records)


class SectionedGroup(SectionedCommand, click.Group):
    """The program itself: its commands, its options, the variables without one."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        with unquoted():
            return super().resolve_command(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        self.format_commands(ctx, formatter)
        super().format_options(ctx, formatter)
        records = [
            (option.env, f"{option.help}  [default: {option.default}]")
            for option in OPTIONS
            if option.flag is None
        ]
        with formatter.section("By environment only"):
            formatter.write_dl(records)

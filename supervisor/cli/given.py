"""Options as click sees them: taken before and after the command, kept as text, read later and all at once."""

import logging
import os
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Any, TextIO, TypeVar

import click

from supervisor.cli import surroundings
from supervisor.cli.options import CONNECTIONS, LOGS, OPTIONS, Option
from supervisor.cli.settings import Examined, LogSettings, Settings, examine
from supervisor.cli.surroundings import BROKER, DATABASE, SERVERS
from supervisor.logs import configure

F = TypeVar("F", bound=Callable[..., Any])


def options(*sections: str) -> Callable[[F], F]:
    """Decorate a command with the settings of these sections; of all when none is named."""

    def decorate(command: F) -> F:
        for option in reversed(OPTIONS):
            if option.flag and (not sections or option.section in sections):
                command = _click_option(option)(command)
        return command

    return decorate


def settings(context: click.Context, *sections: str, uses: Iterable[str] = SERVERS) -> Settings:
    """Read the settings of this call. Raises InvalidSettings with every problem of these sections, or of all."""
    return examined(context, uses).held(sections)


def examined(context: click.Context, uses: Iterable[str] = SERVERS) -> Examined:
    """Read the settings of this call, with what is wrong with them, and with what surrounds them, beside them.

    uses: the servers that the command asks: what others need is not looked at.
    """
    found = examine(context.find_root().ensure_object(dict), os.environ)
    surrounding = surroundings.look(found, os.environ, frozenset(uses))
    return replace(found, problems=(*found.problems, *surrounding))


def command_settings(
    context: click.Context, *sections: str, uses: Iterable[str] = (DATABASE, BROKER)
) -> Settings:
    """Read the settings of a command that has words of its own on standard output; its log goes to standard error.

    sections: those of servers and log when none is named. Raises InvalidSettings, as `settings`.
    """
    given = settings(context, *(sections or (CONNECTIONS, LOGS)), uses=uses)
    start_logs(given.logs, sys.stderr)
    return given


def start_logs(logs: LogSettings, stream: TextIO) -> None:
    """Log to a stream. A command with words of its own on standard output logs to standard error."""
    configure(logs.format or ("text" if stream.isatty() else "json"), logs.level, stream)
    # What they have to say reaches the log through our own events, without their URLs and tracebacks
    for library in ("pika", "httpcore", "httpx"):
        logging.getLogger(library).setLevel(logging.CRITICAL)


def _click_option(option: Option) -> Callable[[F], F]:
    assert option.flag is not None

    def keep(context: click.Context, _parameter: click.Parameter, value: str | bool | None) -> None:
        # The command's own options are parsed after the group's, so that the later word wins
        if value is not None:
            context.find_root().ensure_object(dict)[option.name] = "on" if value is True else str(value)

    default = option.default_shown or option.default or "empty"
    text = f"{option.help}  [{option.env}; default: {default}]"
    if option.metavar:
        return click.option(
            option.flag, metavar=option.metavar, help=text, callback=keep, expose_value=False, default=None
        )
    return click.option(option.flag, is_flag=True, help=text, callback=keep, expose_value=False, default=None)

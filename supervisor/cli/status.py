"""`status`: how the running supervisor stands, once or live."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit

import click

from supervisor.cli.given import options, settings
from supervisor.cli.help import SectionedCommand
from supervisor.cli.inquiry import NoAnswer, Standing, ask
from supervisor.cli.options import BY_NAME, STATUS
from supervisor.cli.visit import Failed, json_line
from supervisor.cli.whereabouts import NoneFound, address, found, processes, url

if TYPE_CHECKING:
    from rich.console import Console, RenderableType

EVERY_S = 1.0
PIPED_WIDTH = 160
"""Columns where there is no terminal: a child's message then stands on its line."""

Where = Callable[[], str]
Show = Callable[[Standing | None, str | None], None]
"""What a look has given: the last standing, and why there is no newer one."""


def _base(_context: click.Context, _parameter: click.Parameter, given: str | None) -> str | None:
    if given is None:
        return None
    try:
        parts = urlsplit(given)
        usable = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise click.BadParameter("is no http:// or https:// URL with a host")
    return given.rstrip("/").removesuffix("/status")


@click.command(cls=SectionedCommand)
@options(STATUS)
@click.option("--watch", is_flag=True, help="Live, renewed each second, until Ctrl-C.")
@click.option("--json", "as_json", is_flag=True, help="The object of GET /status, a line for each look.")
@click.option(
    "--url",
    "base",
    metavar="URL",
    callback=_base,
    help="Where to ask, such as http://10.0.0.7:9464; without it, the supervisor that runs here.",
)
@click.pass_context
def status(context: click.Context, watch: bool, as_json: bool, base: str | None) -> None:
    """Show what every child does, what it weighs, why the last one was replaced, and what happened of late.

    It finds the running supervisor by itself, and asks it over HTTP. The exit status is 0 when every child is ready,
    and 1 when not, or when there is no answer: one line says why. With --watch it is 0 on Ctrl-C.
    """
    where = _where(context, base)
    try:
        if watch:
            _watch(where, _lines() if as_json else _screen())
        standing = _look(where)
        if as_json:
            json_line(standing)
        else:
            console = _console()
            console.print(_picture(console, standing))
    except NoAnswer as none:
        raise Failed(str(none)) from None
    except KeyboardInterrupt:
        sys.exit(0 if watch else 1)
    sys.exit(0 if standing["supervisor"].get("ready") is True else 1)


def _where(context: click.Context, base: str | None) -> Where:
    """Give the way to find whom to ask: --url, then a --listen of the command line, then who runs here."""
    listen = settings(context, STATUS, uses=()).supervisor.listen
    configured = "" if listen is None else str(listen)
    said = base or (url(configured) if context.find_root().ensure_object(dict).get("listen") else None)
    meant = bool(os.environ.get(BY_NAME["listen"].env))
    return lambda: said or address(found(processes()), configured, meant=meant)


def _look(where: Where) -> Standing:
    try:
        base = where()
    except NoneFound as none:
        raise NoAnswer(str(none)) from None
    return ask(base)


def _watch(where: Where, shown: contextlib.AbstractContextManager[Show]) -> NoReturn:
    """Look once in EVERY_S, for ever. A supervisor that is gone may come back, and elsewhere."""
    signal.signal(signal.SIGTERM, _leave)
    standing: Standing | None = None
    with shown as show:
        while True:
            silence = None
            try:
                standing = _look(where)
            except NoAnswer as none:
                silence = str(none)
            show(standing, silence)
            time.sleep(EVERY_S)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Give the terminal back before going."""
    raise SystemExit(128 + signal.SIGTERM)


@contextlib.contextmanager
def _lines() -> Iterator[Show]:
    def show(standing: Standing | None, silence: str | None) -> None:
        if silence is not None:
            click.echo(f"friendship-supervisor: {silence}", err=True)
        elif standing is not None:
            json_line(standing)

    yield show


@contextlib.contextmanager
def _screen() -> Iterator[Show]:
    """Take the terminal; at the end give it back, with the last picture on it."""
    from rich.live import Live  # noqa: PLC0415 - as in _console
    from rich.text import Text  # noqa: PLC0415

    console = _console()
    picture: RenderableType = Text()
    live = Live(console=console, screen=console.is_terminal, auto_refresh=False)

    def show(standing: Standing | None, silence: str | None) -> None:
        nonlocal picture
        if standing is None:
            picture = Text(f"waiting for a supervisor: {silence}")
        else:
            picture = _picture(console, standing, console.height if console.is_terminal else None, silence)
        if console.is_terminal:
            live.update(picture, refresh=True)
        else:
            console.print(picture)
            console.print()

    try:
        with live:
            yield show
    finally:
        if console.is_terminal:
            console.print(picture)


def _console() -> "Console":
    from rich.console import Console  # noqa: PLC0415 - only this command draws

    # What cannot be spelled in the terminal's letters is escaped; an id may hold any
    sys.stdout.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal and "COLUMNS" not in os.environ:
        console.width = PIPED_WIDTH
    return console


def _picture(
    console: "Console", standing: Standing, height: int | None = None, silence: str | None = None
) -> "RenderableType":
    """Draw it for this terminal. Raises NoAnswer for what is of another shape than ours."""
    from supervisor.cli.screen import children, picture, shape  # noqa: PLC0415 - as in _console

    plain = not console.encoding.lower().startswith("utf")
    marks = children.ASCII_MARKS if plain else children.MARKS
    with contextlib.suppress(shape.Foreign):
        return picture.picture(standing, width=console.width, height=height, marks=marks, silence=silence)
    raise NoAnswer("the answer is of a version that this one cannot draw: --json shows it")

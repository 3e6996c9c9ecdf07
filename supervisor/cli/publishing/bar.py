"""The line that shows how far a run is, fitted to the terminal: one that wraps would scroll with each update."""

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from typing import Any, Self, TextIO

import click

LABEL = "publishing"
BAR_MAX_CHARS = 36
BAR_MIN_CHARS = 4

_WITH_LABEL = "%(label)s  [%(bar)s]  %(info)s"
_WITHOUT_LABEL = "[%(bar)s]  %(info)s"
_INFO = "%(info)s"
_BETWEEN = "  "
_PERCENT_CHARS = len("100%" + _BETWEEN)
_ETA_CHARS = len("1d 12:34:56" + _BETWEEN)
_STEPS = 1000


@dataclass(frozen=True, slots=True)
class Fit:
    """What of the line has room. template: as click fills it in. counts: cut where not even they have."""

    template: str
    bar_chars: int
    with_eta: bool
    counts: str


def fit(columns: int, counts: str) -> Fit:
    """Say what to show on a terminal so wide: the bar shrinks, then go the time that is left, the label and the bar.

    The last column stays free: there some terminals wrap already.
    """
    room = columns - 1 - _PERCENT_CHARS
    for template, with_eta in ((_WITH_LABEL, True), (_WITH_LABEL, False), (_WITHOUT_LABEL, False)):
        around = template % {"label": LABEL, "bar": "", "info": counts}
        bar_chars = min(BAR_MAX_CHARS, room - len(around) - with_eta * _ETA_CHARS)
        if bar_chars >= BAR_MIN_CHARS:
            return Fit(template, bar_chars, with_eta, counts)
    return Fit(_INFO, 0, with_eta=False, counts=counts[: max(0, room)])


class Bar:
    """Click's bar on a terminal.

    length: what is to be done, in bytes; None where nobody knows. counts: told beside it.
    """

    def __init__(self, stream: TextIO, length: int | None, counts: Callable[[], str]) -> None:
        self._stream = stream
        self._counts = counts
        self._fit = fit(0, "")
        self._bar: Any = click.progressbar(
            # Of a pipe nobody knows the length; without one click wants something to go through
            count() if length is None else None,
            length=length,
            label=LABEL,
            item_show_func=lambda _: self._fit.counts,
            update_min_steps=max(1, (length or 0) // _STEPS),
            file=stream,
        )

    def __enter__(self) -> Self:
        self._lay_out()
        self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.__exit__(None, None, None)

    def advance(self, size: int) -> None:
        """Show that so many bytes more are done."""
        self._lay_out()
        self._bar.update(size)

    def skip(self, size: int) -> None:
        """Leave so many bytes out of the account: they were done before, and say nothing of the time that is left."""
        if self._bar.length is not None:
            self._bar.length -= size

    def _lay_out(self) -> None:
        columns = _columns(self._stream)
        self._fit = fit(columns, self._counts())
        self._bar.bar_template = self._fit.template
        self._bar.width = self._fit.bar_chars
        self._bar.show_eta = self._fit.with_eta
        # So much of an older line is blanked out; more than the terminal has would wrap
        self._bar.max_width = min(self._bar.max_width or 0, columns - 1) or None


def _columns(stream: TextIO) -> int:
    """Say how wide the terminal is. Asked of this stream: standard output may be a file."""
    try:
        return os.get_terminal_size(stream.fileno()).columns or shutil.get_terminal_size().columns
    except OSError:
        return shutil.get_terminal_size().columns

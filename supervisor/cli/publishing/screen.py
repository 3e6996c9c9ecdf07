"""What a run says while it is at work: refused entries by name, and a bar on a terminal."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Self

import click

from supervisor.cli.publishing.bar import Bar
from supervisor.cli.publishing.entries import Entry, Spans
from supervisor.cli.publishing.files import Sheet
from supervisor.cli.visit import PROGRAM, json_line

REFUSED_SHOWN = 20
_CLEAR_LINE = "\r\x1b[K"
SPANS_SHOWN = 20


@dataclass(slots=True)
class Tally:
    """Entries of this run. unnamed: numbers of those that were refused after the first REFUSED_SHOWN, by file.

    before_accepted, before_refused: those of interrupted runs over the same files. broken: files that were not read to
    their end.
    """

    accepted: int = 0
    refused: int = 0
    before_accepted: int = 0
    before_refused: int = 0
    broken: int = 0
    unnamed: dict[tuple[str, str], Spans] = field(default_factory=dict)


class Screen:
    """Standard error, or for refused entries with --json standard output, an object a line."""

    def __init__(self, found: Sequence[Sheet], tally: Tally, *, as_json: bool) -> None:
        self._tally = tally
        self._as_json = as_json
        self._hinted = False
        self._bar: Bar | None = None
        if sys.stderr is not None and sys.stderr.isatty():  # None: it was closed by whoever started us
            sizes = [sheet.size for sheet in found]
            known = [size for size in sizes if size is not None]
            self._bar = Bar(sys.stderr, sum(known) if len(known) == len(sizes) else None, self._counts)

    def __enter__(self) -> Self:
        if self._bar:
            self._bar.__enter__()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.__exit__()

    def advance(self, size: int) -> None:
        """Show that so many bytes more are done."""
        if self._bar:
            self._bar.advance(size)

    def skip(self, size: int) -> None:
        """Leave so many bytes out of the account: they were done before, and say nothing of the time that is left."""
        if self._bar:
            self._bar.skip(size)

    def say(self, text: str) -> None:
        """Say something about the run."""
        self._echo(f"{PROGRAM}: {text}")

    def refused(self, sheet: Sheet, entry: Entry, reason: str) -> None:
        """Name an entry that is no message, at once: whoever is killed later has said it."""
        self._tally.refused += 1
        if self._as_json:
            json_line({"file": sheet.name, sheet.unit: entry.number, "reason": reason})
        elif self._tally.refused <= REFUSED_SHOWN:
            self._echo(f"{sheet.name}: {sheet.unit} {entry.number} is no message: {reason}")
        else:
            self._tally.unnamed.setdefault((sheet.name, sheet.unit), Spans(SPANS_SHOWN)).add(entry.number)

    def hint(self, sheet: Sheet, remedy: str) -> None:
        """Say once why whole files may be refused, line by line. remedy: a command that makes lines of them."""
        if not self._hinted:
            self._hinted = True
            self.say(
                f"{sheet.name} is read as JSON Lines, one object a line: give a .json file, or `{remedy}`"
            )

    def total(self) -> None:
        """Say how many of each, and which were not named yet."""
        tally = self._tally
        before = {"accepted": tally.before_accepted, "refused": tally.before_refused}
        if self._as_json:
            json_line(
                {"accepted": tally.accepted, "refused": tally.refused}
                | ({"before": before} if any(before.values()) else {})
            )
            return
        for (name, unit), numbers in tally.unnamed.items():
            self._echo(f"{name}: nor are {unit}s {numbers}")
        told = self._counts()
        if any(before.values()):
            told += f"; before the interruption accepted {before['accepted']}, refused {before['refused']}"
        click.echo(told)

    def _counts(self) -> str:
        return f"accepted {self._tally.accepted}, refused {self._tally.refused}"

    def _echo(self, text: str) -> None:
        # The bar draws itself again below it, with the next entry
        if self._bar:
            click.echo(_CLEAR_LINE, nl=False, err=True)
        click.echo(text, err=True)

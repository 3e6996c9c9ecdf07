"""What a load test shows while it runs: on a terminal a picture that stands still, elsewhere a line now and then."""

import contextlib
from collections.abc import Iterator, Sequence
from time import monotonic

from rich.console import Console, Group
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from scripts.bench.contenders import Contender
from scripts.load.promises import SETTLED
from scripts.load.replay import Glimpse, Setting, Show
from scripts.load.results import WorkerResult

BARS = "▁▂▃▄▅▆▇█"
WIDTH = 40
LINE_EVERY_S = 5.0


class Stage:
    """Shows one worker after the other; `show(worker)` gives what a replay calls again and again."""

    def __init__(self, console: Console, setting: Setting, workers: Sequence[Contender]) -> None:
        self._console, self._setting, self._workers = console, setting, workers
        self._live: Live | None = None
        self._glimpses: dict[str, Glimpse] = {}
        self._next_line_at = 0.0

    @contextlib.contextmanager
    def open(self) -> Iterator["Stage"]:
        """Take the terminal, if there is one, until the end."""
        if not self._console.is_terminal:
            yield self
            return
        with Live(console=self._console, auto_refresh=False) as live:
            self._live = live
            try:
                yield self
            finally:
                self._live = None

    def show(self, worker: Contender) -> Show:
        if self._live is None:
            self._console.print(f"{worker.title}: from minute {self._setting.scenario.from_minute:g}")

        def look(glimpse: Glimpse) -> None:
            self._glimpses[worker.name] = glimpse
            if self._live is not None:
                self._live.update(self._picture(worker), refresh=True)
            elif monotonic() >= self._next_line_at:
                self._next_line_at = monotonic() + LINE_EVERY_S
                self._console.print(f"  {line(glimpse)}", markup=False)

        return look

    def done(self, result: WorkerResult) -> None:
        if self._live is None:
            figures = result.figures
            self._console.print(
                f"  {figures.processed} of {figures.published} PROCESSED, highest {figures.pss_peak_mb:.0f} MB",
                markup=False,
            )

    def _picture(self, playing: Contender) -> Group:
        scenario = self._setting.scenario
        now = self._glimpses[playing.name]
        head = Text(scenario.title, style="bold")
        bar = ProgressBar(total=scenario.to_minute - scenario.from_minute, width=WIDTH)
        bar.update(now.minute - scenario.from_minute)
        where = Table.grid(padding=(0, 1))
        where.add_row(bar, f"{playing.title}: minute {now.minute:.1f} of {scenario.to_minute:g}")
        table = Table()
        table.add_column("worker")
        table.add_column(f"memory, limit {self._setting.limit_mb} MB", min_width=WIDTH)
        for name in ("MB now", "processed", "failed", "in queue", "idle in tx", "ended"):
            table.add_column(name, justify="right")
        for worker in self._workers:
            glimpse = self._glimpses.get(worker.name)
            if glimpse is None:
                table.add_row(worker.title, "", *[""] * 6, style="dim")
                continue
            memory = sparkline(glimpse.memory_mb, self._setting.limit_mb, WIDTH)
            statuses = glimpse.statuses
            table.add_row(
                worker.title,
                memory,
                f"{glimpse.memory_mb[-1]:.0f}" if glimpse.memory_mb else "-",
                str(statuses.get("PROCESSED", 0)),
                str(statuses.get("FAILED", 0)),
                str(glimpse.queued),
                str(glimpse.idle_in_transaction),
                str(glimpse.ends),
                style="" if worker is playing else "dim",
            )
        news = f"minute {now.news.minute:.1f}: {now.news.text}" if now.news else ""
        return Group(head, where, table, Text(news, style="yellow"))


def sparkline(values: Sequence[float], limit: float, width: int) -> str:
    """Draw values as a row of bars, the highest of each of `width` parts; a full bar is the limit."""
    parts = (
        [
            values[
                len(values) * at // width : max(
                    len(values) * (at + 1) // width, len(values) * at // width + 1
                )
            ]
            for at in range(min(width, len(values)))
        ]
        if len(values) >= width
        else [[value] for value in values]
    )
    top = len(BARS) - 1
    return "".join(BARS[min(top, round(max(part) / limit * top))] for part in parts)


def line(glimpse: Glimpse) -> str:
    """Say in a line how it stands."""
    statuses = ", ".join(f"{name} {glimpse.statuses.get(name, 0)}" for name in SETTLED)
    memory = f"{glimpse.memory_mb[-1]:.0f} MB" if glimpse.memory_mb else "not there"
    return (
        f"minute {glimpse.minute:.1f}: {memory}, {statuses}, in queue {glimpse.queued}, "
        f"idle in transaction {glimpse.idle_in_transaction}, ended {glimpse.ends} times"
    )

"""The figures of all workers, in rows and groups, as every form of the report shows them; pure."""

from collections.abc import Callable
from dataclasses import dataclass

from scripts.load.promises import held_open
from scripts.load.results import Figures, Run
from scripts.load.words import number


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one worker. bad: it should not be so."""

    text: str
    bad: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of all workers, in their order. note: what is counted, and how."""

    label: str
    note: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Group:
    """Rows about one thing."""

    title: str
    rows: tuple[Row, ...]


def groups(run: Run) -> tuple[Group, ...]:
    """Lay out what was found."""
    found = [worker.figures for worker in run.workers]
    return tuple(
        Group(
            title,
            tuple(
                Row(
                    line.label,
                    line.note,
                    tuple(Cell(number(line.read(one)), line.bad(run, one)) for one in found),
                )
                for line in lines
            ),
        )
        for title, lines in LINES.items()
    )


@dataclass(frozen=True, slots=True)
class Line:
    """Where a row comes from."""

    label: str
    read: Callable[[Figures], float | None]
    note: str
    bad: Callable[[Run, Figures], bool] = lambda _run, _found: False


def _latency(name: str) -> Callable[[Figures], float | None]:
    return lambda found: None if found.latency is None else getattr(found.latency, name)


LINES = {
    "Messages": (
        Line("published", lambda found: found.published, "confirmed by the broker"),
        Line("processed", lambda found: found.processed, "scored; the event's row says PROCESSED"),
        Line(
            "failed, to be tried again",
            lambda found: found.failed,
            "the row says FAILED, keeps the log, and says when to try again",
        ),
        Line("skipped", lambda found: found.skipped, "the row says SKIPPED: not to be scored"),
        Line("set aside", lambda found: found.dead_lettered, "given up, and kept where an operator finds it"),
        Line(
            "unfinished", lambda found: found.unfinished, "still in the queue, or the row waits to be tried"
        ),
        Line(
            "lost",
            lambda found: found.lost,
            "neither queue nor row has it any more",
            lambda _run, found: found.lost > 0,
        ),
        Line(
            "scored more than once",
            lambda found: found.doubled,
            "conversations whose score was added again",
            lambda _run, found: found.doubled > 0,
        ),
        Line(
            "delivered again",
            lambda found: found.redelivered,
            "deliveries that the broker marked as second ones",
        ),
        Line("Memory API calls", lambda found: found.api_calls, "requests that the Memory API read"),
        Line(
            "s waited for them",
            lambda found: found.api_waited_s,
            "all calls together, in the scenario's seconds",
        ),
    ),
    "Throughput": (
        Line("processed a minute", lambda found: found.processed_per_minute, "over the whole scenario"),
        Line(
            "processed in the last quarter",
            lambda found: found.processed_at_the_end,
            "of the scenario's time",
        ),
    ),
    "Seconds from published to processed": (
        Line("half are faster", _latency("p50_s"), "of those that were processed, in the scenario's seconds"),
        Line("nine of ten", _latency("p90_s"), "90 of 100 are faster"),
        Line("99 of 100", _latency("p99_s"), "99 of 100 are faster"),
        Line("the slowest", _latency("max_s"), "of those that were processed"),
    ),
    "MB of memory, all processes": (
        Line(
            "PSS before the first message",
            lambda found: found.pss_rest_mb,
            "pages that processes share count once",
        ),
        Line(
            "PSS at its highest",
            lambda found: found.pss_peak_mb,
            "the highest of the readings",
            lambda _run, found: found.kills > 0,
        ),
        Line("RSS at its highest", lambda found: found.rss_peak_mb, "shared pages count in each process"),
    ),
    "Processor": (
        Line(
            "ms a settled message",
            lambda found: None if found.cpu_s_per_message is None else found.cpu_s_per_message * 1000,
            "user and system time of all processes, on the clock",
        ),
    ),
    "Database": (
        Line(
            "s idle in transaction",
            lambda found: found.idle_in_transaction_s,
            "of all sessions together, in the scenario's seconds; read ten times a second from pg_stat_activity,"
            " which takes no notice here of less than 50 ms on the clock",
            lambda run, found: held_open(found, run.time_scale),
        ),
        Line(
            "the longest, s",
            lambda found: found.longest_idle_in_transaction_s,
            "of one session",
            lambda run, found: held_open(found, run.time_scale),
        ),
        Line("connections at most", lambda found: found.connections_peak, "of the worker, at one time"),
    ),
    "Deaths": (
        Line(
            "killed by the memory limit",
            lambda found: found.kills,
            "processes; exit code 137",
            lambda _run, found: found.kills > 0,
        ),
        Line(
            "ended as a whole",
            lambda found: found.deaths,
            "the worker's first process ended, and was started again",
            lambda _run, found: found.deaths > 0,
        ),
    ),
}

"""The charts of a run, as Vega-Lite specifications; pure."""

from collections.abc import Callable, Sequence

from scripts.load import palette
from scripts.load.frame import Frame, Panel, Series
from scripts.load.look import config
from scripts.load.results import Kind, Progress, Run, WorkerResult
from scripts.load.spec import Spec
from scripts.load.thinned import Point, extremes, held, lasts
from scripts.load.timeline import timeline
from scripts.load.words import hands, number, size, times

OURS = "supervised"
NEAR = 1.0  # minutes: what a worker's memory was at its highest shortly before it was killed
SAME = 0.5  # minutes: a death so soon after a kill is the same event: gigabytes are not freed at once


def memory(run: Run, *, hover: bool = False) -> Spec:
    """Draw the memory of all workers on one axis, the limit, and who was killed when."""
    frame = Frame.of(run)
    found = []
    for n, worker in _ordered(run):
        points = [
            (reading.minute, reading.pss_mb)
            for reading in worker.readings
            if reading.minute >= run.from_minute
        ]
        killed = [mark.minute for mark in worker.marks if mark.kind is Kind.KILL]
        ended = [mark.minute for mark in worker.marks if mark.kind is Kind.DEATH]
        alone = [minute for minute in ended if not any(abs(minute - kill) <= SAME for kill in killed)]
        found.append(
            Series(
                worker.title,
                palette.worker(worker.name, n),
                tuple(extremes(points, frame.bucket)),
                note=_fate(worker),
                strong=worker.name == OURS,
                killed=tuple(_before(points, minute) for minute in killed),
                ended=tuple(_before(points, minute) for minute in alone),
            )
        )
    said = [f"{hands(run)}, messages of {size(run.message_kb)}, {_speed(run)}"]
    said += ["✕ killed by the limit"] if any(one.killed for one in found) else []
    said += ["◇ ended by itself"] if any(one.ended for one in found) else []
    panel = Panel(
        "Memory of each worker's processes, MB",
        (run.title, " · ".join(said)),
        found,
        height=320,
        unit="MB",
        limit=(run.limit_mb, f"limit {run.limit_mb:,} MB") if run.limit_mb else None,
        told=True,
    )
    return timeline(frame, panel, hover=hover)


def throughput(run: Run, *, hover: bool = False) -> Spec:
    """Draw how many messages were processed so far, beside how many were published."""
    frame = Frame.of(run)
    found = _by_progress(run, frame, lambda row: row.statuses.get("PROCESSED", 0), "{} processed", lasts)
    published = max((_published(worker) for worker in run.workers), key=len, default=[])
    sent = Series("published", palette.SOFT, tuple(lasts(published, frame.bucket)), dashed=True)
    said = ("Processed so far. A line that is level stands still.",)
    return timeline(frame, Panel("Throughput, messages", said, [sent, *found], height=220), hover=hover)


def idle(run: Run, *, hover: bool = False) -> Spec:
    """Draw the database sessions that sit in an open transaction."""
    frame = Frame.of(run)
    found = _by_progress(run, frame, lambda row: row.idle_in_transaction, "{} at most", extremes)
    said = (
        "Open and doing nothing, for example during a remote call: each holds its locks, and vacuum back.",
    )
    return timeline(
        frame, Panel("Database sessions idle in transaction", said, found, height=150), hover=hover
    )


def connections(run: Run, *, hover: bool = False) -> Spec:
    """Draw the connections to the database."""
    frame = Frame.of(run)
    found = _by_progress(run, frame, lambda row: row.connections, "{} at most", extremes)
    said = ("Of all processes of a worker.",)
    return timeline(frame, Panel("Connections to the database", said, found, height=150), hover=hover)


NOT_BEGUN = "no row yet"
STACK = {
    "PROCESSED": palette.STATUSES["PROCESSED"],
    "SKIPPED": palette.STATUSES["SKIPPED"],
    "FAILED": palette.STATUSES["FAILED"],
    "PROCESSING": palette.STATUSES["PROCESSING"],
    "PENDING": palette.STATUSES["PENDING"],
    NOT_BEGUN: palette.WAITING,
}


def statuses(run: Run, *, hover: bool = False) -> Spec:
    """Draw what became of the published messages, one small chart a worker."""
    frame = Frame.of(run)
    values = []
    for worker in run.workers:
        for status in STACK:
            points = [(row.minute, float(_count(row, status))) for row in worker.progress]
            values += [
                {"worker": worker.title, "status": status, "minute": round(minute, 3), "events": count}
                # the same minutes for all: where one has none, Vega-Lite's stacking would put a 0
                for minute, count in held(points, frame.grid(3))
            ]
    tooltip = [
        {"field": "status", "type": "nominal"},
        {"field": "minute", "type": "quantitative", "format": ".1f"},
        {"field": "events", "type": "quantitative"},
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "data": {"values": values},
        "title": {
            "text": "What became of the messages",
            "subtitle": "Published messages by the status of their event's row.",
            "dx": -28,
            "offset": 14,
        },
        "padding": {"left": 14, "right": 14, "top": 8, "bottom": 8},
        "facet": {"field": "worker", "type": "nominal", "sort": [worker.title for worker in run.workers]},
        "columns": 2,
        "spacing": {"row": 24, "column": 36},
        "spec": {
            "width": 372,
            "height": 150,
            "mark": {"type": "area", "tooltip": hover, "line": False},
            "encoding": {
                "x": {
                    "field": "minute",
                    "type": "quantitative",
                    "scale": {"domain": [frame.first, frame.last], "nice": False},
                    "axis": {"title": "minute of the scenario", "grid": False, "tickCount": 8},
                },
                "y": {
                    "field": "events",
                    "type": "quantitative",
                    "stack": "zero",
                    "axis": {"title": None, "tickCount": 4, "domain": False, "ticks": False},
                },
                "color": {
                    "field": "status",
                    "type": "nominal",
                    "scale": {"domain": list(STACK), "range": [colour.light for colour in STACK.values()]},
                    "legend": {"orient": "top", "direction": "horizontal", "offset": 8},
                },
                "order": {"field": "layer", "type": "quantitative"},
                **({"tooltip": tooltip} if hover else {}),
            },
        },
        "transform": [{"calculate": f"indexof({list(STACK)}, datum.status)", "as": "layer"}],
        "config": config(),
    }


Thin = Callable[[Sequence[Point], float], list[Point]]


def _by_progress(
    run: Run, frame: Frame, read: Callable[[Progress], int], note: str, thin: Thin
) -> list[Series]:
    found = []
    for n, worker in _ordered(run):
        points = [(row.minute, float(read(row))) for row in worker.progress]
        highest = number(int(max((value for _, value in points), default=0)))
        colour = palette.worker(worker.name, n)
        kept = tuple(thin(points, frame.bucket))
        found.append(
            Series(worker.title, colour, kept, note=note.format(highest), strong=worker.name == OURS)
        )
    return found


def _ordered(run: Run) -> list[tuple[int, WorkerResult]]:
    """Put ours last, so that its line lies on top."""
    return sorted(enumerate(run.workers), key=lambda pair: pair[1].name == OURS)


def _published(worker: WorkerResult) -> list[Point]:
    return [(row.minute, float(row.published)) for row in worker.progress]


def _count(row: Progress, status: str) -> int:
    if status == NOT_BEGUN:
        return max(0, row.published - sum(row.statuses.values()))
    return row.statuses.get(status, 0)


def _before(points: Sequence[Point], minute: float) -> Point:
    highest = max((value for at, value in points if minute - NEAR <= at <= minute), default=0.0)
    return (minute, highest)


def _fate(worker: WorkerResult) -> str:
    highest = f"{number(worker.figures.pss_peak_mb)} MB at most"
    return f"{highest}, killed {times(worker.figures.kills)}" if worker.figures.kills else highest


def _speed(run: Run) -> str:
    return "in real time" if run.time_scale == 1 else f"{1 / run.time_scale:.3g} x as fast"

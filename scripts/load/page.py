"""The report as one HTML file that needs nothing from elsewhere; pure but for reading its own template.

The first chart is there as it is; the script draws it again with tooltips, and the others. A content security policy
forbids every request, so that a reference which slipped in would show.
"""

import re
from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path
from string import Template

import orjson

from scripts.load import charts, palette, rungs
from scripts.load.results import Run, WorkerResult
from scripts.load.rows import Row, groups
from scripts.load.spec import Spec
from scripts.load.step_charts import steps
from scripts.load.table import settings
from scripts.load.verdict import sentence

TEMPLATE = Path(__file__).with_name("page.html")

_CLOSING = re.compile("</script", re.IGNORECASE)  # in a script it can only stand in a string, where \\/ is /


def specs(run: Run) -> list[Spec]:
    """Return the charts that the run has something for, in the order in which they are shown."""
    found: list[Spec] = []
    if any(worker.readings for worker in run.workers):
        found.append(charts.memory(run, hover=True))
    if any(worker.progress for worker in run.workers):
        drawn = (charts.throughput, charts.statuses, charts.idle, charts.connections)
        found += [chart(run, hover=True) for chart in drawn]
    if run.steps:
        found.append(steps(run, hover=True))
    return [{**spec, "background": None} for spec in found]  # the page's own shows through


def page(run: Run, picture: str, script: str) -> str:
    """Write the page. picture: SVG of the first chart, as it stands without JavaScript. script: defines vegaEmbed."""
    found = specs(run)
    places = [_place(n, picture if n == 0 else "") for n in range(len(found))]
    return Template(TEMPLATE.read_text("utf-8")).substitute(
        title=escape(run.title),
        settings=escape(f"{settings(run)}."),
        colours=_colours(run),
        verdicts="".join(_verdicts(run)),
        first="".join(places[:1]),
        table="".join(_table(run)),
        others="".join(places[1:]),
        steps="".join(_steps(run)),
        facts="".join(f"<dt>{escape(name)}</dt><dd>{words}</dd>" for name, words in _facts(run)),
        taken="".join(_taken(run)),
        specs=_data(found),
        script=_CLOSING.sub(r"<\\/script", script),
    )


def _place(number: int, picture: str) -> str:
    return f'<div class="scroll"><div class="chart" id="chart-{number}">{picture}</div></div>\n'


def _colours(run: Run) -> str:
    """Give each worker's verdict its colour, and charts the reader's theme."""
    found = [palette.worker(worker.name, n) for n, worker in enumerate(run.workers)]
    light = "".join(f".verdicts .worker-{n}{{border-color:{colour.light}}}" for n, colour in enumerate(found))
    dark = "".join(f".verdicts .worker-{n}{{border-color:{colour.dark}}}" for n, colour in enumerate(found))
    return f"{light}@media (prefers-color-scheme:dark){{{dark}}}{palette.follow_reader('.chart ')}"


def _verdicts(run: Run) -> Iterator[str]:
    if run.workers:
        yield '<ul class="verdicts">'
        for n, worker in enumerate(run.workers):
            yield f'<li class="worker-{n}"><b>{_title(worker)}</b>{escape(sentence(run, worker))}</li>'
        yield "</ul>\n"
    if run.steps:
        yield f"<p>{escape(rungs.sentence(run.steps))}.</p>\n"


def _table(run: Run) -> Iterator[str]:
    if not run.workers:
        return
    heads = "".join(f"<th>{_title(worker)}</th>" for worker in run.workers)
    yield f'<h2>All figures</h2>\n<div class="scroll figures"><table><thead><tr><th></th>{heads}</tr></thead><tbody>'
    for group in groups(run):
        yield f'<tr class="group"><th colspan="{len(run.workers) + 1}">{escape(group.title)}</th></tr>'
        yield from (_row(row) for row in group.rows)
    yield "</tbody></table></div>\n"


def _row(row: Row) -> str:
    cells = "".join(f"<td{' class=bad' if cell.bad else ''}>{escape(cell.text)}</td>" for cell in row.cells)
    return f"<tr><th>{escape(row.label)}</th>{cells}</tr>"


def _steps(run: Run) -> Iterator[str]:
    if not run.steps:
        return
    yield '<div class="scroll figures"><table class="steps"><thead>'
    yield _cells("th", rungs.COLUMNS)
    yield "</thead><tbody>"
    yield from (_cells("td", rungs.cells(step)) for step in run.steps)
    yield "</tbody></table></div>\n"


def _cells(tag: str, words: Sequence[str]) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(word)}</{tag}>' for word in words)}</tr>"


def _facts(run: Run) -> Iterator[tuple[str, str]]:
    """Name the run's circumstances, as HTML."""
    yield "command", f"<code>{escape(run.command)}</code>"
    yield "machine", escape(run.machine)
    yield "started", escape(run.started_at)
    yield "scenario", escape(f"{run.scenario}, seed {run.seed}, times x {run.time_scale:g}")
    if run.limit_mb:
        yield "memory limit", escape(f"{run.limit_mb:,} MB for all processes of a worker: {run.limit}")
    if versions := [f"{worker.title} {worker.version}" for worker in run.workers if worker.version]:
        yield "versions", escape(", ".join(versions))


def _taken(run: Run) -> Iterator[str]:
    """Say of each figure what is counted."""
    if run.workers:
        yield '<dl class="taken">'
        for row in (row for group in groups(run) for row in group.rows):
            yield f"<dt>{escape(row.label)}</dt><dd>{escape(row.note)}</dd>"
        yield "</dl>\n"


def _title(worker: WorkerResult) -> str:
    return escape(worker.title) + (f" {escape(worker.version)}" if worker.version else "")


def _data(found: list[Spec]) -> str:
    """Write JSON that cannot end the element that it stands in."""
    return orjson.dumps(found).decode().replace("<", "\\u003c")

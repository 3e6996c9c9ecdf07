"""The figures as a picture: horizontal bars in one self-contained SVG, for light and dark pages; pure."""

import math
from collections.abc import Iterator, Sequence
from itertools import groupby
from xml.sax.saxutils import escape, quoteattr

from scripts.bench.contenders import CONTENDERS
from scripts.bench.figures import YARDSTICK, Cell, Row
from scripts.bench.table import number

WIDTH = 900
MARGIN = 28
BARS_AT = 228  # where every axis begins; the rows' labels end a little before it
BARS_TO = 700  # the longest bar ends here: behind it stands its number
BAR, BAR_PITCH, ROW_GAP = 14, 17, 16
GROUP_HEAD, GROUP_GAP = 42, 18
HEAD = 92
FOOT = 44
TICKS = 5
LIMIT_MB = 300
LIMITED = "Peak RSS of one process"  # the limit is one process's, not the tree's

STYLE = """
svg { --page: #ffffff; --ink: #1f2328; --soft: #59636e; --line: #d8dee4; --limit: #c0362c;
  --supervised: #0b6bcb; --floor: #8c959f; --celery: #6aa84f; --dramatiq: #d98e04;
  font: 13px system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif }
@media (prefers-color-scheme: dark) {
  svg { --page: #0d1117; --ink: #e6edf3; --soft: #9198a1; --line: #2c333b; --limit: #ff7b72;
    --supervised: #4c9df3; --floor: #7d8590; --celery: #7fc163; --dramatiq: #e3a92f }
}
.page { fill: var(--page) } text { fill: var(--ink) } .soft { fill: var(--soft) } .small { font-size: 11.5px }
.head { font-size: 18px; font-weight: 600 } .group { font-weight: 600 } .end { text-anchor: end }
.middle { text-anchor: middle } .grid { stroke: var(--line) } .axis { stroke: var(--soft) }
.limit { stroke: var(--limit); stroke-dasharray: 4 3 } .limit-name { fill: var(--limit) }
.supervised { fill: var(--supervised) } .floor { fill: var(--floor) }
.celery { fill: var(--celery) } .dramatiq { fill: var(--dramatiq) }
.failed { fill-opacity: 0.35 } .value { font-size: 12px; font-variant-numeric: tabular-nums;
  paint-order: stroke; stroke: var(--page); stroke-width: 4px }
"""


def svg(rows: Sequence[Row], workers: Sequence[str], caption: str) -> str:
    """Draw one panel for each group of rows, each with a scale of its own."""
    parts: list[str] = []
    y = HEAD
    for name, members in groupby(rows, key=lambda row: row.group):
        panel, height = _panel(name, list(members), workers, y)
        parts += panel
        y += height + GROUP_GAP
    height = y + FOOT - GROUP_GAP
    title = "The same job, side by side: memory and processor time"
    head = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}"'
            f' height="{height}" role="img" aria-labelledby="title">'
        ),
        f'<title id="title">{title}</title>',
        f"<style>{STYLE}</style>",
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="8"/>',
        _text(MARGIN, 38, title, "head"),
        *_legend(workers),
    ]
    foot = _text(
        MARGIN, height - 16, f"Shorter is better; x is the share of the bare loop's. {caption}", "soft small"
    )
    return "\n".join([*head, *parts, foot, "</svg>", ""])


def step_of(highest: float) -> float:
    """Return a round distance between ticks, so that at most five of them fit below the highest value."""
    least = max(highest, 0.01) / TICKS
    power = 10.0 ** math.floor(math.log10(least))
    return next(power * factor for factor in (1, 2, 2.5, 5, 10) if power * factor >= least)


def _legend(workers: Sequence[str]) -> Iterator[str]:
    x = float(MARGIN)
    for worker in workers:
        title = CONTENDERS[worker].title
        yield f'<rect class="{worker}" x="{x:g}" y="56" width="12" height="12" rx="2"/>'
        yield _text(x + 18, 66.5, title)
        x += 18 + 7.2 * len(title) + 24


def _panel(name: str, rows: Sequence[Row], workers: Sequence[str], top: int) -> tuple[list[str], int]:
    limited = name.startswith(LIMITED)
    highest = max(cell.value for row in rows for cell in row.cells.values())
    scale = (BARS_TO - BARS_AT) / max(highest, LIMIT_MB if limited else 0.01)
    first = y = top + GROUP_HEAD
    bars: list[str] = []
    words: list[str] = []
    for row in rows:
        cells = [(worker, row.cells[worker]) for worker in workers if worker in row.cells]
        middle = y + (len(cells) * BAR_PITCH - (BAR_PITCH - BAR)) / 2
        words.append(_text(BARS_AT - 12, middle + 4.5, row.label, "end"))
        for worker, cell in cells:
            width = cell.value * scale
            bars.append(_bar(row, worker, cell, y, width))
            words.append(
                _text(BARS_AT + width + 7, y + BAR - 3, _words(row, cell, base=worker == YARDSTICK), "value")
            )
            y += BAR_PITCH
        y += ROW_GAP
    bottom = y - ROW_GAP + 4
    limit = list(_limit(scale, first - 8, bottom)) if limited else []
    parts = [_text(MARGIN, top + 14, name, "group"), *_grid(highest, scale, first - 8, bottom)]
    return [*parts, *bars, *limit, *words], bottom + 20 - top


def _limit(scale: float, top: float, bottom: float) -> Iterator[str]:
    x = BARS_AT + LIMIT_MB * scale
    yield f'<path class="limit" d="M{x:.1f} {top}V{bottom}"/>'
    yield _text(x, top - 5, f"limit {LIMIT_MB} MB", "limit-name small middle")


def _grid(highest: float, scale: float, top: float, bottom: float) -> Iterator[str]:
    step = step_of(highest)
    for tick in range(int(highest / step) + 1):
        x = BARS_AT + tick * step * scale
        yield f'<path class="{"grid" if tick else "axis"}" d="M{x:.1f} {top}V{bottom}"/>'
        yield _text(x, bottom + 15, f"{tick * step:g}", "soft small middle")


def _bar(row: Row, worker: str, cell: Cell, y: float, width: float) -> str:
    classes = f"{worker} failed" if cell.failed else worker
    return (
        f'<rect class="{classes}" x="{BARS_AT}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2"'
        f' data-row={quoteattr(row.label)} data-value="{cell.value:.1f}"/>'
    )


def _words(row: Row, cell: Cell, *, base: bool) -> str:
    share = "" if cell.share is None or base else f" · {cell.share:.2f} x"
    return number(cell.value, row.unit) + share + (" · not processed" if cell.failed else "")


def _text(x: float, y: float, words: str, classes: str = "") -> str:
    attribute = f' class="{classes}"' if classes else ""
    return f'<text x="{x:g}" y="{y:g}"{attribute}>{escape(words)}</text>'

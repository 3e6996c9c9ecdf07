"""The figures as a picture: horizontal bars, a panel for each group, for light and dark pages in one SVG."""

from collections.abc import Sequence
from itertools import groupby

from scripts.bench.contenders import CONTENDERS
from scripts.bench.figures import YARDSTICK, Cell, Row
from scripts.bench.table import number
from scripts.load import renderer
from scripts.load.look import config
from scripts.load.palette import INK, LIMIT, PAGE, SOFT, worker
from scripts.load.spec import Spec

BARS = 460  # pixels of the longest bar: behind it stands its number
WORDS = 250  # pixels that the number's words may take
LABELS = 170  # pixels left of the bars
BAR = 17  # pixels from one bar to the next
LIMIT_MB = 300
LIMITED = "Peak RSS of one process"  # the limit is one process's, not the tree's
FAINT = 0.35


def svg(rows: Sequence[Row], workers: Sequence[str], caption: str) -> str:
    """Draw one panel for each group of rows, each with a scale of its own. Raises renderer.NoRenderer."""
    return renderer.svg(spec(rows, workers, caption))


def spec(rows: Sequence[Row], workers: Sequence[str], caption: str) -> Spec:
    """Say what is drawn, as a Vega-Lite specification."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "padding": {"left": 20, "right": 20, "top": 18, "bottom": 14},
        "title": {
            "text": "The same job, side by side: memory and processor time",
            "subtitle": [caption, "Shorter is better; x is the share of the bare loop's."],
            "frame": "bounds",
            "dx": 0,
            "offset": 18,
        },
        "vconcat": [
            _panel(name, list(members), workers) for name, members in groupby(rows, key=lambda row: row.group)
        ],
        "spacing": 26,
        "resolve": {"scale": {"x": "independent", "y": "independent", "yOffset": "independent"}},
        "config": config(),
    }


def _panel(name: str, rows: Sequence[Row], workers: Sequence[str]) -> Spec:
    limited = name.startswith(LIMITED)
    values = [
        {
            "row": row.label,
            "worker": CONTENDERS[one].title,
            "value": row.cells[one].value,
            "words": _words(row, row.cells[one], base=one == YARDSTICK),
            "opacity": FAINT if row.cells[one].failed else 1.0,
        }
        for row in rows
        for one in workers
        if one in row.cells
    ]
    titles = [CONTENDERS[one].title for one in workers]
    highest = max(
        [*(row.cells[one].value for row in rows for one in row.cells), LIMIT_MB if limited else 0.01]
    )
    return {
        "title": {"text": name, "fontSize": 13, "frame": "bounds", "dx": 0, "offset": 24 if limited else 10},
        "data": {"values": values},
        "width": BARS + WORDS,
        "height": {"step": BAR, "for": "offset"},
        "encoding": {
            "x": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": [0, highest], "range": [0, BARS], "nice": False},
                "axis": {"title": None, "tickCount": 5, "domain": False, "ticks": False},
            },
            "y": {
                "field": "row",
                "type": "nominal",
                "sort": [row.label for row in rows],
                "scale": {"paddingInner": 0.22, "paddingOuter": 0.08},
                "axis": {
                    "title": None,
                    "ticks": False,
                    "domain": False,
                    "labelColor": INK.light,
                    "labelFontSize": 12,
                    "minExtent": LABELS,
                    "maxExtent": LABELS,
                },
            },
            "yOffset": {"field": "worker", "sort": titles, "scale": {"paddingInner": 0.16}},
            "color": {
                "field": "worker",
                "type": "nominal",
                "scale": {"domain": titles, "range": [worker(one, n).light for n, one in enumerate(workers)]},
                "legend": {"orient": "top", "direction": "horizontal", "offset": 14},
            },
        },
        "layer": [_bars(), *([_limit()] if limited else []), _numbers()],
    }


def _bars() -> Spec:
    opacity = {"field": "opacity", "type": "quantitative", "scale": None}
    return {"mark": {"type": "bar", "cornerRadiusEnd": 2}, "encoding": {"fillOpacity": opacity}}


def _numbers() -> Spec:
    """Write the words behind their bar, clear of the grid."""
    mark = {"type": "text", "align": "left", "baseline": "middle", "dx": 6, "fontSize": 12}
    clear = {
        "mark": {**mark, "stroke": PAGE.light, "strokeWidth": 4},
        "encoding": {"color": {"value": PAGE.light}},
    }
    words = {"mark": mark, "encoding": {"color": {"value": INK.light}}}
    return {"layer": [clear, words], "encoding": {"text": {"field": "words"}}}


def _limit() -> Spec:
    rule = {"type": "rule", "color": LIMIT.light, "strokeDash": [4, 3], "strokeWidth": 1.2}
    words = {
        "type": "text",
        "text": f"limit {LIMIT_MB} MB",
        "baseline": "bottom",
        "fontSize": 11,
        "color": SOFT.light,
    }
    return {
        "data": {"values": [{"value": LIMIT_MB}]},
        "layer": [
            {"mark": rule, "encoding": {"y": {"value": 0}, "y2": {"value": "height"}}},
            {"mark": {**words, "dy": -4}, "encoding": {"y": {"value": 0}}},
        ],
        "encoding": {"yOffset": None, "color": None},
    }


def _words(row: Row, cell: Cell, *, base: bool) -> str:
    share = "" if cell.share is None or base else f" · {cell.share:.2f} x"
    return number(cell.value, row.unit) + share + (" · not processed" if cell.failed else "")

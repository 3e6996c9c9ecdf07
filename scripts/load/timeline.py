"""Lines over the scenario's time as a Vega-Lite specification, each named where it ends; pure."""

from collections.abc import Iterable, Sequence

from scripts.load.frame import WIDTH, Frame, Panel, Series
from scripts.load.layout import lanes, spread
from scripts.load.look import LEFT, config
from scripts.load.palette import INK, LIMIT, LINE, PAGE, SOFT
from scripts.load.spec import Spec
from scripts.load.thinned import Point

RIGHT, BOTTOM = 206, 46
LABEL, NOTE, LANE, LINE_HEIGHT, HEAD = 16, 14, 15, 15, 58
KILLED = "M-1,-1L1,1M-1,1L1,-1"
ENDED = "M0,-1.3L1.3,0L0,1.3L-1.3,0Z"


def timeline(frame: Frame, panel: Panel, *, hover: bool = False) -> Spec:
    """Draw the panel. hover: a tooltip with all values wherever the pointer is, which needs a browser."""
    series, limit, height = panel.series, panel.limit, panel.height
    lane_of = lanes([frame.x(mark.minute) for mark in frame.marks], [mark.text for mark in frame.marks])
    head = (
        HEAD
        + LINE_HEIGHT * (len(panel.subtitle) - 1)
        + (LANE * (max(lane_of, default=-1) + 1) if panel.told else 0)
    )
    values = [value for one in series for _, value in (*one.points, *one.killed, *one.ended)]
    highest = max([*values, limit[0] if limit else 0.0, 1e-9]) * 1.06
    layers = [
        _rules(frame, lane_of if panel.told else [-1] * len(lane_of)),
        *([_words(frame, lane_of)] if panel.told else []),
        *([_limit(limit[0])] if limit else []),
        *(_line(one) for one in series),
        *_deaths(series),
        *_labels(panel, highest),
        *([_hover(frame, panel)] if hover else []),
    ]
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "width": WIDTH,
        "height": height,
        "autosize": {"type": "none"},
        "padding": {"left": LEFT, "right": RIGHT, "top": head, "bottom": BOTTOM},
        "title": {"text": panel.title, "subtitle": list(panel.subtitle), "offset": 12},
        "encoding": {
            "x": {
                "field": "minute",
                "type": "quantitative",
                "scale": {"domain": [frame.first, frame.last], "nice": False},
                "axis": {"title": "minute of the scenario", "grid": False, "tickCount": 12},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": {"domain": [0, highest], "nice": False},
                "axis": {"title": None, "tickCount": max(2, height // 45), "domain": False, "ticks": False},
            },
        },
        "layer": layers,
        "config": config(),
    }


def _line(one: Series) -> Spec:
    return {
        "data": {"values": [_datum(point) for point in one.points]},
        "mark": {
            "type": "line",
            "color": one.colour.light,
            "strokeWidth": 2.6 if one.strong else 1.7,
            "strokeDash": [5, 4] if one.dashed else [1, 0],
            "strokeJoin": "round",
        },
    }


def _deaths(series: Sequence[Series]) -> Iterable[Spec]:
    for one in series:
        for shape, points in ((KILLED, one.killed), (ENDED, one.ended)):
            if points:
                data = {"values": [_datum(point) for point in points]}
                mark = {"type": "point", "shape": shape, "size": 50, "opacity": 1, "filled": False}
                yield {"data": data, "mark": {**mark, "stroke": PAGE.light, "strokeWidth": 5}}
                yield {"data": data, "mark": {**mark, "stroke": one.colour.light, "strokeWidth": 2.2}}


def _rules(frame: Frame, lane_of: Sequence[int]) -> Spec:
    """Draw a rule for each mark, from its words (lane -1: none) down to the axis."""
    values = [
        {"minute": mark.minute, "top": -LANE * (lane + 1) - (3 if lane >= 0 else 0)}
        for mark, lane in zip(frame.marks, lane_of, strict=True)
    ]
    return {
        "data": {"values": values},
        "mark": {"type": "rule", "color": LINE.light, "strokeWidth": 1.5},
        "encoding": {
            "y": {"field": "top", "type": "quantitative", "scale": None},
            "y2": {"value": "height"},
        },
    }


def _words(frame: Frame, lane_of: Sequence[int]) -> Spec:
    values = [
        {"minute": mark.minute, "text": mark.text, "middle": -LANE * (lane + 0.5) - 3}
        for mark, lane in zip(frame.marks, lane_of, strict=True)
    ]
    look = {
        "type": "text",
        "align": "left",
        "baseline": "middle",
        "dx": 5,
        "fontSize": 11,
        "color": SOFT.light,
    }
    return {
        "data": {"values": values},
        "mark": look,
        "encoding": {
            "text": {"field": "text"},
            "y": {"field": "middle", "type": "quantitative", "scale": None},
        },
    }


def _limit(value: float) -> Spec:
    return {
        "data": {"values": [{"value": value}]},
        "mark": {"type": "rule", "color": LIMIT.light, "strokeWidth": 1.2, "strokeDash": [6, 4]},
        "encoding": {"x": {"value": 0}, "x2": {"value": "width"}},
    }


def _labels(panel: Panel, highest: float) -> Iterable[Spec]:
    height = panel.height
    wanted = [(one.title, one.note, one.colour, one.points[-1][1]) for one in panel.series if one.points]
    if panel.limit:
        wanted.append((panel.limit[1], "", LIMIT, panel.limit[0]))
    tall = [LABEL + (NOTE if note else 0) for _, note, _, _ in wanted]
    centres = spread(
        [height * (1 - value / highest) for *_, value in wanted], tall, -LABEL / 2, height + LABEL / 2
    )
    for (title, note, colour, _), centre, space in zip(wanted, centres, tall, strict=True):
        top = centre - space / 2
        yield _label(title, top + LABEL / 2, {"color": colour.light, "fontSize": 12, "fontWeight": 600})
        if note:
            yield _label(note, top + LABEL + NOTE / 2, {"color": SOFT.light, "fontSize": 11})


def _label(words: str, y: float, look: Spec) -> Spec:
    return {
        "data": {"values": [{"text": words}]},
        "mark": {"type": "text", "align": "left", "baseline": "middle", **look},
        "encoding": {"x": {"value": WIDTH + 8}, "y": {"value": round(y, 1)}, "text": {"field": "text"}},
    }


def _hover(frame: Frame, panel: Panel) -> Spec:
    rows: dict[int, dict[str, float | str]] = {}
    for n, one in enumerate(panel.series):
        for minute, value in one.points:
            bucket = int((minute - frame.first) // (2 * frame.bucket))
            begin = frame.first + bucket * 2 * frame.bucket
            row = rows.setdefault(bucket, {"minute": begin, "end": begin + 2 * frame.bucket})
            row[f"v{n}"] = max(float(row.get(f"v{n}", 0.0)), value)
    tooltip = [{"field": "minute", "type": "quantitative", "title": "minute", "format": ".1f"}]
    shown = ",.1f" if all(value < 10 for one in panel.series for _, value in one.points) else ",.0f"
    for n, one in enumerate(panel.series):
        title = f"{one.title}{f', {panel.unit}' if panel.unit else ''}"
        tooltip.append({"field": f"v{n}", "type": "quantitative", "title": title, "format": shown})
    return {
        "data": {"values": list(rows.values())},
        "mark": {"type": "rect", "fill": INK.light, "fillOpacity": 0, "cursor": "crosshair"},
        "encoding": {
            "x2": {"field": "end"},
            "y": {"value": 0},
            "y2": {"value": "height"},
            "tooltip": tooltip,
        },
    }


def _datum(point: Point) -> dict[str, float]:
    return {"minute": round(point[0], 3), "value": round(point[1], 2)}

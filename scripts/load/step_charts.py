"""What more children bring and cost, as a Vega-Lite specification; pure."""

from collections.abc import Sequence

from scripts.load import palette, rungs
from scripts.load.look import config
from scripts.load.results import Run, Step
from scripts.load.spec import Spec
from scripts.load.words import number

OURS = palette.WORKERS["supervised"]
WIDTH, HEIGHT = 222, 200
ALLOWED_SHARE = 0.02  # of a core: what the supervisor may take


def steps(run: Run, *, hover: bool = False) -> Spec:
    """Draw throughput, memory and the supervisor's processor time against the number of children, side by side."""
    return {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "padding": {"left": 14, "right": 14, "top": 8, "bottom": 8},
        "hconcat": [panel(run.steps, hover=hover) for panel in (_throughput, _memory, _cpu)],
        "spacing": 44,
        "config": config(),
    }


def _throughput(found: Sequence[Step], *, hover: bool) -> Spec:
    rows = [_row(step, step.processed_per_s) for step in found]
    ideal = [_row(step, step.most_per_s) for step in found]
    most = max(found, key=lambda step: step.children)
    said = f"{rungs.of_possible(most):.2f} of possible with {most.children}"
    return _panel(
        "Messages a second",
        [said, "dashed: nothing but the calls"],
        [_dashed(ideal), _line(rows, hover=hover)],
        log=True,
    )


def _memory(found: Sequence[Step], *, hover: bool) -> Spec:
    idle = [_row(step, step.pss_idle_mb) for step in found]
    busy = [_row(step, step.pss_busy_mb) for step in found]
    each = rungs.per_child(found, lambda step: step.pss_busy_mb)
    said = "all processes (PSS)" if each is None else f"{number(each)} MB a further busy child"
    return _panel("Memory, MB", [said, "dashed: idle"], [_dashed(idle), _line(busy, hover=hover)])


def _cpu(found: Sequence[Step], *, hover: bool) -> Spec:
    rows = [_row(step, 100 * step.supervisor_cpu_share) for step in found]
    idle = [_row(step, 100 * step.supervisor_idle_cpu_share) for step in found]
    said = f"{max(row['value'] for row in rows):.2f} % at most"
    layers = [_dashed(idle), _line(rows, hover=hover)]
    return _panel("Supervisor, % of a core", [said, "dashed: idle"], layers, least=100 * ALLOWED_SHARE)


def _panel(
    title: str, subtitle: list[str], layers: list[Spec], *, log: bool = False, least: float = 0.0
) -> Spec:
    """Lay one chart out. log: both axes in powers of two. least: what the axis reaches at least."""
    rows = [row for layer in layers for row in layer["data"]["values"]]
    values = [row["value"] for row in rows]
    scale: Spec = {"domain": [0, 1.08 * max(*values, least)], "nice": False}
    if log:
        positive = [value for value in values if value > 0]
        lowest, highest = min(positive, default=1.0), max(positive, default=2.0)
        scale = {
            "type": "log",
            "base": 2,
            "domain": [lowest / 1.3, highest * 1.5],
            "nice": False,
            "clamp": True,
        }
    counts = sorted({row["children"] for row in rows})
    return {
        "title": {"text": title, "subtitle": subtitle, "fontSize": 13, "dx": 0, "offset": 10},
        "width": WIDTH,
        "height": HEIGHT,
        "encoding": {
            "x": {
                "field": "children",
                "type": "quantitative",
                "scale": {"type": "log", "base": 2} if log else {"zero": True},
                "axis": {"title": "children", "grid": False, "values": counts, "labelOverlap": "greedy"},
            },
            "y": {
                "field": "value",
                "type": "quantitative",
                "scale": scale,
                "axis": {"title": None, "domain": False, "ticks": False, "tickCount": 5, "format": "~r"},
            },
        },
        "layer": layers,
    }


def _line(rows: list[Spec], *, hover: bool) -> Spec:
    tooltip = {
        "tooltip": [
            {"field": "children", "type": "quantitative"},
            {"field": "value", "type": "quantitative", "format": ",.2f"},
        ]
    }
    return {
        "data": {"values": rows},
        "mark": {
            "type": "line",
            "color": OURS.light,
            "strokeWidth": 2.4,
            "point": {"filled": True, "fill": OURS.light, "size": 42},
        },
        **({"encoding": tooltip} if hover else {}),
    }


def _dashed(rows: list[Spec]) -> Spec:
    return {
        "data": {"values": rows},
        "mark": {"type": "line", "color": palette.SOFT.light, "strokeWidth": 1.4, "strokeDash": [5, 4]},
    }


def _row(step: Step, value: float) -> Spec:
    return {"children": step.children, "value": round(value, 3)}

"""What all charts look like, as Vega-Lite's configuration."""

from scripts.load.palette import INK, LINE, PAGE, SOFT
from scripts.load.spec import Spec

FONT = 'system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, "Liberation Sans", sans-serif'
LEFT = 54  # pixels left of a chart's axis


def config() -> Spec:
    """Return what all charts look like."""
    return {
        "font": FONT,
        "background": PAGE.light,
        "view": {"stroke": None},
        "title": {
            "anchor": "start",
            "frame": "group",
            "dx": -LEFT + 14,
            "color": INK.light,
            "fontSize": 16,
            "fontWeight": 600,
            "subtitleColor": SOFT.light,
            "subtitleFontSize": 12,
            "subtitlePadding": 5,
        },
        "axis": {
            "labelColor": SOFT.light,
            "labelFontSize": 11,
            "titleColor": SOFT.light,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "gridColor": LINE.light,
            "domainColor": SOFT.light,
            "tickColor": SOFT.light,
            "tickSize": 4,
            "labelPadding": 5,
            "labelFlush": False,
        },
        "legend": {
            "labelColor": INK.light,
            "labelFontSize": 12,
            "columnPadding": 26,
            "symbolType": "square",
            "symbolStrokeWidth": 0,
            "title": None,
        },
        "header": {"labelColor": INK.light, "labelFontSize": 12, "labelFontWeight": 600, "title": None},
        "text": {"font": FONT},
    }

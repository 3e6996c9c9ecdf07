"""The colours of every chart, by what they mean, for light and for dark pages.

A chart is drawn in the light colours. `follow_reader` is a style sheet that puts the dark ones in their place where the
reader wants a dark page: it goes into an SVG file, or into the page that charts are part of. So the light colours are
all different. The series are told apart with each common kind of colour blindness, and never by colour alone: lines
are labelled where they end, and areas in the order of their stack.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Colour:
    """One meaning's colour on a light and on a dark page."""

    light: str
    dark: str


PAGE = Colour("#ffffff", "#0d1117")
INK = Colour("#1f2328", "#e6edf3")
SOFT = Colour("#59636e", "#9198a1")
LINE = Colour("#dde2e7", "#2a313a")
LIMIT = Colour("#2f363d", "#d5dce3")

WORKERS = {
    "supervised": Colour("#0a66c8", "#4493f8"),
    "threaded": Colour("#c74a06", "#ff9557"),
    "floor": Colour("#3d444d", "#7a828c"),
    "celery": Colour("#08805f", "#3fcaa0"),
    "dramatiq": Colour("#ad4a8f", "#d97fc4"),
}
OTHERS = (Colour("#8a6d00", "#d9b84a"), Colour("#3b3f99", "#a5a9ff"), Colour("#7a2a2a", "#e08a8a"))

STATUSES = {
    "PROCESSED": Colour("#2a78c6", "#4594e6"),
    "SKIPPED": Colour("#8fb8e0", "#2c5c8f"),
    "FAILED": Colour("#e08214", "#d98a2b"),
    "PROCESSING": Colour("#f5d565", "#f2d675"),
    "PENDING": Colour("#97a1ac", "#77828e"),
}
WAITING = Colour("#d3d9df", "#3d4651")


def worker(name: str, position: int) -> Colour:
    """Return a worker's colour; one that is not known here gets another at its position."""
    return WORKERS.get(name) or OTHERS[position % len(OTHERS)]


def every() -> tuple[Colour, ...]:
    """Return all colours that a chart may use."""
    return (PAGE, INK, SOFT, LINE, LIMIT, *WORKERS.values(), *OTHERS, *STATUSES.values(), WAITING)


def follow_reader(inside: str = "") -> str:
    """Return the style sheet. inside: a selector of what holds the charts, followed by a space."""
    rules = "".join(
        f'{inside}[{painted}="{one.light}"]{{{painted}:{one.dark}}}'
        for one in every()
        for painted in ("fill", "stroke")
    )
    return f"@media (prefers-color-scheme:dark){{{rules}}}"

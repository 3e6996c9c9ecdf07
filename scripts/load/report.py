"""The report's files, from a run: the page, and the picture for a README."""

from dataclasses import dataclass

from scripts.load import charts
from scripts.load.page import page
from scripts.load.renderer import draw
from scripts.load.results import Run
from scripts.load.spec import Spec
from scripts.load.step_charts import steps


@dataclass(frozen=True, slots=True)
class Report:
    """html: one self-contained file. svg: the headline chart, for light and for dark pages in one."""

    html: str
    svg: str


def report(run: Run) -> Report:
    """Draw the run. Raises NoRenderer."""
    drawn = draw([headline_chart(run)], script=True)
    return Report(page(run, drawn.svgs[0], drawn.script), drawn.svgs[0])


def headline_chart(run: Run) -> Spec:
    """Return the chart that says most."""
    return charts.memory(run) if run.workers or not run.steps else steps(run)

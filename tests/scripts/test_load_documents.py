"""What the documents show of the load test is what the committed run found."""

from pathlib import Path

import pytest

from scripts.load import charts, stored, table
from scripts.load.renderer import svg
from scripts.load.results import Run

CHECKOUT = Path(__file__).resolve().parents[2]
KEPT = CHECKOUT / "docs" / "load-test"


@pytest.fixture(scope="module")
def run() -> Run:
    return stored.load((KEPT / "incident.json").read_bytes())


def test_the_readme_shows_the_kept_run(run: Run) -> None:
    """Its table, row by row, and its picture before anything else."""
    readme = (CHECKOUT / "README.md").read_text("utf-8")
    assert table.brief(run) in readme
    assert "](docs/load-test/incident.svg)" in readme[: readme.index("##")]


def test_the_benchmarks_show_the_whole_of_it(run: Run) -> None:
    """Every figure of every worker, and the command that made them."""
    page = (CHECKOUT / "docs" / "benchmarks.md").read_text("utf-8")
    assert run.command in page
    for line in table.markdown(run).splitlines()[2:]:
        assert line in page


def test_the_picture_is_drawn_from_it(run: Run) -> None:
    """Drawn again, it is the same picture."""
    pytest.importorskip("vl_convert")
    assert svg(charts.memory(run)) == (KEPT / "incident.svg").read_text("utf-8")


def test_the_scaling_page_shows_the_kept_steps() -> None:
    """Row by row."""
    kept = stored.load((KEPT / "scaling.json").read_bytes())
    page = (CHECKOUT / "docs" / "scaling.md").read_text("utf-8")
    rows = [line for line in table.markdown(kept).splitlines() if line.startswith("| ")]
    assert len(rows) == 1 + len(kept.steps)
    for row in rows:
        assert row in page

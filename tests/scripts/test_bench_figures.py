"""The benchmark's figures as they are laid out: shares, tables, the picture."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from typing import Any

import pytest

from scripts.bench import chart, table
from scripts.bench.contenders import CONTENDERS
from scripts.bench.figures import Figures, Height, Plan, Row, rows
from scripts.measure import MB, Member

WORKERS = ["supervised", "floor", "celery"]
PLAN = Plan(sizes_mb=(3.0, 60.0), pairs=3)
SVG = "{http://www.w3.org/2000/svg}"


def tree(*sizes_mb: float) -> tuple[Member, ...]:
    """Make processes whose PSS is this, and whose other sizes must not be taken for it."""
    return tuple(Member("child", pid, 999 * MB, int(size * MB), 1) for pid, size in enumerate(sizes_mb))


def measured() -> list[Figures]:
    return [
        Figures(
            "supervised",
            idle=tree(20, 40),
            waiting=tree(100),
            busiest_bytes=200 * MB,
            after=tree(80),
            heights=(
                Height(3, 45 * MB, "child", "PROCESSED"),
                Height(60, 290 * MB, "child", "FAILED MEMORY_BUDGET_EXCEEDED"),
            ),
            cpu_s=(0.030, 0.020, 0.010),
        ),
        Figures(
            "floor",
            idle=tree(80),
            waiting=tree(400),
            busiest_bytes=500 * MB,
            after=tree(400),
            heights=(Height(3, 90 * MB, "child", "PROCESSED"), Height(60, 400 * MB, "child", "PROCESSED")),
            cpu_s=(0.040, 0.020, 0.040),
        ),
        Figures("celery", idle=tree(200), missed=("celery, run: the worker ended",)),
    ]


def row(label: str, found: list[Row]) -> Row:
    [only] = [row for row in found if row.label == label]
    return only


def test_a_share_is_of_the_bare_loop() -> None:
    """Each figure is divided by the bare loop's, and a tree is the sum of its processes' PSS."""
    idle = row("fresh and idle", rows(PLAN, measured())).cells
    assert (idle["supervised"].value, idle["supervised"].share) == (60.0, 0.75)
    assert (idle["floor"].share, idle["celery"].share) == (1.0, 2.5)


def test_processor_time_is_compared_round_by_round() -> None:
    """The share is the median of the rounds' ratios (0.75, 1, 0.25), not the ratio of the medians (0.5)."""
    cpu = row("a message of 3 MB", [one for one in rows(PLAN, measured()) if "CPU" in one.group]).cells
    assert cpu["supervised"].value == pytest.approx(20.0)
    assert cpu["supervised"].share == pytest.approx(0.75)
    assert "celery" not in cpu


def test_a_run_too_short_to_be_counted_has_no_share() -> None:
    """Nothing is divided by zero, and the picture is still drawn."""
    short = [replace(one, cpu_s=(0.0,)) for one in measured()[:2]]
    found = rows(PLAN, short)
    assert (
        row("a message of 3 MB", [one for one in found if "CPU" in one.group]).cells["supervised"].share
        is None
    )
    assert chart.spec(found, WORKERS, "")["vconcat"][-1]["encoding"]["x"]["scale"]["domain"] == [0, 0.01]


def test_without_the_bare_loop_there_are_no_shares() -> None:
    """A run of some workers only still gives their figures."""
    found = rows(PLAN, [one for one in measured() if one.worker != "floor"])
    assert {cell.share for one in found for cell in one.cells.values()} == {None}
    assert len(found) == 7


def test_what_was_not_measured_has_no_row() -> None:
    """A part that was left out leaves no empty line."""
    found = rows(PLAN, [Figures("floor", idle=tree(80)), Figures("celery", waiting=())])
    assert [one.label for one in found] == ["fresh and idle", "all wait for a hung API"]


def test_the_table_fits_a_terminal_of_100_columns() -> None:
    """All four workers side by side; whoever has no figure has a dash, and a message not processed a note."""
    lines = table.text(rows(PLAN, measured()), [*WORKERS, "dramatiq"]).splitlines()
    assert max(map(len, lines)) <= 100
    [idle] = [line for line in lines if "fresh and idle" in line]
    assert idle.split()[3:] == ["60.0", "0.75", "x", "80.0", "1.00", "x", "200", "2.50", "x", "-"]
    assert any("290*" in line for line in lines)
    assert lines[-1] == (
        "* friendship-supervisor, a message of 60 MB: it ended FAILED MEMORY_BUDGET_EXCEEDED"
    )


def test_the_titles_stand_above_their_columns() -> None:
    """Each column's title ends where its shares end."""
    lines = table.text(rows(PLAN, measured()), WORKERS).splitlines()
    [waiting] = [line for line in lines if "hung" in line]
    assert lines[0].index("bare loop") + len("bare loop") == waiting.index("1.00 x") + len("1.00 x")


def test_markdown_has_as_many_cells_in_each_line() -> None:
    """Each table's lines agree in their number of columns."""
    blocks = table.markdown(rows(PLAN, measured()), WORKERS).split("\n\n")
    assert [len(block.splitlines()) for block in blocks] == [6, 4, 3, 1]
    for block in blocks[:3]:
        assert {line.count("|") for line in block.splitlines()} == {len(WORKERS) + 2}
    assert "| all wait for a hung API | 100 (0.25 x) | 400 (1.00 x) | - |" in blocks[0]


def bars(spec: Any) -> list[Any]:
    return [bar for panel in spec["vconcat"] for bar in panel["data"]["values"]]


def test_the_picture_shows_every_figure() -> None:
    """One bar for each, in the rows' and the workers' order, with its number and its share."""
    found = rows(PLAN, measured())
    drawn = [(bar["row"], bar["worker"], bar["value"]) for bar in bars(chart.spec(found, WORKERS, ""))]
    expected = [
        (one.label, CONTENDERS[worker].title, one.cells[worker].value)
        for one in found
        for worker in WORKERS
        if worker in one.cells
    ]
    assert drawn == expected
    words = {bar["words"] for bar in bars(chart.spec(found, WORKERS, ""))}
    assert {"60.0 · 0.75 x", "80.0", "200 · 2.50 x"} <= words


def test_the_picture_marks_a_message_that_was_not_processed() -> None:
    """Its bar is faint and its number says so; nothing else is marked."""
    drawn = bars(chart.spec(rows(PLAN, measured()), WORKERS, ""))
    assert [bar["value"] for bar in drawn if bar["opacity"] < 1] == [290.0]
    assert [bar["words"] for bar in drawn if "not processed" in bar["words"]] == [
        "290 · 0.72 x · not processed"
    ]


def test_only_where_the_limit_is_a_process_is_it_drawn() -> None:
    """The tree's memory has another; and the axis reaches it."""
    panels = chart.spec(rows(PLAN, measured()), WORKERS, "")["vconcat"]
    limited = [panel["title"]["text"] for panel in panels if len(panel["layer"]) == 3]
    assert limited == ["Peak RSS of one process in MB, half of the texts with emoji"]
    low = [replace(one, heights=(Height(3, 20 * MB, "child", "PROCESSED"),)) for one in measured()[:1]]
    [panel] = [one for one in chart.spec(rows(PLAN, low), WORKERS, "")["vconcat"] if len(one["layer"]) == 3]
    assert panel["encoding"]["x"]["scale"]["domain"] == [0, chart.LIMIT_MB]


def test_the_picture_is_well_formed_and_true() -> None:
    """Bars are as long as their values on their panel's scale, no number leaves it, and it stands alone."""
    long = [replace(one, heights=(Height(60, 99_999 * MB, "child", "PENDING"),)) for one in measured()]
    found = rows(PLAN, long)
    picture = ET.fromstring(chart.svg(found, WORKERS, 'a machine <&> its "libraries"'))
    drawn = [element for element in picture.iter() if element.get("aria-roledescription") == "bar"]
    values = [bar["value"] for bar in bars(chart.spec(found, WORKERS, ""))]
    tree_bars = sum(len(one.cells) for one in found if one.group.startswith("PSS"))
    scales = [
        float(re.match(r"M[^h]*h([\d.]+)", bar.get("d", ""))[1]) / value  # type: ignore[index]
        for bar, value in zip(drawn, values, strict=True)
    ]
    assert scales[:tree_bars] == pytest.approx([chart.BARS / 500] * tree_bars, rel=0.02)
    width = float(picture.get("width", ""))
    assert width <= 920
    marked = [
        words.text or "" for words in picture.iter(f"{SVG}text") if "not processed" in (words.text or "")
    ]
    longest = max(marked, key=len)
    assert chart.LABELS + chart.BARS + 6.6 * len(longest) < width
    assert 'a machine <&> its "libraries"' in "".join(picture.itertext())
    names = {element.tag.removeprefix(SVG) for element in picture.iter()}
    assert names <= {"svg", "style", "g", "rect", "text", "path", "line", "tspan", "defs", "clipPath"}
    assert set(re.findall(r"url\((.)", ET.tostring(picture, "unicode"))) <= {"#"}
    assert "prefers-color-scheme:dark" in "".join(picture.itertext())

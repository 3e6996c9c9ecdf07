"""The report as text: verdicts, columns, Markdown."""

from dataclasses import replace

import pytest

from scripts.load import rungs, table
from scripts.load.results import Figures, WorkerResult
from scripts.load.rows import groups
from scripts.load.verdict import sentence
from tests.scripts import replayed


def worker(**other: object) -> WorkerResult:
    return replace(replayed.supervised(), figures=replayed.figures(**other))


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({}, "flat: at most 139 MB; nothing lost, nothing doubled; 10 unfinished"),
        ({"redelivered": 3}, "flat: at most 139 MB; nothing lost, nothing doubled; 10 unfinished"),
        ({"pss_peak_mb": 907.4}, "at most 907 MB; nothing lost, nothing doubled; 10 unfinished"),
        ({"kills": 6, "deaths": 6}, "killed by the memory limit 6 times"),
        ({"kills": 1}, "killed by the memory limit once"),
        ({"kills": 2, "deaths": 3}, "killed by the memory limit twice; ended once more by itself"),
        ({"deaths": 2}, "ended twice by itself"),
        ({"lost": 1, "redelivered": 43}, "1 message lost; 43 redeliveries"),
        ({"doubled": 2}, "2 scores added more than once"),
        ({"processed_at_the_end": 0}, "flat: at most 139 MB; nothing lost, nothing doubled; 10 unfinished"),
        ({"longest_idle_in_transaction_s": 240.0}, "transactions idle for up to 240 s"),
        (
            {"longest_idle_in_transaction_s": 19.0},
            "flat: at most 139 MB; nothing lost, nothing doubled; 10 unfinished",
        ),
    ],
)
def test_a_verdict_says_what_went_wrong_or_what_was_measured(other: dict[str, object], said: str) -> None:
    """One sentence from the figures; redeliveries alone are no fault."""
    one = worker(**other)
    assert sentence(replayed.run(one), one) == said


def test_who_settles_nothing_while_messages_wait_stands_still() -> None:
    """To mark what failed is to go on, even where nothing can be processed; to have nothing left is no fault."""
    stuck, going = replayed.threaded(), replayed.supervised()
    run = replayed.run(stuck, going)
    assert "nothing settled in the last quarter" in sentence(run, stuck)
    assert "nothing settled" not in sentence(run, going)
    done = replace(stuck, figures=replayed.figures(unfinished=0))
    assert "nothing settled" not in sentence(run, done)
    unread = replace(stuck, figures=replayed.figures(), progress=())
    assert "nothing settled" not in sentence(run, unread)


@pytest.mark.parametrize("count", [1, 2, 4, 5])
def test_the_text_fits_a_terminal_of_100_columns(count: int) -> None:
    """With up to five workers, whatever their titles, and with the steps."""
    makers = (replayed.threaded, replayed.supervised, replayed.celery, replayed.dramatiq, replayed.supervised)
    lines = table.text(replayed.run(*(make() for make in makers[:count]), steps=replayed.STEPS)).splitlines()
    assert max(map(len, lines)) <= table.WIDTH


def test_every_figure_stands_in_its_workers_column() -> None:
    """Cells end where their column's title ends; a figure that should not be so is marked."""
    lines = table.text(
        replayed.run(replayed.threaded(), replayed.supervised(), replayed.celery())
    ).splitlines()
    [lost] = [line for line in lines if line.startswith("  lost")]
    assert lost.split() == ["lost", "6!", "0", "0"]
    [version] = [line for line in lines if line.endswith(" 5.7.0")]
    assert len(version) == len(lost)


def test_every_figure_is_shown() -> None:
    """No field of the figures is left out of the report."""
    marked = {name: number for number, name in enumerate(Figures.__slots__, 100_000) if name != "latency"}
    one = worker(**marked)
    shown = {cell.text for group in groups(replayed.run(one)) for row in group.rows for cell in row.cells}
    marked["cpu_s_per_message"] *= 1000
    assert {f"{number:,}" for number in marked.values()} <= shown


def test_a_worker_that_processed_nothing_has_dashes() -> None:
    """There is no latency and no processor time of messages that were never settled."""
    one = worker(latency=None, cpu_s_per_message=None)
    dashes = [
        row.label for group in groups(replayed.run(one)) for row in group.rows if row.cells[0].text == "-"
    ]
    assert dashes == ["half are faster", "nine of ten", "99 of 100", "the slowest", "ms a settled message"]


def test_markdown_has_as_many_cells_in_each_line() -> None:
    """Verdicts as a list, then one table, then one of the steps."""
    run = replayed.run(replayed.threaded(), replayed.supervised(), steps=replayed.STEPS)
    blocks = table.markdown(run).split("\n\n")
    figures, steps = [block.splitlines() for block in blocks if block.startswith("|")]
    assert {line.count("|") for line in figures} == {4}
    assert {line.count("|") for line in steps} == {len(rungs.COLUMNS) + 1}
    assert "| lost | **6** | 0 |" in figures
    praise = "flat: at most 139 MB; nothing lost, nothing doubled; 10 unfinished"
    assert f"- **friendship-supervisor**: {praise}." in blocks[1]


def test_steps_say_what_a_further_child_costs() -> None:
    """The slope of the line through all steps, not of its ends."""
    assert rungs.per_child(replayed.STEPS, lambda step: step.pss_busy_mb) == pytest.approx(5.3)
    assert rungs.per_child(replayed.STEPS[:1], lambda step: step.pss_busy_mb) is None
    assert rungs.sentence(replayed.STEPS).startswith(
        "64 children process 61.3 messages a second; that is 0.96"
    )
    assert rungs.sentence(replayed.STEPS[:1]).endswith("0.2% of a core")


def test_a_run_of_steps_alone_has_no_columns_of_workers() -> None:
    """Only what was measured is shown."""
    said = table.text(replace(replayed.run(steps=replayed.STEPS), limit_mb=0))
    assert "published" not in said
    assert "limit" not in said
    assert "minutes" not in said

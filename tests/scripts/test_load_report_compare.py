"""A run against an earlier one."""

from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.compare import SAME, NotComparable, Rule, compare, regressions, text
from scripts.load.results import Latency, Run
from tests.scripts import replayed


def run(cpu_floor: float | None = None, **other: Any) -> Run:
    ours = replace(replayed.supervised(), figures=replayed.figures(**other))
    floor = replace(replayed.supervised(), name="floor", title="bare loop")
    floor = replace(floor, figures=replayed.figures(cpu_s_per_message=cpu_floor))
    return replayed.run(ours, *([floor] if cpu_floor else []), steps=replayed.STEPS)


def worse(new: Run, old: Run) -> list[str]:
    return [change.label for change in regressions(compare(new, old))]


def test_a_run_is_no_worse_than_itself() -> None:
    """Nothing is named, and the text says how much was compared."""
    assert worse(run(0.04), run(0.04)) == []
    assert text(run(), run()).endswith(", 0 worse")


@pytest.mark.parametrize(
    ("other", "label"),
    [
        ({"lost": 1}, "lost"),
        ({"doubled": 1}, "scored more than once"),
        ({"kills": 1}, "killed by the memory limit"),
        ({"deaths": 1}, "ended as a whole"),
        ({"processed": 398}, "processed"),
        ({"pss_peak_mb": 153.0}, "MB (PSS) at its highest"),
        ({"pss_rest_mb": 102.0}, "MB (PSS) before the first message"),
        ({"idle_in_transaction_s": 61.0}, "s idle in transaction"),
        ({"longest_idle_in_transaction_s": 21.0}, "longest s idle in transaction"),
        ({"latency": Latency(1.0, 52.0, 60.0, 60.0)}, "seconds to processed, nine of ten"),
        ({"cpu_s_per_message": 0.036}, "CPU s a message"),
    ],
)
def test_each_figure_that_became_worse_is_named(other: dict[str, Any], label: str) -> None:
    """It, and nothing else; the same change the other way round is no regression."""
    assert worse(run(**other), run()) == [label]
    assert worse(run(), run(**other)) == []
    assert f"WORSE  friendship-supervisor: {label} " in text(run(**other), run())


@pytest.mark.parametrize(
    "other",
    [
        {"processed": 400},
        {"pss_peak_mb": 152.0},
        {"idle_in_transaction_s": 59.0},
        {"latency": Latency(1.0, 51.0, 99.0, 99.0)},
        {"latency": None},
        {"cpu_s_per_message": 0.0358},
        {"cpu_s_per_message": None},
    ],
)
def test_chance_is_no_regression(other: dict[str, Any]) -> None:
    """What stays within its rule, or was not measured, is not named."""
    assert worse(run(**other), run()) == []


def test_processor_time_is_compared_as_a_share_where_both_runs_have_the_bare_loop() -> None:
    """A machine half as fast doubles both; on the same machine ours alone is worse."""
    assert worse(run(0.08, cpu_s_per_message=0.0624), run(0.04)) == []
    assert worse(run(0.04, cpu_s_per_message=0.0624), run(0.04)) == [
        "CPU a message, as a share of the bare loop's"
    ]
    assert worse(run(0.04, cpu_s_per_message=0.0624), run()) == ["CPU s a message"]


@pytest.mark.parametrize("name", SAME)
def test_runs_of_different_things_are_refused(name: str) -> None:
    """The message names every difference."""
    other: Any = "spike" if name == "scenario" else 7
    with pytest.raises(NotComparable, match=f"{name} .* then, {other} now"):
        compare(replace(run(), **{name: other}), run())


def test_another_machine_and_another_worker_are_said() -> None:
    """Neither is a regression."""
    old = replace(replayed.run(replayed.supervised(), replayed.celery()), machine="a faster one")
    said = text(replayed.run(replayed.supervised(), replayed.threaded()), old)
    assert "another machine then: a faster one" in said
    assert "Celery: in one of the runs only" in said
    assert "threads, the old design: in one of the runs only" in said
    assert said.endswith(", 0 worse")


def test_steps_of_the_same_number_of_children_are_compared() -> None:
    """A step that only one run has is left out."""
    slower = replace(replayed.STEPS[-1], processed_per_s=50.0, pss_busy_mb=500.0)
    new = replace(run(), steps=(slower, replace(slower, children=128)))
    changes = regressions(compare(new, run()))
    assert [(change.who, change.label) for change in changes] == [
        ("64 children", "messages a second"),
        ("64 children", "MB (PSS) busy"),
    ]


def test_every_setting_that_changes_the_work_must_be_the_same() -> None:
    """A new field of a run is either compared, or known not to matter."""
    free = {"title", "seed", "limit", "machine", "command", "started_at", "workers", "steps", "schema"}
    assert {field.name for field in fields(Run)} == set(SAME) | free


figures = st.floats(0, 1e6, allow_nan=False)
rules = st.builds(
    Rule, st.just("any"), most=st.floats(1, 3), least=st.floats(0, 1), slack=st.floats(0, 10, allow_nan=False)
)


@given(rules, figures)
def test_the_same_figure_is_never_worse(rule: Rule, value: float) -> None:
    """Whatever the rule."""
    assert not rule.broken(value, value)


@given(st.floats(1, 3), figures, figures, figures)
def test_more_of_what_should_be_little_is_never_better(
    most: float, old: float, new: float, more: float
) -> None:
    """Once a figure is a regression, a higher one is too."""
    rule = Rule("any", most=most, slack=1.0)
    assert not rule.broken(old, new) or rule.broken(old, new + more)


def test_from_nothing_to_something_has_no_ratio() -> None:
    """A ratio to 0 is not written."""
    assert "friendship-supervisor: lost 0 -> 1\n" in text(run(lost=1), run())
    assert "processed 420 -> 42 (0.10 x)" in text(run(processed=42), run())

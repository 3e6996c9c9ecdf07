"""What the charts draw: points, labels, specifications."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load import charts
from scripts.load.frame import Frame
from scripts.load.layout import LETTER, lanes, spread
from scripts.load.results import Kind, Mark
from scripts.load.step_charts import steps
from scripts.load.thinned import extremes, held, lasts
from tests.scripts import replayed

minutes = st.floats(0, 100, allow_nan=False)
points = st.lists(st.tuples(minutes, st.floats(0, 5000)), max_size=60).map(sorted)


def everyone() -> Any:
    return replayed.run(replayed.threaded(), replayed.supervised(), replayed.celery(), replayed.dramatiq())


def marks_of(spec: Any, kind: str) -> list[Any]:
    return [layer for layer in spec["layer"] if layer["mark"]["type"] == kind]


def texts(spec: Any) -> list[str]:
    return [row["text"] for layer in marks_of(spec, "text") for row in layer["data"]["values"]]


@given(points, st.floats(0.1, 20))
def test_no_peak_is_thinned_away(read: list[tuple[float, float]], width: float) -> None:
    """The highest and the lowest point stay, in the order of time, and no bucket keeps more than two."""
    kept = extremes(read, width)
    assert max((value for _, value in kept), default=0) == max((value for _, value in read), default=0)
    assert min((value for _, value in kept), default=0) == min((value for _, value in read), default=0)
    assert kept == sorted(kept)
    assert set(kept) <= set(read)
    assert len(kept) <= 2 * len({minute // width for minute, _ in read})


@given(points, st.floats(0.1, 20))
def test_a_count_keeps_where_it_stood_at_last(read: list[tuple[float, float]], width: float) -> None:
    """The last point of all is the last that is kept."""
    assert lasts(read, width)[-1:] == read[-1:]


@given(points, st.lists(minutes, max_size=20).map(sorted))
def test_what_held_is_the_last_that_was_read(read: list[tuple[float, float]], times: list[float]) -> None:
    """At each of the asked times, and nothing before the first reading."""
    for (at, value), time in zip(held(read, times), times, strict=True):
        until = [one for one in read if one[0] <= time]
        assert (at, value) == (time, until[-1][1] if until else 0.0)


labels = st.lists(st.tuples(st.floats(-50, 400), st.sampled_from([16.0, 30.0])), min_size=1, max_size=9)


@given(labels)
def test_labels_never_cover_one_another(wanted: list[tuple[float, float]]) -> None:
    """They keep their order and their distance, and stay inside while there is room."""
    heights = [height for _, height in wanted]
    found = spread([centre for centre, _ in wanted], heights, 0, 320)
    order = sorted(range(len(wanted)), key=lambda n: found[n])
    for above, below in pairwise(order):
        assert found[below] - found[above] >= (heights[above] + heights[below]) / 2 - 1e-6
        assert wanted[above][0] <= wanted[below][0]
    assert found[order[0]] - heights[order[0]] / 2 >= -1e-6
    if sum(heights) <= 320:
        assert found[order[-1]] + heights[order[-1]] / 2 <= 320 + 1e-6


def test_a_label_with_room_stays_where_it_is_wanted() -> None:
    """Only labels that touch are moved."""
    assert spread([100.0, 200.0, 205.0], [16.0] * 3, 0, 320) == [100.0, 200.0, 216.0]


words = st.lists(st.tuples(st.integers(0, 640), st.text("abc ", min_size=1, max_size=30)), max_size=8)


@given(words)
def test_what_the_scenario_says_is_never_crossed(marks: list[tuple[int, str]]) -> None:
    """A text is above every rule that it passes over, so no other text is in its lane there."""
    found = lanes([float(x) for x, _ in marks], [text for _, text in marks])
    for n, (x, text) in enumerate(marks):
        for m, (other, _) in enumerate(marks):
            if x < other < x + LETTER * len(text):
                assert found[n] > found[m]
            if other == x and n != m:
                assert found[n] != found[m]


def test_the_memory_chart_names_the_limit_and_every_line() -> None:
    """Directly, where they end, with what happened to them."""
    spec = charts.memory(everyone())
    assert {"limit 3,000 MB", "friendship-supervisor", "139 MB at most", "threads, the old design"} <= set(
        texts(spec)
    )
    assert "2,999 MB at most, killed 9 times" in texts(spec)
    assert spec["encoding"]["y"]["scale"]["domain"][1] > replayed.LIMIT_MB
    assert {mark.text for mark in replayed.SCENARIO} <= set(texts(spec))


def test_our_line_lies_on_top() -> None:
    """It is drawn last, in whatever order the workers ran."""
    last = marks_of(charts.memory(replayed.run(replayed.supervised(), replayed.threaded())), "line")[-1]
    assert max(row["value"] for row in last["data"]["values"]) < 200


def test_a_kill_is_marked_once_and_where_the_memory_was() -> None:
    """A death by the limit is not also marked as one by itself; another death is."""
    worker = replayed.threaded()
    alone = replace(worker, marks=(*worker.marks, Mark(33.0, Kind.DEATH, "exit 1")))
    for one, count in ((worker, 1), (alone, 2)):
        shapes = [layer["mark"]["shape"] for layer in marks_of(charts.memory(replayed.run(one)), "point")]
        assert len(set(shapes)) == count
    kills = marks_of(charts.memory(replayed.run(worker)), "point")[0]["data"]["values"]
    assert len(kills) == worker.figures.kills
    assert min(row["value"] for row in kills) > 2800


def test_without_a_limit_there_is_no_rule() -> None:
    """The axis then ends a little above the highest reading."""
    spec = charts.memory(replace(replayed.run(replayed.supervised()), limit_mb=0))
    assert not any("limit" in text for text in texts(spec))
    assert 138 < spec["encoding"]["y"]["scale"]["domain"][1] < 160


def test_only_a_browser_gets_tooltips() -> None:
    """One for each few pixels, with the highest value of every worker in them."""
    assert not marks_of(charts.memory(everyone()), "rect")
    [hover] = marks_of(charts.memory(everyone(), hover=True), "rect")
    assert [one["title"] for one in hover["encoding"]["tooltip"]][1] == "threads, the old design, MB"
    values = hover["data"]["values"]
    assert max(row["v0"] for row in values) == pytest.approx(
        max(reading.pss_mb for reading in replayed.threaded().readings), abs=0.1
    )
    assert all(row["end"] > row["minute"] for row in values)


def test_messages_without_a_row_are_drawn_as_such() -> None:
    """So that the stack is as high as what was published, and never negative."""
    spec = charts.statuses(everyone())
    highest: dict[tuple[str, float], float] = {}
    for row in spec["data"]["values"]:
        assert row["events"] >= 0
        key = (row["worker"], row["minute"])
        highest[key] = highest.get(key, 0) + row["events"]
    assert max(highest.values()) == replayed.supervised().progress[-1].published


def test_workers_that_were_read_at_other_minutes_are_stacked_alike() -> None:
    """Every status of every worker has a value at the same minutes: Vega-Lite would put a 0 where one has none."""
    late = replayed.threaded()
    shifted = tuple(replace(row, minute=row.minute + 0.037) for row in late.progress)
    spec = charts.statuses(replayed.run(replace(late, progress=shifted), replayed.supervised()))
    minutes: dict[tuple[str, str], list[float]] = {}
    for row in spec["data"]["values"]:
        minutes.setdefault((row["worker"], row["status"]), []).append(row["minute"])
    assert len({tuple(found) for found in minutes.values()}) == 1


def test_the_throughput_ends_at_what_was_processed() -> None:
    """A count keeps its last value."""
    last = replayed.supervised().progress[-1].statuses["PROCESSED"]
    assert f"{last} processed" in texts(charts.throughput(everyone()))


def test_steps_are_drawn_beside_what_is_possible() -> None:
    """Throughput on axes of powers of two, where nothing but the calls is a straight line."""
    panels = steps(replayed.run(steps=replayed.STEPS))["hconcat"]
    assert [panel["title"]["text"] for panel in panels] == [
        "Messages a second",
        "Memory, MB",
        "Supervisor, % of a core",
    ]
    assert panels[0]["encoding"]["y"]["scale"]["type"] == "log"
    assert panels[1]["title"]["subtitle"][0] == "5.3 MB a further busy child"


def test_what_was_read_after_the_scenario_is_shown_too() -> None:
    """The axis reaches the last reading."""
    worker = replayed.supervised()
    longer = replace(worker, readings=(*worker.readings, replace(worker.readings[-1], minute=60.0)))
    assert Frame.of(replayed.run(longer)).last == 60.0
    assert Frame.of(replayed.run()).last == replayed.TO


def numbers_in(spec: Any) -> Iterator[float]:
    match spec:
        case dict():
            for value in spec.values():
                yield from numbers_in(value)
        case list():
            for value in spec:
                yield from numbers_in(value)
        case float():
            yield spec


@pytest.mark.parametrize("hover", [False, True])
def test_a_worker_of_which_nothing_was_read_is_no_obstacle(hover: bool) -> None:
    """Every chart is still a specification, without infinities."""
    worker = replace(replayed.supervised(), readings=(), progress=(), marks=())
    run = replayed.run(worker, replayed.celery())
    for chart in (charts.memory, charts.throughput, charts.idle, charts.connections, charts.statuses):
        for one in (chart(run, hover=hover), chart(replayed.run(worker), hover=hover)):
            assert all(abs(number) < 1e9 for number in numbers_in(one))

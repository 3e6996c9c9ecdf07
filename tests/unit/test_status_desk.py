"""What the status process puts together."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.metrics_core import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from supervisor.board import Board, Record
from supervisor.bulletin import Bulletin
from supervisor.chronicle import Chronicle, Mishap
from supervisor.counters import Layout
from supervisor.lifecycle import Phase
from supervisor.limits import MB
from supervisor.programs import Depth
from supervisor.reading import SlotView
from supervisor.status import metrics
from supervisor.status.desk import ALIVE_S, DEPTH_KNOWN_S, Desk
from supervisor.status.history import EVERY_S
from supervisor.status.metrics import Format

LAYOUT = Layout(["processed", "failed"], ["MEMORY_API_TIMEOUT"])
CHILD: dict[str, Any] = {
    "slot": 0,
    "pid": 100,
    "state": "busy",
    "rss_mb": 50.5,
    "messages": 4,
    "conversation_id": "c-1",
    "message_age_s": 12.5,
    "body_mb": 3.0,
    "refill_in_s": None,
}
GONE = CHILD | {
    "slot": 1,
    "pid": None,
    "state": "empty",
    "rss_mb": None,
    "conversation_id": None,
    "message_age_s": 0.0,
}
STATUS: dict[str, Any] = {
    "supervisor": {
        "version": "9.9",
        "started_at": 970.0,
        "uptime_s": 30.0,
        "children_target": 2,
        "rss_budget_mb": 300,
        "rss_hard_mb": 375,
        "message_deadline_s": 90.0,
        "ready": False,
        "not_ready": "1 of 2 children are ready",
        "breaker": {"state": "open", "failed_in_a_row": 16, "open_s": 5.0, "next_probe_in_s": 3.0},
        "retry_every_s": 300.0,
        "last_retry_pass_s": None,
        "waiting_accounts": 0,
        "boot_failures": 3,
    },
    "children": [CHILD, GONE | {"refill_in_s": 1.5}],
    "totals": {
        "processed": 3,
        "failed": 1,
        "restarts": {"rss_soft": 2, "killed": 0},
        "failures": {"MEMORY_API_TIMEOUT": 1},
        "calls": {"answered": 3, "failed": 1, "barred": 0},
    },
    "events": [{"ts": 5.0, "level": "info", "event": "resized"}, {"ts": 9.0, "event": "child_exited"}],
}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def pass_s(self, seconds: float, desk: Desk) -> None:
        """Let time pass in which the status process runs."""
        end = self.now + seconds
        while self.now < end:
            self.now = min(end, self.now + EVERY_S)
            desk.sample()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def board() -> Iterator[Board]:
    with closing(Board(2, LAYOUT)) as pages:
        yield pages


@pytest.fixture
def chronicle() -> Iterator[Chronicle]:
    with closing(Chronicle(2)) as rings:
        yield rings


@pytest.fixture
def bulletin(clock: Clock) -> Iterator[Bulletin]:
    with closing(Bulletin(clock.now, 2)) as pages:
        yield pages


@pytest.fixture
def desk(board: Board, chronicle: Chronicle, bulletin: Bulletin, clock: Clock) -> Desk:
    return Desk(board, chronicle, bulletin, clock=clock, wall=lambda: 1000.0)


def status_of(desk: Desk) -> dict[str, Any]:
    found = desk.status()
    assert found is not None
    return found


def test_before_the_first_word_there_is_nothing(desk: Desk) -> None:
    """No status; not ready, and yet alive."""
    assert desk.status() is None
    assert desk.not_ready() == "starting"
    assert desk.is_alive()
    desk.sample()


def test_failures_of_children_stand_among_the_events_in_order(
    desk: Desk, bulletin: Bulletin, chronicle: Chronicle
) -> None:
    """By time, with slot, conversation and code."""
    bulletin.post(orjson.dumps(STATUS))
    chronicle.add(1, Mishap(7.5, 0, "c-9", "MEMORY_API_TIMEOUT", 60_003))
    events = status_of(desk)["events"]
    assert [event["event"] for event in events] == ["resized", "message_failed", "child_exited"]
    assert (
        events[1] | {"ts": 7.5, "slot": 0, "conversation_id": "c-9", "code": "MEMORY_API_TIMEOUT"}
        == events[1]
    )


def test_an_outage_does_not_push_out_what_the_supervisor_did(
    desk: Desk, bulletin: Bulletin, chronicle: Chronicle
) -> None:
    """Failures and events share the room; who does not use its half leaves it to the other; the newest stay."""
    for at in range(16):
        chronicle.add(at % 2, Mishap(1000.0 + at, 0, "c", "MEMORY_API_ERROR", 5))
    for count, failures in ((0, 16), (30, 16), (34, 16), (40, 16), (50, 16)):
        events = [{"ts": float(at), "event": "resized"} for at in range(count)]
        bulletin.post(orjson.dumps(STATUS | {"events": events}))
        told = status_of(desk)["events"]
        assert sum(event["event"] == "message_failed" for event in told) == failures
        kept = [event["ts"] for event in told if event["event"] == "resized"]
        assert kept == [float(at) for at in range(count)][max(0, count + failures - 50) :]


def test_the_queue_is_known_only_for_as_long_as_its_reading_is_young(
    desk: Desk, bulletin: Bulletin, clock: Clock
) -> None:
    """Before, and after it has grown old, there is a reason and no number; what children hold is always known."""
    bulletin.post(orjson.dumps(STATUS))
    assert status_of(desk)["queue"]["ready"] is None
    desk.measured(Depth("q", ready=7, dead=1, consumers=8))
    found = {"name": "q", "ready": 7, "unacked": 1, "dead": 1, "consumers": 8, "error": None}
    assert status_of(desk)["queue"] == found
    clock.pass_s(DEPTH_KNOWN_S + 1, desk)
    old = status_of(desk)["queue"]
    assert (old["ready"], old["unacked"]) == (None, 1)
    assert "no answer" in old["error"]


def test_a_loop_that_stands_still_is_not_ready_whatever_it_said_last(
    desk: Desk, bulletin: Bulletin, clock: Clock
) -> None:
    """Its last word was that all is well."""
    bulletin.post(
        orjson.dumps(STATUS | {"supervisor": STATUS["supervisor"] | {"ready": True, "not_ready": None}})
    )
    assert desk.not_ready() is None
    clock.pass_s(ALIVE_S + 1, desk)
    assert not desk.is_alive()
    assert "has not turned" in str(desk.not_ready())
    bulletin.beat(clock.now)
    assert desk.not_ready() is None


PROMETHEUS = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.mark.parametrize(
    ("accept", "form"),
    [
        ("", Format.PLAIN),
        ("*/*", Format.PLAIN),
        ("text/html", Format.PLAIN),
        ("text/plain", Format.PLAIN),
        ("text/plain; version=1.0.0", Format.PLAIN_1),
        ("application/openmetrics-text", Format.OPEN),
        (PROMETHEUS, Format.OPEN),
        ("text/plain;version=0.0.4;q=1,application/openmetrics-text;q=0.5", Format.PLAIN),
        ("application/openmetrics-text;version=1.0.0;q=0", Format.PLAIN),
        ("application/openmetrics-text;version=9.9.9", Format.PLAIN),
        ("application/openmetrics-text;version=x", Format.PLAIN),
        ("application/openmetrics-text;q=0.1,*/*;q=0.9", Format.PLAIN),
        ("application/openmetrics-text;q=0.1,text/*;q=0.9", Format.PLAIN),
        ("*/*,application/openmetrics-text", Format.OPEN),
        ("text/plain;q=0.1,application/openmetrics-text;q=0.5,*/*", Format.OPEN),
        ('text/plain;version="1.0.0"', Format.PLAIN_1),
        ('application/openmetrics-text; version="1.0.0"; q=0.5, text/plain;q=0.4', Format.OPEN),
    ],
)
def test_the_format_is_the_one_that_is_wanted_most_of_those_there_are(accept: str, form: Format) -> None:
    """A version that is not written is never named."""
    assert metrics.negotiated(accept) is form


@given(st.text() | st.text("application/openmetrics-text;version=1.0q, "))
def test_whatever_is_accepted_there_is_a_format(accept: str) -> None:
    """No header ends in an error."""
    assert metrics.negotiated(accept) in Format


def test_openmetrics_is_read_by_its_own_parser(desk: Desk, bulletin: Bulletin, board: Board) -> None:
    """The same values under the same names."""
    row = [0] * LAYOUT.width
    LAYOUT.settle(row, "processed", 0.2)
    board.write(0, Record(SlotView(1, Phase.IDLE, 0.0, 0.0), tuple(row)))
    bulletin.post(orjson.dumps(STATUS))
    read: dict[Format, Callable[[str], Iterable[Metric]]] = {
        Format.PLAIN: text_string_to_metric_families,
        Format.OPEN: openmetrics,
    }
    plain, opened = (
        {
            (sample.name, *sample.labels.values()): sample.value
            for family in parse(metrics.exposition(status_of(desk), desk.totals(), form).decode())
            for sample in family.samples
        }
        for form, parse in read.items()
    )
    assert opened == plain
    assert ("friendship_messages_total", "processed") in opened


def test_nobody_hangs_and_nothing_is_old_when_all_have_stood_still(
    desk: Desk, bulletin: Bulletin, clock: Clock
) -> None:
    """Asked first thing after an hour, before the supervisor has turned; should it not turn then, that is told."""
    bulletin.post(orjson.dumps(STATUS))
    desk.measured(Depth("q", ready=7, dead=1, consumers=8))
    clock.now += 3600
    assert desk.is_alive()
    assert status_of(desk)["queue"]["ready"] == 7
    clock.pass_s(ALIVE_S, desk)
    assert not desk.is_alive()


def test_metrics_are_what_a_prometheus_reads(
    desk: Desk, bulletin: Bulletin, board: Board, clock: Clock
) -> None:
    """Names, labels and values by the reference parser; what is not known is not there."""
    row = [0] * LAYOUT.width
    LAYOUT.settle(row, "processed", 0.2)
    LAYOUT.settle(row, "processed", 400.0)
    LAYOUT.fail(row, "MEMORY_API_TIMEOUT")
    board.write(0, Record(SlotView(1, Phase.IDLE, 0.0, 0.0), tuple(row)))
    bulletin.post(orjson.dumps(STATUS))
    text = metrics.exposition(status_of(desk), desk.totals()).decode()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert all(name.startswith("friendship_") for name, *_ in samples)
    expected = {
        ("friendship_children", "busy"): 1,
        ("friendship_children", "empty"): 1,
        ("friendship_children", "idle"): 0,
        ("friendship_children_target",): 2,
        ("friendship_child_rss_bytes", "0"): 50.5 * MB,
        ("friendship_child_message_age_seconds", "0"): 12.5,
        ("friendship_restarts_total", "rss_soft"): 2,
        ("friendship_messages_total", "processed"): 2,
        ("friendship_failures_total", "MEMORY_API_TIMEOUT"): 1,
        ("friendship_memory_api_calls_total", "answered"): 3,
        ("friendship_message_seconds_bucket", "0.25"): 1,
        ("friendship_message_seconds_bucket", "300.0"): 1,
        ("friendship_message_seconds_bucket", "+Inf"): 2,
        ("friendship_message_seconds_count",): 2,
        ("friendship_message_seconds_sum",): 400.2,
        ("friendship_memory_api_seconds_count",): 0,
        ("friendship_breaker_state", "open"): 1,
        ("friendship_breaker_state", "closed"): 0,
        ("friendship_slots_backing_off",): 1,
        ("friendship_boot_failures_total",): 3,
        ("friendship_ready",): 0,
        ("friendship_build_info", "9.9"): 1,
        ("friendship_start_time_seconds",): 970.0,
        ("friendship_queue_up",): 0,
        ("friendship_queue_unacked_messages",): 1,
    }
    assert {key: samples[key] for key in expected} == expected
    absent = {"friendship_queue_ready_messages", "friendship_retry_pass_age_seconds"}
    assert not absent & {name for name, *_ in samples}
    assert ("friendship_child_rss_bytes", "1") not in samples

"""The loop's own part, turn by turn, with forked children that only wait."""

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from typing import Any

import psutil
import pytest

from supervisor import loop as loop_module
from supervisor import policy, process, watched
from supervisor.awake import GRACE_S
from supervisor.blame import Exit
from supervisor.counters import Layout
from supervisor.errands import Kind
from supervisor.events import Cause, Death
from supervisor.lifecycle import Phase
from supervisor.limits import MB
from supervisor.loop import Loop
from supervisor.pages import Pages
from supervisor.programs import ChildRuntime, Depth
from supervisor.reading import SlotView
from supervisor.sampling import Due
from supervisor.signals import Signals
from tests.fixtures.eventually import eventually
from tests.unit.limits import SETTINGS


class Sleepers:
    """Programs whose child waits for its end."""

    def child(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        while True:
            signal.pause()

    def settle(self, deaths: Sequence[Death]) -> None:
        """Write nothing."""

    def retry(self) -> None:
        """Do nothing."""

    def depth(self) -> Callable[[], Depth]:
        return lambda: Depth("queue")


@pytest.fixture
def loop() -> Iterator[Loop]:
    """Give a loop of two slots that has not turned yet; its board has two pages to spare."""
    settings = replace(SETTINGS, children=2)
    with (
        Signals() as signals,
        closing(Pages(4, Layout(["processed"]))) as pages,
        Loop(settings, Sleepers(), signals, pages) as loop,
    ):
        yield loop


def kill(pids: Sequence[int]) -> None:
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: all(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE for pid in pids), "they died")


def fork_both(loop: Loop) -> list[int]:
    for slot in (0, 1):
        loop._fork_child(slot)
    loop._look()
    return [child.pid for child in loop.roster.children()]


@pytest.mark.parametrize("error", [OSError(errno.EMFILE, "Too many open files"), psutil.AccessDenied(1)])
def test_a_child_that_cannot_be_read_is_a_failed_fork(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    """Nobody would see it grow: it is gone, its slot waits, and the loop does not spin."""
    pids: list[int] = []

    def fail(pid: int) -> None:
        pids.append(pid)
        raise error

    monkeypatch.setattr(watched, "Resident", fail)
    loop._fork_child(0)
    assert list(loop.roster.children()) == []
    assert loop.watched == {}
    assert loop.roster.slots[0].refill_at > loop.now
    assert [record.getMessage() for record in caplog.records] == ["fork_failed"]
    assert not psutil.pid_exists(pids[0]), "not even a zombie"
    loop.roster.slots[1] = replace(loop.roster.slots[1], refill_at=loop.now + 9)
    assert loop._turn() > loop.now


def test_one_kill_of_the_kernels_is_one_death(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two children die of SIGKILL in one turn, the counter rose by one: the heavier one is its victim."""
    light, heavy = fork_both(loop)
    for slot, weight in ((0, 10), (1, 20)):
        loop.lookout.readings[slot] = replace(loop.lookout.readings[slot], rss_bytes=weight)
    risen = [1]
    monkeypatch.setattr(loop.oom_kills, "fresh", lambda _now: risen[0])
    monkeypatch.setattr(loop.oom_kills, "charge", risen.append)
    kill([light, heavy])
    loop._reap()
    assert loop.roster.restarts == {Cause.OOM_KILLED: 1, Cause.KILLED: 1}
    assert risen == [1, 1]
    assert loop.lookout.readings == {}


def test_an_old_rise_of_the_counter_blames_nobody_later(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A stranger's in the same control group, seen by the clock a minute before."""
    counts = iter([0, 1, 1, 1])
    monkeypatch.setattr(loop.oom_kills, "_seen", 0)
    monkeypatch.setattr(loop.oom_kills, "_count", lambda: next(counts, 1))
    pids = fork_both(loop)
    loop._reap()
    loop.now += 5
    loop._reap()
    loop.now += 60
    kill(pids)
    loop._reap()
    assert loop.roster.restarts == {Cause.KILLED: 2}


def test_no_more_children_than_the_board_has_pages(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """TTIN without a limit of its own: the mapping cannot grow after the first fork."""
    loop.roster.resize(1)
    for _ in range(3):
        loop._resize(+1)
    assert loop.roster.target == 2
    assert [record.getMessage() for record in caplog.records].count("resize_refused") == 2


def test_an_errand_is_recalled_once(loop: Loop) -> None:
    """Until it is reaped there is nothing more to do about it."""
    for slot in (0, 1):
        loop.roster.slots[slot] = replace(loop.roster.slots[slot], refill_at=loop.now + 900)
    stuck: Callable[[], None] = signal.pause
    loop.programs.retry = stuck  # type: ignore[method-assign]
    loop._send(Kind.RETRY)
    (errand,) = loop.roster.errands.values()
    loop.now = errand.ends_by()
    sent: list[int] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(process, "send", lambda _pidfd, number: sent.append(number))
        assert loop._turn() == loop.now
        assert loop._turn() > loop.now
    assert sent == [signal.SIGKILL]


def test_who_lives_is_not_asked_whether_it_has_ended(loop: Loop, monkeypatch: pytest.MonkeyPatch) -> None:
    """The descriptors say who has: one call for all, however many children there are."""
    first, second = fork_both(loop)
    asked: list[int] = []
    reap = process.reap

    def ask(pidfd: int) -> Exit | None:
        asked.append(pidfd)
        return reap(pidfd)

    monkeypatch.setattr(process, "reap", ask)
    loop._reap()
    assert asked == []
    kill([second])
    loop._reap()
    assert len(asked) == 1
    assert [child.pid for child in loop.roster.children()] == [first]


def test_only_the_pages_of_who_has_reported_are_read_and_all_of_them_once_a_second(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the board does not tell of in time is seen a second later."""
    fork_both(loop)
    eventually(lambda: all(loop.board.view(page).past_boot for page in (0, 1)), "both are ready")
    loop.now += 1.0
    loop._look()
    read: list[int] = []
    view = loop.board.view

    def look_up(page: int) -> SlotView:
        read.append(page)
        return view(page)

    monkeypatch.setattr(loop.board, "view", look_up)
    loop._look()
    assert read == []
    loop.board.write(1, replace(loop.board.record(1), counters=(7,) * loop.board.layout.width))
    loop._look()
    assert read == [1]
    loop.now += 1.0
    loop._look()
    assert read == [1, 0, 1]


def report(loop: Loop, page: int, phase: Phase, claimed_by: str | None = None) -> None:
    """Write as the child, which only waits."""
    record = loop.board.record(page)
    loop.board.write(page, replace(record, view=replace(record.view, phase=phase, claimed_by=claimed_by)))


def test_what_a_child_says_before_it_stands_still_is_read_before_anything_is_concluded(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its last words come while the supervisor looks: it has begun to write, and holds a row lock."""
    # Not its real weight: it is a copy of this process, which may be anything by now
    weigh_both(loop, 40, 42)
    eventually(lambda: all(loop.board.view(page).past_boot for page in (0, 1)), "both are ready")
    report(loop, 0, Phase.CALLING, "me")
    loop._look()
    loop._act(policy.Freeze(0, policy.LATE))
    stands_still = process.stands_still

    def stop_late(pidfd: int) -> bool:
        eventually(lambda: stands_still(pidfd), "it stands still")
        report(loop, 0, Phase.WRITING, "me")
        return True

    monkeypatch.setattr(process, "stands_still", stop_late)
    loop._look()
    assert loop.roster.child(0).stopped
    assert loop.lookout.readings[0].view.phase is Phase.WRITING
    actions = policy.decide(loop.roster, loop.lookout.readings, loop.now, loop.settings)
    assert policy.Thaw(0) in actions
    assert policy.Settle(0) not in actions


class Scale:
    """A child's memory as a test sets it, and when it was read."""

    def __init__(self, size_mb: int) -> None:
        self.size_mb: int | None = size_mb
        self.read_at: list[float] = []

    def read(self, now: float) -> int | None:
        self.read_at.append(now)
        return None if self.size_mb is None else self.size_mb * MB

    def close(self) -> None:
        """Close nothing."""


def weigh_both(loop: Loop, *sizes_mb: int) -> list[Scale]:
    scales = [Scale(size_mb) for size_mb in sizes_mb]
    for pid, scale in zip(fork_both(loop), scales, strict=True):
        watched = loop.watched[pid]
        assert watched.resident is not None
        watched.resident.close()
        watched.resident = scale  # type: ignore[assignment]
    loop.now += 1.0
    return scales


def test_children_are_read_together(loop: Loop) -> None:
    """One turn reads all that are about due; the next comes when the first of them has to be read again."""
    scales = weigh_both(loop, 40, 42)
    began = loop.now
    for number in range(1, 11):
        loop.now = loop._look()
        assert [len(scale.read_at) for scale in scales] == [number, number]
    assert loop.now - began == pytest.approx(10 * 0.0968, abs=0.01)
    loop._look()
    assert loop._look() > loop.now + 0.09
    assert [len(scale.read_at) for scale in scales] == [11, 11], "not read again before it is due"


def test_a_dead_child_weighs_what_it_weighed_alive(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """Its memory is given back before it can be reaped, and may be read as nothing in between."""
    caplog.set_level("INFO", "friendship")
    scales = weigh_both(loop, 40, 42)
    loop._look()
    for scale in scales:
        scale.size_mb = None
    loop.now += 1.0
    loop._look()
    kill([child.pid for child in loop.roster.children()])
    loop._reap()
    exits = [vars(record)["rss_mb"] for record in caplog.records if record.message == "child_exited"]
    assert exits == [40, 42]


def test_what_a_child_says_while_it_is_weighed_belongs_to_the_weight(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memory is read before its words: a weight is never taken for that of a phase which was over by then."""
    scales = weigh_both(loop, 40, 42)
    eventually(lambda: all(loop.board.view(page).past_boot for page in (0, 1)), "both are ready")
    loop._look()
    read = scales[1].read

    def read_late(now: float) -> int | None:
        report(loop, 1, Phase.RECEIVING)
        report(loop, 0, Phase.RECEIVING)
        return read(now)

    monkeypatch.setattr(scales[1], "read", read_late)
    loop.now += 0.2
    loop._look()
    for page in (0, 1):
        reading = loop.lookout.readings[page]
        assert (reading.view.phase, reading.read_at) == (Phase.RECEIVING, loop.now)


def test_one_near_its_budget_is_read_often_and_nobody_else_for_its_sake(loop: Loop) -> None:
    """The shortest pause is three milliseconds; the other child is read about ten times a second all the same."""
    light, heavy = weigh_both(loop, 40, 336)
    end = loop.now + 0.3
    while loop.now < end:
        loop.now = loop._look()
    assert len(heavy.read_at) >= 100
    assert 3 <= len(light.read_at) <= 5


class Whole:
    """A container whose memory a test sets."""

    def __init__(self) -> None:
        self.used_mb = 100
        self.looks = 0

    def working_set_bytes(self) -> int:
        self.looks += 1
        return self.used_mb * MB


def test_a_container_that_becomes_tight_is_told_once(loop: Loop, caplog: pytest.LogCaptureFixture) -> None:
    """Its memory is read once a second, and only where it has a limit."""
    whole = Whole()
    loop.container = whole  # type: ignore[assignment]
    assert loop._working_set_bytes() is None
    loop.settings = replace(loop.settings, container_limit_bytes=1000 * MB)
    for used_mb in (100, 950, 960, 800, 990):
        whole.used_mb = used_mb
        loop.now += loop_module.WHOLE_EVERY_S
        assert loop._working_set_bytes() == used_mb * MB
        assert loop._working_set_bytes() == used_mb * MB
    assert whole.looks == 5
    told = [record for record in caplog.records if record.getMessage() == "memory_tight"]
    assert [record.__dict__["working_set_mb"] for record in told] == [950, 990]


def test_after_a_gap_every_child_is_weighed_before_anything_is_decided(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The supervisor alone was stopped, and its children went on: their next reading was due much later."""
    fork_both(loop)
    loop._turn()
    for seen in loop.watched.values():
        seen.due = Due(loop.now + 900, 900)
    loop.lookout.sizes.clear()
    moment = loop.clock.moment + 20
    monkeypatch.setattr(loop.clock, "_read", lambda: moment)
    loop._wait(loop.now)
    weighed: list[set[int]] = []
    decide = policy.decide

    def decided(*facts: Any, **more: Any) -> list[policy.Action]:
        weighed.append({*loop.lookout.sizes})
        return decide(*facts, **more)

    monkeypatch.setattr(policy, "decide", decided)
    loop._turn()
    assert weighed == [{0, 1}]
    assert [record.getMessage() for record in caplog.records].count("stood_still") == 1


def test_many_short_gaps_are_told_like_a_long_one(
    loop: Loop, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Their sum, and within how long it came together; then from nothing again."""
    moment = began = loop.clock.moment
    monkeypatch.setattr(loop.clock, "_read", lambda: moment)
    for turn in range(1, 8):
        moment = began + turn * (2.0 + GRACE_S)
        loop._wait(loop.now)
    lines = [record.__dict__ for record in caplog.records if record.getMessage() == "stood_still"]
    assert [(line["seconds"], line["within_s"]) for line in lines] == [(6.0, 7.0), (6.0, 7.0)]
    assert loop.status()["supervisor"]["stood_still_s"] == 14.0


def test_no_limit_counts_a_gap_and_the_heart_beats_in_everybodys_time(
    loop: Loop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the status process and a watchdog compare with their own clocks is told by that clock."""
    pages = fork_both(loop)
    loop._turn()
    began, moment = loop.now, loop.clock.moment + 900
    monkeypatch.setattr(loop.clock, "_read", lambda: moment)
    loop._wait(began)
    loop._turn()
    assert loop.now - began == GRACE_S
    assert loop.pages.bulletin.heartbeat() == moment
    assert [child.pid for child in loop.roster.children()] == pages

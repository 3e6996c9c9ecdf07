"""The book of slots: what it notes, and what it tells of it."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from supervisor.blame import Exit, Verdict
from supervisor.events import Back, BootFailed, Cause, ChildExited, ChildReady, CrashLoop, Event, Waiting
from supervisor.lifecycle import Phase, State
from supervisor.limits import MB
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster

DRAINED = Verdict(Cause.RSS_SOFT, blamed=False)
CRASHED = Verdict(Cause.CRASHED, blamed=True)
KILLED = Verdict(Cause.KILLED, blamed=False)
STUCK = Verdict(Cause.DEADLINE, blamed=False)
AT = datetime(2026, 1, 1, tzinfo=UTC)


def view(phase: Phase = Phase.IDLE, generation: int = 1) -> SlotView:
    return SlotView(generation, phase, 0.0, 0.0)


CLAIMED = replace(
    view(Phase.CALLING),
    message_since=1.0,
    conversation_id="conv-1",
    claimed_by="h/0/7",
    event_id=5,
    epoch=9,
)


def book(children: int = 2) -> Roster:
    """A book with every slot forked at second 0, pid 100 + slot."""
    roster = Roster(children, 0.0)
    for slot in range(children):
        roster.forked(slot, 100 + slot, 0.0, 0)
    return roster


def ready(roster: Roster) -> Roster:
    roster.observe({child.slot: Reading(view()) for child in roster.children()}, 0.0, 300 * MB)
    return roster


def reap(
    roster: Roster,
    slot: int,
    verdict: Verdict,
    seen: SlotView | None,
    *,
    now: float = 10.0,
    end: Exit | None = None,
) -> list[Event]:
    return roster.reaped(
        slot,
        end or Exit(1, None),
        verdict,
        Reading(seen, 42) if seen else None,
        now=now,
        died_at=AT,
        host="here",
        jitter=0.0,
    )


def test_a_child_is_ready_when_it_says_so() -> None:
    """Told once, with the milliseconds since its fork."""
    roster = book()
    seen = {0: Reading(replace(view(), phase_since=0.25)), 1: Reading(view(Phase.BOOTING))}
    assert roster.observe(seen, 0.5, 300 * MB) == [ChildReady(0, 100, 250)]
    assert roster.observe(seen, 0.6, 300 * MB) == []
    assert [child.state for child in roster.children()] == [State.READY, State.BOOTING]


def test_a_record_of_the_generation_before_says_nothing() -> None:
    """A page is reused: its old words are not the new child's."""
    roster = book()
    assert roster.observe({0: Reading(view(generation=7))}, 0.5, 300 * MB) == []
    assert roster.child(0).state is State.BOOTING


def test_a_death_with_a_claim_in_hand_leaves_an_account() -> None:
    """Everything that the next holder of the message has to know."""
    roster = ready(book())
    reap(roster, 0, CRASHED, CLAIMED, end=Exit(None, 11))
    (death,) = roster.accounts.waiting
    assert (death.conversation_id, death.event_id, death.epoch, death.claimed_by) == ("conv-1", 5, 9, "h/0/7")
    assert (death.cause, death.blamed) == (Cause.CRASHED, True)
    assert (death.slot, death.pid, death.host, death.died_at, death.rss_bytes) == (0, 100, "here", AT, 42)


def test_a_death_before_the_claim_leaves_one_that_tells_of_the_body() -> None:
    """There is no event to tell of; whoever gets the body next can know it again."""
    roster = ready(book())
    seen = replace(view(Phase.RECEIVED), message_since=3.0, body_bytes=3000, body_crc32=77)
    reap(roster, 0, CRASHED, seen, end=Exit(None, 11))
    (death,) = roster.accounts.waiting
    assert (death.claimed_by, death.event_id, death.conversation_id) == ("", 0, "")
    assert (death.body_bytes, death.body_crc32, death.blamed) == (3000, 77, True)


@pytest.mark.parametrize("seen", [None, view()])
def test_a_death_with_nothing_in_hand_leaves_none(seen: SlotView | None) -> None:
    """There is nothing that anyone would wait for."""
    roster = ready(book())
    reap(roster, 0, CRASHED, seen)
    assert roster.accounts.waiting == []


def test_one_that_was_ready_only_between_two_looks_is_told_as_ready() -> None:
    """The log never shows an exit of a child that settled messages without having been ready."""
    roster = book(1)
    told = reap(roster, 0, CRASHED, replace(view(), phase_since=9.5))
    assert told[0] == ChildReady(0, 100, 9500)
    assert isinstance(told[1], ChildExited)
    assert roster.slots[0].boot_failures == 0


def test_restarts_are_counted_by_cause_and_slot_but_not_at_the_end() -> None:
    """A child that goes with its supervisor, or with its slot, is not restarted."""
    roster = ready(book(3))
    reap(roster, 0, DRAINED, view())
    roster.resize(2)
    reap(roster, 2, Verdict(Cause.FEWER, blamed=False), view())
    roster.stopping(20.0, at_once=False)
    reap(roster, 1, CRASHED, view())
    assert roster.restarts == {Cause.RSS_SOFT: 1}
    assert [slot.restarts for slot in roster.slots.values()] == [1, 0, 0]


def test_a_failed_boot_is_told_with_the_time_of_the_next_try() -> None:
    """So is the loop of crashes that follows a ready child, from the third on."""
    roster = book(1)
    exited, failed = reap(roster, 0, CRASHED, view(Phase.BOOTING))
    assert isinstance(exited, ChildExited)
    assert failed == BootFailed(0, 100, 1, 0.5)
    assert roster.slots[0].refill_at == 10.5
    told: list[Event] = []
    for generation in (2, 3, 4):
        roster.forked(0, 100, 10.0, 0)
        roster.observe({0: Reading(view(generation=generation))}, 10.0, 300 * MB)
        told = reap(roster, 0, CRASHED, view(generation=generation), now=11.0)
    assert told[1] == CrashLoop(0, 4, 4.0)
    assert roster.slots[0].boot_failures == 0


def test_a_settled_message_ends_the_loop() -> None:
    """The slot has shown that it works: refilled at once."""
    roster = book(1)
    reap(roster, 0, CRASHED, view(Phase.BOOTING))
    roster.forked(0, 101, 11.0, 0)
    roster.observe({0: Reading(replace(view(generation=2), messages=1))}, 11.0, 300 * MB)
    assert (roster.slots[0].failures, roster.slots[0].boot_failures) == (0, 0)
    reap(roster, 0, CRASHED, replace(view(generation=2), messages=1), now=12.0)
    assert roster.slots[0].refill_at == 12.0


def test_one_killed_while_its_server_never_answered_is_no_failed_boot() -> None:
    """Three silent waits in a row: the slot's counts stay as they were, and the next child comes at once."""
    roster = book(1)
    reap(roster, 0, CRASHED, view(Phase.BOOTING))
    for generation in (2, 3, 4):
        roster.forked(0, 100, 10.0, 0)
        told = reap(roster, 0, STUCK, view(Phase.WAITING_BROKER, generation), end=Exit(None, 9))
        assert [type(event) for event in told] == [ChildExited]
        assert (roster.slots[0].failures, roster.slots[0].boot_failures) == (1, 0)
        assert roster.slots[0].refill_at == 10.0


def test_one_that_crashes_while_it_waits_is_a_failed_boot() -> None:
    """Every boot begins with a wait: a fault in it must not be a storm of forks."""
    roster = book(1)
    exited, failed = reap(roster, 0, CRASHED, view(Phase.WAITING_DATABASE))
    assert isinstance(exited, ChildExited)
    assert failed == BootFailed(0, 100, 1, 0.5)


def test_a_voluntary_turn_ends_when_the_successor_is_ready() -> None:
    """Not when the old child goes, nor when the new one boots."""
    roster = ready(book())
    roster.draining(0, DRAINED, 1.0)
    assert roster.turn is not None
    reap(roster, 0, DRAINED, view(), now=2.0, end=Exit(0, None))
    roster.forked(0, 200, 2.0, 0)
    roster.observe({0: Reading(view(Phase.BOOTING, 2))}, 2.1, 300 * MB)
    assert roster.turn is not None
    roster.observe({0: Reading(view(Phase.IDLE, 2))}, 2.2, 300 * MB)
    assert roster.turn is None


def test_a_slot_passes_to_its_heir() -> None:
    """The heir has a page of its own; the turn ends when it is ready and its predecessor gone."""
    roster = ready(book())
    heir = roster.succeeded(0, DRAINED, 200, 1.0, 0)
    assert (heir.slot, heir.page, heir.generation) == (0, 2, 2)
    assert [child.pid for child in roster.children()] == [100, 101, 200]
    (told,) = roster.observe({2: Reading(view(Phase.IDLE, 2))}, 1.1, 300 * MB)
    assert isinstance(told, ChildReady)
    assert roster.turn is not None
    roster.draining(0, DRAINED, 1.2)
    assert (roster.slots[0].child, roster.heir) == (roster.child(2), None)
    assert roster.leaving == roster.child(0)
    assert not roster.may_sit(0), "its predecessor may have a message yet"
    reap(roster, 0, DRAINED, view(), now=2.0, end=Exit(0, None))
    assert roster.slots[0].child == roster.child(2)
    assert roster.may_sit(0)
    assert [child.pid for child in roster.children()] == [200, 101], "nobody leaves any more"
    assert roster.restarts[Cause.RSS_SOFT] == 1
    assert roster.free_page(1) == 0


def test_an_heir_takes_over_at_once_when_its_predecessor_dies() -> None:
    """Whatever it dies of; nobody else is forked, and the turn goes on until the heir is ready."""
    roster = ready(book())
    roster.succeeded(0, DRAINED, 200, 1.0, 0)
    reap(roster, 0, CRASHED, view(), now=1.1)
    assert roster.slots[0].child == roster.child(2)
    assert roster.turn is not None
    roster.observe({2: Reading(view(Phase.IDLE, 2))}, 1.2, 300 * MB)
    assert roster.turn is None


def test_a_turn_ends_with_its_heir_though_its_predecessor_stands_still() -> None:
    """Found in a write it is let go on: the turn must not wait for its end."""
    roster = ready(book())
    roster.succeeded(0, DRAINED, 200, 1.0, 0)
    roster.freezing(0, Verdict(Cause.DEADLINE, blamed=True), 1.1)
    reap(roster, 2, CRASHED, view(Phase.BOOTING, 2), now=1.2)
    assert roster.turn is None


def test_the_next_heir_may_come_while_one_leaves() -> None:
    """A drain takes as long as a message."""
    roster = ready(book())
    roster.succeeded(0, DRAINED, 200, 1.0, 0)
    roster.observe({2: Reading(view(Phase.IDLE, 2))}, 1.1, 300 * MB)
    roster.draining(0, DRAINED, 1.2)
    heir = roster.succeeded(1, DRAINED, 300, 1.3, 0)
    assert heir.page == 3
    assert [child.pid for child in roster.children()] == [200, 101, 300, 100]


def test_a_child_forked_while_another_leaves_its_slot_waits() -> None:
    """Both heirs and their slot are lost: the third one must not work beside the first."""
    roster = ready(book())
    roster.succeeded(0, DRAINED, 200, 1.0, 0)
    roster.observe({2: Reading(view(Phase.IDLE, 2))}, 1.1, 300 * MB)
    roster.draining(0, DRAINED, 1.2)
    reap(roster, 2, CRASHED, view(generation=2), now=1.3)
    assert roster.slots[0].child is None
    assert not roster.forked(0, 300, 1.4, 0).seated


def test_an_heir_that_dies_leaves_the_slot_as_it_is() -> None:
    """Another is tried after a pause, longer each time."""
    roster = ready(book())
    pauses = []
    for lost in (1, 2):
        roster.succeeded(0, DRAINED, 200, 1.0, 0)
        _, failed = reap(roster, 2, CRASHED, view(Phase.BOOTING, 1 + lost), now=1.1)
        assert isinstance(failed, BootFailed)
        assert (failed.slot, failed.times) == (0, lost)
        assert roster.turn is None
        assert roster.slots[0].child is not None
        pauses.append(round(roster.succeed_at - 1.1, 3))
    assert pauses == [0.5, 1.0]
    assert roster.restarts[Cause.CRASHED] == 0


def test_readings_over_the_budget_are_counted_in_a_row() -> None:
    """Each reading once, however often it is looked at; one within the budget begins anew."""
    roster = ready(book(1))
    for read_at, rss, counted in ((1.0, 301, 1), (1.0, 301, 1), (2.0, 301, 2), (3.0, 299, 0), (4.0, 301, 1)):
        roster.observe({0: Reading(view(), rss * MB, read_at)}, 5.0, 300 * MB)
        assert roster.child(0).heavy_readings == counted


def test_a_turn_does_not_outlive_its_slot() -> None:
    """TTOU while the highest slot is being replaced: nobody waits for a successor that never comes."""
    roster = ready(book())
    roster.draining(1, DRAINED, 1.0)
    roster.resize(1)
    reap(roster, 1, DRAINED, view(), now=2.0)
    assert roster.turn is None


def test_a_thawed_child_goes_on_where_it_was() -> None:
    """Draining stays draining, with the reason it had."""
    roster = ready(book())
    roster.draining(0, DRAINED, 1.0)
    for slot in (0, 1):
        roster.freezing(slot, Verdict(Cause.DEADLINE, blamed=True), 2.0)
        roster.stopped(slot)
        roster.thawed(slot, 3.0)
    assert (roster.child(0).state, roster.child(0).ending) == (State.DRAINING, DRAINED)
    assert (roster.child(1).state, roster.child(1).ending) == (State.READY, None)


def test_waiting_is_told_once_and_so_is_its_end() -> None:
    """Children that lose the database are one line, not eight a turn; a try, or resting as before, proves nothing."""
    roster = ready(book())
    away = replace(view(Phase.WAITING_DATABASE), phase_since=3.0, note="refused")
    assert roster.observe({0: Reading(away), 1: Reading(away)}, 4.0, 300 * MB) == [
        Waiting("database", "refused", 2, 1.0)
    ]
    assert roster.observe({0: Reading(away), 1: Reading(view())}, 5.0, 300 * MB) == []
    tries = Reading(replace(view(Phase.CLAIMING), phase_since=5.5))
    assert roster.observe({0: tries, 1: Reading(view())}, 5.5, 300 * MB) == []
    done = Reading(replace(view(), phase_since=6.0))
    assert roster.observe({0: done, 1: Reading(view())}, 6.0, 300 * MB) == [Back("database", 3.0)]
    assert roster.observe({0: Reading(view()), 1: Reading(view())}, 7.0, 300 * MB) == []


def test_who_waits_for_the_broker_has_been_at_the_database() -> None:
    """One outage after the other: the second is told with its own name, and the first as over."""
    roster = ready(book())
    away = Reading(replace(view(Phase.WAITING_DATABASE), phase_since=3.0, note="refused"))
    roster.observe({0: away, 1: away}, 4.0, 300 * MB)
    beyond = Reading(replace(view(Phase.WAITING_BROKER), phase_since=4.5, note="gone"))
    assert roster.observe({0: beyond, 1: beyond}, 6.0, 300 * MB) == [
        Back("database", 3.0),
        Waiting("broker", "gone", 2, 1.5),
    ]


def test_children_that_lose_the_broker_in_their_work_are_told_of() -> None:
    """Once, from when it was noticed; it is over when one of them gets beyond that work."""
    roster = ready(book())
    working = replace(view(Phase.CALLING), phase_since=3.0)
    cut_off = replace(working, note="no answer")
    assert roster.observe({0: Reading(cut_off), 1: Reading(cut_off)}, 9.0, 300 * MB) == [
        Waiting("broker", "no answer", 2, 0.0)
    ]
    assert roster.observe({0: Reading(working), 1: Reading(cut_off)}, 10.0, 300 * MB) == []
    acking = replace(view(Phase.ACKING), phase_since=11.0)
    assert roster.observe({0: Reading(acking), 1: Reading(working)}, 11.0, 300 * MB) == [Back("broker", 2.0)]


def test_the_moment_before_a_first_answer_is_not_told() -> None:
    """Every boot waits for its servers, without a reason yet; only a wait that lasts, or fails, is news."""
    roster = book(1)
    trying = replace(view(Phase.WAITING_BROKER), phase_since=3.0)
    assert roster.observe({0: Reading(trying)}, 3.1, 300 * MB) == []
    assert roster.observe({0: Reading(trying)}, 5.0, 300 * MB) == [Waiting("broker", "no answer yet", 1, 2.0)]


def test_a_long_wait_is_told_again_now_and_then() -> None:
    """Every ten minutes, with how long it has lasted and what is wrong by now; its end counts all of it."""
    roster = ready(book())
    away = replace(view(Phase.WAITING_BROKER), phase_since=100.0, note="refused")
    seen = {0: Reading(away), 1: Reading(away)}
    assert roster.observe(seen, 101.0, 300 * MB) == [Waiting("broker", "refused", 2, 1.0)]
    assert roster.observe(seen, 700.9, 300 * MB) == []
    later = replace(away, phase_since=690.0, note="no such host")
    seen = {0: Reading(later), 1: Reading(view())}
    assert roster.observe(seen, 701.0, 300 * MB) == [Waiting("broker", "no such host", 1, 601.0)]
    assert roster.observe(seen, 1300.0, 300 * MB) == []
    assert roster.observe(seen, 1301.0, 300 * MB) == [Waiting("broker", "no such host", 1, 1201.0)]
    done = Reading(replace(view(), phase_since=1302.0))
    assert roster.observe({0: done, 1: done}, 1302.0, 300 * MB) == [Back("broker", 1202.0)]


def test_dead_children_do_not_mean_that_the_database_is_back() -> None:
    """Nobody waits, but nobody works either."""
    roster = ready(book(1))
    assert roster.observe({0: Reading(view(Phase.WAITING_DATABASE))}, 4.0, 300 * MB) != []
    assert roster.observe({}, 5.0, 300 * MB) == []


def test_a_fork_that_failed_waits_like_any_failure() -> None:
    """The system had no process to give; asking again at once would spin."""
    roster = Roster(1, 0.0)
    roster.fork_failed(0, 1.0, 0.0)
    assert roster.slots[0].refill_at == 1.5


def test_a_taken_slot_is_not_forked_into() -> None:
    """Two children on one page would overwrite each other."""
    with pytest.raises(ValueError, match="slot 0 is taken"):
        book().forked(0, 7, 1.0, 0)

"""The rules of `decide`, one by one; together they are held to invariants in tests/properties."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from consumer import amqp
from supervisor import policy
from supervisor.blame import Exit, Verdict
from supervisor.errands import LIMITS_S, Errand, Kind
from supervisor.events import VOLUNTARY, Cause
from supervisor.lifecycle import UNCOUNTED, Phase
from supervisor.limits import MB
from supervisor.policy import (
    Drain,
    Fork,
    Freeze,
    GiveUp,
    Kill,
    Recall,
    Seat,
    Send,
    Settle,
    Succeed,
    Thaw,
    decide,
)
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster, account
from tests.unit.limits import SETTINGS

NOW = 1000.0
SOFT = Verdict(Cause.RSS_SOFT, blamed=False)
CRAMPED = replace(SETTINGS, room_for_successor=False)


def idle(messages: int = 1, resting: int = 30) -> SlotView:
    return SlotView(1, Phase.IDLE, NOW, NOW, messages=messages, resting_rss_bytes=resting * MB, rested_at=NOW)


def busy(phase: Phase = Phase.CALLING, age: float = 1.0, phase_age: float = 1.0) -> SlotView:
    return SlotView(
        1,
        phase,
        NOW - phase_age,
        NOW,
        message_since=NOW - age,
        conversation_id="c",
        claimed_by=None if phase is Phase.RECEIVED else "me",
        messages=1,
    )


def book(*readings: Reading) -> tuple[Roster, dict[int, Reading]]:
    """A book of children ready for a minute, one to a reading, which is the last of several such."""
    roster = Roster(len(readings), NOW)
    for slot in range(len(readings)):
        roster.forked(slot, 100 + slot, NOW - 60, 0)
    seen = dict(enumerate(readings))
    for ago in range(policy.READINGS - 1, -1, -1):
        at = NOW - 60 if ago else NOW
        earlier = {slot: replace(one, read_at=one.read_at - ago / 1000) for slot, one in seen.items()}
        roster.observe(earlier, at, SETTINGS.rss_budget_bytes)
    return roster, seen


def test_empty_slots_are_filled_one_a_turn() -> None:
    """Between two forks the loop looks at those that live."""
    roster = Roster(2, NOW)
    assert decide(roster, {}, NOW, SETTINGS) == [Fork(0)]
    roster.forked(0, 100, NOW, 0)
    assert decide(roster, {}, NOW, SETTINGS) == [Fork(1)]


def test_the_largest_over_budget_goes_first_and_alone() -> None:
    """Live size when at rest, the size it told when busy; the next only after the successor is ready."""
    roster, seen = book(
        Reading(idle(), 310 * MB, NOW),
        Reading(replace(busy(), resting_rss_bytes=320 * MB), 323 * MB, NOW),
        Reading(idle(resting=400), 40 * MB, NOW),
    )
    assert decide(roster, seen, NOW, SETTINGS) == [Succeed(1, SOFT)]
    roster.succeeded(1, SOFT, 200, NOW, 0)
    assert decide(roster, seen, NOW, SETTINGS) == []
    seen[3] = Reading(idle(messages=0), MB)
    seen[3] = replace(seen[3], view=replace(seen[3].view, generation=2))
    roster.observe(seen, NOW, SETTINGS.rss_budget_bytes)
    assert decide(roster, seen, NOW, SETTINGS) == [Drain(1, SOFT)], "the successor is ready"
    roster.draining(1, SOFT, NOW)
    (action,) = decide(roster, seen, NOW, SETTINGS)
    assert action == Succeed(0, SOFT), "not seated before the other is gone; the next heir may come"
    gone = Exit(0, None)
    roster.reaped(1, gone, SOFT, None, now=NOW, died_at=datetime.now(UTC), host="h", jitter=0.0)
    del seen[1]
    assert decide(roster, seen, NOW, SETTINGS)[0] == Seat(3)
    roster.seating(3)
    assert Seat(3) not in decide(roster, seen, NOW, SETTINGS)


def test_a_successor_that_waits_for_long_does_not_hold_everybody_up() -> None:
    """It may wait for what its predecessor has: the last connection that the database allows."""
    roster, seen = book(Reading(idle(), 310 * MB, NOW))
    roster.succeeded(0, SOFT, 200, NOW, 0)
    seen[1] = Reading(SlotView(2, Phase.WAITING_DATABASE, NOW, NOW + 9), MB)
    assert decide(roster, seen, NOW + policy.HEIR_S - 0.1, SETTINGS) == []
    assert decide(roster, seen, NOW + policy.HEIR_S, SETTINGS) == [Drain(0, SOFT)]


def test_nobody_is_drained_for_a_successor_that_is_just_being_killed() -> None:
    """It became ready, and too heavy, between two turns."""
    roster, seen = book(Reading(idle(), 310 * MB, NOW))
    roster.succeeded(0, SOFT, 200, NOW, 0)
    seen[1] = Reading(replace(idle(messages=0), generation=2), 370 * MB, NOW)
    roster.observe(seen, NOW, SETTINGS.rss_budget_bytes)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(1, policy.OVERWEIGHT)]


def test_without_memory_for_a_successor_the_predecessor_goes_first() -> None:
    """One idle child more would be over the container's limit."""
    roster, seen = book(Reading(idle(), 310 * MB, NOW))
    assert decide(roster, seen, NOW, CRAMPED) == [Drain(0, SOFT)]
    roster.draining(0, SOFT, NOW)
    assert decide(roster, seen, NOW, CRAMPED) == []


def test_a_single_peak_replaces_nobody() -> None:
    """So many readings in a row, and a life of some seconds: else a low budget would be a storm."""
    roster, seen = book(Reading(idle(), 310 * MB, NOW))
    child = roster.child(0)
    for patient in (
        replace(child, heavy_readings=policy.READINGS - 1),
        replace(child, ready_at=NOW - policy.LEAST_LIFE_S + 0.1),
    ):
        roster.slots[0] = replace(roster.slots[0], child=patient)
        assert decide(roster, seen, NOW, SETTINGS) == []


def test_who_has_no_room_for_its_message_is_replaced_first() -> None:
    """It does not work, whatever its size and age."""
    aside = replace(idle(), phase=Phase.NO_ROOM)
    roster, seen = book(Reading(idle(), 310 * MB, NOW), Reading(aside, 200 * MB, NOW))
    assert decide(roster, seen, NOW, SETTINGS) == [Succeed(1, SOFT)]


def test_in_a_tight_container_the_largest_idle_child_goes_first() -> None:
    """Before its successor comes, which would need memory; nobody whose end gives nothing back."""
    roster, seen = book(
        Reading(replace(idle(), fresh_rss_bytes=40 * MB), 50 * MB, NOW),
        Reading(replace(idle(), fresh_rss_bytes=40 * MB), 90 * MB, NOW),
        Reading(replace(busy(), fresh_rss_bytes=40 * MB, resting_rss_bytes=200 * MB), 200 * MB, NOW),
    )
    limited = replace(SETTINGS, container_limit_bytes=1000 * MB)
    assert decide(roster, seen, NOW, limited, working_set_bytes=900 * MB) == []
    assert decide(roster, seen, NOW, limited, working_set_bytes=936 * MB) == [Drain(1, SOFT)]
    seen[1] = Reading(seen[1].view, 55 * MB, NOW)
    assert decide(roster, seen, NOW, limited, working_set_bytes=990 * MB) == []
    assert decide(roster, seen, NOW, limited) == [], "its memory is not known"


def test_a_size_from_before_the_rest_is_no_size_at_rest() -> None:
    """Read while the message was in hand, joined with a view that says idle already: not over the budget."""
    for view in (idle(), replace(idle(), rested_at=0.0)):
        roster, seen = book(Reading(view, 310 * MB, NOW - 0.1))
        assert decide(roster, seen, NOW, SETTINGS) == []


def test_a_child_that_settled_nothing_is_not_replaced_for_its_size() -> None:
    """A budget below an idle child's size would restart for ever."""
    roster, seen = book(Reading(idle(messages=0, resting=310), 310 * MB, NOW))
    assert decide(roster, seen, NOW, SETTINGS) == []


def test_a_body_that_does_not_come_is_nobodys_fault() -> None:
    """The broker stands still in the middle of it, or the network: the child is ended, the message not blamed."""
    roster, seen = book(Reading(busy(Phase.RECEIVING, age=71, phase_age=71), MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]


@pytest.mark.parametrize("phase", [Phase.CLAIMING, Phase.READING, Phase.HOLDING, Phase.CALLING])
def test_at_the_stop_a_child_with_a_claim_is_frozen(phase: Phase) -> None:
    """Growth ends, and nothing is redelivered while the account is written."""
    roster, seen = book(Reading(busy(phase), 338 * MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Freeze(0, policy.OVERWEIGHT)]


@pytest.mark.parametrize("phase", [Phase.WRITING, Phase.ACKING])
def test_a_writer_is_let_write_until_the_very_last(phase: Phase) -> None:
    """It may hold row locks that its janitor would wait for: killed at the last stop, never frozen."""
    roster, seen = book(Reading(busy(phase), 350 * MB))
    assert decide(roster, seen, NOW, SETTINGS) == []
    seen[0] = Reading(busy(phase), 370 * MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]


def test_without_a_claim_there_is_nothing_to_settle() -> None:
    """An idle child at the stop, or one whose message has no name yet, is killed."""
    for view in (idle(), busy(Phase.RECEIVED)):
        roster, seen = book(Reading(view, 340 * MB))
        assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]


def test_past_its_deadline_a_message_is_ended_and_blamed() -> None:
    """Sixty seconds of work; waiting and holding are not work."""
    roster, seen = book(Reading(busy(age=61), MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Freeze(0, policy.LATE)]
    for waiting in (
        replace(busy(age=61), waited_s=2.0),
        busy(Phase.HOLDING, age=500, phase_age=490),
        busy(Phase.WAITING_DATABASE, age=500, phase_age=490),
    ):
        roster, seen = book(Reading(waiting, MB))
        assert decide(roster, seen, NOW, SETTINGS) == []


@pytest.mark.parametrize("phase", sorted(UNCOUNTED - {Phase.NO_ROOM}))
def test_a_late_message_is_not_ended_while_it_waits_or_is_held(phase: Phase) -> None:
    """It was late before the server went away: its deadline speaks when the work goes on."""
    late = busy(phase, age=71, phase_age=10)
    assert late.worked_s(NOW) > SETTINGS.message_deadline_s
    roster, seen = book(Reading(late, MB))
    assert decide(roster, seen, NOW, SETTINGS) == []
    seen[0] = Reading(replace(late, phase=Phase.CALLING, phase_since=NOW, waited_s=10.0), MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Freeze(0, policy.LATE)]


def test_an_idle_child_without_a_sign_of_life_is_killed_unblamed() -> None:
    """A stranger stopped it: the broker would go on giving it messages."""
    roster, seen = book(Reading(replace(idle(), heartbeat=NOW - policy.SILENT_S), MB))
    assert decide(roster, seen, NOW, SETTINGS) == []
    seen[0] = Reading(replace(idle(), heartbeat=NOW - policy.SILENT_S - 0.1), MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]


@pytest.mark.parametrize("phase", sorted(UNCOUNTED - {Phase.NO_ROOM}))
def test_one_that_waits_without_a_word_is_killed_unblamed(phase: Phase) -> None:
    """Each try is told of: after a minute of silence one try has no end. How long it waits does not matter."""
    waiting = busy(phase, age=5000, phase_age=4000)
    roster, seen = book(Reading(replace(waiting, heartbeat=NOW - policy.SILENT_S), MB))
    assert decide(roster, seen, NOW, SETTINGS) == []
    seen[0] = Reading(replace(waiting, heartbeat=NOW - policy.SILENT_S - 0.1), MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]


@pytest.mark.parametrize("phase", [Phase.CLAIMING, Phase.WRITING, Phase.ACKING])
def test_a_stuck_write_is_killed_unblamed(phase: Phase) -> None:
    """The database stands still; the message is innocent, even when it is late as well."""
    roster, seen = book(Reading(busy(phase, age=600, phase_age=6), MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]


def test_a_boot_has_its_time_but_waiting_is_no_boot() -> None:
    """Thirty seconds; as long as it takes for a server to come."""
    old = SlotView(1, Phase.BOOTING, NOW - 31, NOW - 31)
    roster, seen = book(Reading(old, MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]
    roster, seen = book(Reading(replace(old, phase=Phase.WAITING_BROKER), MB))
    assert decide(roster, seen, NOW, SETTINGS) == []


def frozen(view: SlotView, rss: int = 340) -> tuple[Roster, dict[int, Reading]]:
    roster, seen = book(Reading(view, rss * MB))
    roster.freezing(0, policy.OVERWEIGHT, NOW)
    return roster, seen


def test_freeze_then_settle_then_kill() -> None:
    """The account once it stands still, the kill once the account is written."""
    roster, seen = frozen(busy())
    assert decide(roster, seen, NOW, SETTINGS) == []
    roster.stopped(0)
    assert decide(roster, seen, NOW, SETTINGS) == [Settle(0)]
    death = account(roster.child(0), seen[0], policy.OVERWEIGHT, died_at=datetime.now(UTC), host="h")
    roster.settling(0, death, NOW)
    assert decide(roster, seen, NOW, SETTINGS) == [Send(Kind.JANITOR)]
    roster.accounts.hand_out()
    roster.errands[9] = Errand(Kind.JANITOR, 9, NOW)
    assert decide(roster, seen, NOW + 1.9, SETTINGS) == []
    assert decide(roster, seen, NOW + 2.0, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]
    roster.accounts.written()
    assert decide(roster, seen, NOW + 0.1, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]


def test_one_that_will_not_stand_still_is_killed_all_the_same() -> None:
    """A process in the kernel's hands may not stop; two seconds are enough."""
    roster, seen = frozen(busy())
    assert decide(roster, seen, NOW + 2.0, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]


def test_one_caught_in_a_write_is_let_go_on() -> None:
    """It went on to write between the reading and the stop: freezing it now would hold its row locks."""
    roster, seen = frozen(busy(Phase.WRITING))
    roster.stopped(0)
    assert decide(roster, seen, NOW, SETTINGS) == [Thaw(0)]
    seen[0] = Reading(busy(Phase.WRITING), 370 * MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]


def test_one_that_finished_in_the_last_moment() -> None:
    """Too heavy is too heavy; but late is no fault any more when the message is done, or waits."""
    roster, seen = frozen(idle())
    roster.stopped(0)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.OVERWEIGHT)]
    for view in (idle(), busy(Phase.WAITING_DATABASE), busy(Phase.HOLDING)):
        roster, seen = book(Reading(view, MB))
        roster.freezing(0, policy.LATE, NOW)
        roster.stopped(0)
        assert decide(roster, seen, NOW, SETTINGS) == [Thaw(0)]


def test_a_drain_has_the_time_of_one_message() -> None:
    """Then it is ended like a late one, unblamed, for the reason that it was drained for."""
    holding = replace(busy(Phase.HOLDING, age=1, phase_age=1), heartbeat=NOW + 60)
    roster, seen = book(Reading(holding, MB))
    roster.draining(0, SOFT, NOW)
    assert decide(roster, seen, NOW + 65, SETTINGS) == []
    assert decide(roster, seen, NOW + 65.1, SETTINGS) == [Freeze(0, SOFT)]


def test_a_stop_drains_then_kills() -> None:
    """All at once, and after the drain time-out by force."""
    roster, seen = book(
        Reading(replace(busy(Phase.HOLDING), heartbeat=NOW + 60), MB),
        Reading(replace(busy(Phase.HOLDING), heartbeat=NOW + 60), MB),
    )
    roster.stopping(NOW, at_once=False)
    assert decide(roster, seen, NOW, SETTINGS) == [Drain(0, policy.SHUTDOWN), Drain(1, policy.SHUTDOWN)]
    for slot in (0, 1):
        roster.draining(slot, policy.SHUTDOWN, NOW)
    assert decide(roster, seen, NOW + 64, SETTINGS) == []
    assert decide(roster, seen, NOW + 65, SETTINGS) == [Kill(0, policy.SHUTDOWN), Kill(1, policy.SHUTDOWN)]


@pytest.mark.parametrize("phase", [Phase.IDLE, Phase.WAITING_BROKER, Phase.WAITING_DATABASE, Phase.BOOTING])
def test_a_drain_with_nothing_in_hand_is_over_in_two_seconds(phase: Phase) -> None:
    """Whatever the child hangs in; whoever has just finished its work has as long from then on."""
    roster, seen = book(Reading(replace(idle(), phase=phase), MB), Reading(busy(Phase.HOLDING), MB))
    roster.stopping(NOW, at_once=False)
    for slot in (0, 1):
        roster.draining(slot, policy.SHUTDOWN, NOW)
    assert decide(roster, seen, NOW + 1.7, SETTINGS) == []
    assert policy.next_due(roster, NOW + 1.7, SETTINGS) == pytest.approx(NOW + 1.75)
    assert decide(roster, seen, NOW + 1.75, SETTINGS) == [Kill(0, policy.SHUTDOWN)]
    seen[1] = Reading(replace(idle(), phase_since=NOW + 5), MB)
    assert decide(roster, seen, NOW + 6.7, SETTINGS) == [Kill(0, policy.SHUTDOWN)]
    assert decide(roster, seen, NOW + 6.75, SETTINGS) == [Kill(0, policy.SHUTDOWN), Kill(1, policy.SHUTDOWN)]


def test_orderly_last_words_to_the_broker_end_before_the_kill() -> None:
    """A child that ends in order has half a second beside them; on a busy machine, too, it is not killed."""
    assert amqp.LAST_WORDS_S + 0.5 <= policy.EMPTY_HANDED_S


def test_a_drain_that_hangs_holds_up_no_replacement() -> None:
    """Outside a stop likewise: nobody is blamed."""
    roster, seen = book(Reading(idle(), MB))
    roster.draining(0, policy.FEWER, NOW)
    assert Kill(0, policy.FEWER) in decide(roster, seen, NOW + 2, SETTINGS)


@pytest.mark.parametrize("cause", sorted(VOLUNTARY))
@pytest.mark.parametrize(
    "view",
    [
        replace(idle(), phase_since=NOW - 2),
        busy(Phase.WRITING, phase_age=6),
        busy(Phase.CLAIMING, phase_age=6),
        busy(Phase.RECEIVING, age=61, phase_age=61),
        replace(idle(), phase=Phase.WAITING_BROKER, heartbeat=NOW - policy.SILENT_S - 1),
    ],
    ids=lambda view: view.phase.name,
)
def test_a_replacement_by_choice_that_hangs_is_no_deadline(view: SlotView, cause: Cause) -> None:
    """A reload while the broker stands still is a reload: the alert for killed children is for what messages do."""
    verdict = Verdict(cause, blamed=False)
    roster, seen = book(Reading(view, MB))
    roster.draining(0, verdict, NOW - 2)
    assert Kill(0, verdict) in decide(roster, seen, NOW, SETTINGS)


def test_a_second_stop_kills_at_once_whatever_was_begun() -> None:
    """Draining, frozen or idle."""
    roster, seen = book(Reading(idle(), MB), Reading(busy(), MB))
    roster.draining(0, policy.SHUTDOWN, NOW)
    roster.freezing(1, policy.LATE, NOW)
    roster.stopping(NOW, at_once=True)
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.SHUTDOWN), Kill(1, policy.LATE)]


def test_the_exit_waits_for_the_last_janitor_but_not_for_ever() -> None:
    """Two seconds for an account that cannot be written; none when there is none."""
    roster, seen = book(Reading(busy(), MB))
    roster.stopping(NOW, at_once=True, exit_code=0)
    roster.killed(0, policy.SHUTDOWN, NOW)
    roster.reaped(
        0, Exit(None, 9), policy.SHUTDOWN, seen[0], now=NOW, died_at=datetime.now(UTC), host="h", jitter=0.0
    )
    assert decide(roster, {}, NOW, SETTINGS) == [Send(Kind.JANITOR)]
    roster.accounts.hand_out()
    roster.errands[9] = Errand(Kind.JANITOR, 9, NOW)
    assert decide(roster, {}, NOW + 1.9, SETTINGS) == []
    assert decide(roster, {}, NOW + 2.0, SETTINGS) == [policy.Exit(0)]
    roster.accounts.written()
    assert decide(roster, {}, NOW + 0.1, SETTINGS) == [policy.Exit(0)]


def test_a_set_that_cannot_boot_gives_up_and_one_that_waits_does_not() -> None:
    """Three failed boots in every slot, nobody ready, nobody waiting for a server."""
    roster = Roster(2, NOW)
    for slot in (0, 1):
        roster.slots[slot] = replace(roster.slots[slot], boot_failures=3, refill_at=NOW + 9)
    (action,) = decide(roster, {}, NOW, SETTINGS)
    assert isinstance(action, GiveUp)
    assert action.exit_code == 1
    roster.forked(0, 100, NOW, 0)
    seen = {0: Reading(SlotView(1, Phase.WAITING_DATABASE, NOW, NOW), MB)}
    assert decide(roster, seen, NOW, SETTINGS) == []


def test_an_old_schema_is_waited_for_a_minute_then_named() -> None:
    """Exit 2, and the command that helps. Each try passes through the wait for the database, which is no new start."""
    old = SlotView(1, Phase.WAITING_SCHEMA, NOW, NOW, note="version 1, wanted 2")
    roster, seen = book(Reading(old, MB))
    trying = replace(old, phase=Phase.WAITING_DATABASE, phase_since=NOW + 50, heartbeat=NOW + 50, note="")
    roster.observe({0: Reading(trying, MB)}, NOW + 50, 300 * MB)
    assert decide(roster, {0: Reading(trying, MB)}, NOW + 60, SETTINGS) == []
    seen = {0: Reading(replace(old, phase_since=NOW + 51, heartbeat=NOW + 51), MB)}
    roster.observe(seen, NOW + 51, 300 * MB)
    assert decide(roster, seen, NOW + 59, SETTINGS) == []
    (action,) = decide(roster, seen, NOW + 60, SETTINGS)
    assert isinstance(action, GiveUp)
    assert action.exit_code == 2
    assert "migrate" in action.why


def test_messages_and_reloads_take_their_turn_after_size() -> None:
    """One at a time, whatever the reason."""
    roster, seen = book(Reading(idle(messages=8), MB), Reading(idle(), MB), Reading(idle(), 310 * MB, NOW))
    roster.slots[0] = replace(roster.slots[0], child=replace(roster.child(0), message_limit=8))
    assert roster.reload() == 3
    assert decide(roster, seen, NOW, SETTINGS) == [Succeed(2, SOFT)]
    seen[2] = Reading(idle(), MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Succeed(0, Verdict(Cause.MAX_MESSAGES, blamed=False))]
    seen[0] = Reading(idle(), MB)
    assert decide(roster, seen, NOW, SETTINGS) == [Succeed(0, Verdict(Cause.RELOAD, blamed=False))]
    roster.no_heir(NOW, 0.0)
    assert decide(roster, seen, NOW, SETTINGS) == [], "not at once again when there was no process to be had"


def test_a_child_that_is_being_killed_is_not_replaced_by_choice_as_well() -> None:
    """Stuck in a write and over the soft budget in the same turn: one action."""
    stuck = replace(busy(Phase.WRITING, phase_age=6), resting_rss_bytes=310 * MB)
    roster, seen = book(Reading(stuck, MB))
    assert decide(roster, seen, NOW, SETTINGS) == [Kill(0, policy.STUCK)]


def test_an_errand_past_its_time_is_recalled() -> None:
    """A janitor that hangs must not keep the next from going."""
    roster, seen = book(Reading(idle(), MB))
    roster.errands[9] = Errand(Kind.JANITOR, 9, NOW)
    end = NOW + LIMITS_S[Kind.JANITOR]
    assert decide(roster, seen, end - 0.1, SETTINGS) == []
    assert decide(roster, seen, end, SETTINGS) == [Recall(9)]
    roster.recalled(9)
    assert decide(roster, seen, end, SETTINGS) == [], "once: the loop would spin until it is reaped"
    assert policy.next_due(roster, end, SETTINGS) > end


def test_the_retry_pass_runs_by_the_clock() -> None:
    """When due, one at a time, and never with 0."""
    roster, seen = book(Reading(idle(), MB))
    roster.retry_at = NOW + 5
    often = replace(SETTINGS, retry_every_s=5)
    assert decide(roster, seen, NOW + 4, often) == []
    assert decide(roster, seen, NOW + 5, often) == [Send(Kind.RETRY)]
    assert decide(roster, seen, NOW + 5, SETTINGS) == []


@pytest.mark.parametrize(
    ("most", "draw", "limit"), [(0, 0.5, 0), (100, 0.0, 100), (100, 0.999, 81), (1, 0.9, 1)]
)
def test_message_limits_are_staggered(most: int, draw: float, limit: int) -> None:
    """From 80 to 100 % of the limit, never 0 unless it is off."""
    assert policy.stagger(most, draw) == limit

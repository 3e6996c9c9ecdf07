"""The shape that /status and SIGUSR1 show."""

from dataclasses import replace
from datetime import UTC, datetime

from supervisor import __version__
from supervisor.blame import Exit, Verdict
from supervisor.breaker import Breaker, Calls, State
from supervisor.counters import Totals
from supervisor.events import Cause
from supervisor.lifecycle import Phase
from supervisor.limits import MB
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster
from supervisor.snapshot import Own, not_ready, status
from tests.unit.limits import SETTINGS

IDLE = SlotView(1, Phase.IDLE, 0.0, 0.0)
OWN = Own(7, "host-1", 1_800_000_000.5)
NOTHING = Totals({}, {})
COUNTED = Totals({"processed": 3, "duplicate": 1}, {"MEMORY_API_TIMEOUT": 2, "CLAIM_LIMIT": 0})


def test_status_has_the_contracts_shape() -> None:
    """Supervisor, children and totals, with every key that is promised."""
    roster = Roster(2, 0.0)
    roster.forked(0, 100, 1.0, 0)
    calling = replace(IDLE, phase=Phase.CALLING, message_since=4.0, conversation_id="c", messages=6)
    calling = replace(calling, fresh_rss_bytes=30 * MB, resting_rss_bytes=33 * MB)
    seen = {0: Reading(calling, 35 * MB)}
    roster.observe(seen, 5.0, 300 * MB)
    told = status(
        roster, seen, 6.0, SETTINGS, own=OWN, totals=COUNTED, breaker=Breaker(), calls=Calls(5, 2, 1)
    )
    assert told["supervisor"] == {
        "pid": 7,
        "version": __version__,
        "host": "host-1",
        "started_at": 1_800_000_000.5,
        "uptime_s": 6.0,
        "stood_still_s": 0.0,
        "children_target": 2,
        "rss_budget_mb": 300,
        "rss_hard_mb": 375,
        "message_deadline_s": SETTINGS.message_deadline_s,
        "state": "starting",
        "ready": False,
        "not_ready": "1 of 2 children are ready",
        "breaker": {"state": "closed", "failed_in_a_row": 0, "open_s": 0.0, "next_probe_in_s": None},
        "retry_every_s": SETTINGS.retry_every_s,
        "last_retry_pass_s": None,
        "waiting_accounts": 0,
        "boot_failures": 0,
    }
    assert told["children"][0] == {
        "slot": 0,
        "pid": 100,
        "state": "busy",
        "phase": "calling",
        "note": "",
        "rss_mb": 35.0,
        "rss_at_start_mb": 30.0,
        "growth_mb_per_100_messages": 50.0,
        "uptime_s": 5.0,
        "messages": 6,
        "restarts": 0,
        "conversation_id": "c",
        "message_age_s": 2.0,
        "message_worked_s": 2.0,
        "body_mb": 0.0,
        "refill_in_s": None,
        "last_end": None,
    }
    assert (told["children"][1]["state"], told["children"][1]["pid"]) == ("empty", None)
    totals = told["totals"]
    assert (totals["processed"], totals["failed"], totals["skipped"], totals["dead_lettered"]) == (3, 0, 0, 0)
    assert totals["failures"] == {"MEMORY_API_TIMEOUT": 2}
    assert totals["calls"] == {"answered": 5, "failed": 2, "barred": 1}
    assert set(totals["restarts"]) == {
        "rss_soft",
        "rss_hard",
        "deadline",
        "crashed",
        "oom_killed",
        "killed",
        "max_messages",
        "reload",
    }


def test_states_are_named_for_people() -> None:
    """What we do with a child comes before what it says of itself."""
    roster = Roster(5, 0.0)
    for slot in range(5):
        roster.forked(slot, 100 + slot, 0.0, 0)
    seen = {slot: Reading(IDLE) for slot in range(4)} | {4: Reading(replace(IDLE, phase=Phase.BOOTING))}
    roster.observe(seen, 0.0, 300 * MB)
    roster.draining(1, Verdict(Cause.RELOAD, blamed=False), 1.0)
    roster.freezing(2, Verdict(Cause.DEADLINE, blamed=True), 1.0)
    seen[3] = Reading(replace(IDLE, phase=Phase.WAITING_BROKER))
    told = status(roster, seen, 6.0, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())
    assert [child["state"] for child in told["children"]] == [
        "idle",
        "draining",
        "frozen",
        "waiting",
        "booting",
    ]
    assert told["supervisor"]["state"] == "waiting"
    roster.stopping(7.0, at_once=False)
    assert (
        status(roster, seen, 7.0, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())["supervisor"]["state"]
        == "stopping"
    )


def test_a_breaker_that_is_not_closed_is_seen() -> None:
    """Since when, after how many failures, and when it will be tried again; the whole then waits."""
    roster = Roster(1, 0.0)
    roster.forked(0, 100, 1.0, 0)
    breaker = Breaker(state=State.OPEN, failures=16, opened_at=100.0, due_at=115.0)
    told = status(roster, {0: Reading(IDLE)}, 105.0, SETTINGS, own=OWN, totals=NOTHING, breaker=breaker)
    assert told["supervisor"]["state"] == "waiting"
    assert told["supervisor"]["breaker"] == {
        "state": "open",
        "failed_in_a_row": 16,
        "open_s": 5.0,
        "next_probe_in_s": 10.0,
    }


def test_growth_is_told_only_after_some_messages() -> None:
    """The first few load what every child needs once: that is no leak."""
    roster = Roster(1, 0.0)
    roster.forked(0, 100, 0.0, 0)
    young = replace(IDLE, messages=4, fresh_rss_bytes=30 * MB, resting_rss_bytes=40 * MB)
    told = status(roster, {0: Reading(young)}, 1.0, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())
    assert told["children"][0]["growth_mb_per_100_messages"] is None


def test_why_the_last_child_of_a_slot_was_replaced_stays() -> None:
    """Its reason, what it had in hand, and what it weighed; the slot says when it is filled again."""
    roster = Roster(1, 0.0)
    roster.forked(0, 100, 0.0, 0)
    view = replace(IDLE, phase=Phase.CALLING, message_since=1.0, conversation_id="c-4")
    seen = {0: Reading(view, 374 * MB)}
    roster.observe(seen, 1.0, 300 * MB)
    roster.killed(0, Verdict(Cause.RSS_HARD, blamed=True), 2.0)
    at = datetime(2026, 1, 2, tzinfo=UTC)
    end, verdict = Exit(None, 9), Verdict(Cause.RSS_HARD, blamed=True)
    roster.reaped(0, end, verdict, seen[0], now=3.0, died_at=at, host="h", jitter=0.0)
    child = status(roster, {}, 3.0, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())["children"][0]
    assert child["last_end"] == {
        "reason": "rss_hard",
        "at": at.timestamp(),
        "pid": 100,
        "conversation_id": "c-4",
        "after_conversation_id": None,
        "rss_mb": 374,
    }
    assert child["refill_in_s"] is not None


def test_a_supervisor_is_ready_with_every_child_and_says_what_it_waits_for() -> None:
    """Ready, waiting for the broker with its reason, and no more once it stops."""
    roster = Roster(2, 0.0)
    for slot in range(2):
        roster.forked(slot, 100 + slot, 0.0, 0)
    seen = {slot: Reading(IDLE) for slot in range(2)}
    assert not_ready(roster, seen) == "0 of 2 children are ready"
    roster.observe(seen, 0.0, 300 * MB)
    assert not_ready(roster, seen) is None
    seen[1] = Reading(replace(IDLE, phase=Phase.WAITING_BROKER, note="refused"))
    assert not_ready(roster, seen) == "1 of 2 children are ready: waiting for the broker (refused)"
    seen[1] = Reading(IDLE)
    roster.stopping(7.0, at_once=False)
    assert not_ready(roster, seen) == "stopping"


def test_a_replacement_by_choice_leaves_the_supervisor_ready() -> None:
    """The successor is ready before its predecessor is let go, so at no time does a slot have nobody."""
    roster = Roster(1, 0.0)
    roster.forked(0, 100, 0.0, 0)
    seen = {0: Reading(IDLE)}
    roster.observe(seen, 0.0, 300 * MB)
    reload = Verdict(Cause.RELOAD, blamed=False)
    heir = roster.succeeded(0, reload, 101, 1.0, 0)
    assert not_ready(roster, seen) is None
    seen[heir.page] = Reading(replace(IDLE, generation=heir.generation))
    roster.observe(seen, 1.5, 300 * MB)
    roster.draining(0, reload, 2.0)
    assert roster.leaving is not None
    assert not_ready(roster, seen) is None
    told = status(roster, seen, 2.5, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())
    assert told["children"][0]["state"] == "draining"
    assert told["supervisor"]["ready"]


def test_children_that_are_cut_off_from_the_broker_in_their_work_are_not_ready() -> None:
    """Busy as they are, and idle for the moment before they know: no message can come, and why is said."""
    roster = Roster(2, 0.0)
    cut_off = replace(IDLE, phase=Phase.CALLING, message_since=4.0, note="no answer for 10 s")
    seen = {0: Reading(cut_off, 35 * MB), 1: Reading(replace(IDLE, note="connection lost"), 35 * MB)}
    for slot in seen:
        roster.forked(slot, 100 + slot, 1.0, 0)
    roster.observe(seen, 5.0, 300 * MB)
    told = status(roster, seen, 6.0, SETTINGS, own=OWN, totals=NOTHING, breaker=Breaker())["supervisor"]
    assert told["state"] == "waiting"
    assert told["not_ready"] == "0 of 2 children are ready: waiting for the broker (connection lost)"

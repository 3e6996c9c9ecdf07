"""The shape that /status and SIGUSR1 show."""

from dataclasses import replace

from supervisor import __version__
from supervisor.blame import Verdict
from supervisor.breaker import Breaker, State
from supervisor.events import Cause
from supervisor.lifecycle import Phase
from supervisor.limits import MB
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster
from supervisor.snapshot import status
from tests.unit.limits import SETTINGS

IDLE = SlotView(1, Phase.IDLE, 0.0, 0.0)


def test_status_has_the_contracts_shape() -> None:
    """Supervisor, children and totals, with every key that is promised."""
    roster = Roster(2, 0.0)
    roster.forked(0, 100, 1.0, 0)
    calling = replace(IDLE, phase=Phase.CALLING, message_since=4.0, conversation_id="c", messages=3)
    calling = replace(calling, fresh_rss_bytes=30 * MB, resting_rss_bytes=33 * MB)
    seen = {0: Reading(calling, 35 * MB)}
    roster.observe(seen, 5.0, 300 * MB)
    told = status(
        roster, seen, 6.0, SETTINGS, pid=7, outcomes={"processed": 3, "duplicate": 1}, breaker=Breaker()
    )
    assert told["supervisor"] == {
        "pid": 7,
        "version": __version__,
        "uptime_s": 6.0,
        "children_target": 2,
        "rss_budget_mb": 300,
        "rss_hard_mb": 375,
        "state": "starting",
        "breaker": {"state": "closed", "failed_in_a_row": 0, "open_s": 0.0, "next_probe_in_s": None},
    }
    assert told["children"][0] == {
        "slot": 0,
        "pid": 100,
        "state": "busy",
        "rss_mb": 35.0,
        "rss_at_start_mb": 30.0,
        "growth_mb_per_100_messages": 100.0,
        "uptime_s": 5.0,
        "messages": 3,
        "restarts": 0,
        "conversation_id": "c",
        "message_age_s": 2.0,
    }
    assert (told["children"][1]["state"], told["children"][1]["pid"]) == ("empty", None)
    totals = told["totals"]
    assert (totals["processed"], totals["failed"], totals["skipped"], totals["dead_lettered"]) == (3, 0, 0, 0)
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
    told = status(roster, seen, 6.0, SETTINGS, pid=7, outcomes={}, breaker=Breaker())
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
        status(roster, seen, 7.0, SETTINGS, pid=7, outcomes={}, breaker=Breaker())["supervisor"]["state"]
        == "stopping"
    )


def test_a_breaker_that_is_not_closed_is_seen() -> None:
    """Since when, after how many failures, and when it will be tried again; the whole then waits."""
    roster = Roster(1, 0.0)
    roster.forked(0, 100, 1.0, 0)
    breaker = Breaker(state=State.OPEN, failures=16, opened_at=100.0, due_at=115.0)
    told = status(roster, {0: Reading(IDLE)}, 105.0, SETTINGS, pid=7, outcomes={}, breaker=breaker)
    assert told["supervisor"]["state"] == "waiting"
    assert told["supervisor"]["breaker"] == {
        "state": "open",
        "failed_in_a_row": 16,
        "open_s": 5.0,
        "next_probe_in_s": 10.0,
    }

"""The supervisor's standing at one moment, in the shape that `/status` and SIGUSR1 show."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, assert_never

from supervisor import __version__
from supervisor.breaker import Breaker
from supervisor.breaker import State as BreakerState
from supervisor.events import RESTARTS
from supervisor.lifecycle import WAITING, Phase, State
from supervisor.limits import MB, SupervisorSettings
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster, Slot

ALWAYS = ("processed", "failed", "skipped", "dead_lettered")


def status(  # noqa: PLR0913 - the parts it is put together from
    roster: Roster,
    readings: Mapping[int, Reading],
    now: float,
    settings: SupervisorSettings,
    *,
    pid: int,
    outcomes: Mapping[str, int],
    breaker: Breaker,
) -> dict[str, Any]:
    """Return {"supervisor", "children", "totals"}; MB is 2**20 bytes. outcomes: counts by outcome, over all slots."""
    # Whoever leaves a slot is shown until it has gone: its successor does nothing yet
    shown = [
        replace(slot, child=roster.leaving) if not roster.may_sit(slot.number) else slot
        for slot in roster.slots.values()
    ]
    slots = [slot for slot in shown if slot.child is not None or slot.number < roster.target]
    return {
        "supervisor": {
            "pid": pid,
            "version": __version__,
            "uptime_s": round(now - roster.started_at, 3),
            "children_target": roster.target,
            "rss_budget_mb": settings.rss_budget_bytes // MB,
            "rss_hard_mb": settings.rss_hard_bytes // MB,
            "state": _whole(roster, slots, readings, breaker),
            "breaker": _breaker(breaker, now),
        },
        "children": [_child(slot, readings, now) for slot in sorted(slots, key=lambda slot: slot.number)],
        "totals": {
            **dict.fromkeys(ALWAYS, 0),
            **outcomes,
            "restarts": {cause.value: roster.restarts[cause] for cause in RESTARTS},
        },
    }


def _breaker(breaker: Breaker, now: float) -> dict[str, Any]:
    """failed_in_a_row: calls since the last that was answered. open_s: since when no messages are taken."""
    is_open = breaker.state is BreakerState.OPEN
    return {
        "state": breaker.state.value,
        "failed_in_a_row": breaker.failures,
        "open_s": 0.0 if breaker.state is BreakerState.CLOSED else round(now - breaker.opened_at, 3),
        "next_probe_in_s": round(max(0.0, breaker.due_at - now), 3) if is_open else None,
    }


def _whole(roster: Roster, slots: Sequence[Slot], readings: Mapping[int, Reading], breaker: Breaker) -> str:
    if roster.stop is not None:
        return "stopping"
    if breaker.state is not BreakerState.CLOSED:
        return "waiting"
    states = {_state(slot, _reading(slot, readings)) for slot in slots if slot.number < roster.target}
    if states <= {"idle", "busy"}:
        return "ready"
    return "waiting" if "waiting" in states else "starting" if states & {"booting", "empty"} else "running"


def _child(slot: Slot, readings: Mapping[int, Reading], now: float) -> dict[str, Any]:
    child = slot.child
    reading = _reading(slot, readings)
    view = reading.view if reading else None
    rss = reading.rss_bytes if reading else None
    return {
        "slot": slot.number,
        "pid": child.pid if child else None,
        "state": _state(slot, reading),
        "rss_mb": None if rss is None else round(rss / MB, 1),
        "rss_at_start_mb": round(view.fresh_rss_bytes / MB, 1) if view and view.fresh_rss_bytes else None,
        "growth_mb_per_100_messages": _growth_mb(view) if view else 0.0,
        "uptime_s": round(now - child.forked_at, 3) if child else 0.0,
        "messages": view.messages if view else 0,
        "restarts": slot.restarts,
        "conversation_id": view.conversation_id if view else None,
        "message_age_s": round(view.age_s(now), 3) if view else 0.0,
    }


def _reading(slot: Slot, readings: Mapping[int, Reading]) -> Reading | None:
    return None if slot.child is None else readings.get(slot.child.page)


def _growth_mb(view: SlotView) -> float:
    """Return what 100 messages leave behind, by those of this child so far."""
    if not view.messages:
        return 0.0
    return round((view.resting_rss_bytes - view.fresh_rss_bytes) / view.messages * 100 / MB, 1)


def _state(slot: Slot, reading: Reading | None) -> str:
    """Name a slot's state for people: empty, booting, waiting, idle, busy, draining, frozen or killed."""
    if slot.child is None:
        return "empty"
    match slot.child.state:
        case State.FREEZING | State.FROZEN:
            name = "frozen"
        case State.DRAINING:
            name = "draining"
        case State.KILLED:
            name = "killed"
        case State.BOOTING | State.READY:
            name = _by_itself(slot.child.state, reading)
        case _:
            assert_never(slot.child.state)
    return name


def _by_itself(state: State, reading: Reading | None) -> str:
    if reading is not None and reading.view.phase in WAITING | {Phase.NO_ROOM}:
        return "waiting"
    if state is State.BOOTING:
        return "booting"
    return "idle" if reading is None or reading.view.phase is Phase.IDLE else "busy"

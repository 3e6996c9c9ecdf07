"""The supervisor's standing at one moment, in the shape that `/status` and SIGUSR1 show."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, assert_never

from supervisor import __version__
from supervisor.breaker import NO_CALLS, Breaker, Calls
from supervisor.breaker import State as BreakerState
from supervisor.counters import Totals
from supervisor.events import RESTARTS
from supervisor.lifecycle import WAITING, Phase, State
from supervisor.limits import MB, SupervisorSettings
from supervisor.reading import Reading, SlotView
from supervisor.roster import Roster, Slot

ALWAYS = ("processed", "failed", "skipped", "dead_lettered")

TELLING_MESSAGES = 5
"""From so many on, what messages leave behind is called growth: the first ones load what every child needs once."""


@dataclass(frozen=True, slots=True)
class Own:
    """What a supervisor knows of itself without looking. started_at: wall clock, seconds since 1970."""

    pid: int
    host: str
    started_at: float


def status(  # noqa: PLR0913 - the parts it is put together from
    roster: Roster,
    readings: Mapping[int, Reading],
    now: float,
    settings: SupervisorSettings,
    *,
    own: Own,
    totals: Totals,
    breaker: Breaker,
    calls: Calls = NO_CALLS,
    stood_still_s: float = 0.0,
) -> dict[str, Any]:
    """Return {"supervisor", "children", "totals"}; MB is 2**20 bytes, ages are seconds."""
    # Whoever leaves a slot is shown until it has gone: its successor does nothing yet
    shown = [
        replace(slot, child=roster.leaving) if not roster.may_sit(slot.number) else slot
        for slot in roster.slots.values()
    ]
    slots = [slot for slot in shown if slot.child is not None or slot.number < roster.target]
    obstacle = not_ready(roster, readings)
    return {
        "supervisor": {
            "pid": own.pid,
            "version": __version__,
            "host": own.host,
            "started_at": own.started_at,
            "uptime_s": round(now - roster.started_at, 3),
            "stood_still_s": round(stood_still_s, 3),
            "children_target": roster.target,
            "rss_budget_mb": settings.rss_budget_bytes // MB,
            "rss_hard_mb": settings.rss_hard_bytes // MB,
            "message_deadline_s": settings.message_deadline_s,
            "state": _whole(roster, slots, readings, breaker, ready=obstacle is None),
            "ready": obstacle is None,
            "not_ready": obstacle,
            "breaker": _breaker(breaker, now),
            "retry_every_s": settings.retry_every_s,
            "last_retry_pass_s": None if roster.retried_at is None else round(now - roster.retried_at, 3),
            "waiting_accounts": len(roster.accounts.waiting),
            "boot_failures": roster.boot_failures,
        },
        "children": [_child(slot, readings, now) for slot in sorted(slots, key=lambda slot: slot.number)],
        "totals": {
            **dict.fromkeys(ALWAYS, 0),
            **totals.outcomes,
            "restarts": {cause.value: roster.restarts[cause] for cause in RESTARTS},
            "failures": {code: count for code, count in totals.failures.items() if count},
            "calls": {"answered": calls.answered, "failed": calls.failed, "barred": calls.barred},
        },
    }


def not_ready(roster: Roster, readings: Mapping[int, Reading]) -> str | None:
    """Say why not every child is ready; None when each is.

    Where there is room for a successor, a slot whose child is replaced by choice is ready all the while: its successor
    was, before it was let go. Without that room it is not, from the drain on until the successor is.
    """
    if roster.stop is not None:
        return "stopping"
    slots = list(roster.wanted())
    ready = sum(_is_ready(slot, readings) for slot in slots)
    if ready == len(slots):
        return None
    waits = {
        wait.name.removeprefix("WAITING_").lower(): reading.view.note
        for slot in slots
        if (reading := _reading(slot, readings)) is not None and (wait := reading.view.waits_for) is not None
    }
    why = ", ".join(f"waiting for the {on}" + (f" ({note})" if note else "") for on, note in waits.items())
    return f"{ready} of {len(slots)} children are ready" + (f": {why}" if why else "")


def _is_ready(slot: Slot, readings: Mapping[int, Reading]) -> bool:
    child, reading = slot.child, _reading(slot, readings)
    if child is None or child.ready_at is None or reading is None or reading.view.waits_for is not None:
        return False
    return child.state in {State.READY, State.DRAINING, State.FREEZING}


def _breaker(breaker: Breaker, now: float) -> dict[str, Any]:
    """failed_in_a_row: calls since the last that was answered. open_s: since when no messages are taken."""
    is_open = breaker.state is BreakerState.OPEN
    return {
        "state": breaker.state.value,
        "failed_in_a_row": breaker.failures,
        "open_s": 0.0 if breaker.state is BreakerState.CLOSED else round(now - breaker.opened_at, 3),
        "next_probe_in_s": round(max(0.0, breaker.due_at - now), 3) if is_open else None,
    }


def _whole(
    roster: Roster, slots: Sequence[Slot], readings: Mapping[int, Reading], breaker: Breaker, *, ready: bool
) -> str:
    if roster.stop is not None:
        return "stopping"
    if breaker.state is not BreakerState.CLOSED:
        return "waiting"
    states = {_state(slot, _reading(slot, readings)) for slot in slots if slot.number < roster.target}
    if states <= {"idle", "busy"}:
        return "ready" if ready else "waiting"
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
        "phase": view.phase.name.lower() if view else None,
        "note": view.note if view else "",
        "rss_mb": None if rss is None else round(rss / MB, 1),
        "rss_at_start_mb": round(view.fresh_rss_bytes / MB, 1) if view and view.fresh_rss_bytes else None,
        "growth_mb_per_100_messages": _growth_mb(view) if view else None,
        "uptime_s": round(now - child.forked_at, 3) if child else 0.0,
        "messages": view.messages if view else 0,
        "restarts": slot.restarts,
        "conversation_id": view.conversation_id if view else None,
        "message_age_s": round(view.age_s(now), 3) if view else 0.0,
        "message_worked_s": round(view.worked_s(now), 3) if view else 0.0,
        "body_mb": round(view.body_bytes / MB, 1) if view else 0.0,
        "refill_in_s": None if child else round(max(0.0, slot.refill_at - now), 3),
        "last_end": _last_end(slot),
    }


def _last_end(slot: Slot) -> dict[str, Any] | None:
    end = slot.last_end
    if end is None:
        return None
    return {
        "reason": end.reason.value,
        "at": round(end.at.timestamp(), 3),
        "pid": end.pid,
        "conversation_id": end.conversation_id,
        "after_conversation_id": end.after_conversation_id,
        "rss_mb": end.rss_mb,
    }


def _reading(slot: Slot, readings: Mapping[int, Reading]) -> Reading | None:
    return None if slot.child is None else readings.get(slot.child.page)


def _growth_mb(view: SlotView) -> float | None:
    """Return what 100 messages leave behind, by those of this child so far; None while they are too few."""
    if view.messages < TELLING_MESSAGES:
        return None
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

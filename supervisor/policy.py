"""What to do next: a function from the book, the readings and the time to a list of actions.

All times are awake time (supervisor/awake.py): no rule counts time in which the supervisor itself could not run.

For one child, the first rule that speaks wins:

 1. One that was killed is only waited for.
 2. One that stands still is killed once its account is written, or FREEZE_S after it was told to stand still. Found in
    the middle of a write, or only late and by now waiting or with nothing in hand, it is let go on.
 3. An end at once kills it.
 4. Near the hard budget it is frozen, its message settled, then killed. While it writes or acknowledges it is never
    frozen but killed, and only at the very last. With no claim in hand there is nothing to settle: it is killed.
 5. Past the message deadline likewise, and blamed; unblamed while its body still comes. While it writes or acknowledges
    rule 6 speaks instead, and while it waits or holds rule 7: no message answers for that.
 6. Longer than the write budget in one claim, write or acknowledgement, it is killed, unblamed.
 7. Idle, waiting for a server or holding, and without a word for SILENT_S, it is killed, unblamed: whoever lives says
    so again and again, so this one is caught in a try that does not end, or stopped by a stranger.
 8. Longer than BOOT_S in its boot, it is killed; waiting for a server is no boot.
 9. Draining for longer than a message may take, it is ended as in rule 5, unblamed; at a stop the drain time-out kills.
    Draining with nothing in hand for EMPTY_HANDED_S, it hangs in something (a name server, a handshake): it is killed.
    An unblamed kill of a child that drains (rules 5 to 9) counts under the reason of its drain, not as a deadline.
10. When the supervisor stops, or the slot is no longer wanted, it is drained.

Then, over all children:

11. Not while stopping, and one at a time: replace by choice the child that has no room for its next message, is over
    the soft budget (largest first), has had its messages, or is to be reloaded. Its successor is forked first, where
    the memory for that is there, and the child drained once the successor is ready, which takes messages only when it
    is gone: else two children of one slot could be heavy at a time. The next successor may be forked while one child
    drains: a drain takes as long as a message, and many may be over their budgets. A child that has
    settled nothing yet, lived less than LEAST_LIFE_S, or was not seen over the budget READINGS times in a row is never
    replaced for its size: with a budget set too low that would be a storm of restarts.
    When the container's memory is tight, the largest idle child goes first, and before its successor comes.
12. Not while stopping: fill one empty slot whose backoff is over. One a turn, so that readings stay dense meanwhile.
13. Accounts that are due get a janitor, the retry pass and the status page their processes, an errand past its time a
    kill.
14. Give up when no slot can boot, or the schema stays too old. Exit when stopping, with no child left, and every
    account written or LAST_JANITOR_S gone.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from supervisor import budget
from supervisor.blame import Verdict
from supervisor.budget import Level
from supervisor.errands import Kind
from supervisor.events import Cause
from supervisor.lifecycle import BRIEF, EXCUSED, LOCKING, TALKATIVE, UNCOUNTED, WAITING, Phase, State
from supervisor.limits import MB, SupervisorSettings
from supervisor.reading import Reading, SlotView
from supervisor.roster import CRASH_LOOP, Child, Roster, Slot

READINGS = 3
"""So many readings in a row have to find a child over its soft budget: one may be a peak."""
LEAST_LIFE_S = 5.0
"""A child is not replaced for its size before: with a budget that is too low, that would be a storm of restarts."""
HEIR_S = 10.0
"""A successor that is not ready by then waits for something that its predecessor may hold: a connection, say."""
NEAR_LIMIT_BYTES = 64 * MB
"""So close to the container's limit its memory is tight: the reserve of the sum that is done at the start."""
WORTHWHILE_BYTES = 16 * MB
"""What replacing an idle child must give back to be worth it when memory is tight."""

FREEZE_S = 2.0
BOOT_S = 30.0
SILENT_S = 60.0
"""A child's own limits end any one try within this, unless what it waits on has taken no notice of them."""
EMPTY_HANDED_S = 1.75
"""A child with nothing in hand is gone within this. Its last words to the broker take less, as a test makes sure."""
LAST_JANITOR_S = 2.0
BOOT_WATCH_S = 2.0
BOOT_PAUSE_S = 0.02
"""A child younger than BOOT_WATCH_S is looked at this often: it is usually ready within a moment."""
LONGEST_PAUSE_S = 0.5


@dataclass(frozen=True, slots=True)
class Fork:
    slot: int


@dataclass(frozen=True, slots=True)
class Succeed:
    """Fork a successor for a slot whose child is to be replaced, for the reason given."""

    slot: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Seat:
    """Let an heir whose predecessor is gone take messages."""

    page: int


@dataclass(frozen=True, slots=True)
class Drain:
    page: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Freeze:
    page: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Thaw:
    page: int


@dataclass(frozen=True, slots=True)
class Settle:
    """Take the account of a child that stands still."""

    page: int


@dataclass(frozen=True, slots=True)
class Kill:
    page: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Send:
    """Fork an errand."""

    kind: Kind


@dataclass(frozen=True, slots=True)
class Recall:
    """Kill an errand that has had its time."""

    pid: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    exit_code: int
    why: str


@dataclass(frozen=True, slots=True)
class Exit:
    exit_code: int


Action = Fork | Succeed | Seat | Drain | Freeze | Thaw | Settle | Kill | Send | Recall | GiveUp | Exit

SHUTDOWN = Verdict(Cause.SHUTDOWN, blamed=False)
FEWER = Verdict(Cause.FEWER, blamed=False)
OVERWEIGHT = Verdict(Cause.RSS_HARD, blamed=True)
LATE = Verdict(Cause.DEADLINE, blamed=True)
STUCK = Verdict(Cause.DEADLINE, blamed=False)


def decide(
    roster: Roster,
    readings: Mapping[int, Reading],
    now: float,
    settings: SupervisorSettings,
    *,
    working_set_bytes: int | None = None,
) -> list[Action]:
    """Choose this turn's actions; nothing is changed. Rules in the module's docstring.

    readings: by page. working_set_bytes: of the container whose limit is in the settings; None when not known.
    """
    actions: list[Action] = []
    free: list[Child] = []
    for child in roster.children():
        if not child.seated and child is not roster.heir and roster.may_sit(child.slot):
            actions.append(Seat(child.page))
        action = _for_child(child, _reading(child, readings), roster, now, settings)
        if action is not None:
            actions.append(action)
        elif child.state is State.READY:
            free.append(child)
    tight = is_tight(working_set_bytes, settings)
    actions.extend(_by_choice(free, roster, readings, now, settings, tight=tight))
    actions.extend(_errands(roster, now, settings))
    actions.extend(_ending(roster, readings, now, settings))
    if not any(isinstance(action, GiveUp) for action in actions):
        actions.extend(_refill(roster, now))
    return actions


def next_due(roster: Roster, now: float, settings: SupervisorSettings) -> float:
    """Return when `decide` may have something new to say by the passing of time alone (awake seconds)."""
    return min(due for due in _dues(roster, now, settings) if due > now)


def stagger(max_messages: int, draw: float) -> int:
    """Return one child's own limit, 80 to 100 % of the common one: children forked together do not end together.

    draw: from [0, 1). 0 stays 0, which is never.
    """
    return math.ceil(max_messages * (1.0 - 0.2 * draw))


def _reading(child: Child, readings: Mapping[int, Reading]) -> Reading | None:
    reading = readings.get(child.page)
    return reading if reading is not None and reading.view.generation == child.generation else None


def _for_child(  # noqa: PLR0911, C901 - one return to a rule
    child: Child, reading: Reading | None, roster: Roster, now: float, settings: SupervisorSettings
) -> Action | None:
    if child.state is State.KILLED:
        return None
    if child.state is State.FREEZING or child.state is State.FROZEN:
        return _still(child, reading, roster, now, settings)
    if roster.stop is not None and roster.stop.at_once:
        return Kill(child.page, SHUTDOWN)
    if reading is not None:
        view = reading.view
        level = budget.judge(reading.rss_bytes, settings)
        if level is Level.LAST or (level is Level.STOP and view.phase not in LOCKING):
            return _end(child, view, OVERWEIGHT)
        if view.phase in BRIEF and view.phase_age_s(now) > settings.write_budget_s:
            return Kill(child.page, _hung(child))
        if view.phase not in EXCUSED and view.worked_s(now) > settings.message_deadline_s:
            # A body that does not come is the broker's or the network's doing
            return (
                Kill(child.page, _hung(child)) if view.phase is Phase.RECEIVING else _end(child, view, LATE)
            )
        if view.phase in TALKATIVE and view.silence_s(now) > SILENT_S:
            return Kill(child.page, _hung(child))
        if view.phase is Phase.BOOTING and view.phase_age_s(now) > BOOT_S:
            return Kill(child.page, _hung(child))
    if child.state is State.DRAINING:
        return _drained_too_long(child, reading, roster, now, settings)
    if roster.stop is not None:
        return Drain(child.page, SHUTDOWN)
    if child.slot >= roster.target:
        return Drain(child.page, FEWER)
    return None


def _hung(child: Child) -> Verdict:
    """Give the verdict on a child that hangs: whoever was told to go ends for the reason that it was told."""
    return child.drained_as or STUCK


def _end(child: Child, view: SlotView, verdict: Verdict) -> Action:
    if view.claims and view.phase not in LOCKING:
        return Freeze(child.page, verdict)
    return Kill(child.page, verdict)


def _still(  # noqa: PLR0911 - one return to a rule
    child: Child, reading: Reading | None, roster: Roster, now: float, settings: SupervisorSettings
) -> Action | None:
    verdict = child.ending or STUCK
    if now - child.since >= FREEZE_S or (roster.stop is not None and roster.stop.at_once):
        return Kill(child.page, verdict)
    if child.state is State.FROZEN:
        return None if roster.accounts.holds(child.pid) else Kill(child.page, verdict)
    if not child.stopped or reading is None:
        return None
    if budget.judge(reading.rss_bytes, settings) is Level.LAST and reading.view.phase in LOCKING:
        return Kill(child.page, verdict)
    if reading.view.phase in LOCKING or (verdict == LATE and reading.view.phase in UNCOUNTED):
        return Thaw(child.page)
    if reading.view.claims:
        return Settle(child.page)
    return Kill(child.page, verdict) if verdict.cause is Cause.RSS_HARD else Thaw(child.page)


def _drained_too_long(
    child: Child, reading: Reading | None, roster: Roster, now: float, settings: SupervisorSettings
) -> Action | None:
    if reading is not None and _empty_handed_s(child, reading.view, now) >= EMPTY_HANDED_S:
        return Kill(child.page, _hung(child) if roster.stop is None else SHUTDOWN)
    if roster.stop is not None:
        return Kill(child.page, SHUTDOWN) if now - roster.stop.since >= settings.drain_timeout_s else None
    if now - child.since <= settings.message_deadline_s + settings.write_budget_s:
        return None
    verdict = _hung(child)
    return _end(child, reading.view, verdict) if reading is not None else Kill(child.page, verdict)


def _empty_handed_s(child: Child, view: SlotView, now: float) -> float:
    """Return for how long a draining child has had nothing to finish."""
    return 0.0 if view.in_hand else now - max(child.since, view.phase_since)


def is_tight(working_set_bytes: int | None, settings: SupervisorSettings) -> bool:
    """Say whether the container around us is near its limit."""
    limit = settings.container_limit_bytes
    return working_set_bytes is not None and 0 < limit <= working_set_bytes + NEAR_LIMIT_BYTES


def _by_choice(  # noqa: PLR0913 - the facts of one choice
    free: list[Child],
    roster: Roster,
    readings: Mapping[int, Reading],
    now: float,
    settings: SupervisorSettings,
    *,
    tight: bool,
) -> Iterator[Action]:
    if roster.stop is not None:
        return
    if roster.turn is not None:
        yield from _hand_over(free, roster, now)
        return
    known = [
        (child, reading)
        for child in free
        if child.seated and (reading := _reading(child, readings)) is not None
    ]
    if tight and roster.leaving is None and (page := _largest_idle(known, now)) is not None:
        # No successor first: it would need memory before any comes back
        yield Drain(page, Verdict(Cause.RSS_SOFT, blamed=False))
        return
    chosen = _to_replace(known, now, settings)
    if chosen is None:
        return
    child, cause = chosen
    if not settings.room_for_successor:
        if roster.leaving is None:
            yield Drain(child.page, Verdict(cause, blamed=False))
    elif now >= roster.succeed_at:
        yield Succeed(child.slot, Verdict(cause, blamed=False))


def _hand_over(free: list[Child], roster: Roster, now: float) -> Iterator[Action]:
    """Let a predecessor go once its successor is ready, or has waited for long, and the last one has gone."""
    heir = roster.heir
    if roster.turn is None or heir is None or roster.leaving is not None:
        return
    # Ready, and nothing is done to it in this very turn
    if heir not in free and (heir.state is State.READY or now - heir.forked_at < HEIR_S):
        return
    for child in free:
        if child.slot == roster.turn.slot and child.page != heir.page:
            yield Drain(child.page, roster.turn.verdict)


def _to_replace(
    known: list[tuple[Child, Reading]], now: float, settings: SupervisorSettings
) -> tuple[Child, Cause] | None:
    """Choose whose turn it is: who cannot work, then the heaviest over the soft budget, then the others by slot."""
    heavy: list[tuple[int, int, Child]] = []
    others: list[tuple[Child, Cause]] = []
    for child, reading in known:
        view = reading.view
        if view.phase is Phase.NO_ROOM:
            return child, Cause.RSS_SOFT
        if (
            child.heavy_readings >= READINGS
            and view.messages > 0
            and (size := reading.rss_at_rest_bytes) > settings.rss_budget_bytes
            and _lived_s(child, now) >= LEAST_LIFE_S
        ):
            heavy.append((size, child.slot, child))
        elif 0 < child.message_limit <= view.messages:
            others.append((child, Cause.MAX_MESSAGES))
        elif child.to_reload:
            others.append((child, Cause.RELOAD))
    if heavy:
        return max(heavy, key=lambda one: one[:2])[2], Cause.RSS_SOFT
    return others[0] if others else None


def _largest_idle(known: list[tuple[Child, Reading]], now: float) -> int | None:
    """Return the page of the idle child whose replacement gives back the most, if any gives back enough."""
    idle = [
        (reading.rss_at_rest_bytes - reading.view.fresh_rss_bytes, child.page)
        for child, reading in known
        if reading.view.phase is Phase.IDLE
        and reading.view.fresh_rss_bytes
        and _lived_s(child, now) >= LEAST_LIFE_S
    ]
    gain, page = max(idle, default=(0, 0))
    return page if gain >= WORTHWHILE_BYTES else None


def _lived_s(child: Child, now: float) -> float:
    return 0.0 if child.ready_at is None else now - child.ready_at


def _refill(roster: Roster, now: float) -> Iterator[Action]:
    if roster.stop is None:
        empty = [slot for slot in roster.wanted() if slot.child is None and now >= slot.refill_at]
        if empty:
            yield Fork(min(empty, key=lambda slot: slot.refill_at).number)


def _errands(roster: Roster, now: float, settings: SupervisorSettings) -> Iterator[Action]:
    if roster.errand(Kind.JANITOR) is None and roster.accounts.due(now):
        yield Send(Kind.JANITOR)
    yield from (Send(kind) for kind, due_at in _awaited(roster, settings) if now >= due_at)
    for errand in roster.errands.values():
        if now >= errand.ends_by() and not errand.recalled:
            yield Recall(errand.pid)


def _awaited(roster: Roster, settings: SupervisorSettings) -> Iterator[tuple[Kind, float]]:
    """Give the errands that only time brings and that are not under way, and when each is due; at the end none are."""
    if roster.stop is not None:
        return
    if settings.retry_every_s > 0 and roster.errand(Kind.RETRY) is None:
        yield Kind.RETRY, roster.retry_at
    if settings.listen is not None and roster.errand(Kind.STATUS) is None:
        yield Kind.STATUS, roster.status_at


def _ending(
    roster: Roster, readings: Mapping[int, Reading], now: float, settings: SupervisorSettings
) -> Iterator[Action]:
    if roster.stop is not None:
        if roster.emptied_at is not None and (
            not roster.accounts.waiting or now - roster.emptied_at >= LAST_JANITOR_S
        ):
            yield Exit(roster.stop.exit_code)
        return
    if any(child.ready_at is not None for child in roster.children()):
        return
    views = [
        reading.view for child in roster.children() if (reading := _reading(child, readings)) is not None
    ]
    if any(view.past_boot for view in views):
        return
    # The wait as the roster noticed it: each try of a child passes through other waits
    wait = roster.waits.get(Phase.WAITING_SCHEMA)
    since = now if wait is None else wait.since
    waiting = any(view.phase is Phase.WAITING_SCHEMA for view in views)
    if waiting and now - since >= settings.schema_wait_s:
        yield GiveUp(
            2,
            "the database schema is missing or older than this program: run `friendship-supervisor migrate`",
        )
    elif all(_cannot_boot(slot) for slot in roster.wanted()) and not any(v.phase in WAITING for v in views):
        yield GiveUp(1, f"no child could boot: every slot failed at least {CRASH_LOOP} times in a row")


def _cannot_boot(slot: Slot) -> bool:
    return slot.boot_failures >= CRASH_LOOP


def _dues(roster: Roster, now: float, settings: SupervisorSettings) -> Iterator[float]:
    for child in roster.children():
        if child.state is State.FREEZING or child.state is State.FROZEN:
            yield child.since + FREEZE_S
        elif child.state is State.BOOTING and now - child.forked_at < BOOT_WATCH_S:
            yield now + BOOT_PAUSE_S
        elif child.state is State.DRAINING:
            yield child.since + EMPTY_HANDED_S
    for errand in roster.errands.values():
        yield errand.ends_by()
    if roster.accounts.waiting and roster.errand(Kind.JANITOR) is None:
        yield roster.accounts.due_at
    if roster.stop is not None:
        yield roster.stop.since + settings.drain_timeout_s
        if roster.emptied_at is not None:
            yield roster.emptied_at + LAST_JANITOR_S
    else:
        yield from (slot.refill_at for slot in roster.wanted() if slot.child is None)
        yield from (due_at for _, due_at in _awaited(roster, settings))
    yield now + LONGEST_PAUSE_S

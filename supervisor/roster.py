"""The book of slots and children: what the supervisor has done, and the questions it may ask about that.

The book is changed only by the loop, through the methods that carry the names of what happened; records in it are
frozen. What children *say* and weigh is not in it: that comes fresh each turn, as readings.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from supervisor.accounts import Accounts
from supervisor.blame import Exit, Verdict
from supervisor.errands import Errand, Kind
from supervisor.events import (
    RESTARTS,
    VOLUNTARY,
    Back,
    BootFailed,
    Cause,
    ChildExited,
    ChildReady,
    CrashLoop,
    Death,
    Event,
    Waiting,
)
from supervisor.lifecycle import WAITING, WORKING, Phase, State, step
from supervisor.limits import MB
from supervisor.reading import Reading
from supervisor.restart import Life, backoff_s, failures_after, pause_after

CRASH_LOOP = 3
"""Failures in a row from which a slot is said to loop, and a set of such slots to be unable to boot."""

UNANSWERED_S = 2.0
"""A wait is told with its reason, or after so long without one: every child waits a moment for its first answer."""


@dataclass(frozen=True, slots=True)
class Child:
    """One process in a slot. ending is why we end it, once that is decided; since is when its state began."""

    slot: int
    pid: int
    generation: int
    forked_at: float
    since: float
    message_limit: int = 0
    state: State = State.BOOTING
    ready_at: float | None = None
    ending: Verdict | None = None
    drained_as: Verdict | None = None
    stopped: bool = False
    accounted: bool = False
    to_reload: bool = False


@dataclass(frozen=True, slots=True)
class Slot:
    """A numbered place. failures: deaths in a row that raise its backoff; boot_failures: those before ready."""

    number: int
    child: Child | None = None
    generation: int = 0
    failures: int = 0
    boot_failures: int = 0
    refill_at: float = 0.0
    restarts: int = 0


@dataclass(frozen=True, slots=True)
class Stop:
    """The supervisor is ending: since when, whether children may still finish, and with which exit code."""

    since: float
    at_once: bool
    exit_code: int = 0


@dataclass(slots=True)
class Roster:
    """Slots by number, errands by pid, and the little that belongs to no single one of them.

    target: how many slots are wanted; slot n is wanted while n < target. turn: the slot whose voluntary replacement
    is under way, from its drain until its successor is ready. emptied_at: when, while stopping, the last child went.
    """

    target: int
    started_at: float
    slots: dict[int, Slot] = field(default_factory=dict)
    errands: dict[int, Errand] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    restarts: Counter[Cause] = field(default_factory=Counter)
    turn: int | None = None
    stop: Stop | None = None
    emptied_at: float | None = None
    retry_at: float = 0.0
    waits: dict[Phase, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resize(self.target)

    # --- questions

    def children(self) -> Iterator[Child]:
        """Yield the children not reaped yet, by slot."""
        for number in sorted(self.slots):
            child = self.slots[number].child
            if child is not None:
                yield child

    def child(self, number: int) -> Child:
        """Return the child in a slot that has one."""
        child = self.slots[number].child
        if child is None:
            raise KeyError(number)
        return child

    def wanted(self) -> Iterator[Slot]:
        """Yield the slots that are to be filled, by number."""
        return (self.slots[number] for number in range(self.target))

    def errand(self, kind: Kind) -> Errand | None:
        """Return the errand of that kind under way."""
        return next((errand for errand in self.errands.values() if errand.kind is kind), None)

    # --- what was asked for

    def resize(self, target: int) -> None:
        """Want that many slots."""
        self.target = target
        for number in range(target):
            self.slots.setdefault(number, Slot(number))
        self._pass_turn_of_unwanted()

    def reload(self) -> int:
        """Mark every child of now for replacement; return how many."""
        marked = list(self.children())
        for child in marked:
            self._keep(replace(child, to_reload=True))
        return len(marked)

    def stopping(self, now: float, *, at_once: bool, exit_code: int = 0) -> None:
        """Begin to end, or end at once what was draining. The first exit code stays."""
        self.stop = Stop(now, at_once, self.stop.exit_code if self.stop else exit_code)
        self._note_emptiness(now)

    # --- what was done

    def forked(self, number: int, pid: int, now: float, message_limit: int) -> Child:
        """Enter a new child."""
        slot = self.slots[number]
        if slot.child is not None:
            raise ValueError(f"slot {number} is taken")
        child = Child(number, pid, slot.generation + 1, now, now, message_limit)
        self.slots[number] = replace(slot, child=child, generation=child.generation)
        return child

    def fork_failed(self, number: int, now: float, jitter: float) -> None:
        """Let the slot wait: the system had no process to give."""
        slot = self.slots[number]
        failures = slot.failures + 1
        self.slots[number] = replace(slot, failures=failures, refill_at=now + backoff_s(failures, jitter))

    def draining(self, number: int, verdict: Verdict, now: float) -> None:
        """Note that the child was asked to finish and go."""
        child = self.child(number)
        if verdict.cause in VOLUNTARY:
            self.turn = number
        state = step(child.state, State.DRAINING)
        self._keep(replace(child, state=state, since=now, ending=verdict, drained_as=verdict))

    def freezing(self, number: int, verdict: Verdict, now: float) -> None:
        """Note that the child was told to stand still."""
        child = self.child(number)
        state = step(child.state, State.FREEZING)
        self._keep(replace(child, state=state, since=now, ending=verdict, stopped=False))

    def stopped(self, number: int) -> None:
        """Note that a freezing child stands still: its board no longer changes."""
        self._keep(replace(self.child(number), stopped=True))

    def thawed(self, number: int, now: float) -> None:
        """Note that a stopped child may go on where it was."""
        child = self.child(number)
        back = State.DRAINING if child.drained_as else State.READY
        state = step(child.state, back)
        self._keep(replace(child, state=state, since=now, ending=child.drained_as, stopped=False))

    def settling(self, number: int, death: Death, now: float) -> None:
        """Take the account of a child that stands still."""
        child = self.child(number)
        self.accounts.add(death, now)
        self._keep(replace(child, state=step(child.state, State.FROZEN), accounted=True))

    def killed(self, number: int, verdict: Verdict, now: float) -> None:
        """Note that a SIGKILL is on its way."""
        child = self.child(number)
        self._keep(replace(child, state=step(child.state, State.KILLED), since=now, ending=verdict))

    def recalled(self, pid: int) -> None:
        """Note that a SIGKILL is on its way to an errand."""
        self.errands[pid] = replace(self.errands[pid], recalled=True)

    def observe(self, readings: Mapping[int, Reading], now: float) -> list[Event]:
        """Note what children have reached by themselves: ready, a settled message."""
        events: list[Event] = []
        for child in list(self.children()):
            reading = readings.get(child.slot)
            if reading is None or reading.view.generation != child.generation:
                continue
            if child.state is State.BOOTING and reading.view.past_boot:
                ready_at = min(now, max(child.forked_at, reading.view.phase_since))
                self._keep(replace(child, state=step(child.state, State.READY), since=now, ready_at=ready_at))
                self._change(child.slot, boot_failures=0)
                if self.turn == child.slot:
                    self.turn = None
                events.append(_ready(child, ready_at))
            if reading.view.messages > 0:
                self._change(child.slot, failures=0, boot_failures=0)
        return events + self._notice_waits(readings, now)

    def reaped(  # noqa: PLR0913 - the facts of one death
        self,
        number: int,
        end: Exit,
        verdict: Verdict,
        reading: Reading | None,
        *,
        now: float,
        died_at: datetime,
        host: str,
        jitter: float,
    ) -> list[Event]:
        """Strike out a child that is gone; keep the account of what it had in hand."""
        child = self.child(number)
        view = reading.view if reading else None
        if view is not None and view.claims and not child.accounted:
            self.accounts.add(account(child, reading, verdict, died_at=died_at, host=host), now)
        ready_at = child.ready_at
        if ready_at is None and view is not None and view.past_boot:
            ready_at = max(child.forked_at, min(now, view.phase_since))
        life = Life(
            ready_s=None if ready_at is None else now - ready_at,
            messages=view.messages if view else 0,
            by_choice=verdict.cause in VOLUNTARY or verdict.cause in {Cause.FEWER, Cause.SHUTDOWN},
            by_stranger=verdict.cause is Cause.KILLED and end.signal is not None,
            by_outage=verdict.cause is Cause.DEADLINE and view is not None and view.phase in WAITING,
        )
        slot = self.slots[number]
        failures = failures_after(life, slot.failures)
        pause = pause_after(life, slot.failures, jitter)
        unborn = life.ready_s is None and not (life.by_choice or life.by_stranger or life.by_outage)
        booted = life.ready_s is not None or life.by_outage
        boot_failures = slot.boot_failures + 1 if unborn else 0 if booted else slot.boot_failures
        restarted = self.stop is None and number < self.target and verdict.cause in RESTARTS
        self.slots[number] = replace(
            slot,
            child=None,
            failures=failures,
            boot_failures=boot_failures,
            refill_at=now + pause,
            restarts=slot.restarts + restarted,
        )
        if restarted:
            self.restarts[verdict.cause] += 1
        self._pass_turn_of_unwanted()
        self._note_emptiness(now)
        events: list[Event] = [_exited(child, end, verdict, reading, now)]
        if child.ready_at is None and ready_at is not None:
            # It became ready and died between two looks.
            events.insert(0, _ready(child, ready_at))
        if unborn and self.stop is None:
            events.append(BootFailed(number, child.pid, boot_failures, round(pause, 3)))
        elif pause and failures >= CRASH_LOOP:
            events.append(CrashLoop(number, failures, round(pause, 3)))
        return events

    # --- the pen

    def _keep(self, child: Child) -> None:
        self.slots[child.slot] = replace(self.slots[child.slot], child=child)

    def _change(self, number: int, **fields: int) -> None:
        slot = self.slots[number]
        if any(getattr(slot, name) != value for name, value in fields.items()):
            self.slots[number] = replace(slot, **fields)  # type: ignore[arg-type]

    def _pass_turn_of_unwanted(self) -> None:
        if self.turn is not None and self.turn >= self.target and self.slots[self.turn].child is None:
            self.turn = None

    def _note_emptiness(self, now: float) -> None:
        if self.stop is not None and self.emptied_at is None and not any(self.children()):
            self.emptied_at = now
            self.accounts.due_at = min(self.accounts.due_at, now)

    def _notice_waits(self, readings: Mapping[int, Reading], now: float) -> list[Event]:
        """Say once that children wait for a server, and once that none does any more while one of them works."""
        events: list[Event] = []
        views = [readings[child.slot].view for child in self.children() if child.slot in readings]
        for phase in sorted(WAITING):
            waiting = [view for view in views if view.phase is phase]
            on = phase.name.removeprefix("WAITING_").lower()
            note = next((view.note for view in waiting if view.note), "")
            begun = min((view.phase_since for view in waiting), default=now)
            if waiting and phase not in self.waits and (note or now - begun >= UNANSWERED_S):
                self.waits[phase] = begun
                events.append(Waiting(on, note or "no answer yet", len(waiting)))
            elif not waiting and phase in self.waits and any(view.phase in WORKING for view in views):
                events.append(Back(on, round(now - self.waits.pop(phase), 3)))
        return events


def account(
    child: Child, reading: Reading | None, verdict: Verdict, *, died_at: datetime, host: str
) -> Death:
    """Write down what a child had in hand when it ended, or when it was made to stand still to be ended."""
    if reading is None or reading.view.claimed_by is None:
        raise ValueError("nothing in hand to account for")
    view = reading.view
    return Death(
        slot=child.slot,
        pid=child.pid,
        cause=verdict.cause,
        blamed=verdict.blamed,
        died_at=died_at,
        host=host,
        rss_bytes=reading.rss_bytes,
        conversation_id=view.conversation_id or "",
        event_id=view.event_id,
        epoch=view.epoch,
        claimed_by=reading.view.claimed_by,
    )


def _ready(child: Child, ready_at: float) -> ChildReady:
    return ChildReady(child.slot, child.pid, round((ready_at - child.forked_at) * 1000))


def _exited(child: Child, end: Exit, verdict: Verdict, reading: Reading | None, now: float) -> ChildExited:
    view = reading.view if reading else None
    rss = reading.rss_bytes if reading else None
    return ChildExited(
        slot=child.slot,
        pid=child.pid,
        reason=verdict.cause,
        exit=end.code,
        signal=end.signal,
        rss_mb=None if rss is None else rss // MB,
        uptime_s=round(now - child.forked_at, 3),
        messages=view.messages if view else 0,
        conversation_id=view.conversation_id if view else None,
    )

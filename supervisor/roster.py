"""The book of slots and children: what the supervisor has done, and the questions it may ask about that.

The book is changed only by the loop, through the methods that carry the names of what happened; records in it are
frozen. What children *say* and weigh is not in it: that comes fresh each turn, as readings.
"""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import count

from supervisor.accounts import Accounts
from supervisor.blame import Exit, Verdict
from supervisor.errands import Errand, Kind
from supervisor.events import (
    CHOSEN,
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
from supervisor.lifecycle import PROVING, WAITING, Phase, State, step
from supervisor.limits import MB
from supervisor.reading import Reading, SlotView
from supervisor.restart import Life, backoff_s, failures_after, pause_after

CRASH_LOOP = 3
"""Failures in a row from which a slot is said to loop, and a set of such slots to be unable to boot."""

STATUS_PROVEN_S = 60.0
"""A status process that lived so long is replaced as if it were the first."""

UNANSWERED_S = 2.0
"""A wait is told with its reason, or after so long without one: every child waits a moment for its first answer."""

REMINDER_S = 600.0
"""A wait that lasts is told again this often: whoever reads the end of the log should find it there."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Children wait for a server: since when, and when that was told last."""

    since: float
    told_at: float


@dataclass(frozen=True, slots=True)
class Child:
    """One process in a slot, or in waiting for it.

    page: of the board, where it tells of itself; no two living children share one, so it is also the child's name.
    ending is why we end it, once that is decided; since is when its state began.
    seated: it may take messages; an heir may not before its predecessor is gone.
    heavy_readings: how many in a row found it over its soft budget; weighed_at: when the last of them was taken.
    """

    slot: int
    pid: int
    page: int
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
    seated: bool = True
    heavy_readings: int = 0
    weighed_at: float = 0.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The last child of a slot that was replaced, as its ChildExited told of it. at: wall clock, UTC."""

    reason: Cause
    at: datetime
    pid: int
    conversation_id: str | None
    after_conversation_id: str | None
    rss_mb: int | None


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
    last_end: Ended | None = None


@dataclass(frozen=True, slots=True)
class Turn:
    """A replacement by choice under way, from its first step until the successor is ready and the predecessor gone."""

    slot: int
    verdict: Verdict


@dataclass(frozen=True, slots=True)
class Stop:
    """The supervisor is ending: since when, whether children may still finish, and with which exit code."""

    since: float
    at_once: bool
    exit_code: int = 0


@dataclass(slots=True)
class Roster:
    """Slots by number, errands by pid, and the little that belongs to no single one of them.

    target: how many slots are wanted; slot n is wanted while n < target. emptied_at: when, while stopping, the last
    child went.

    A replacement by choice, of which there is one at a time, passes through these:
    turn: it is decided, for a reason; without room for an heir it lasts until the successor is ready.
    heir: the successor, while its predecessor still has the slot. lost_heirs: those in a row that died so;
    succeed_at: when the next may be tried.
    leaving: the predecessor, from its drain to its end; the slot is its heir's by then, who may not take messages yet.
    The next one's heir may come meanwhile, but nobody else is drained.

    status_at: when the status process may be started again, and status_failures: how often in a row it ended early.
    retried_at: when the last retry pass that succeeded ended. boot_failures: of all slots, since the start.
    """

    target: int
    started_at: float
    slots: dict[int, Slot] = field(default_factory=dict)
    errands: dict[int, Errand] = field(default_factory=dict)
    accounts: Accounts = field(default_factory=Accounts)
    restarts: Counter[Cause] = field(default_factory=Counter)
    turn: Turn | None = None
    heir: Child | None = None
    leaving: Child | None = None
    lost_heirs: int = 0
    succeed_at: float = 0.0
    stop: Stop | None = None
    emptied_at: float | None = None
    retry_at: float = 0.0
    retried_at: float | None = None
    status_at: float = 0.0
    status_failures: int = 0
    boot_failures: int = 0
    waits: dict[Phase, Wait] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.resize(self.target)

    # --- questions

    def children(self) -> Iterator[Child]:
        """Yield the children not reaped yet, by slot, then those who wait for one or leave one."""
        for number in sorted(self.slots):
            child = self.slots[number].child
            if child is not None:
                yield child
        if self.heir is not None:
            yield self.heir
        if self.leaving is not None:
            yield self.leaving

    def child(self, page: int) -> Child:
        """Return the child with that page. Raises KeyError when none has it."""
        for child in self.children():
            if child.page == page:
                return child
        raise KeyError(page)

    def free_page(self, number: int) -> int:
        """Return the page for a new child of that slot: its own number, or the first that is free."""
        taken = {child.page for child in self.children()}
        return number if number not in taken else next(page for page in count() if page not in taken)

    def may_sit(self, number: int) -> bool:
        """Say whether a child of that slot may take messages: nobody else does so in its place."""
        return self.leaving is None or self.leaving.slot != number

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
        self._end_turn()

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
        """Enter a new child of an empty slot."""
        if self.slots[number].child is not None:
            raise ValueError(f"slot {number} is taken")
        child = replace(self._new(number, pid, now, message_limit), seated=self.may_sit(number))
        self.slots[number] = replace(self.slots[number], child=child)
        return child

    def succeeded(self, number: int, verdict: Verdict, pid: int, now: float, message_limit: int) -> Child:
        """Enter a new child that waits for a slot whose child is to be replaced, for the reason given."""
        if self.heir is not None or self.slots[number].child is None:
            raise ValueError(f"slot {number} needs no heir, or has one")
        self.heir = replace(self._new(number, pid, now, message_limit), seated=False)
        self.turn = Turn(number, verdict)
        return self.heir

    def fork_failed(self, number: int, now: float, jitter: float) -> None:
        """Let the slot wait: the system had no process to give."""
        slot = self.slots[number]
        failures = slot.failures + 1
        self.slots[number] = replace(slot, failures=failures, refill_at=now + backoff_s(failures, jitter))

    def seating(self, page: int) -> None:
        """Note that an heir was told that the slot is its own."""
        self._keep(replace(self.child(page), seated=True))

    def no_heir(self, now: float, jitter: float) -> None:
        """Let the next successor wait: the system had no process to give."""
        self.lost_heirs += 1
        self.succeed_at = now + backoff_s(self.lost_heirs, jitter)

    def draining(self, page: int, verdict: Verdict, now: float) -> None:
        """Note that the child was asked to finish and go."""
        child = self.child(page)
        state = step(child.state, State.DRAINING)
        drained = replace(child, state=state, since=now, ending=verdict, drained_as=verdict)
        heir = self.heir
        if heir is not None and heir.slot == child.slot and heir.page != page and self.leaving is None:
            self.slots[child.slot] = replace(self.slots[child.slot], child=heir)
            self.leaving, self.heir, self.turn, self.lost_heirs = drained, None, None, 0
            return
        if verdict.cause in VOLUNTARY and self.turn is None:
            self.turn = Turn(child.slot, verdict)
        self._keep(drained)

    def freezing(self, page: int, verdict: Verdict, now: float) -> None:
        """Note that the child was told to stand still."""
        child = self.child(page)
        state = step(child.state, State.FREEZING)
        self._keep(replace(child, state=state, since=now, ending=verdict, stopped=False))

    def stopped(self, page: int) -> None:
        """Note that a freezing child stands still: its board no longer changes."""
        self._keep(replace(self.child(page), stopped=True))

    def thawed(self, page: int, now: float) -> None:
        """Note that a stopped child may go on where it was."""
        child = self.child(page)
        back = State.DRAINING if child.drained_as else State.READY
        state = step(child.state, back)
        self._keep(replace(child, state=state, since=now, ending=child.drained_as, stopped=False))

    def settling(self, page: int, death: Death, now: float) -> None:
        """Take the account of a child that stands still."""
        child = self.child(page)
        self.accounts.add(death, now)
        self._keep(replace(child, state=step(child.state, State.FROZEN), accounted=True))

    def killed(self, page: int, verdict: Verdict, now: float) -> None:
        """Note that a SIGKILL is on its way."""
        child = self.child(page)
        self._keep(replace(child, state=step(child.state, State.KILLED), since=now, ending=verdict))

    def answered(self, at: float) -> None:
        """Note when the status process said last that it is well."""
        errand = self.errand(Kind.STATUS)
        if errand is not None and at > errand.alive_at:
            self.errands[errand.pid] = replace(errand, alive_at=at)

    def recalled(self, pid: int) -> None:
        """Note that a SIGKILL is on its way to an errand."""
        self.errands[pid] = replace(self.errands[pid], recalled=True)

    def observe(self, readings: Mapping[int, Reading], now: float, budget_bytes: int) -> list[Event]:
        """Note what children have reached by themselves: ready, a settled message, a weight over the soft budget.

        readings: by page.
        """
        events: list[Event] = []
        for found in list(self.children()):
            reading = readings.get(found.page)
            if reading is None or reading.view.generation != found.generation:
                continue
            child = self._weigh(found, reading, budget_bytes)
            if child.state is State.BOOTING and reading.view.past_boot:
                ready_at = min(now, max(child.forked_at, reading.view.phase_since))
                self._keep(replace(child, state=step(child.state, State.READY), since=now, ready_at=ready_at))
                self._change(child.slot, boot_failures=0)
                self._end_turn()
                events.append(_ready(child, ready_at))
            if reading.view.messages > 0:
                self._change(child.slot, failures=0, boot_failures=0)
        return events + self._notice_waits(readings, now)

    def reaped(  # noqa: PLR0913 - the facts of one death
        self,
        page: int,
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
        child = self.child(page)
        number = child.slot
        view = reading.view if reading else None
        if reading is not None and reading.view.in_hand and not child.accounted:
            heaviest = replace(reading, rss_bytes=max(reading.rss_bytes or 0, end.peak_rss_bytes) or None)
            self.accounts.add(account(child, heaviest, verdict, died_at=died_at, host=host), now)
        if self.heir is not None and self.heir.page == page:
            ended = verdict.cause in {Cause.FEWER, Cause.SHUTDOWN}
            pause = self._lose_heir(ended=ended, now=now, jitter=jitter)
            self._note_emptiness(now)
            lost: list[Event] = [_exited(child, end, verdict, reading, now)]
            if not ended:
                lost.append(BootFailed(number, child.pid, self.lost_heirs, round(pause, 3)))
            return lost
        ready_at = child.ready_at
        if ready_at is None and view is not None and view.past_boot:
            ready_at = max(child.forked_at, min(now, view.phase_since))
        life = Life(
            ready_s=None if ready_at is None else now - ready_at,
            messages=view.messages if view else 0,
            by_choice=verdict.cause in CHOSEN,
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
        exited = _exited(child, end, verdict, reading, now)
        last_end = Ended(
            verdict.cause,
            died_at,
            child.pid,
            exited.conversation_id,
            exited.after_conversation_id,
            exited.rss_mb,
        )
        self.slots[number] = replace(
            slot,
            failures=failures,
            boot_failures=boot_failures,
            refill_at=now + pause,
            restarts=slot.restarts + restarted,
            last_end=last_end if restarted else slot.last_end,
        )
        self.boot_failures += unborn
        if restarted:
            self.restarts[verdict.cause] += 1
        self._vacate(child)
        self._note_emptiness(now)
        events: list[Event] = [exited]
        if child.ready_at is None and ready_at is not None:
            # It became ready and died between two looks.
            events.insert(0, _ready(child, ready_at))
        if unborn and self.stop is None:
            events.append(BootFailed(number, child.pid, boot_failures, round(pause, 3)))
        elif pause and failures >= CRASH_LOOP:
            events.append(CrashLoop(number, failures, round(pause, 3)))
        return events

    def status_ended(self, started_at: float, now: float, jitter: float) -> float:
        """Let the next status process wait; return for how many seconds. After a long life it counts as the first."""
        self.status_failures = 1 if now - started_at >= STATUS_PROVEN_S else self.status_failures + 1
        self.status_at = now + backoff_s(self.status_failures, jitter)
        return self.status_at - now

    # --- the pen

    def _new(self, number: int, pid: int, now: float, message_limit: int) -> Child:
        slot = self.slots[number]
        child = Child(number, pid, self.free_page(number), slot.generation + 1, now, now, message_limit)
        self.slots[number] = replace(slot, generation=child.generation)
        return child

    def _keep(self, child: Child) -> None:
        if self.heir is not None and self.heir.page == child.page:
            self.heir = child
        elif self.leaving is not None and self.leaving.page == child.page:
            self.leaving = child
        else:
            self.slots[child.slot] = replace(self.slots[child.slot], child=child)

    def _weigh(self, child: Child, reading: Reading, budget_bytes: int) -> Child:
        """Count a new reading over the soft budget; start again at one within it."""
        if reading.rss_bytes is None or reading.read_at <= child.weighed_at:
            return child
        heavy = child.heavy_readings + 1 if reading.rss_bytes > budget_bytes else 0
        if heavy == child.heavy_readings:
            return child
        weighed = replace(child, heavy_readings=heavy, weighed_at=reading.read_at)
        self._keep(weighed)
        return weighed

    def _vacate(self, gone: Child) -> None:
        """Leave the slot to its heir, if there is one that has not got it yet."""
        if self.leaving is not None and self.leaving.page == gone.page:
            self.leaving = None
            return
        heir = self.heir if self.heir is not None and self.heir.slot == gone.slot else None
        if heir is not None:
            self.heir = None
        self.slots[gone.slot] = replace(self.slots[gone.slot], child=heir)
        self._end_turn()

    def _lose_heir(self, *, ended: bool, now: float, jitter: float) -> float:
        """Go on without a successor; return the seconds until another may be tried. ended: it was told to go."""
        self.heir = self.turn = None
        if ended:
            return 0.0
        self.no_heir(now, jitter)
        return self.succeed_at - now

    def _end_turn(self) -> None:
        """End a replacement when nobody is in waiting, and the slot is empty for good or its child is ready."""
        if self.turn is None or self.heir is not None:
            return
        child = self.slots[self.turn.slot].child
        for_good = child is None and self.turn.slot >= self.target
        if for_good or (child is not None and child.ready_at is not None and child.ending is None):
            self.turn = None
            self.lost_heirs = 0

    def _change(self, number: int, **fields: int) -> None:
        slot = self.slots[number]
        if any(getattr(slot, name) != value for name, value in fields.items()):
            self.slots[number] = replace(slot, **fields)  # type: ignore[arg-type]

    def _note_emptiness(self, now: float) -> None:
        if self.stop is not None and self.emptied_at is None and not any(self.children()):
            self.emptied_at = now
            self.accounts.due_at = min(self.accounts.due_at, now)

    def _notice_waits(self, readings: Mapping[int, Reading], now: float) -> list[Event]:
        """Say that children wait for a server, now and then while it lasts, and once that it is over: one works."""
        events: list[Event] = []
        views = [readings[child.page].view for child in self.children() if child.page in readings]
        if not self.waits and all(view.waits_for is None for view in views):
            return events
        for phase in sorted(WAITING):
            waiting = [view for view in views if view.waits_for is phase]
            on = phase.name.removeprefix("WAITING_").lower()
            note = next((view.note for view in waiting if view.note), "")
            # Who is cut off in the midst of its work does not wait since that began
            begun = min((view.phase_since for view in waiting if view.phase is phase), default=now)
            known = self.waits.get(phase)
            if waiting and (
                now - known.told_at >= REMINDER_S if known else note or now - begun >= UNANSWERED_S
            ):
                since = known.since if known else begun
                self.waits[phase] = Wait(since, now)
                reason = note or "no answer yet"
                events.append(Waiting(on, reason, len(waiting), round(now - since, 3)))
            elif known and not waiting and any(_proves(view, phase, known.since) for view in views):
                del self.waits[phase]
                events.append(Back(on, round(now - known.since, 3)))
        return events


def _proves(view: SlotView, waited: Phase, since: float) -> bool:
    """Say whether the child has got an answer since then. Who waits for the broker was at the database first."""
    beyond = waited is not Phase.WAITING_BROKER and view.phase is Phase.WAITING_BROKER
    return (beyond or view.phase in PROVING) and view.phase_since >= since


def account(
    child: Child, reading: Reading | None, verdict: Verdict, *, died_at: datetime, host: str
) -> Death:
    """Write down what a child had in hand when it ended, or when it was made to stand still to be ended."""
    if reading is None or not reading.view.in_hand:
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
        claimed_by=view.claimed_by or "",
        body_bytes=view.body_bytes,
        body_crc32=view.body_crc32,
        claiming=view.phase in {Phase.CLAIMING, Phase.HOLDING},
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
        after_conversation_id=(view.last_conversation_id or None) if view and not view.in_hand else None,
    )

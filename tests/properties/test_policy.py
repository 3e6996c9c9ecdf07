"""`decide` in a world where anything happens: exits, readings, phases, signals, time, janitors that fail."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random

from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from supervisor import blame, budget, policy
from supervisor.blame import Exit, Verdict
from supervisor.budget import Level
from supervisor.errands import Errand, Kind
from supervisor.events import VOLUNTARY, Cause
from supervisor.lifecycle import LOCKING, UNCOUNTED, Phase, State
from supervisor.limits import MB, Listen, SupervisorSettings
from supervisor.reading import Reading, SlotView
from supervisor.restart import LONGEST_PAUSE_S
from supervisor.roster import Child, Roster, account

LIMIT = 2000 * MB
SETTINGS = SupervisorSettings(
    children=3,
    rss_budget_bytes=300 * MB,
    rss_hard_bytes=375 * MB,
    message_deadline_s=60,
    write_budget_s=5,
    drain_timeout_s=65,
    sample_interval_s=0.1,
    max_messages=10,
    retry_every_s=300,
    container_limit_bytes=LIMIT,
    listen=Listen("127.0.0.1", 9464),
)
CALM_TURNS = 60
BUSY = (
    Phase.RECEIVED,
    Phase.CLAIMING,
    Phase.READING,
    Phase.HOLDING,
    Phase.FETCHING,
    Phase.ANALYSING,
    Phase.CALLING,
    Phase.WRITING,
    Phase.ACKING,
)
slots = st.integers(0, 3)
weights = st.sampled_from([30, 299, 301, 337, 338, 365, 366, 380]).map(lambda mb: mb * MB)


@dataclass
class Body:
    """A simulated process: what it says, what it weighs, and which signals are on their way to it."""

    pid: int
    view: SlotView
    rss: int | None = 30 * MB
    end: Exit | None = None
    told_to_stop: bool = False
    drained_by_choice: bool = False
    standing: bool = False
    stop_on_its_way: bool = False
    frozen_at: float | None = None


@dataclass
class World:
    """The loop's shell without a system below it: acts on simulated bodies, and holds each action to the rules."""

    room: bool = True
    now: float = 1000.0
    tight: bool = False
    roster: Roster = field(init=False)
    bodies: dict[int, Body] = field(default_factory=dict)
    errands: dict[int, Exit] = field(default_factory=dict)
    pids: int = 100
    replacing: int | None = None
    replaced: int = 0
    written: list[int] = field(default_factory=list)
    exited: int | None = None
    status_hangs: bool = False
    rng: Random = field(default_factory=lambda: Random(0))

    def __post_init__(self) -> None:
        self.roster = Roster(SETTINGS.children, self.now)
        self.roster.retry_at = self.now + SETTINGS.retry_every_s

    @property
    def settings(self) -> SupervisorSettings:
        return replace(SETTINGS, room_for_successor=self.room)

    def body(self, slot: int) -> Body | None:
        body = self.bodies.get(slot)
        return body if body is not None and body.end is None else None

    def readings(self) -> dict[int, Reading]:
        return {
            slot: Reading(body.view, None if body.end else body.rss, self.now)
            for slot, body in self.bodies.items()
        }

    def turn(self) -> None:
        """Turn until nothing more is to be done at this time: that must come, or the real loop would spin."""
        for _ in range(50):
            if self.exited is not None or not self._turn_once():
                return
        raise AssertionError("decide never comes to rest")

    def _turn_once(self) -> bool:
        if not self.status_hangs:
            self.roster.answered(self.now)
        self._reap()
        for child in self.roster.children():
            body = self.bodies[child.page]
            if body.stop_on_its_way:
                body.stop_on_its_way, body.standing = False, True
                self.roster.stopped(child.page)
        self.roster.observe(self.readings(), self.now, SETTINGS.rss_budget_bytes)
        if self.replacing is not None:
            here = self.roster.slots[self.replacing].child
            unwanted = here is None and self.replacing >= self.roster.target
            replaced = here is not None and here.pid != self.replaced and here.ready_at is not None
            if unwanted or replaced:
                self.replacing = None
        before = repr(self.roster)
        whole = LIMIT if self.tight else 0
        actions = policy.decide(
            self.roster, self.readings(), self.now, self.settings, working_set_bytes=whole
        )
        assert repr(self.roster) == before, "decide changes nothing"
        for action in actions:
            self._act(action)
        return bool(actions)

    def _reap(self) -> None:
        for child in list(self.roster.children()):
            body = self.bodies[child.page]
            if body.end is None:
                continue
            killed = child.state is State.KILLED
            verdict = blame.judge(
                body.end, ours=child.ending, killed_by_us=killed, oom_killed=False, hard_bytes=375 * MB
            )
            if verdict.cause in VOLUNTARY:
                assert body.told_to_stop, "whoever is replaced by choice was drained"
            reading = Reading(body.view, body.rss)
            self.roster.reaped(
                child.page,
                body.end,
                verdict,
                reading,
                now=self.now,
                died_at=datetime.now(UTC),
                host="h",
                jitter=self.rng.random(),
            )
            if body.view.claims:
                pids = [death.pid for death in self.roster.accounts.waiting] + self.written
                assert pids.count(body.pid) == 1, "a death with a claim in hand has one account"
            del self.bodies[child.page]
        for pid, end in list(self.errands.items()):
            errand = self.roster.errands.pop(pid)
            del self.errands[pid]
            if errand.kind is Kind.RETRY:
                self.roster.retry_at = self.now + SETTINGS.retry_every_s
            elif errand.kind is Kind.STATUS:
                pause = self.roster.status_ended(errand.started_at, self.now, self.rng.random())
                assert 0 < pause <= LONGEST_PAUSE_S
            elif end.code == 0:
                self.written += [death.pid for death in self.roster.accounts.written()]
            else:
                self.roster.accounts.failed(self.now, self.rng.random())

    def _act(self, action: policy.Action) -> None:  # noqa: C901, PLR0912, PLR0915 - one case to an action
        match action:
            case policy.Fork(slot):
                assert self.roster.stop is None, "no fork while stopping"
                assert self.roster.slots[slot].child is None
                self._forked(slot, None)
            case policy.Succeed(slot, verdict):
                assert self.roster.stop is None, "no fork while stopping"
                assert self.room, "no successor beside its predecessor without the memory for it"
                self._forked(slot, verdict)
            case policy.Seat(page):
                child = self.roster.child(page)
                assert not child.seated
                others = [one for one in self.roster.children() if one.slot == child.slot and one.seated]
                assert others == [], "its predecessor is gone"
                self.roster.seating(page)
            case policy.Drain(page, verdict):
                body, slot = self._signalled(page), self.roster.child(page).slot
                body.told_to_stop = True
                if verdict.cause in VOLUNTARY:
                    self._drained_by_choice(body, slot, verdict)
                self.roster.draining(page, verdict, self.now)
            case policy.Freeze(slot, verdict):
                body = self._signalled(slot)
                assert body.view.phase not in LOCKING, "no freeze where row locks may be held"
                assert verdict != policy.LATE or body.view.phase not in UNCOUNTED, (
                    "nothing answers for a wait"
                )
                body.stop_on_its_way, body.frozen_at = True, self.now
                self.roster.freezing(slot, verdict, self.now)
            case policy.Thaw(slot):
                body = self._signalled(slot)
                body.standing, body.frozen_at = False, None
                self.roster.thawed(slot, self.now)
            case policy.Settle(slot):
                child, body = self.roster.child(slot), self.bodies[slot]
                assert body.standing, "the account is taken from one that stands still"
                assert body.view.phase not in LOCKING
                reading = Reading(body.view, body.rss)
                verdict = child.ending or policy.STUCK
                self.roster.settling(
                    slot,
                    account(child, reading, verdict, died_at=datetime.now(UTC), host="h"),
                    self.now,
                )
            case policy.Kill(slot, verdict):
                self._kill(slot, verdict)
            case policy.Send(kind):
                self.pids += 1
                if kind is Kind.JANITOR:
                    assert self.roster.accounts.hand_out()
                assert self.roster.errand(kind) is None, "one errand of a kind at a time"
                assert kind is Kind.JANITOR or self.roster.stop is None, "nothing new is begun at the end"
                self.roster.errands[self.pids] = Errand(kind, self.pids, self.now)
            case policy.Recall(pid):
                hung = self.now - self.roster.errands[pid].ends_by() >= 0
                assert hung
                assert self.status_hangs or self.roster.errands[pid].kind is not Kind.STATUS
                self.errands[pid] = Exit(None, 9)
            case policy.GiveUp(code, _):
                assert not any(child.ready_at for child in self.roster.children())
                self.roster.stopping(self.now, at_once=True, exit_code=code)
            case policy.Exit(code):
                assert not self.bodies, "nobody is left behind"
                self.exited = code

    def _forked(self, slot: int, verdict: Verdict | None) -> None:
        self.pids += 1
        limit = policy.stagger(SETTINGS.max_messages, self.rng.random())
        if verdict is None:
            child = self.roster.forked(slot, self.pids, self.now, limit)
        else:
            child = self.roster.succeeded(slot, verdict, self.pids, self.now, limit)
        assert child.page not in self.bodies, "no page is two children's"
        self.bodies[child.page] = Body(
            self.pids, SlotView(child.generation, Phase.BOOTING, self.now, self.now)
        )

    def _drained_by_choice(self, body: Body, slot: int, verdict: Verdict) -> None:
        assert not any(one.drained_by_choice for one in self.bodies.values()), "one at a time"
        assert self.replacing is None, "one at a time, until the successor is ready"
        body.drained_by_choice = True
        heir = self.roster.heir
        if heir is not None and heir.slot == slot:
            patient = self.now - heir.forked_at >= policy.HEIR_S
            assert patient or heir.state is State.READY, "the successor is ready before"
            return
        no_room = body.view.phase is Phase.NO_ROOM
        assert self.tight or not self.room, "the successor comes first"
        assert self.tight or no_room or verdict.cause is not Cause.RSS_SOFT or body.view.messages > 0
        self.replacing, self.replaced = slot, body.pid

    def _kill(self, slot: int, verdict: Verdict) -> None:
        child, body = self.roster.child(slot), self._signalled(slot)
        hung = verdict == child.drained_as
        assert hung or verdict.cause in {Cause.RSS_HARD, Cause.DEADLINE, Cause.SHUTDOWN}, "no kill by choice"
        at_once = self.roster.stop is not None and self.roster.stop.at_once
        if verdict.cause is Cause.RSS_HARD and body.view.claims and body.view.phase not in LOCKING:
            frozen_long = body.frozen_at is not None and self.now - body.frozen_at >= policy.FREEZE_S
            settled = child.accounted and not self.roster.accounts.holds(child.pid)
            assert at_once or settled or frozen_long, "the message is settled first, or had its time"
        if body.view.phase in LOCKING and verdict.blamed and not at_once and body.frozen_at is None:
            assert budget.judge(body.rss, SETTINGS) is Level.LAST, "a writer is killed only at the very last"
        self.roster.killed(slot, verdict, self.now)
        body.end = Exit(None, 9)

    def _signalled(self, slot: int) -> Body:
        child, body = self.roster.child(slot), self.bodies[slot]
        assert child.pid == body.pid, "no signal to a process that was reaped"
        return body


class SupervisorInAnyWorld(RuleBasedStateMachine):
    room = True

    def __init__(self) -> None:
        super().__init__()
        self.world = World(self.room)
        self.world.turn()

    @rule(tight=st.booleans())
    def is_squeezed(self, tight: bool) -> None:
        self.world.tight = tight

    @rule(dt=st.one_of(st.floats(0, 0.2), st.floats(0.2, 5), st.sampled_from([2.0, 31.0, 70.0])))
    def time_passes(self, dt: float) -> None:
        self.world.now += dt
        self.world.turn()

    @rule(slot=slots, rss=st.none() | weights)
    def weighs(self, slot: int, rss: int | None) -> None:
        if (body := self.world.body(slot)) is not None and not body.standing:
            body.rss = rss

    @rule(slot=slots, settles=st.booleans(), rest=weights)
    def becomes_idle(self, slot: int, settles: bool, rest: int) -> None:
        if (body := self.world.body(slot)) is not None and not body.standing:
            said = self._said(body, Phase.IDLE)
            body.view = replace(
                said,
                message_since=None,
                waited_s=0.0,
                conversation_id=None,
                claimed_by=None,
                messages=said.messages + settles,
                resting_rss_bytes=rest,
                rested_at=self.world.now,
            )

    @rule(slot=slots, phase=st.sampled_from(BUSY), rss=st.just(None) | weights)
    def works(self, slot: int, phase: Phase, rss: int | None) -> None:
        if (body := self.world.body(slot)) is not None and not body.standing:
            body.rss = rss or body.rss
            claims = phase is not Phase.RECEIVED
            said = self._said(body, phase)
            body.view = replace(
                said,
                message_since=said.message_since or self.world.now,
                rested_at=0.0,
                conversation_id="c" if claims else None,
                claimed_by="me" if claims else None,
                epoch=int(claims),
            )

    @rule(
        slot=slots,
        phase=st.sampled_from(
            [Phase.WAITING_DATABASE, Phase.WAITING_BROKER, Phase.WAITING_SCHEMA, Phase.NO_ROOM]
        ),
    )
    def waits(self, slot: int, phase: Phase) -> None:
        if (body := self.world.body(slot)) is not None and not body.standing:
            body.view = self._said(body, phase)

    def _said(self, body: Body, phase: Phase) -> SlotView:
        now = self.world.now
        since = body.view.phase_since if phase is body.view.phase else now
        return replace(body.view, phase=phase, phase_since=since, heartbeat=now)

    @rule(slot=slots, code=st.sampled_from([0, 1, 70]))
    def exits(self, slot: int, code: int) -> None:
        if (body := self.world.body(slot)) is not None and not body.standing:
            body.end = Exit(code, None)
            self.world.turn()

    @rule(slot=slots, number=st.sampled_from([6, 9, 11, 15]))
    def dies(self, slot: int, number: int) -> None:
        if (body := self.world.body(slot)) is not None:
            body.end = Exit(None, number)
            self.world.turn()

    @precondition(lambda self: self.world.roster.errands)
    @rule(well=st.booleans())
    def errand_ends(self, well: bool) -> None:
        for pid in self.world.roster.errands:
            self.world.errands.setdefault(pid, Exit(0 if well else 1, None))
        self.world.turn()

    @rule(hangs=st.booleans())
    def status_hangs(self, hangs: bool) -> None:
        self.world.status_hangs = hangs
        self.world.turn()

    @rule()
    def hup(self) -> None:
        self.world.roster.reload()
        self.world.turn()

    @rule(children=st.integers(1, 6))
    def resized(self, children: int) -> None:
        self.world.roster.resize(children)
        self.world.turn()

    @precondition(lambda self: self.world.now > 1100)
    @rule(at_once=st.booleans())
    def told_to_stop(self, at_once: bool) -> None:
        self.world.roster.stopping(self.world.now, at_once=at_once or self.world.roster.stop is not None)
        self.world.turn()

    @invariant()
    def empty_slots_wait_no_longer_than_their_backoff(self) -> None:
        world = self.world
        if world.roster.stop is not None:
            return
        for slot in world.roster.wanted():
            assert slot.refill_at - world.now <= LONGEST_PAUSE_S
            assert slot.child is not None or world.now < slot.refill_at

    @invariant()
    def one_child_of_a_slot_takes_messages_and_few_wait(self) -> None:
        living = list(self.world.roster.children())
        assert len({child.page for child in living}) == len(living)
        seated = [child.slot for child in living if child.seated]
        assert len(set(seated)) == len(seated), "two at work in a slot"
        assert len(living) - len(seated) <= (2 if self.world.room else 1)

    @invariant()
    def the_loop_wakes_later_than_now(self) -> None:
        world = self.world
        assert policy.next_due(world.roster, world.now, world.settings) > world.now

    def teardown(self) -> None:
        """Whatever happened: with good children from here on the agreed number lives again, or all has ended."""
        world = self.world
        world.tight = world.status_hangs = False
        for _ in range(CALM_TURNS):
            for body in list(world.bodies.values()):
                self._behave(body)
            for pid, errand in world.roster.errands.items():
                if errand.kind is not Kind.STATUS:
                    world.errands.setdefault(pid, Exit(0, None))
            world.turn()
            world.now += 2.0
        if world.roster.stop is not None:
            assert world.exited is not None
            return
        living: list[Child] = list(world.roster.children())
        assert [child.slot for child in living] == list(range(world.roster.target))
        assert all(child.state is State.READY and child.seated and not child.to_reload for child in living)
        assert not world.roster.accounts.waiting
        assert world.roster.errand(Kind.STATUS) is not None, "somebody answers"
        assert (world.roster.turn, world.roster.heir, world.roster.leaving) == (None, None, None)

    def _behave(self, body: Body) -> None:
        if body.end is not None or body.standing:
            return
        if body.told_to_stop:
            body.end = Exit(0, None)
            return
        now = self.world.now
        generation, messages = body.view.generation, body.view.messages
        body.rss = 30 * MB
        body.view = SlotView(generation, Phase.IDLE, now, now, messages=messages, resting_rss_bytes=30 * MB)


class SupervisorInACrampedWorld(SupervisorInAnyWorld):
    """There is no memory for a successor beside its predecessor."""

    room = False


THOROUGH = hypothesis_settings(max_examples=200, stateful_step_count=50, deadline=None)
TestSupervisorInAnyWorld = SupervisorInAnyWorld.TestCase
TestSupervisorInAnyWorld.settings = THOROUGH
TestSupervisorInACrampedWorld = SupervisorInACrampedWorld.TestCase
TestSupervisorInACrampedWorld.settings = THOROUGH

"""The supervisor's loop: wait, gather facts, decide, act.

One thread, no connection, no work of its own. Everything that chooses is in `policy`; this module knows when to
look and how to carry out.
"""

import contextlib
import logging
import os
import random
import selectors
import signal
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from typing import Any, Self, assert_never

import psutil

from supervisor import (
    blame,
    breaker,
    budget,
    container,
    events,
    health,
    logs,
    memory,
    policy,
    process,
    snapshot,
    wall,
)
from supervisor.awake import AwakeClock
from supervisor.blame import Verdict
from supervisor.board import SPARE_SLOTS
from supervisor.breaker import Breaker, Resting, Scene
from supervisor.counters import Layout
from supervisor.errands import Errand, Kind
from supervisor.events import VOLUNTARY, Event
from supervisor.herald import Herald
from supervisor.lifecycle import EXIT_DONE, Phase, State
from supervisor.limits import MB, SupervisorSettings
from supervisor.lookout import Lookout
from supervisor.memory import OomKills
from supervisor.notify import Notifier
from supervisor.pages import Pages
from supervisor.programs import Programs
from supervisor.roster import Child, Roster, account
from supervisor.seat import Seat
from supervisor.signals import Signals
from supervisor.snapshot import Own
from supervisor.watched import Watched

log = logging.getLogger("friendship.supervisor")

WHOLE_EVERY_S = 1.0
"""How often the container's memory is read, where it has a limit."""

GAP_TOLD_S = 5.0
"""Gaps in the loop's own turns are told when their sum is so much: somebody will ask why nothing happened."""


def run(settings: SupervisorSettings, programs: Programs, layout: Layout) -> int:
    """Keep the children running, in the foreground, until told to stop; return the exit code (0, 1 or 2).

    layout: the names under which children count. Call from the main thread of a process without others: children die
    with the thread that forked them.
    """
    with Signals() as signals, contextlib.closing(Pages(settings.children + SPARE_SLOTS, layout)) as pages:
        memory.prepare()
        with process.first_in_line() as first, Loop(settings, programs, signals, pages) as loop:
            return loop.run(first_in_line=first)


class Loop:
    """The shell around the decisions: descriptors, signals, forks."""

    def __init__(
        self, settings: SupervisorSettings, programs: Programs, signals: Signals, pages: Pages
    ) -> None:
        self.settings = settings
        self.programs = programs
        self.signals = signals
        self.pages = pages
        self.board = board = pages.board
        # What ages are told in; children and the status process write and read monotonic time
        self.clock = AwakeClock(time.monotonic)
        self.now = self.clock.now
        self.untold_s = 0.0
        self.untold_since = self.clock.moment
        self.roster = Roster(settings.children, self.now)
        self.roster.retry_at = self.now + settings.retry_every_s
        self.lookout = Lookout(board, settings, self.clock)
        self.sample_at = self.now
        self.breaker = Breaker()
        self.watched: dict[int, Watched] = {}
        self.selector = selectors.DefaultSelector()
        self.selector.register(signals.fd, selectors.EVENT_READ)
        self.oom_kills = OomKills()
        self.container = container.find()
        self.whole_bytes: int | None = None
        self.whole_due_at = self.now
        self.own = Own(os.getpid(), _host(), round(time.time(), 3))
        self.herald = Herald(
            pages.bulletin, Notifier(os.environ), posts=settings.listen is not None, now=self.clock.moment
        )
        self.rng = random.Random()  # noqa: S311 - spreads restarts, keeps no secret
        self.exit_code: int | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave no process behind, whatever ended the loop."""
        for watched in self.watched.values():
            process.send(watched.pidfd, signal.SIGKILL)
        for watched in self.watched.values():
            os.waitid(os.P_PIDFD, watched.pidfd, os.WEXITED)
            watched.close()
        self.watched.clear()
        self.selector.close()

    def run(self, *, first_in_line: bool) -> int:
        """Turn until there is an exit code."""
        self._tell(
            events.SupervisorStarted(
                pid=os.getpid(),
                children=self.settings.children,
                rss_budget_mb=self.settings.rss_budget_bytes // MB,
                rss_hard_mb=self.settings.rss_hard_bytes // MB,
                first_in_line=first_in_line,
            )
        )
        due = self.now
        while self.exit_code is None:
            self._wait(due)
            due = self._turn()
        self._tell(events.Stopped(self.exit_code, round(self.now - self.roster.started_at, 3)))
        return self.exit_code

    # --- wait

    def _wait(self, due: float) -> None:
        """Sleep until something happens, or the due time; then read the clock, once for the whole turn."""
        self.selector.select(self.clock.left_s(due))
        gap_s = self.clock.turn(due)
        self.now = self.clock.now
        if gap_s:
            # Children may have run, and grown, while this process did not
            self.lookout.all_due(self.watched)
            self._stood_still(gap_s)

    def _stood_still(self, gap_s: float) -> None:
        if not self.untold_s:
            self.untold_since = self.clock.moment - gap_s
        self.untold_s += gap_s
        if self.untold_s >= GAP_TOLD_S:
            self._tell(
                events.StoodStill(round(self.untold_s, 3), round(self.clock.moment - self.untold_since, 3))
            )
            self.untold_s = 0.0

    def _turn(self) -> float:
        """Gather, decide, act; return when to turn again at the latest."""
        self._hear()
        self._reap()
        self.sample_at = self._look()
        self._guard()
        actions = policy.decide(
            self.roster,
            self.lookout.readings,
            self.now,
            self.settings,
            working_set_bytes=self._working_set_bytes(),
        )
        for action in actions:
            self._act(action)
        well = health.is_well(self.roster.children(), self.lookout.readings, self.now)
        # Those who hear it have clocks of their own, which did not stand still with this one
        speak_at = self.clock.at(self.herald.speak(self.clock.moment, self.status, well=well))
        if actions:
            return self.now
        return min(self.sample_at, speak_at, policy.next_due(self.roster, self.now, self.settings))

    # --- gather

    def _hear(self) -> None:
        for number in self.signals.take():
            match number:
                case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                    self._stop(at_once=number == signal.SIGQUIT or self.roster.stop is not None)
                case signal.SIGHUP:
                    self._tell(events.Reloading(self.roster.reload()))
                case signal.SIGTTIN:
                    self._resize(+1)
                case signal.SIGTTOU:
                    self._resize(-1)
                case signal.SIGUSR1:
                    self._show()
                case _:
                    pass

    def _stop(self, *, at_once: bool) -> None:
        self.roster.stopping(self.now, at_once=at_once)
        how = "at once" if at_once else "drain"
        self._tell(events.Stopping(how, sum(1 for _ in self.roster.children())))

    def _resize(self, by: int) -> None:
        # Two pages are for who waits for a slot, and who leaves one
        most = min(self.board.capacity - 2, self.settings.children_max or self.board.capacity)
        target = self.roster.target + by
        if target < 1:
            self._tell(events.ResizeRefused(self.roster.target, "one child is the least"))
        elif target > most and by > 0:
            self._tell(events.ResizeRefused(self.roster.target, "no more fit"))
        else:
            self.roster.resize(target)
            self._tell(events.Resized(target))

    def _show(self) -> None:
        status = self.status()
        log.info("supervisor_status", extra=status["supervisor"])
        for child in status["children"]:
            log.info("child_status", extra=child)

    def status(self) -> dict[str, Any]:
        """Return the standing of now, as CONTRACT's /status shows it."""
        return snapshot.status(
            self.roster,
            self.lookout.readings,
            self.now,
            self.settings,
            own=self.own,
            totals=self.board.totals(),
            breaker=self.breaker,
            calls=self.lookout.calls,
            stood_still_s=self.clock.stood_still_s,
        )

    def _reap(self) -> None:
        self.oom_kills.look(self.now)
        ended = self._ended()
        if ended:
            self._part_with(ended)
        process.reap_strangers(self.watched)

    def _ended(self) -> dict[int, blame.Exit]:
        """Reap whose descriptors say that they have ended: nobody else is asked."""
        # With the signals' pipe nobody is registered
        said = (key.data for key, _ in self.selector.select(0) if key.data is not None)
        return {watched.pid: end for watched in said if (end := process.reap(watched.pidfd))}

    def _part_with(self, ended: Mapping[int, blame.Exit]) -> None:
        children = [(child, ended[child.pid]) for child in self.roster.children() if child.pid in ended]
        errands = [
            (errand, ended[errand.pid]) for errand in self.roster.errands.values() if errand.pid in ended
        ]
        oom_killed = self._oom_killed(children, errands)
        for child, end in children:
            ours, killed_by_us = child.ending, child.state is State.KILLED
            verdict = blame.judge(
                end,
                ours=ours,
                killed_by_us=killed_by_us,
                oom_killed=child.pid in oom_killed,
                hard_bytes=self.settings.rss_hard_bytes,
            )
            self._bury(child, end, verdict)
        for errand, end in errands:
            self._errand_done(errand, succeeded=end.code == EXIT_DONE)

    def _oom_killed(
        self, children: list[tuple[Child, blame.Exit]], errands: list[tuple[Errand, blame.Exit]]
    ) -> frozenset[int]:
        """Say which of these dead the kernel killed for memory. Errands weigh little, so children come first."""
        killed = {
            child.pid: self.lookout.sizes.get(child.page, 0)
            for child, end in children
            if end.signal == signal.SIGKILL and child.state is not State.KILLED
        } | {errand.pid: 0 for errand, end in errands if end.signal == signal.SIGKILL and not errand.recalled}
        victims = blame.charged(killed, self.oom_kills.fresh(self.now) if killed else 0)
        self.oom_kills.charge(len(victims))
        return victims

    def _bury(self, child: Child, end: blame.Exit, verdict: Verdict) -> None:
        self._unwatch(child.pid)
        reading = self.lookout.at_last(child.page)
        self.lookout.forget(child.page)
        self._tell(
            *self.roster.reaped(
                child.page,
                end,
                verdict,
                reading,
                now=self.now,
                died_at=datetime.now(UTC),
                host=self.own.host,
                jitter=self.rng.random(),
            )
        )

    def _errand_done(self, errand: Errand, *, succeeded: bool) -> None:
        self._unwatch(errand.pid)
        del self.roster.errands[errand.pid]
        match errand.kind:
            case Kind.RETRY:
                self.roster.retry_at = self.now + self.settings.retry_every_s
                self.roster.retried_at = self.now if succeeded else self.roster.retried_at
            case Kind.STATUS:
                pause = self.roster.status_ended(errand.started_at, self.now, self.rng.random())
                if self.roster.stop is None:
                    self._tell(events.StatusEnded(errand.pid, round(pause, 3)))
            case Kind.JANITOR if succeeded:
                for death in self.roster.accounts.written():
                    self._tell(
                        events.AccountWritten(
                            death.slot, death.pid, death.cause, death.blamed, death.conversation_id
                        )
                    )
            case Kind.JANITOR:
                self._account_failed()
            case _:
                assert_never(errand.kind)

    def _account_failed(self) -> None:
        pause = self.roster.accounts.failed(self.now, self.rng.random())
        self._tell(events.AccountDelayed(len(self.roster.accounts.waiting), round(pause, 3)))

    def _look(self) -> float:
        """Learn what is new of the children; return when to look again at the latest."""
        for child in list(self.roster.children()):
            # Asked before what it says is read: that is then no older than its stop
            freezing = child.state is State.FREEZING and not child.stopped
            if freezing and process.stands_still(self.watched[child.pid].pidfd):
                self.roster.stopped(child.page)
        due = self.lookout.look(list(self.roster.children()), self.watched, self.now)
        self.roster.answered(self.clock.at(self.pages.bulletin.answered()))
        budget_bytes = self.settings.rss_budget_bytes
        self._tell(*self.roster.observe(self.lookout.readings, self.now, budget_bytes))
        return due

    def _guard(self) -> None:
        """Let children take messages, or none, or one of them one: the gates change with the breaker only."""
        rules = self.settings.breaker
        before = self.breaker
        if rules is None or (before.state is breaker.State.CLOSED and self.lookout.calls == before.seen):
            return
        children = list(self.roster.children())
        scene = Scene(
            self.lookout.calls,
            self.roster.target,
            [child.pid for child in children],
            [Resting(child.slot, child.pid, child.page) for child in children if self._rests(child)],
        )
        self.breaker = breaker.step(before, scene, self.now, rules, self.rng.random())
        if self.breaker.state is not before.state:
            self.board.admit(breaker.gates(self.breaker, self.board.capacity))
            self._tell(*breaker.told(before, self.breaker, self.now))

    def _rests(self, child: Child) -> bool:
        reading = self.lookout.readings.get(child.page)
        idle = reading is not None and reading.view.phase is Phase.IDLE
        return idle and child.seated and child.state is State.READY

    def _working_set_bytes(self) -> int | None:
        """Weigh the whole container, once in WHOLE_EVERY_S."""
        if not self.settings.container_limit_bytes:
            return None
        if self.now >= self.whole_due_at:
            was_tight = policy.is_tight(self.whole_bytes, self.settings)
            self.whole_bytes = self.container.working_set_bytes()
            self.whole_due_at = self.now + WHOLE_EVERY_S
            if policy.is_tight(self.whole_bytes, self.settings) and not was_tight:
                limit_mb = self.settings.container_limit_bytes // MB
                self._tell(events.MemoryTight((self.whole_bytes or 0) // MB, limit_mb))
        return self.whole_bytes

    # --- act

    def _act(self, action: policy.Action) -> None:  # noqa: C901, PLR0912 - one case to an action
        match action:
            case policy.Fork(slot):
                self._fork_child(slot)
            case policy.Succeed(slot, verdict):
                self._fork_heir(slot, verdict)
            case policy.Seat(page):
                self._signal(page, signal.SIGUSR1)
                self.roster.seating(page)
            case policy.Drain(page, verdict):
                # Work in hand is finished when the child is replaced, and given back if possible when all is to end
                number = signal.SIGUSR2 if verdict.cause in VOLUNTARY else signal.SIGTERM
                child = self._signal(page, number)
                self.roster.draining(page, verdict, self.now)
                self._tell(events.ChildDraining(child.slot, child.pid, verdict.cause, self._rss_mb(page)))
            case policy.Freeze(page, verdict):
                child = self._signal(page, signal.SIGSTOP)
                self.roster.freezing(page, verdict, self.now)
                self._tell(events.ChildFrozen(child.slot, child.pid, verdict.cause, *self._at_hand(page)))
            case policy.Thaw(page):
                child = self._signal(page, signal.SIGCONT)
                self.roster.thawed(page, self.now)
                self._tell(events.ChildThawed(child.slot, child.pid))
            case policy.Settle(page):
                child = self.roster.child(page)
                verdict = child.ending or policy.STUCK
                reading = self.lookout.at_last(page)
                at = datetime.now(UTC)
                death = account(child, reading, verdict, died_at=at, host=self.own.host)
                self.roster.settling(page, death, self.now)
            case policy.Kill(page, verdict):
                child = self._signal(page, signal.SIGKILL)
                self.roster.killed(page, verdict, self.now)
                self._tell(events.ChildKilled(child.slot, child.pid, verdict.cause, *self._at_hand(page)))
            case policy.Send(kind):
                self._send(kind)
            case policy.Recall(pid):
                process.send(self.watched[pid].pidfd, signal.SIGKILL)
                self.roster.recalled(pid)
            case policy.GiveUp(code, why):
                self._tell(events.GivingUp(code, why))
                self.roster.stopping(self.now, at_once=True, exit_code=code)
            case policy.Exit(code):
                self._leave(code)
            case _:
                assert_never(action)

    def _fork_child(self, slot: int) -> None:
        watched = self._fork_for(slot, seated=self.roster.may_sit(slot))
        if watched is None:
            self.roster.fork_failed(slot, self.now, self.rng.random())
            return
        child = self.roster.forked(slot, watched.pid, self.now, self._message_limit())
        self._tell(events.ChildForked(slot, child.pid, child.generation))

    def _fork_heir(self, slot: int, verdict: Verdict) -> None:
        watched = self._fork_for(slot, seated=False)
        if watched is None:
            self.roster.no_heir(self.now, self.rng.random())
            return
        child = self.roster.succeeded(slot, verdict, watched.pid, self.now, self._message_limit())
        self._tell(events.ChildForked(slot, child.pid, child.generation))

    def _fork_for(self, slot: int, *, seated: bool) -> Watched | None:
        page = self.roster.free_page(slot)
        self.board.open(page, self.roster.slots[slot].generation + 1, self.clock.moment)
        resident = memory.own_rss_bytes()
        fortify = partial(wall.build, self.settings.rss_hard_bytes)

        def be_child() -> int:
            # What of the parent is in files counts for the child once it is touched
            fortify(resident)
            stop_bytes = budget.stop_bytes(self.settings)
            seat = Seat(
                self.board,
                self.pages.chronicle,
                page,
                slot=slot,
                seated=seated,
                stop_bytes=stop_bytes,
                hard_bytes=self.settings.rss_hard_bytes,
                when_fresh=fortify,
            )
            return self._be_child(seat)

        return self._fork(f"child {slot}", be_child, weigh=True)

    def _message_limit(self) -> int:
        return policy.stagger(self.settings.max_messages, self.rng.random())

    def _send(self, kind: Kind) -> None:
        match kind:
            case Kind.JANITOR:
                work: Callable[[], None] = partial(self.programs.settle, self.roster.accounts.hand_out())
            case Kind.RETRY:
                work = self.programs.retry
            case Kind.STATUS:
                work = self._answer
            case _:
                assert_never(kind)
        watched = self._fork(kind.value, partial(self._be_errand, kind, work), weigh=False)
        if watched is not None:
            self.roster.errands[watched.pid] = Errand(kind, watched.pid, self.now)
        else:
            self._not_sent(kind)

    def _not_sent(self, kind: Kind) -> None:
        match kind:
            case Kind.JANITOR:
                self._account_failed()
            case Kind.RETRY:
                self.roster.retry_at = self.now + self.settings.retry_every_s
            case Kind.STATUS:
                self.roster.status_ended(self.now, self.now, self.rng.random())
            case _:
                assert_never(kind)

    def _leave(self, code: int) -> None:
        for lost in self.roster.accounts.waiting:
            self._tell(
                events.AccountUnwritten(lost.slot, lost.pid, lost.cause, lost.blamed, lost.conversation_id)
            )
        self.exit_code = code

    def _fork(self, what: str, body: Callable[[], int], *, weigh: bool) -> Watched | None:
        try:
            watched = Watched(process.fork(body), weigh=weigh)
        except (OSError, psutil.Error) as error:
            self._tell(events.ForkFailed(what, getattr(error, "strerror", None) or type(error).__name__))
            return None
        self.watched[watched.pid] = watched
        self.selector.register(watched.pidfd, selectors.EVENT_READ, watched)
        return watched

    def _unwatch(self, pid: int) -> None:
        watched = self.watched.pop(pid)
        self.selector.unregister(watched.pidfd)
        watched.close()

    def _signal(self, page: int, number: signal.Signals) -> Child:
        child = self.roster.child(page)
        process.send(self.watched[child.pid].pidfd, number)
        return child

    # --- in the forked process

    def _be_child(self, seat: Seat) -> int:
        self._let_go()
        process.heed(
            {
                signal.SIGTERM: seat.ask_to_stop,
                signal.SIGUSR2: seat.ask_to_retire,
                signal.SIGUSR1: seat.be_seated,
            }
        )
        process.settle_in(f"child {seat.slot}", expendable=True)
        logs.sign(slot=seat.slot, pid=os.getpid())
        process.unblock()
        code = self.programs.child(seat)
        seat.stopping()
        return code

    def _be_errand(self, kind: Kind, work: Callable[[], None]) -> int:
        self._let_go()
        process.heed({})
        # The page is the first thing to go without: before children, and long before those that keep accounts
        process.settle_in(kind.value, expendable=kind is Kind.STATUS)
        logs.sign(pid=os.getpid(), what=kind.value)
        process.unblock()
        work()
        return EXIT_DONE

    def _answer(self) -> None:
        """Be the status process, which alone needs what it imports."""
        from supervisor.status.server import serve  # noqa: PLC0415

        listen = self.settings.listen
        assert listen is not None
        serve(self.pages, listen, self.programs.depth)

    def _let_go(self) -> None:
        """Close what is the parent's. Its objects stay referenced from frames below: nothing closes twice."""
        self.signals.forget()
        self.selector.close()
        for watched in self.watched.values():
            watched.close()

    # --- tell

    def _at_hand(self, page: int) -> tuple[int | None, str | None]:
        reading = self.lookout.readings.get(page)
        return self._rss_mb(page), reading.view.conversation_id if reading else None

    def _rss_mb(self, page: int) -> int | None:
        return self.lookout.sizes[page] // MB if page in self.lookout.sizes else None

    def _tell(self, *told: Event) -> None:
        for event in told:
            name, fields = logs.name(event), asdict(event)
            log.log(event.level, name, extra=fields)
            if not events.is_routine(event):
                level = logging.getLevelName(event.level).lower()
                self.herald.note({"ts": round(time.time(), 3), "level": level, "event": name, **fields})


def _host() -> str:
    """Name this machine; what is no UTF-8 in its name would be refused by whoever reads it."""
    return socket.gethostname().encode("utf-8", "replace").decode()

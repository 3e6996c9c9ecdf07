"""A child's side of its slot: each report becomes one record on the board."""

import contextlib
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Literal

from supervisor import memory, wall
from supervisor.board import Board, Record
from supervisor.breaker import OPEN_GATE, SHUT_GATE, Answer
from supervisor.chronicle import Chronicle, Mishap
from supervisor.lifecycle import UNCOUNTED, Phase
from supervisor.limits import MB
from supervisor.reading import SlotView

WAITS = {
    "database": Phase.WAITING_DATABASE,
    "broker": Phase.WAITING_BROKER,
    "schema": Phase.WAITING_SCHEMA,
}


FRESH_BYTES = 16 * MB
"""What a child may have grown since it was first ready and still be called fresh: 200 messages of 3 MB leave 4."""


class Seat:
    """The runtime of one child, from the fork to its end. A phase told twice keeps the time when it began.

    page: of the board. slot: that the child fills, or will, if it is not seated yet. stop_bytes: the resident size at
    which it is stopped; hard_bytes: that it never has. when_fresh: told the child's resident size once, when it is
    first ready.
    """

    def __init__(  # noqa: PLR0913 - what a fork is told
        self,
        board: Board,
        chronicle: Chronicle,
        page: int,
        *,
        slot: int,
        seated: bool,
        stop_bytes: int,
        hard_bytes: int,
        when_fresh: Callable[[int], None],
    ) -> None:
        self._board = board
        self._chronicle = chronicle
        self._page = page
        self._slot = slot
        self._seated = seated
        self._hard_bytes = hard_bytes
        self._stop_bytes = stop_bytes
        self._when_fresh = when_fresh
        self._high_water = memory.HighWater()
        record = board.record(page)
        self._view: SlotView = record.view
        self._counters = list(record.counters)
        self._calls = record.calls
        self._spent = OPEN_GATE
        self._cut_off = ""
        self._stop = self._hurry = False
        self._wake: Callable[[], None] | None = None

    @property
    def slot(self) -> int:
        return self._slot

    def ask_to_stop(self, *_: object) -> None:
        """Take no more messages, begin nothing: the handler of SIGTERM."""
        self._hurry = True
        self.ask_to_retire()

    def ask_to_retire(self, *_: object) -> None:
        """Take no more messages: the handler of SIGUSR2."""
        self._stop = True
        self._wake_up()

    def be_seated(self, *_: object) -> None:
        """Take messages from now on: the handler of SIGUSR1."""
        self._seated = True
        self._wake_up()

    def _wake_up(self) -> None:
        """Run in a signal handler, so it touches no page that a report may be half through."""
        if self._wake is not None:
            # A connection that closes just now refuses to be woken; the flag is seen all the same.
            with contextlib.suppress(Exception):
                self._wake()

    def stop_requested(self) -> bool:
        return self._stop

    def hurry_requested(self) -> bool:
        return self._hurry

    def seated(self) -> bool:
        gate = self._board.gate(self._page)
        return self._seated and (gate == OPEN_GATE or gate not in (SHUT_GATE, self._spent))

    def wake_with(self, wake: Callable[[], None] | None) -> None:
        self._wake = wake

    def waiting(self, on: Literal["database", "broker", "schema"], reason: str) -> None:
        self._enter(WAITS[on], note=reason)

    def empty_handed(self) -> None:
        self._enter(self._view.phase, note=self._view.note, **_EMPTY_HANDED)
        self._rest()

    def ready(self, doubt: str = "") -> None:
        self._cut_off = doubt
        # The first delivery may come in the same breath as the consent to consume
        if not self._view.in_hand:
            self._enter(Phase.IDLE)
            self._rest()

    def cut_off(self, reason: str) -> None:
        if reason != self._cut_off:
            self._cut_off = reason
            self._enter(self._view.phase)

    def idle(self) -> None:
        self._enter(Phase.IDLE)

    def receiving(self, body_bytes: int, message_id: str | None) -> None:
        self._high_water.reset()
        held = {"message_since": time.monotonic(), "body_bytes": body_bytes, "conversation_id": message_id}
        self._enter(Phase.RECEIVING, **{**_EMPTY_HANDED, **held})

    def received(self, body_bytes: int, body_crc32: int) -> None:
        self._enter(Phase.RECEIVED, body_bytes=body_bytes, body_crc32=body_crc32)

    def claiming(self, conversation_id: str, claimed_by: str) -> None:
        self._enter(
            Phase.CLAIMING, conversation_id=conversation_id, claimed_by=claimed_by, event_id=0, epoch=0
        )

    def claimed(self, event_id: int, epoch: int) -> None:
        self._enter(Phase.READING, event_id=event_id, epoch=epoch)

    def trim(self) -> None:
        memory.rest()

    def holding(self, reason: str) -> None:
        self._enter(Phase.HOLDING, note=reason)

    def fetching(self) -> None:
        self._enter(Phase.FETCHING)

    def fetched(self, result: Literal["read", "failed", "away"]) -> None:
        self._step("fetch", result)
        self._enter(Phase.READING)

    def analysing(self) -> None:
        self._enter(Phase.ANALYSING)

    def analysed(self, result: str) -> None:
        self._step("analysis", result)
        self._enter(Phase.READING)

    def _step(self, name: str, result: str) -> None:
        self._board.layout.step(self._counters, name, result, self._view.phase_age_s(time.monotonic()))

    def calling(self) -> None:
        self._spent = self._board.gate(self._page)
        self._enter(Phase.CALLING)

    def called(self, end: Literal["answered", "failed", "barred"]) -> None:
        self._calls = self._calls.and_one(Answer(end))
        self._board.layout.call(self._counters, self._view.phase_age_s(time.monotonic()))
        self._enter(Phase.CALLING)

    def writing(self) -> None:
        self._enter(Phase.WRITING)

    def acking(self) -> None:
        self._enter(Phase.ACKING)

    def settled(self, outcome: str) -> None:
        self._board.layout.settle(self._counters, outcome, self._view.age_s(time.monotonic()))
        view = self._view
        last = view.conversation_id or ""
        self._enter(Phase.IDLE, **_EMPTY_HANDED, messages=view.messages + 1, last_conversation_id=last)
        self._rest()

    def failing(self, code: str) -> None:
        self._board.layout.fail(self._counters, code)
        view = self._view
        ms = round(view.age_s(time.monotonic()) * 1000)
        self._chronicle.add(self._page, Mishap(time.time(), self._slot, view.conversation_id or "", code, ms))

    def no_room(self) -> None:
        self._enter(Phase.NO_ROOM, **_EMPTY_HANDED)

    def room_bytes(self) -> int:
        sizes = memory.own_sizes()
        return max(0, min(self._stop_bytes - sizes.resident, wall.room_bytes(sizes)))

    def fresh_room_bytes(self) -> int:
        return max(0, self._hard_bytes - self._view.fresh_rss_bytes)

    def fresh(self) -> bool:
        view = self._view
        return view.messages == 0 or view.resting_rss_bytes <= view.fresh_rss_bytes + FRESH_BYTES

    def crowded(self, in_hand_bytes: int) -> bool:
        view = self._view
        if view.messages == 0:
            return False
        usual = max(0, view.resting_rss_bytes - view.fresh_rss_bytes) / view.messages
        return self.room_bytes() + in_hand_bytes < usual

    def peak_rss_bytes(self) -> int:
        return self._high_water.read_bytes()

    def returned(self) -> None:
        self._enter(Phase.IDLE, **_EMPTY_HANDED)
        self._rest()

    def stopping(self) -> None:
        """Be on the way out; what is in hand, if anything, stays told."""
        self._enter(Phase.STOPPING)

    def _rest(self) -> None:
        """Tidy up, only now that nothing in hand is told: the size that stays is what the soft budget judges."""
        memory.rest()
        rss = memory.own_rss_bytes()
        fresh = self._view.fresh_rss_bytes
        if not fresh:
            self._when_fresh(rss)
            fresh = rss
            # What only the boot needed; the sizes above count it, as it may come back
            memory.forget_files()
        weighed = {"resting_rss_bytes": rss, "rested_at": time.monotonic(), "fresh_rss_bytes": fresh}
        self._enter(self._view.phase, note=self._view.note, **weighed)

    def _enter(self, phase: Phase, **fields: Any) -> None:
        now = time.monotonic()
        view = self._view
        since, waited_s = view.phase_since, view.waited_s
        if phase is not view.phase:
            if view.phase in UNCOUNTED and view.message_since is not None:
                waited_s += now - since
            since = now
        told: dict[str, Any] = {
            "phase": phase,
            "phase_since": since,
            "heartbeat": now,
            "waited_s": waited_s,
            "note": self._cut_off,
        }
        self._view = replace(view, **{**told, **fields})
        self._board.write(self._page, Record(self._view, tuple(self._counters), self._calls))


_EMPTY_HANDED: dict[str, Any] = {
    "message_since": None,
    "waited_s": 0.0,
    "rested_at": 0.0,
    "conversation_id": None,
    "claimed_by": None,
    "event_id": 0,
    "epoch": 0,
    "body_bytes": 0,
    "body_crc32": 0,
}

"""Faults at the numbered steps of a message's way: tests only.

A conversation called `at-after_commit-kill-1-7` does to the process that works on it what the action says, at that
step, and only so many times (here once) over all processes: each time leaves a file behind, so that whoever gets the
message next can tell. So one supervisor can meet many faults at once, each with a row of its own to look at.

What the actions do to the product is in `scripts.faults.stepped`; here is what they are.
"""

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum
from pathlib import Path
from typing import NoReturn, Self

from scripts.faults import runaway
from scripts.faults.harm import die

COUNTED_IN = "FRIENDSHIP_FAULT_DIRECTORY"
DELAY = "FRIENDSHIP_FAULT_DELAY_S"
PREFIX = "at-"
EXIT_CODE = 7  # no child chooses it


class Step(IntEnum):
    """The steps of one message, in order."""

    RECEIVED = 1  # the body is here, nothing of it is parsed
    BEFORE_CLAIM = 2
    CLAIM_COMMITTED = 3  # in the database; this process has not learnt it
    AFTER_CLAIM = 4
    BEFORE_CALL = 5
    DURING_CALL = 6  # the request is sent, no answer is here
    AFTER_CALL = 7
    BEFORE_WRITE = 8
    BEFORE_COMMIT = 9  # inside the transaction, everything written
    COMMITTED = 10  # in the database; this process has not learnt it
    AFTER_COMMIT = 11
    BEFORE_ACK = 12
    INSIDE_ACK = 13  # half of its bytes are sent
    AFTER_ACK = 14  # the kernel has all of its bytes, and the message is not yet counted as settled

    @property
    def label(self) -> str:
        return self.name.lower()


class Action(Enum):
    """What happens at the step."""

    KILL = "kill"  # SIGKILL
    SEGV = "segv"
    EXIT = "exit"  # with a code that no child chooses
    STOP = "stop"  # SIGSTOP: whoever sends SIGCONT, or the supervisor's limits, end it
    DELAY = "delay"  # asleep, for as long as the environment says
    TERM = "term"  # SIGTERM to the supervisor; the child goes on when it was told
    SUPER_KILL = "super_kill"  # SIGKILL to the supervisor; the child goes on until that reaches it
    OVERGROW = "overgrow"  # memory is taken without end
    CUT_BROKER = "cut_broker"  # the connection to RabbitMQ breaks
    CUT_DATABASE = "cut_database"  # the connection to PostgreSQL breaks


@dataclass(frozen=True, slots=True)
class Fault:
    """One action at one step. times: in how many processes, or deliveries, in a row."""

    step: Step
    action: Action
    times: int = 1

    def conversation_id(self, name: str) -> str:
        """Name a conversation that is such a fault. name: without a hyphen."""
        return f"{PREFIX}{self.step.label}-{self.action.value}-{self.times}-{name}"

    @classmethod
    def of(cls, conversation_id: str | None) -> Self | None:
        """Read the fault out of a name; None for an ordinary conversation."""
        if conversation_id is None or not conversation_id.startswith(PREFIX):
            return None
        step, action, times, _ = conversation_id.removeprefix(PREFIX).split("-")
        return cls(Step[step.upper()], Action(action), int(times))


class Failpoints:
    """The faults of the conversation that this process has in hand."""

    def __init__(self, counted_in: Path, actions: Mapping[Action, Callable[[], None]]) -> None:
        """counted_in: a directory that all processes share. actions: those that need a hold on the product."""
        self._counted_in = counted_in
        self._actions = {**ACTIONS, **actions}
        self._conversation_id = ""
        self._fault: Fault | None = None

    def begin(self, conversation_id: str | None) -> None:
        """Take a conversation in hand."""
        self._conversation_id = conversation_id or ""
        self._fault = Fault.of(conversation_id)

    def reach(self, step: Step) -> None:
        """Come to a step: what is planned there happens, if its times are not over."""
        if self.due(step):
            self.act()

    def due(self, step: Step) -> bool:
        """Say whether something is to happen at this step, now; it counts as happened from here on."""
        fault = self._fault
        if fault is None or fault.step is not step:
            return False
        return any(self._take(number) for number in range(fault.times))

    def act(self) -> None:
        """Do it."""
        assert self._fault is not None
        self._actions[self._fault.action]()

    def _take(self, number: int) -> bool:
        """Take one of the times for this process alone."""
        try:
            flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC
            os.close(os.open(self._counted_in / f"{self._conversation_id}.{number}", flags))
        except FileExistsError:
            return False
        return True


def happened(counted_in: Path, conversation_id: str) -> int:
    """Count how often a conversation's fault has happened so far."""
    return sum(1 for _ in counted_in.glob(f"{conversation_id}.*"))


def _kill() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


def _exit() -> None:
    os._exit(EXIT_CODE)


def _delay() -> None:
    time.sleep(float(os.environ.get(DELAY, "1")))


def _kill_the_supervisor() -> NoReturn:
    os.kill(os.getppid(), signal.SIGKILL)
    while True:
        signal.pause()


def _overgrow() -> NoReturn:
    runaway.run(runaway.Kind.BYTES)


ACTIONS: Mapping[Action, Callable[[], None]] = {
    Action.KILL: _kill,
    Action.SEGV: die,
    Action.EXIT: _exit,
    Action.STOP: _stop,
    Action.DELAY: _delay,
    Action.SUPER_KILL: _kill_the_supervisor,
    Action.OVERGROW: _overgrow,
}

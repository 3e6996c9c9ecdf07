"""The life of a child, told twice: by the child as a phase, by its supervisor as a state.

A *phase* is what the child says of itself on the board; it may say anything at any time. A *state* is what the
supervisor has done with the child, and moves only along TRANSITIONS:

    BOOTING ──> READY ──> DRAINING
       │          │  ▲        │  ▲
       │          ▼  │        ▼  │  (thawed: it had begun to write its outcome)
       └──────> FREEZING <────┘──┘
                  │
                  ▼
                FROZEN ──> KILLED          every state ──> KILLED, and every state ends with the reaping

FREEZING begins as a SIGSTOP on its way: the child may still run a moment, so nothing is concluded from its board
before the kernel says that it stands still. FROZEN is one whose account has been taken.
"""

from enum import Enum, IntEnum


class Phase(IntEnum):
    """Where a child stands, in its own words. The numbers are what the board holds."""

    BOOTING = 0
    WAITING_DATABASE = 1
    WAITING_BROKER = 2
    WAITING_SCHEMA = 3
    NO_ROOM = 4
    IDLE = 5
    RECEIVING = 6
    RECEIVED = 7
    CLAIMING = 8
    READING = 9
    HOLDING = 10
    CALLING = 11
    WRITING = 12
    ACKING = 13
    STOPPING = 14
    FETCHING = 15
    ANALYSING = 16

    __hash__ = int.__hash__  # Enum's own is written in Python, and sets of these are asked all the time


WAITING = frozenset({Phase.WAITING_DATABASE, Phase.WAITING_BROKER, Phase.WAITING_SCHEMA})
UNCOUNTED = WAITING | {Phase.NO_ROOM, Phase.HOLDING}
"""Phases whose time no message answers for."""

LOCKING = frozenset({Phase.WRITING, Phase.ACKING})
"""Phases in which row locks may be held: a child frozen here would make its janitor wait for it."""

BRIEF = LOCKING | {Phase.CLAIMING}
"""Phases that must pass within the write budget, whatever the message."""

EXCUSED = LOCKING | UNCOUNTED
"""Phases in which no message is late: other limits hold there."""

TALKATIVE = UNCOUNTED | {Phase.IDLE}
"""Phases in which a child that lives says so again and again."""

WORKING = frozenset(
    {
        Phase.NO_ROOM,
        Phase.IDLE,
        Phase.RECEIVING,
        Phase.RECEIVED,
        Phase.CLAIMING,
        Phase.READING,
        Phase.HOLDING,
        Phase.FETCHING,
        Phase.ANALYSING,
        Phase.CALLING,
        Phase.WRITING,
        Phase.ACKING,
    }
)
"""Phases that only a child past its boot can be in."""

PROVING = WORKING - {Phase.RECEIVING, Phase.RECEIVED, Phase.CLAIMING, Phase.HOLDING, Phase.WRITING}
"""Phases that are entered only when a server has answered: the others are tries."""


class State(Enum):
    """Where a child stands, by what its supervisor has done with it."""

    BOOTING = "booting"
    READY = "ready"
    DRAINING = "draining"
    FREEZING = "freezing"
    FROZEN = "frozen"
    KILLED = "killed"


TRANSITIONS: dict[State, frozenset[State]] = {
    State.BOOTING: frozenset({State.READY, State.DRAINING, State.FREEZING, State.KILLED}),
    State.READY: frozenset({State.DRAINING, State.FREEZING, State.KILLED}),
    State.DRAINING: frozenset({State.FREEZING, State.KILLED}),
    State.FREEZING: frozenset({State.READY, State.DRAINING, State.FROZEN, State.KILLED}),
    State.FROZEN: frozenset({State.KILLED}),
    State.KILLED: frozenset(),
}


class ImpossibleStepError(Exception):
    """A child was asked to take a step that its state does not know: a fault of this program."""


def step(state: State, to: State) -> State:
    """Move from one state to the next. Raises ImpossibleStepError when the table has no such step."""
    if to not in TRANSITIONS[state]:
        raise ImpossibleStepError(f"{state.value} -> {to.value}")
    return to


EXIT_DONE = 0
"""Drained, or asked to stop."""

EXIT_FAILED = 1
"""An error that the child did not expect."""

EXIT_MEMORY = 3
"""More memory than the child may have was asked for: what a MemoryError that nobody caught ends in."""

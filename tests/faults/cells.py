"""The fault matrix as values: what happens at which step, and what must have become of the conversation then.

docs/reliability.md shows them as tables; each is a test of that id.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum

from scripts.faults.failpoints import Action, Fault, Step
from tests.fixtures.amqp_proxy import Fate
from tests.fixtures.proxy import Loss


class Ground(Enum):
    """What a cell is run on. All cells of a ground share one run."""

    CROWD = "one supervisor with eight children, every fault among ordinary conversations"
    LATE = "the same, where a message may take 16 s and a write 15 s"
    STOPPED = "a supervisor that is told to stop at the step; the next one finishes what it left"
    KILLED = "a supervisor that is killed at the step; the next one finishes what it left"
    LOST = "one child, whose PostgreSQL is behind a proxy that loses one exchange"
    ACK = "one child, whose RabbitMQ is behind a proxy that knows an acknowledgement when it sees it"
    LINK = "two children, whose three servers are each behind a proxy, with a call under way"
    PULSE = "the same, with a heartbeat of 2 s"
    ZOMBIE = (
        "a child that stands still at the step while another supervisor gets its message, and then goes on"
    )


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a conversation leaves behind.

    attempts: as counted in its row. deaths: accounts of the dead, oldest first: the cause, and a `!` where the message
    is blamed. calls: of the Memory API. parked: its log is kept in the row. dead: copies in `.dead`. strikes: how often
    the fault happened.
    """

    status: str | None = "PROCESSED"
    code: str | None = None
    attempts: int = 1
    deaths: tuple[str, ...] = ()
    calls: int = 1
    parked: bool = False
    dead: int = 0
    strikes: int = 1


@dataclass(frozen=True, slots=True)
class Cell:
    """A fault at a step, and its outcome. conversation_id: whose row shows it."""

    fault: str
    step: str
    ground: Ground
    conversation_id: str
    outcome: Outcome

    @property
    def id(self) -> str:
        return f"{self.fault}-at-{self.step}"


FAULTS = {
    "kill": "a stranger's SIGKILL ends the child",
    "segv": "SIGSEGV ends the child, once",
    "exit": "the child exits with an unexpected code, once",
    "poison": "SIGSEGV ends every child that comes so far",
    "overgrow": "the child takes memory without end, once",
    "glutton": "every child that comes so far takes memory without end",
    "broker_cut": "the connection to RabbitMQ breaks",
    "database_cut": "the connection to PostgreSQL breaks",
    "stop": "the child stands still, past its deadline or write budget",
    "term": "SIGTERM to the supervisor; another starts later",
    "super_kill": "SIGKILL to the supervisor; another starts later",
    "request_lost": "the server never gets the request, and the connection breaks",
    "reply_lost": "the server has answered, and the answer is lost with the connection",
    "request_late": "the connection breaks, and the server gets the request afterwards",
    "partition": "nothing gets through, either way, for a while",
    "deaf": "what is sent is swallowed, until the connection breaks",
    "slow": "every packet takes 0.1 s longer",
    "reset": "the connection breaks in the middle of the call",
    "idle_cut": "connections that carry nothing are cut sooner than a call ends",
    "heartbeats_lost": "no heartbeat gets through, until the connection breaks",
    "ack_dropped": "RabbitMQ never gets the acknowledgement, the connection breaks",
    "ack_passed_and_cut": "RabbitMQ gets the acknowledgement, then the connection breaks",
    "ack_halved": "RabbitMQ gets half of the acknowledgement's bytes, the connection breaks",
    "zombie": "the child stands still while another supervisor gets its message, then goes on",
}
"""What each fault is, in words."""

ONCE = Outcome()
BEFORE_CLAIM = (Step.RECEIVED, Step.BEFORE_CLAIM)
CLAIMED = tuple(Step)[Step.CLAIM_COMMITTED - 1 : Step.BEFORE_COMMIT]
CALLED = tuple(Step)[Step.DURING_CALL - 1 : Step.BEFORE_COMMIT]
DECIDED = tuple(Step)[Step.COMMITTED - 1 :]
ACKING = (Step.BEFORE_ACK, Step.INSIDE_ACK)


def stepped(name: str, fault: Fault, ground: Ground, outcome: Outcome) -> Cell:
    return Cell(name, fault.step.label, ground, fault.conversation_id("1"), outcome)


def died(step: Step, cause: str, *, attempts: int = 1) -> Outcome:
    """Say what one death leaves behind. attempts: what counts when the message is blamed."""
    if step in BEFORE_CLAIM:
        return ONCE
    if step in DECIDED:
        return replace(ONCE, deaths=(cause,))
    return Outcome(attempts=attempts, deaths=(cause,), calls=2 if step in CALLED else 1)


def given_up(step: Step, cause: str, code: str) -> Outcome:
    """Say what two blamed deaths leave behind."""
    calls = 2 if step in CALLED else 0
    return Outcome("FAILED", code, 2, (cause, cause), calls=calls, parked=True, strikes=2)


def deaths() -> Iterator[Cell]:
    for step in Step:
        yield stepped("kill", Fault(step, Action.KILL), Ground.CROWD, died(step, "killed"))
        for action in (Action.SEGV, Action.EXIT):
            outcome = died(step, "crashed!", attempts=2)
            yield stepped(action.value, Fault(step, action), Ground.CROWD, outcome)


def poison() -> Iterator[Cell]:
    for step in BEFORE_CLAIM:
        fault = Fault(step, Action.SEGV, times=99)
        set_aside = Outcome(status=None, attempts=0, calls=0, dead=1, strikes=2)
        yield stepped("poison", fault, Ground.CROWD, set_aside)
    for step in CLAIMED:
        # Who dies before it knows of its claim cannot judge either
        ever = 2 if step is Step.CLAIM_COMMITTED else 99
        fault = Fault(step, Action.SEGV, ever)
        yield stepped("poison", fault, Ground.CROWD, given_up(step, "crashed!", "CHILD_CRASHED"))
        fault = Fault(step, Action.OVERGROW)
        yield stepped("overgrow", fault, Ground.CROWD, died(step, "rss_hard!", attempts=2))
        fault = Fault(step, Action.OVERGROW, ever)
        outcome = given_up(step, "rss_hard!", "MEMORY_BUDGET_EXCEEDED")
        yield stepped("glutton", fault, Ground.CROWD, outcome)


def cuts() -> Iterator[Cell]:
    for step in Step:
        yield stepped("broker_cut", Fault(step, Action.CUT_BROKER), Ground.CROWD, ONCE)
        yield stepped("database_cut", Fault(step, Action.CUT_DATABASE), Ground.CROWD, ONCE)


def late() -> Iterator[Cell]:
    # While it claims, writes or acknowledges a child is killed for its write budget: that blames no message
    unblamed = (Step.CLAIM_COMMITTED, Step.BEFORE_WRITE, Step.BEFORE_COMMIT, *DECIDED)
    for step in Step:
        cause, attempts = ("deadline", 1) if step in unblamed else ("deadline!", 2)
        yield stepped("stop", Fault(step, Action.STOP), Ground.LATE, died(step, cause, attempts=attempts))


def ends() -> Iterator[Cell]:
    for step in Step:
        yield stepped("term", Fault(step, Action.TERM), Ground.STOPPED, ONCE)
        # Nobody is left to account for the child; the call is made again where it had been made
        calls = 2 if step in CALLED else 1
        outcome = replace(ONCE, calls=calls)
        yield stepped("super_kill", Fault(step, Action.SUPER_KILL), Ground.KILLED, outcome)


FAILED = Outcome("FAILED", "MEMORY_API_ERROR", parked=True)
UNCALLED = replace(FAILED, calls=0)
EXCHANGES = {"claim": ONCE, "complete": ONCE, "fail": FAILED, "park": UNCALLED, "call": FAILED}


def lost() -> Iterator[Cell]:
    for loss in Loss:
        for exchange, outcome in EXCHANGES.items():
            name = f"{loss.name.lower()}_lost" if loss is not Loss.LATE else "request_late"
            unseen = exchange == "call" and loss is Loss.REQUEST
            left = UNCALLED if unseen else outcome
            yield Cell(name, exchange, Ground.LOST, f"{exchange}-{loss.name.lower()}", left)


TAKEN_OVER = replace(ONCE, calls=2)
LINKS = {
    ("partition", "rabbitmq"): ONCE,
    ("partition", "postgresql"): ONCE,
    ("partition", "memory_api"): ONCE,
    ("deaf", "rabbitmq"): ONCE,
    # The write budget ends the child: a silent server is no message's fault
    ("deaf", "postgresql"): Outcome(deaths=("deadline",), calls=2),
    ("deaf", "memory_api"): Outcome("FAILED", "MEMORY_API_TIMEOUT", calls=0, parked=True),
    ("slow", "rabbitmq"): ONCE,
    ("slow", "postgresql"): ONCE,
    ("slow", "memory_api"): ONCE,
    ("reset", "memory_api"): FAILED,
    ("idle_cut", "rabbitmq"): TAKEN_OVER,
    ("heartbeats_lost", "rabbitmq"): TAKEN_OVER,
}


def links() -> Iterator[Cell]:
    for (fault, server), outcome in LINKS.items():
        ground = Ground.PULSE if fault == "heartbeats_lost" else Ground.LINK
        yield Cell(fault, server, ground, f"{fault}-{server}", outcome)


def acks() -> Iterator[Cell]:
    for fate in Fate:
        if fate is not Fate.PASSED:
            yield Cell(f"ack_{fate.name.lower()}", "ack", Ground.ACK, f"ack-{fate.name.lower()}", ONCE)


def zombies() -> Iterator[Cell]:
    for step in (*CLAIMED[1:-1], Step.BEFORE_ACK):
        outcome = replace(ONCE, calls=1 if step in DECIDED else 2)
        yield stepped("zombie", Fault(step, Action.STOP), Ground.ZOMBIE, outcome)


def matrix() -> list[Cell]:
    """Give every cell, fault by fault and step by step."""
    parts = (deaths, poison, cuts, late, ends, lost, links, acks, zombies)
    cells = [cell for part in parts for cell in part()]
    faults = list(dict.fromkeys(cell.fault for cell in cells))
    return sorted(cells, key=lambda cell: faults.index(cell.fault))


MATRIX = matrix()
SAMPLE = [cell for cell in MATRIX if cell.fault in {"kill", "segv", "broker_cut", "database_cut", "poison"}]

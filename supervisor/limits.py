"""What a supervisor keeps its children within: counts, bytes and seconds, already checked."""

from dataclasses import dataclass

from supervisor.breaker import Rules

MB = 2**20


@dataclass(frozen=True, slots=True)
class Listen:
    """An address to answer HTTP on. allowed_hosts: names that a request may ask for, in lower case, beside those that
    always may.
    """

    host: str
    port: int
    allowed_hosts: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class SupervisorSettings:
    """The limits of one run.

    children: slots to keep filled, at least 1.
    rss_budget_bytes: over it with nothing in hand, a child is replaced when its turn comes.
    rss_hard_bytes: no child may ever be above it.
    message_deadline_s: working time on one message; waiting for a lost server is not working.
    write_budget_s: how long a child may stand in one claim, one write or one acknowledgement.
    drain_timeout_s: how long children may finish after the first SIGTERM.
    sample_interval_s: the longest pause between two RSS readings of a child.
    max_messages: replace a child after about so many messages; 0 is never.
    retry_every_s: pause between two retry errands; 0 is never.
    schema_wait_s: how long children may wait for `migrate` before the supervisor gives up.
    children_max: TTIN adds no child beyond it; 0 leaves it to the board's spare slots.
    room_for_successor: one more idle child fits beside all others: a successor may start before its predecessor ends.
    container_limit_bytes: the memory limit around us; 0 is none known.
    breaker: when children stop taking messages because their calls fail; None is never.
    listen: where the status process answers; None is nowhere.
    """

    children: int
    rss_budget_bytes: int
    rss_hard_bytes: int
    message_deadline_s: float
    write_budget_s: float
    drain_timeout_s: float
    sample_interval_s: float
    max_messages: int
    retry_every_s: float
    schema_wait_s: float = 60.0
    children_max: int = 0
    room_for_successor: bool = True
    container_limit_bytes: int = 0
    breaker: Rules | None = None
    listen: Listen | None = None

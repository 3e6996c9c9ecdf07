"""What a run of the load test found, as values: what the JSON file holds, and all that a report is drawn from.

Times are the scenario's: a minute is a minute of what is replayed, whatever `time_scale` made of it on the clock.
MB are 2^20 bytes. Memory is the worker's whole process tree.
"""

from dataclasses import dataclass, field
from enum import Enum

SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Reading:
    """A worker's processes at one time. cpu_s: used by all of them since the worker began, also by those that ended."""

    minute: float
    rss_mb: float
    pss_mb: float
    processes: int
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Progress:
    """Where the messages were at one time, as queue and database say.

    queued: in the queue, not delivered. statuses: events by status. api_in_flight: calls that the Memory API has read
    and not answered. connections: of the worker to the database; idle_in_transaction: how many of them were.
    """

    minute: float
    published: int
    queued: int
    statuses: dict[str, int]
    api_in_flight: int
    connections: int
    idle_in_transaction: int


class Kind(Enum):
    """What a mark on the time axis is about."""

    SCENARIO = "scenario"  # the scenario changed something: the same for all workers
    DEATH = "death"  # the worker's first process ended, and was started again
    KILL = "kill"  # the memory limit killed a process


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that happened at one time."""

    minute: float
    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Latency:
    """From published to PROCESSED, in seconds of the scenario; of those that were PROCESSED."""

    p50_s: float
    p90_s: float
    p99_s: float
    max_s: float


@dataclass(frozen=True, slots=True)
class Figures:
    """One worker's run in numbers.

    published = processed + failed + skipped + dead_lettered + unfinished + lost.
    failed: FAILED, and its row keeps the log. unfinished: still in a queue, or its row waits to be tried. lost: neither
    queue nor row has it any more. doubled: conversations whose score was added more than once. processed_per_minute:
    over the whole scenario; processed_at_the_end: in its last quarter. redelivered: deliveries that the broker called
    second ones. api_calls: calls of the Memory API; api_waited_s: how long all of them together were waited for, in the
    scenario's seconds. cpu_s_per_message: per settled message, on the clock. pss_rest_mb: before the first message.
    idle_in_transaction_s: summed over sessions, in the scenario's seconds; longest_idle_in_transaction_s: of one.
    deaths: how often the worker as a whole ended; kills: processes that the memory limit killed.
    """

    published: int
    processed: int
    failed: int
    skipped: int
    dead_lettered: int
    unfinished: int
    lost: int
    doubled: int
    processed_per_minute: float
    processed_at_the_end: int
    latency: Latency | None
    redelivered: int
    api_calls: int
    api_waited_s: float
    cpu_s_per_message: float | None
    pss_rest_mb: float
    pss_peak_mb: float
    rss_peak_mb: float
    idle_in_transaction_s: float
    longest_idle_in_transaction_s: float
    connections_peak: int
    deaths: int
    kills: int


@dataclass(frozen=True, slots=True)
class WorkerResult:
    """One worker's run. name: as in --workers. title: as a reader knows it. version: of its library, if it has one."""

    name: str
    title: str
    version: str | None
    figures: Figures
    readings: tuple[Reading, ...] = ()
    progress: tuple[Progress, ...] = ()
    marks: tuple[Mark, ...] = ()


@dataclass(frozen=True, slots=True)
class Step:
    """One number of children, kept busy. cpu shares: of one core; 2.0 is both of two."""

    children: int
    processed_per_s: float
    most_per_s: float  # children / how long a call takes
    supervisor_cpu_share: float
    supervisor_idle_cpu_share: float
    machine_cpu_share: float
    cpu_ms_per_message: float
    pss_idle_mb: float
    pss_busy_mb: float
    connections: int


@dataclass(frozen=True, slots=True)
class Run:
    """All workers through one scenario.

    from_minute, to_minute: the part of the scenario that was replayed. limit: how the memory limit was enforced.
    steps: of the scenario that steps through numbers of children; empty for all others.
    """

    scenario: str
    title: str
    from_minute: float
    to_minute: float
    time_scale: float
    seed: int
    children: int
    message_kb: float
    limit_mb: int
    limit: str
    machine: str
    command: str
    started_at: str
    workers: tuple[WorkerResult, ...] = ()
    steps: tuple[Step, ...] = ()
    schema: int = field(default=SCHEMA)

"""More and more children on one machine: what they get done, and what each further one costs.

For each number of children the supervised worker gets a queue and a database of its own. It is measured idle; then so
much is published that no child is ever without a message, and it is measured once every child has finished its first.
"""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import psutil

from scripts.bench.contenders import SUPERVISED
from scripts.load.results import Step
from scripts.measure import MB, Ground, NotReached, Tree, copies, pss_bytes, running
from scripts.servers.stack import Stack

ALLOWED = {"FRIENDSHIP_ALLOW_OVERCOMMIT": "on"}
"""The memory sum counts every child at its hard budget. With such small messages they stay far below."""

SPARE_S = 8.0
"""So many seconds of work are published beyond the window: for what is done meanwhile, before and after it."""

PSS_READINGS = 3
CONNECTIONS_EVERY_S = 0.5


@dataclass(frozen=True, slots=True)
class Clocks:
    """Processor time used so far, in seconds: by the supervisor itself, by its tree, by the whole machine."""

    at: float
    supervisor_s: float
    tree_s: float
    machine_s: float


def sweep(  # noqa: PLR0913 - what a step is measured with
    stack: Stack,
    children: Sequence[int],
    *,
    api_s: float = 1.0,
    size_kb: float = 30.0,
    seconds: float = 20.0,
    idle_seconds: float = 10.0,
    say: Callable[[str], object] = print,
) -> list[Step]:
    """Measure each number of children, one after the other.

    api_s: how long the Memory API takes for each call. size_kb: of a message, in 1024 bytes. seconds: how long each
    step is watched at work, idle_seconds: at rest. Raises NotReached.
    """
    found = []
    for count in children:
        found.append(_step(stack, count, api_s, size_kb, seconds, idle_seconds))
        say(line(found[-1]))
    return found


def line(step: Step) -> str:
    """Spell a step."""
    return (
        f"{step.children:>3} children  {step.processed_per_s:6.2f} messages/s of {step.most_per_s:g}  "
        f"supervisor {step.supervisor_cpu_share:.2%} of a core, idle {step.supervisor_idle_cpu_share:.2%}  "
        f"machine {step.machine_cpu_share:.0%}  {step.cpu_ms_per_message:.1f} ms a message  "
        f"PSS {step.pss_idle_mb:.0f} MB idle, {step.pss_busy_mb:.0f} busy  {step.connections} database sessions"
    )


def _step(  # noqa: PLR0913, PLR0917 - as above
    stack: Stack, children: int, api_s: float, size_kb: float, seconds: float, idle_seconds: float
) -> Step:
    name = f"scaling_{children}"
    messages = math.ceil(children * (1 + (seconds + SPARE_S) / api_s))
    conversations = copies(name, messages, size_bytes=round(size_kb * 1024))
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay", seconds=api_s)
    with Ground(stack, name) as ground:
        ground.add(conversations)
        environment = ground.environment | SUPERVISED.variables(children) | ALLOWED
        with running(SUPERVISED.arguments(children), environment) as tree:
            tree.until(lambda: ground.consumers() == children, "all consume")
            idle_bytes = pss_bytes(tree.still("idle"))
            before = _clocks(tree)
            sleep(idle_seconds)
            resting = _clocks(tree)
            ground.publish(SUPERVISED.envelope(one, name) for one in conversations)
            tree.until(lambda: ground.processed() >= children, "every child has finished one")
            began = _clocks(tree)
            from_s = _database_s(ground)
            most_connections = _most_connections(ground, seconds)
            ended = _clocks(tree)
            to_s = _database_s(ground)
            busy_bytes = statistics.median(tree.pss_bytes() for _ in range(PSS_READINGS))
            if ground.processed() > messages - children:
                raise NotReached(f"work for {children} children to the end: {messages} were not enough")
            done = _processed_at(ground, from_s, to_s)
    window_s = ended.at - began.at
    return Step(
        children=children,
        processed_per_s=round(_rate(done), 3),
        most_per_s=children / api_s,
        supervisor_cpu_share=round((ended.supervisor_s - began.supervisor_s) / window_s, 5),
        supervisor_idle_cpu_share=round(
            (resting.supervisor_s - before.supervisor_s) / (resting.at - before.at), 5
        ),
        machine_cpu_share=round((ended.machine_s - began.machine_s) / window_s, 3),
        cpu_ms_per_message=round((ended.tree_s - began.tree_s) / len(done) * 1000, 2),
        pss_idle_mb=round(idle_bytes / MB, 1),
        pss_busy_mb=round(busy_bytes / MB, 1),
        connections=most_connections,
    )


def _rate(done: Sequence[float]) -> float:
    """Return events a second: the slope of their number over time.

    Children that began together end together: between two instants there is one such wave more or less, by chance.
    Raises NotReached for fewer than two instants.
    """
    if len(set(done)) < 2:
        raise NotReached(f"a rate: {len(done)} messages in the window")
    return statistics.linear_regression(done, range(len(done))).slope


def _clocks(tree: Tree) -> Clocks:
    root, *_ = tree.members()
    machine = psutil.cpu_times()
    # In nanoseconds: the ticks of /proc/PID/stat are too coarse for one percent of a few seconds
    ran_ns = int(Path(f"/proc/{root.pid}/schedstat").read_text("ascii").split()[0])
    used_s = machine.user + machine.nice + machine.system + machine.irq + machine.softirq
    return Clocks(monotonic(), ran_ns / 1e9, tree.cpu_s(), used_s)


def _database_s(ground: Ground) -> float:
    """Return the database's time: processed_at is of its clock."""
    row = ground.database.execute("SELECT extract(epoch FROM clock_timestamp())::float8").fetchone()
    assert row is not None
    return float(row[0])


def _processed_at(ground: Ground, from_s: float, to_s: float) -> list[float]:
    rows = ground.database.execute(
        "SELECT extract(epoch FROM processed_at)::float8 AS at FROM conversation_events"
        " WHERE processed_at >= to_timestamp(%s) AND processed_at < to_timestamp(%s) ORDER BY at",
        (from_s, to_s),
    ).fetchall()
    return [float(at) for (at,) in rows]


def connections(ground: Ground) -> int:
    """Count the worker's sessions on its database."""
    row = ground.database.execute(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
        " AND application_name LIKE 'friendship-supervisor%'"
    ).fetchone()
    assert row is not None
    return int(row[0])


def _most_connections(ground: Ground, seconds: float) -> int:
    """Count them again and again for so many seconds."""
    end, most = monotonic() + seconds, 0
    while True:
        most = max(most, connections(ground))
        left = end - monotonic()
        if left <= 0:
            return most
        sleep(min(left, CONNECTIONS_EVERY_S))

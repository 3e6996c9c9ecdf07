"""What one message leaves at the servers, and what a child costs that waits: the figures of docs/scaling.md.

    python -m scripts.load.footprint --size-mb 3 --messages 500 --children 16 --api-s 0.5
    python -m scripts.load.footprint --size-mb 3 --children 32 --waiting

Bytes on disk are what the kernel was given to write (/proc/PID/io), those of the broker counted when the queue is empty
again. The database's are bytes of its log (WAL). Images of whole pages are few here, one in 30 messages: large tables
and frequent checkpoints make more of them, up to 8 kB for each page that a message touches.
"""

from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import click

from scripts.bench.contenders import SUPERVISED
from scripts.load.sweep import ALLOWED, connections
from scripts.measure import MB, Ground, copies, machine, pss_bytes, running
from scripts.servers.stack import Stack

LIMIT_S = 600.0
KEPT_LIMIT_S = 20.0
"""A child gives its database connection back when it has not used it for 5 s."""
WATCHED_S = 15.0


@dataclass(frozen=True, slots=True)
class Footprint:
    """One message's share, in bytes; request_bytes: of the call that it becomes. Times are the worker's."""

    body_bytes: float
    request_bytes: int
    broker_disk_bytes: float
    wal_bytes: float
    cpu_ms: float


@dataclass(frozen=True, slots=True)
class Waiting:
    """Children that all wait for a hung Memory API. cpu_ms_per_s: the tree's, for each of them."""

    children: int
    idle_mb: float
    waiting_mb: float
    cpu_ms_per_s: float
    connections: int


def footprint(stack: Stack, *, size_bytes: int, messages: int, children: int, api_s: float) -> Footprint:
    """Let the worker process so many messages. Raises NotReached."""
    name = "footprint"
    conversations = copies(name, messages, size_bytes=size_bytes)
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay" if api_s else "instant", seconds=api_s)
    stack.memory_api.record(keep=True)
    with Ground(stack, name) as ground:
        ground.add(conversations)
        environment = ground.environment | SUPERVISED.variables(children) | ALLOWED
        with running(SUPERVISED.arguments(children), environment) as tree:
            tree.until(lambda: ground.consumers() == children, "all consume")
            disk_bytes, wal_bytes, cpu_s = _disk_bytes(stack.rabbitmq.pid), _wal_bytes(ground), tree.cpu_s()
            ground.publish(SUPERVISED.envelope(one, name) for one in conversations)
            tree.until(lambda: ground.processed() == messages, "all are PROCESSED", LIMIT_S)
            cpu_s = tree.cpu_s() - cpu_s
        disk_bytes = _disk_bytes(stack.rabbitmq.pid) - disk_bytes
        wal_bytes = _wal_bytes(ground) - wal_bytes
    return Footprint(
        body_bytes=sum(len(one.body) for one in conversations) / messages,
        request_bytes=len(stack.memory_api.last_body()),
        broker_disk_bytes=disk_bytes / messages,
        wal_bytes=wal_bytes / messages,
        cpu_ms=cpu_s / messages * 1000,
    )


def waiting(stack: Stack, *, size_bytes: int, children: int, watched_s: float = WATCHED_S) -> Waiting:
    """Let every child wait with a message in hand, for so long that it has given its connection back.

    watched_s: how long their processor time is watched. Raises NotReached.
    """
    name = "waiting"
    conversations = copies(name, children, size_bytes=size_bytes)
    stack.memory_api.reset()
    stack.memory_api.set_mode("hang")
    with Ground(stack, name) as ground:
        ground.add(conversations)
        environment = ground.environment | SUPERVISED.variables(children) | ALLOWED
        with running(SUPERVISED.arguments(children), environment, patience_s=0) as tree:
            tree.until(lambda: ground.consumers() == children, "all consume")
            idle_bytes = pss_bytes(tree.still("idle"))
            ground.publish(SUPERVISED.envelope(one, name) for one in conversations)
            tree.until(lambda: stack.memory_api.calls().in_flight == children, "all wait")
            tree.until(lambda: connections(ground) == 0, "no connection is kept", KEPT_LIMIT_S)
            waiting_bytes = pss_bytes(tree.still("waiting"))
            cpu_s, began = tree.cpu_s(), monotonic()
            sleep(watched_s)
            share = (tree.cpu_s() - cpu_s) / (monotonic() - began)
            held = connections(ground)
        stack.memory_api.release()
    return Waiting(children, idle_bytes / MB, waiting_bytes / MB, share / children * 1000, held)


def _disk_bytes(pid: int) -> int:
    """Return what a process has given the kernel to write to disks so far."""
    counted = dict(entry.split(": ") for entry in Path(f"/proc/{pid}/io").read_text("ascii").splitlines())
    return int(counted["write_bytes"])


def _wal_bytes(ground: Ground) -> int:
    row = ground.database.execute("SELECT pg_current_wal_insert_lsn() - '0/0'::pg_lsn").fetchone()
    assert row is not None
    return int(row[0])


@click.command()
@click.option("--size-mb", default=3.0, show_default=True, help="Size of a message.")
@click.option("--messages", default=500, show_default=True, help="Messages to process.")
@click.option("--children", default=8, show_default=True, help="Children of the supervisor.")
@click.option("--api-s", default=0.0, show_default=True, help="How long each call of the Memory API takes.")
@click.option("--waiting", "waits", is_flag=True, help="Let all children wait for a hung Memory API instead.")
def main(size_mb: float, messages: int, children: int, api_s: float, waits: bool) -> None:
    """Measure what a message leaves at the servers, or what a waiting child costs."""
    size_bytes = round(size_mb * MB)
    click.echo(f"{children} children, messages of {size_mb:g} MB, {machine()}")
    with Stack() as stack:
        if waits:
            cost = waiting(stack, size_bytes=size_bytes, children=children)
            click.echo(
                f"PSS of the tree {cost.idle_mb:.0f} MB idle, {cost.waiting_mb:.0f} waiting; "
                f"{cost.cpu_ms_per_s:.2f} ms of CPU a child and second; {cost.connections} database sessions"
            )
        else:
            one = footprint(stack, size_bytes=size_bytes, messages=messages, children=children, api_s=api_s)
            click.echo(
                f"a message of {one.body_bytes:.0f} bytes: {one.request_bytes} of request, "
                f"{one.broker_disk_bytes:.0f} written by the broker, {one.wal_bytes:.0f} of WAL, "
                f"{one.cpu_ms:.1f} ms of CPU"
            )


if __name__ == "__main__":
    main()

"""The load test: workers doing the same job against the same servers, measured from outside.

    python scripts/load_test.py --compare floor

Each worker starts on an empty queue; when all of its consumers are there, its CPU time is read, the conversations are
published, and when all are PROCESSED it is read again: start-up does not count, the supervisor does. With --compare the
two take turns, five pairs by default, and the ratio is taken pair by pair, so that the machine's own drift cancels out.
"""

import contextlib
import os
import platform
import signal
import statistics
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import click
import orjson
import pika
import psutil
import psycopg

ROOT = Path(__file__).resolve().parent.parent
if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(ROOT))

from consumer.amqp import Publisher
from consumer.settings import BrokerSettings
from repository.migrations import migrate
from scripts.conversations import Conversation, make
from scripts.servers.memory_modes import facts_for
from scripts.servers.stack import Stack

TOLERANCE = 1e-6
LIMIT_S = 600.0
COMMANDS = {
    "supervised": ("-m", "supervisor", "run"),
    "floor": ("-m", "scripts.floor"),
}


@dataclass(frozen=True, slots=True)
class Load:
    """What every worker is given. delay_s: how long the Memory API takes for each call."""

    messages: int
    size_bytes: int
    children: int
    delay_s: float
    emoji: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One worker's run. Times in seconds, memory in bytes (PSS of the whole tree, sampled)."""

    worker: str
    wall_s: float
    cpu_s_per_message: float
    pss_idle_bytes: int
    pss_peak_bytes: int


@click.command()
@click.option("--messages", default=40, show_default=True, help="Conversations in one run.")
@click.option("--size-kb", default=3000, show_default=True, help="Size of one conversation, in 1000 bytes.")
@click.option("--children", default=2, show_default=True, help="Consumer processes of each worker.")
@click.option("--delay", default=0.0, show_default=True, help="Seconds that the Memory API takes.")
@click.option("--emoji", is_flag=True, help="Half of the texts hold an emoji.")
@click.option(
    "--compare", type=click.Choice(["floor"]), help="Also run the floor, in turns, and print ratios."
)
@click.option("--pairs", default=5, show_default=True, help="Pairs of runs with --compare.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    messages: int,
    size_kb: int,
    children: int,
    delay: float,
    emoji: bool,
    compare: str | None,
    pairs: int,
    json_file: Path | None,
) -> None:
    """Measure what a conversation costs, on private servers that are started for it."""
    load = Load(messages, size_kb * 1000, children, delay, emoji)
    click.echo(f"{messages} conversations of {size_kb} kB, {children} children, {_machine()}")
    rounds: list[dict[str, Result]] = []
    with Stack() as stack:
        for number in range(pairs if compare else 1):
            names = ["supervised", *([compare] if compare else [])]
            # The one that goes first finds the servers cooler: each goes first in turn
            order = names if number % 2 == 0 else names[::-1]
            rounds.append({name: run(stack, name, load, number) for name in order})
            for name in names:
                click.echo(f"{number + 1}. {_line(rounds[-1][name])}")
    report: dict[str, object] = {"load": load, "machine": _machine(), "rounds": rounds}
    if compare:
        ratios = [
            round(pair["supervised"].cpu_s_per_message / pair[compare].cpu_s_per_message, 3)
            for pair in rounds
        ]
        report["cpu_ratio"] = {"pairs": ratios, "median": statistics.median(ratios)}
        click.echo(f"CPU per message, supervised / {compare}: median {statistics.median(ratios)} of {ratios}")
    if json_file:
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def run(stack: Stack, worker: str, load: Load, number: int) -> Result:
    """Run one worker over the load, and prove that its scores are right."""
    name = f"{worker}_{number}"
    environment = stack.environment() | {
        "DATABASE_URL": stack.postgres.create_database(name),
        "RABBITMQ_QUEUE": name,
    }
    migrate(environment["DATABASE_URL"])
    conversations = [
        make(f"{name}-{n}", f"user-{n % 7}", size_bytes=load.size_bytes, emoji=load.emoji)
        for n in range(load.messages)
    ]
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay" if load.delay_s else "instant", seconds=load.delay_s)
    broker = BrokerSettings(environment["RABBITMQ_URL"], name)
    with (
        psycopg.connect(environment["DATABASE_URL"], autocommit=True) as database,
        Publisher(broker, "load test") as publisher,
    ):
        # The floor knows no rows but those that it finds
        with database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO conversation_events (conversation_id, user_id) VALUES (%s, %s)",
                [(one.conversation_id, one.user_id) for one in conversations],
            )
        with _started(worker, load.children, environment) as tree:
            _until(lambda: _consumers(broker) == load.children, f"{worker} consumes")
            idle, began, cpu_began = _pss(tree), monotonic(), _cpu_s(tree)
            for one in conversations:
                publisher.publish(broker.queue, one.body)
            peak = _watch(database, tree, load.messages)
            cpu_s, wall_s = _cpu_s(tree) - cpu_began, monotonic() - began
        _prove(database, conversations)
    stack.postgres.drop_database(name)
    return Result(worker, round(wall_s, 3), round(cpu_s / load.messages, 5), idle, max(peak, idle))


@contextlib.contextmanager
def _started(worker: str, children: int, environment: dict[str, str]) -> Iterator[psutil.Process]:
    own = {
        "FRIENDSHIP_CHILDREN": str(children),
        "FRIENDSHIP_RETRY_EVERY": "0",
        "FRIENDSHIP_LISTEN": "",
    }
    arguments = [*COMMANDS[worker], *([str(children)] if worker == "floor" else [])]
    process = subprocess.Popen(
        [sys.executable, *arguments], cwd=ROOT, env=os.environ | environment | own, stdout=subprocess.DEVNULL
    )
    tree = psutil.Process(process.pid)
    try:
        yield tree
    finally:
        family = tree.children(recursive=True)
        process.send_signal(signal.SIGTERM)
        for member in family if worker == "floor" else ():
            member.terminate()
        process.wait(60)


def _watch(database: psycopg.Connection, tree: psutil.Process, messages: int) -> int:
    """Wait until all is PROCESSED; return the tree's largest PSS that was seen, in bytes."""
    peak = 0
    end = monotonic() + LIMIT_S
    while True:
        row = database.execute(
            "SELECT count(*) FROM conversation_events WHERE status = 'PROCESSED'"
        ).fetchone()
        if row is not None and row[0] == messages:
            return peak
        if monotonic() > end:
            raise SystemExit(f"only {row} of {messages} were processed within {LIMIT_S:g} s")
        peak = max(peak, _pss(tree))
        sleep(0.1)


def _prove(database: psycopg.Connection, conversations: list[Conversation]) -> None:
    expected: dict[str, float] = {}
    for one in conversations:
        change = 0.5 * one.turns + 5 * facts_for(one.conversation_id)
        expected[one.user_id] = expected.get(one.user_id, 0.0) + change
    rows = database.execute("SELECT user_id, friendship_score FROM friendship_status")
    scores: dict[str, float] = dict(rows.fetchall())
    wrong = [user for user, score in expected.items() if abs(scores.get(user, 0.0) - score) > TOLERANCE]
    if wrong or scores.keys() != expected.keys():
        raise SystemExit(f"the scores of {wrong or scores.keys() ^ expected.keys()} are wrong")


def _family(tree: psutil.Process) -> list[psutil.Process]:
    return [tree, *tree.children(recursive=True)]


def _cpu_s(tree: psutil.Process) -> float:
    """User and system time of the tree, its reaped members included."""
    total = 0.0
    for member in _family(tree):
        with contextlib.suppress(psutil.NoSuchProcess):
            times = member.cpu_times()
            total += times.user + times.system + times.children_user + times.children_system
    return total


def _pss(tree: psutil.Process) -> int:
    total = 0
    for member in _family(tree):
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            total += member.memory_full_info().pss
    return total


def _consumers(broker: BrokerSettings) -> int:
    connection = pika.BlockingConnection(pika.URLParameters(broker.url))
    try:
        return int(connection.channel().queue_declare(broker.queue, passive=True).method.consumer_count)
    finally:
        connection.close()


def _until(condition: Callable[[], bool], what: str) -> None:
    end = monotonic() + 60
    while not condition():
        if monotonic() > end:
            raise SystemExit(f"not reached within 60 s: {what}")
        sleep(0.05)


def _machine() -> str:
    return f"Python {platform.python_version()}, {os.cpu_count()} CPUs, Linux {platform.release()}"


def _line(result: Result) -> str:
    mb = 2**20
    return (
        f"{result.worker:<11} {result.cpu_s_per_message * 1000:7.1f} ms CPU a message, {result.wall_s:6.1f} s, "
        f"PSS idle {result.pss_idle_bytes / mb:.0f} MB, peak {result.pss_peak_bytes / mb:.0f} MB"
    )


if __name__ == "__main__":
    main()

"""What measuring takes: a worker's process tree read from outside, and ground for it to work on.

Memory is PSS unless it says otherwise: a page that several processes share counts once, in parts. So the PSS of a tree
is what it costs the machine. (A library's page that programs outside the tree map too counts for these as well: a few
MB of a tree depend on what else runs.)
"""

import contextlib
import os
import platform
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import IO, Self

import orjson
import pika
import psutil
import psycopg
from pika.exceptions import ChannelClosedByBroker

from consumer.amqp import Publisher
from consumer.settings import BrokerSettings
from repository.migrations import migrate
from scripts.conversations import Conversation, make
from scripts.servers.memory_modes import facts_for
from scripts.servers.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
MB = 2**20
TOLERANCE = 1e-6
OBSERVER = "measuring"
"""The application_name of connections that are not the worker's."""

STILL_READINGS = 6
STILL_PAUSE_S = 0.25
STILL_SHARE = 0.01


class NotReached(Exception):
    """What was waited for did not come in time."""


@dataclass(frozen=True, slots=True)
class Member:
    """One process of a tree at one time, in bytes. private: what only this process maps."""

    role: str
    pid: int
    rss_bytes: int
    pss_bytes: int
    private_bytes: int


class Tree:
    """A process and all below it."""

    def __init__(self, pid: int) -> None:
        self._root = psutil.Process(pid)
        self.pid = pid
        self.exit_status: int | None = None
        """As a shell tells it, 137 after SIGKILL; known when `running` is left."""

    @property
    def alive(self) -> bool:
        return _lives(self._root)

    def until(self, condition: Callable[[], bool], what: str, limit_s: float = 60.0) -> None:
        """Wait for a condition. Raises NotReached, at once when the root has ended."""
        end = monotonic() + limit_s
        while not condition():
            if not self.alive:
                raise NotReached(f"the worker ended before: {what}")
            if monotonic() > end:
                raise NotReached(f"not reached within {limit_s:g} s: {what}")
            sleep(0.02)

    def members(self) -> list[psutil.Process]:
        """Return the processes that there are now, the root first."""
        try:
            return [self._root, *self._root.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def read(self) -> tuple[Member, ...]:
        """Read every member's memory, one after the other. One that ends meanwhile is left out."""
        found = []
        for process in self.members():
            with contextlib.suppress(OSError, ValueError, KeyError):
                role = "parent" if process.pid == self._root.pid else "child"
                found.append(_member(role, process.pid))
        return tuple(found)

    def pss_bytes(self) -> int:
        return pss_bytes(self.read())

    def still(self, what: str, limit_s: float = 60.0) -> tuple[Member, ...]:
        """Read until the tree holds still: the last reading.

        Still: six readings in a row, a quarter of a second apart, the sums of their PSS within 1 %.
        Raises NotReached.
        """
        end = monotonic() + limit_s
        sums: list[int] = []
        while True:
            members = self.read()
            sums = [*sums, pss_bytes(members)][-STILL_READINGS:]
            if len(sums) == STILL_READINGS and max(sums) - min(sums) <= STILL_SHARE * max(sums):
                return members
            if monotonic() > end or not self.alive:
                raise NotReached(f"never still within {limit_s:g} s: {what}, last {sums}")
            sleep(STILL_PAUSE_S)

    def cpu_s(self) -> float:
        """User and system time of the tree, its reaped members included."""
        total = 0.0
        for process in self.members():
            with contextlib.suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system + times.children_user + times.children_system
        return total


def pss_bytes(members: Iterable[Member]) -> int:
    return sum(member.pss_bytes for member in members)


def _lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _member(role: str, pid: int) -> Member:
    kb: dict[str, int] = {}
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()[1:]:
        name, _, value = line.partition(":")
        kb[name] = int(value.split()[0])
    private = kb["Private_Clean"] + kb["Private_Dirty"]
    return Member(role, pid, kb["Rss"] * 1024, kb["Pss"] * 1024, private * 1024)


@contextlib.contextmanager
def running(
    command: Sequence[str],
    environment: Mapping[str, str],
    patience_s: float = 60.0,
    *,
    inside: Callable[[Sequence[str]], Sequence[str]] = lambda words: words,
    log: Path | None = None,
) -> Iterator[Tree]:
    """Run a worker from the checkout: arguments for this interpreter.

    inside: makes its command line one that runs in some container. log: a file that its output is added to. At the end
    it is asked to stop; what is left after `patience_s` is killed. A NotReached that comes out of the block gets the
    last lines that the worker wrote.
    """
    with log.open("a+b") if log else tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            list(inside([sys.executable, *command])),
            cwd=ROOT,
            env=os.environ | dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,  # so that what it leaves behind can be found
        )
        tree = Tree(process.pid)
        try:
            yield tree
        except NotReached as missed:
            raise NotReached(f"{missed}\n{_tail(output)}") from None
        finally:
            family = tree.members()[1:]
            if patience_s:
                process.terminate()
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(patience_s)
            # the group too: when the root has died, its children are no longer below it
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            status = process.wait()
            tree.exit_status = status if status >= 0 else 128 - status
            for member in family:
                with contextlib.suppress(psutil.NoSuchProcess):
                    member.kill()
            # a zombie is gone: whoever has adopted it may take its time
            while any(_lives(member) for member in family):
                sleep(0.01)


def _tail(output: IO[bytes]) -> str:
    output.seek(max(0, output.seek(0, os.SEEK_END) - 4000))
    return "\n".join(output.read().decode("utf-8", "replace").splitlines()[-12:])


class Ground:
    """A database and a queue for one run of one worker, both gone after it; a context manager.

    declared: the queue as this project declares it. Else whoever consumes first declares it.
    """

    def __init__(self, stack: Stack, name: str, *, declared: bool = True) -> None:
        self._stack = stack
        self._name = name
        self._declared = declared
        self._resources = contextlib.ExitStack()
        self.environment: dict[str, str] = {}
        self.broker = BrokerSettings("", name)
        self.database: psycopg.Connection

    def __enter__(self) -> Self:
        with contextlib.ExitStack() as resources:
            url = self._stack.postgres.create_database(self._name)
            resources.callback(self._stack.postgres.drop_database, self._name)
            migrate(url)
            self.environment = self._stack.environment() | {
                "DATABASE_URL": url,
                "RABBITMQ_QUEUE": self._name,
            }
            self.broker = BrokerSettings(self.environment["RABBITMQ_URL"], self._name)
            resources.callback(self._delete_queues)
            if self._declared:
                with Publisher(self.broker, "bench"):
                    pass
            self.database = resources.enter_context(
                psycopg.connect(url, autocommit=True, application_name=OBSERVER)
            )
            self._resources = resources.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._resources.close()

    def add(self, conversations: Iterable[Conversation]) -> None:
        """Insert the events: the plain workers know no rows but those that they find."""
        with self.database.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO conversation_events (conversation_id, user_id) VALUES (%s, %s)",
                [(one.conversation_id, one.user_id) for one in conversations],
            )

    def publish(self, messages: Iterable[tuple[bytes, pika.BasicProperties]]) -> None:
        """Publish to the queue, persistent, each confirmed."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        with contextlib.closing(connection):
            channel = connection.channel()
            channel.confirm_delivery()
            for body, properties in messages:
                channel.basic_publish("", self.broker.queue, body, properties, mandatory=True)

    def consumers(self) -> int:
        """Count the queue's consumers; none when there is no queue yet."""
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        with contextlib.closing(connection):
            try:
                declared = connection.channel().queue_declare(self.broker.queue, passive=True)
            except ChannelClosedByBroker:
                return 0
            return int(declared.method.consumer_count)

    def processed(self) -> int:
        row = self.database.execute(
            "SELECT count(*) FROM conversation_events WHERE status = 'PROCESSED'"
        ).fetchone()
        assert row is not None
        return int(row[0])

    def outcome(self, conversation_id: str) -> str:
        """Return an event's status, with its error code if it has one."""
        row = self.database.execute(
            "SELECT concat_ws(' ', status, error_code) FROM conversation_events WHERE conversation_id = %s",
            (conversation_id,),
        ).fetchone()
        assert row is not None
        return str(row[0])

    def prove(self, conversations: Iterable[Conversation]) -> None:
        """Raise NotReached unless every user's score is what the conversations come to."""
        expected: dict[str, float] = {}
        for one in conversations:
            change = 0.5 * one.turns + 5 * facts_for(one.conversation_id)
            expected[one.user_id] = expected.get(one.user_id, 0.0) + change
        rows = self.database.execute("SELECT user_id, friendship_score FROM friendship_status")
        scores: dict[str, float] = dict(rows.fetchall())
        wrong = [user for user, score in expected.items() if abs(scores.get(user, 0.0) - score) > TOLERANCE]
        if wrong or scores.keys() != expected.keys():
            raise NotReached(f"the scores of {wrong or scores.keys() ^ expected.keys()} are wrong")

    def _delete_queues(self) -> None:
        # dead letters of ours and of others, by their own names
        connection = pika.BlockingConnection(pika.URLParameters(self.broker.url))
        with contextlib.closing(connection):
            channel = connection.channel()
            for ending in ("", ".dead", ".DQ", ".XQ"):
                channel.queue_delete(self.broker.queue + ending)


@dataclass(frozen=True, slots=True)
class Model:
    """What conversations that differ in their ids share: 200 of 3 MB take a second to make, not half a minute."""

    agent_tag: str
    turns: int
    log: bytes

    @classmethod
    def of(cls, size_bytes: int, *, emoji: bool = False) -> Self:
        """Make one of this size. emoji: half of the texts hold one."""
        one = make("model", "user", size_bytes=size_bytes, emoji=emoji)
        return cls(one.agent_tag, one.turns, one.body[one.body.index(b',"conversation_log":') :])

    def conversation(self, conversation_id: str, user_id: str) -> Conversation:
        head = {
            "conversation_id": conversation_id,
            "user_id": user_id,
            "bot_type": "TALK",
            "agent_tag": self.agent_tag,
        }
        body = orjson.dumps(head)[:-1] + self.log
        return Conversation(conversation_id, user_id, self.agent_tag, self.turns, body)


def copies(name: str, count: int, *, size_bytes: int, emoji: bool = False) -> list[Conversation]:
    """Make conversations of seven users. emoji: half of the texts hold one."""
    model = Model.of(size_bytes, emoji=emoji)
    return [model.conversation(f"{name}-{number}", f"user-{number % 7}") for number in range(count)]


def machine() -> str:
    """Name the machine in a few words."""
    name = platform.machine()
    with contextlib.suppress(OSError):
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        name = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), name)
    return f"Python {platform.python_version()}, {os.cpu_count()} CPUs ({name}), Linux {platform.release()}"

"""Who is compared: how each is started, and how a message is written to it."""

import importlib.metadata
import importlib.util
import time
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson
import pika

from scripts.bench.job import TASK
from scripts.conversations import Conversation

Message = tuple[bytes, pika.BasicProperties]


def plain(conversation: Conversation, _queue: str) -> Message:
    """Write the conversation as it is."""
    return conversation.body, pika.BasicProperties(delivery_mode=2, content_type="application/json")


def celery_task(conversation: Conversation, _queue: str) -> Message:
    """Write a call of the task in Celery's message protocol 2.

    The conversation stays UTF-8 as it is: Celery's own publisher would escape what is beyond ASCII, which only makes
    the body larger.
    """
    number = str(uuid.uuid4())
    headers = {
        "lang": "py",
        "task": TASK,
        "id": number,
        "root_id": number,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "timelimit": [None, None],
        "argsrepr": "(...)",
        "kwargsrepr": "{}",
    }
    properties = pika.BasicProperties(
        delivery_mode=2,
        content_type="application/json",
        content_encoding="utf-8",
        correlation_id=number,
        headers=headers,
    )
    embed = b'{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}'
    return b"[[%b],%b]" % (conversation.body, embed), properties


def dramatiq_message(conversation: Conversation, queue: str) -> Message:
    """Write a message for the actor in Dramatiq's JSON. UTF-8, for the same reason."""
    head = {
        "queue_name": queue,
        "actor_name": TASK,
        "kwargs": {},
        "options": {},
        "message_id": str(uuid.uuid4()),
        "message_timestamp": time.time_ns() // 1_000_000,
    }
    body = orjson.dumps(head)[:-1] + b',"args":[%b]}' % conversation.body
    return body, pika.BasicProperties(delivery_mode=2)


@dataclass(frozen=True, slots=True)
class Contender:
    """One way to run the job on K processes.

    command: the interpreter's arguments, K filled in for {}. consumers: how many the queue has when all K are ready.
    declares: it declares its queue itself. package: what must be installed, None for nothing. faulty: the interpreter's
    arguments that run it with faults injected (scripts/faults), K filled in likewise. api_timeout_s: how long it lets a
    call of the Memory API take. own_times: it has times that no setting changes; with faults injected they are scaled.
    """

    name: str
    title: str
    command: tuple[str, ...]
    faulty: tuple[str, ...]
    consumers: Callable[[int], int] = lambda children: children
    envelope: Callable[[Conversation, str], Message] = plain
    declares: bool = False
    package: str | None = None
    environment: Mapping[str, str] = field(default_factory=dict)
    api_timeout_s: float = 60.0
    own_times: bool = False

    def arguments(self, children: int, *, faulty: bool = False) -> tuple[str, ...]:
        """Give the interpreter's arguments; faulty: with faults injected."""
        words = self.faulty if faulty else self.command
        return tuple(word.format(children) for word in words)

    def variables(self, children: int) -> dict[str, str]:
        return {name: value.format(children) for name, value in self.environment.items()}

    @property
    def installed(self) -> bool:
        return self.package is None or importlib.util.find_spec(self.package) is not None

    @property
    def version(self) -> str | None:
        """The version of the library that it needs, if it needs one."""
        return importlib.metadata.version(self.package) if self.package and self.installed else None


WRAPPED = ("-m", "scripts.faults.wrapped")
BARE_LOOP = ("scripts/floor.py", "{}")
CELERY_WORKER = (
    *("-m", "celery", "-A", "scripts.bench.celery_worker", "worker", "--pool=prefork"),
    *("--concurrency={}", "--loglevel=warning", "--without-gossip", "--without-mingle"),
)
DRAMATIQ_WORKER = ("-m", "dramatiq", "scripts.bench.dramatiq_worker", "--processes={}", "--threads=1")
THREADED_WORKER = ("-m", "scripts.bench.threaded_worker")

SUPERVISED = Contender(
    "supervised",
    "friendship-supervisor",
    ("-m", "supervisor", "run"),
    faulty=("-m", "scripts.faults.injected", "run"),
    environment={
        "FRIENDSHIP_CHILDREN": "{}",
        "FRIENDSHIP_RSS_MB": "300",
        "FRIENDSHIP_RETRY_EVERY": "0",
        "FRIENDSHIP_LISTEN": "",
        "FRIENDSHIP_LOG_FORMAT": "json",
    },
    own_times=True,
)
FLOOR = Contender("floor", "bare loop", BARE_LOOP, faulty=(*WRAPPED, *BARE_LOOP))
CELERY = Contender(
    "celery",
    "Celery",
    CELERY_WORKER,
    faulty=(*WRAPPED, *CELERY_WORKER),
    consumers=lambda _children: 1,  # of the parent, which hands messages on
    envelope=celery_task,
    declares=True,
    package="celery",
)
DRAMATIQ = Contender(
    "dramatiq",
    "Dramatiq",
    DRAMATIQ_WORKER,
    faulty=(*WRAPPED, *DRAMATIQ_WORKER),
    envelope=dramatiq_message,
    declares=True,
    package="dramatiq",
    environment={"dramatiq_queue_prefetch": "1", "dramatiq_delay_queue_prefetch": "4"},
)
THREADED = Contender(
    "threaded",
    "old worker",
    THREADED_WORKER,
    faulty=(*WRAPPED, *THREADED_WORKER),
    consumers=lambda _children: 1,
    api_timeout_s=240.0,
)
THREADED10 = replace(
    THREADED, name="threaded10", title="old, prefetch 10", environment={"BENCH_PREFETCH": "10"}
)
COMPARED = {one.name: one for one in (SUPERVISED, FLOOR, CELERY, DRAMATIQ)}
"""Those that run on K processes: what one of them needs can be compared with what another does."""
CONTENDERS = COMPARED | {one.name: one for one in (THREADED, THREADED10)}

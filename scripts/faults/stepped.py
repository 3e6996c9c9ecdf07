"""The real command line with failpoints at the numbered steps of a message's way: tests only.

    FRIENDSHIP_FAULT_DIRECTORY=/tmp/faults python -m scripts.faults.stepped run --children 8

Every fault is put in from outside, around the functions of the product, before the fork; the product knows nothing of
them. Conversations choose theirs by their ids: `scripts.faults.failpoints`. What `scripts.faults.injected` puts in is
there too.
"""

import functools
import os
import signal
import socket
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from pika import frame
from pika.spec import Basic

from consumer import pipeline
from consumer.amqp import BrokerLink
from consumer.deadline import BoundedStream
from consumer.memory_api import MemoryApi
from consumer.pipeline import Pipeline
from consumer.ports import Delivery
from consumer.runtime import Runtime
from repository import events
from repository.connection import Database
from repository.events import Events
from scripts.faults import injected
from scripts.faults.failpoints import COUNTED_IN, Action, Failpoints, Step
from scripts.faults.harm import Harm
from supervisor import signals
from supervisor.__main__ import main

Work = Callable[..., Any]

CLAIMS = [events.SQL[name] for name in ("claim", "create_claimed", "take_over")]
LOOK_EVERY_S = 0.005


class Hold:
    """What actions need of the product, as this process last saw it."""

    runtime: Runtime
    link: BrokerLink
    database: Database

    def term(self) -> None:
        """Have the supervisor stop, and go on when this child has been told."""
        os.kill(os.getppid(), signal.SIGTERM)
        while not self.runtime.stop_requested():
            time.sleep(LOOK_EVERY_S)

    def cut_broker(self) -> None:
        """Break the connection below pika, on both sides."""
        broker_socket(self.link).shutdown(socket.SHUT_RDWR)

    def cut_database(self) -> None:
        """Break the connection below libpq, on both sides; nothing happens when there is none."""
        if self.database.is_open:
            with socket.socket(fileno=os.dup(self.database.connection().fileno())) as sock:
                sock.shutdown(socket.SHUT_RDWR)


def broker_socket(link: BrokerLink) -> socket.socket:
    """Give the socket of a plain connection, which pika keeps to itself."""
    assert link._connection is not None
    sock = link._connection._impl._transport._sock
    assert isinstance(sock, socket.socket)
    return sock


def wrap(owner: object, name: str, wrapper: Callable[..., Any]) -> None:
    """Replace a function of the product by `wrapper`, which is given the original before its arguments."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def call(*arguments: Any, **named: Any) -> Any:
        return wrapper(original, *arguments, **named)

    setattr(owner, name, call)


def inject(points: Failpoints, hold: Hold) -> None:
    """Put a failpoint at every step; before the fork, so that every child has them."""
    _at_the_ends(points, hold)
    _at_the_database(points, hold)
    _at_the_call(points)
    _at_the_ack(points, hold)


def _at_the_ends(points: Failpoints, hold: Hold) -> None:
    def handle(original: Work, self: Pipeline, delivery: Delivery) -> Any:
        hold.runtime = self._runtime
        points.begin(delivery.message_id)
        return original(self, delivery)

    def parse(original: Work, body: Any) -> Any:
        points.reach(Step.RECEIVED)
        return original(body)

    def work(original: Work, self: Pipeline, *job_and_claim: Any) -> Any:
        points.reach(Step.AFTER_CLAIM)
        return original(self, *job_and_claim)

    wrap(Pipeline, "handle", handle)
    wrap(pipeline, "parse", parse)
    wrap(Pipeline, "_work", work)


def _at_the_database(points: Failpoints, hold: Hold) -> None:
    def connection(original: Work, self: Database) -> Any:
        hold.database = self
        return original(self)

    def claim(original: Work, self: Events, request: Any) -> Any:
        points.reach(Step.BEFORE_CLAIM)
        return original(self, request)

    def execute(original: Work, self: Database, statement: Any, *parameters: Any, **named: Any) -> Any:
        found = original(self, statement, *parameters, **named)
        if found and statement in CLAIMS:
            points.reach(Step.CLAIM_COMMITTED)
        return found

    def complete(original: Work, self: Events, *claim: Any, **outcome: Any) -> Any:
        points.reach(Step.BEFORE_WRITE)
        status = original(self, *claim, **outcome)
        points.reach(Step.AFTER_COMMIT)
        return status

    def add_to_score(original: Work, *written: Any) -> Any:
        status = original(*written)
        points.reach(Step.BEFORE_COMMIT)
        return status

    def run(original: Work, self: Database, work: Any, **named: Any) -> Any:
        done = original(self, work, **named)
        points.reach(Step.COMMITTED)
        return done

    wrap(Database, "connection", connection)
    wrap(Events, "claim", claim)
    wrap(Database, "execute", execute)
    wrap(Events, "complete", complete)
    wrap(events, "add_to_score", add_to_score)
    wrap(Database, "run", run)


def _at_the_call(points: Failpoints) -> None:
    asked = False

    def extract(original: Work, self: MemoryApi, *request: Any) -> Any:
        nonlocal asked
        points.reach(Step.BEFORE_CALL)
        asked = True
        try:
            facts = original(self, *request)
        finally:
            asked = False
        points.reach(Step.AFTER_CALL)
        return facts

    def read(original: Work, self: BoundedStream, *limits: Any, **named: Any) -> Any:
        nonlocal asked
        if asked:
            # The first read of a call follows the last byte of its request
            asked = False
            points.reach(Step.DURING_CALL)
        return original(self, *limits, **named)

    wrap(MemoryApi, "extract", extract)
    wrap(BoundedStream, "read", read)


def _at_the_ack(points: Failpoints, hold: Hold) -> None:
    def open_link(original: Work, self: BrokerLink) -> None:
        hold.link = self
        original(self)

    def ack(original: Work, self: BrokerLink, delivery: Delivery) -> Any:
        points.reach(Step.BEFORE_ACK)
        sent = not self.broken and points.due(Step.INSIDE_ACK) and _half_an_ack(points, self, delivery)
        arrived = sent or original(self, delivery)
        points.reach(Step.AFTER_ACK)
        return arrived

    wrap(BrokerLink, "open", open_link)
    wrap(BrokerLink, "ack", ack)


def _half_an_ack(points: Failpoints, link: BrokerLink, delivery: Delivery) -> bool:
    """Send the first half of an acknowledgement, let the fault happen, send the rest; False if that was refused."""
    assert link._channel is not None
    data = frame.Method(link._channel.channel_number, Basic.Ack(delivery.tag)).marshal()
    sock = broker_socket(link)
    sock.send(data[: len(data) // 2])
    points.act()
    with suppress(OSError):
        return sock.send(data[len(data) // 2 :]) > 0
    return False


if __name__ == "__main__":
    signals.hold()
    injected.inject(Harm.of(os.environ))
    hold = Hold()
    actions = {
        Action.TERM: hold.term,
        Action.CUT_BROKER: hold.cut_broker,
        Action.CUT_DATABASE: hold.cut_database,
    }
    inject(Failpoints(Path(os.environ[COUNTED_IN]), actions), hold)
    main()

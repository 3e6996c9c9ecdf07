"""The retry pass: rows that are due become messages again.

Theory of operation.
1. The broker is reached first: with it away no row is touched.
2. Before each batch the queue's depth is looked at. What finds no room stays in its row, untouched, for a later pass:
   an outage of an hour comes back in portions, and a backlog never multiplies itself. A few events whose holder's lease
   ran out go before all that: a standing backlog must not keep them for ever.
3. Rows are taken, each by exactly one host, and committed with a later due time; only then are their ids published. A
   pass that dies in between has caused a delay and lost nothing. One that dies before a confirm may have published an
   id that is published again later: an id that is in the queue twice is worked on once (repository/events.py).
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import orjson

from consumer.allowance import RESCUES, allowance
from consumer.alone import alone
from consumer.amqp import Publisher
from consumer.settings import BrokerSettings, ConsumerSettings
from repository import retries
from repository.connection import Database
from repository.place import place

BATCH = 200
CAP = 2000

log = logging.getLogger("friendship.retry")


@dataclass(slots=True)
class Counts:
    """Rows taken by why they were due, and messages that the broker has confirmed.

    left: due, and not touched because the queue holds enough.
    """

    failed: int = 0
    pending: int = 0
    rescued: int = 0
    published: int = 0
    left: int = 0


class Identified(Protocol):
    """An event, as far as a message has to name it."""

    @property
    def conversation_id(self) -> str: ...
    @property
    def user_id(self) -> str: ...


def pass_alone(database: Database, settings: ConsumerSettings, counts: Counts, cap: int = CAP) -> None:
    """Make one pass, unless another one of this host is at it; the rest as `pass_once`."""
    with alone("retry", place(settings.database_url), settings.broker.queue) as granted:
        if granted:
            pass_once(database, settings.broker, counts, cap)
        else:
            log.info("retry_pass_busy")


def pass_once(database: Database, broker: BrokerSettings, counts: Counts, cap: int = CAP) -> None:
    """Publish due events once each, counting as it goes.

    cap: messages; so many are published at the most, and only while fewer are ready in the queue.
    Raises BrokerAway, and the repository's errors.
    """
    with Publisher(broker, "retry") as publisher:
        _publish(publisher, broker, retries.due(database, min(RESCUES, cap), kinds=("rescued",)), counts)
        while room := min(BATCH, allowance(publisher.depth(), cap), cap - counts.published):
            due = retries.due(database, limit=room)
            if not due:
                break
            _publish(publisher, broker, due, counts)
        else:
            counts.left = retries.waiting(database)
    if counts.published or counts.left:
        told = {"published": counts.published, "rescued": counts.rescued, "left": counts.left}
        log.info("retry_pass", extra=told)


def _publish(
    publisher: Publisher, broker: BrokerSettings, due: Sequence[retries.Due], counts: Counts
) -> None:
    for event in due:
        setattr(counts, event.kind, getattr(counts, event.kind) + 1)
    for _ in publish_ids(publisher, broker.queue, due):
        counts.published += 1


def publish_ids(publisher: Publisher, queue: str, events: Iterable[Identified]) -> Iterable[str]:
    """Publish a message for each event, without its log: the row has that. Gives each id that is confirmed."""
    for event in events:
        body = orjson.dumps({"conversation_id": event.conversation_id, "user_id": event.user_id})
        publisher.publish(queue, body, event.conversation_id)
        yield event.conversation_id

"""The retry pass: rows that are due become messages again.

The rows are taken first, each by exactly one host, and committed with a later due time; only then are their ids
published. A pass that dies in between has caused a delay and lost nothing.
"""

import logging
from dataclasses import dataclass

import orjson

from consumer.amqp import Publisher
from consumer.settings import BrokerSettings
from repository import retries
from repository.connection import Database

BATCH = 200

log = logging.getLogger("friendship.retry")


@dataclass(slots=True)
class Counts:
    """Rows taken by why they were due, and messages that the broker has confirmed."""

    failed: int = 0
    pending: int = 0
    rescued: int = 0
    published: int = 0


def pass_once(database: Database, broker: BrokerSettings, counts: Counts) -> None:
    """Publish every due event once, counting as it goes.

    The broker is reached first: with it away no row is touched. Raises BrokerAway, and the repository's errors.
    """
    with Publisher(broker, "retry") as publisher:
        while due := retries.due(database, limit=BATCH):
            for event in due:
                setattr(counts, event.kind, getattr(counts, event.kind) + 1)
                body = orjson.dumps({"conversation_id": event.conversation_id, "user_id": event.user_id})
                publisher.publish(broker.queue, body)
                counts.published += 1
    if counts.published:
        log.info("retry_pass", extra={"published": counts.published, "rescued": counts.rescued})

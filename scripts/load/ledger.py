"""What became of every message, from what queue and database say when the worker is gone; pure but for the reading."""

import contextlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from time import monotonic, sleep

import pika
import psycopg
from pika.exceptions import ChannelClosedByBroker

from scripts.faults.timeline import percentile
from scripts.load.results import Latency
from scripts.measure import OBSERVER, Ground

DEAD_ENDINGS = (".dead", ".XQ")
WAITING_ENDINGS = ("", ".DQ")
NAME = re.compile(rb'"conversation_id": ?"([^"]+)"')
LOOK_AGAIN_S, LOOK_EVERY_S = 2.0, 0.1
HEAD_BYTES = 4096
"""An envelope is shorter: the conversation's id stands before its log."""

DONE = frozenset({"PROCESSED", "SKIPPED"})
ROWS = """
SELECT e.conversation_id, e.status, num_nonnulls(e.parked_log, e.conversation_log, e.conversation_log_url) > 0,
       extract(epoch FROM e.processed_at)::float, coalesce(s.friendship_score, 0)
  FROM conversation_events AS e LEFT JOIN friendship_status AS s USING (user_id)
"""


class Fate(Enum):
    PROCESSED = "processed"
    FAILED = "failed"
    SKIPPED = "skipped"
    DEAD_LETTERED = "dead_lettered"
    UNFINISHED = "unfinished"
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Row:
    """An event's row and its user's score. keeps_log: so it can be tried again without its message.

    processed_at: seconds since 1970.
    """

    status: str
    keeps_log: bool
    processed_at: float | None
    score: float


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was left. waiting, dead: ids of the messages that are still in a queue, or set aside in one."""

    rows: Mapping[str, Row]
    waiting: frozenset[str]
    dead: frozenset[str]

    def fate(self, name: str) -> Fate:
        """Say what became of a message. A row that has settled it, or keeps its log, counts before its copies."""
        row = self.rows.get(name)
        if row is not None and (row.status in DONE or (row.status == "FAILED" and row.keeps_log)):
            return Fate[row.status]
        if name in self.waiting:
            return Fate.UNFINISHED
        if name in self.dead:
            return Fate.DEAD_LETTERED
        return Fate.UNFINISHED if row is not None and row.keeps_log else Fate.LOST

    def fates(self, published: Mapping[str, float]) -> Counter[Fate]:
        return Counter(self.fate(name) for name in published)

    def doubled(self, changes: Mapping[str, float]) -> int:
        """Count the users, each of one conversation, whose score is more than it. changes: what each comes to."""
        return sum(1 for name, row in self.rows.items() if row.score > 1.5 * changes.get(name, row.score))

    def latency(self, published: Mapping[str, float], scale: float) -> Latency | None:
        """Return the time from published to PROCESSED, in seconds of the scenario. published: seconds since 1970."""
        found = [
            (row.processed_at - published[name]) / scale
            for name, row in self.rows.items()
            if name in published and row.status == "PROCESSED" and row.processed_at is not None
        ]
        if not found:
            return None
        p50, p90, p99 = (round(percentile(found, share), 1) for share in (0.5, 0.9, 0.99))
        return Latency(p50, p90, p99, round(max(found), 1))

    def processed_between(self, start: float, end: float) -> int:
        """Count what became PROCESSED after the one time and not after the other, in seconds since 1970."""
        times = [row.processed_at for row in self.rows.values() if row.status == "PROCESSED"]
        return sum(1 for at in times if at is not None and start < at <= end)


def read(ground: Ground, published: Mapping[str, float]) -> Ledger:
    """Read the rows, and take everything out of the queues: nobody consumes any more.

    What a killed consumer held comes back within milliseconds: what seems lost is looked for a little longer.
    """
    with psycopg.connect(ground.environment["DATABASE_URL"], application_name=OBSERVER) as database:
        rows = {name: Row(*rest) for name, *rest in database.execute(ROWS).fetchall()}
    found = Ledger(rows, frozenset(), frozenset())
    end = monotonic() + LOOK_AGAIN_S
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(ground.broker.url))) as connection:
        while True:
            waiting, dead = (
                frozenset[str]().union(
                    *(_names(connection, ground.broker.queue + ending) for ending in endings)
                )
                for endings in (WAITING_ENDINGS, DEAD_ENDINGS)
            )
            found = Ledger(rows, found.waiting | waiting, found.dead | dead)
            if not found.fates(published)[Fate.LOST] or monotonic() > end:
                return found
            sleep(LOOK_EVERY_S)


def _names(connection: pika.BlockingConnection, queue: str) -> frozenset[str]:
    found = set()
    channel = connection.channel()
    with contextlib.suppress(ChannelClosedByBroker):  # no such queue
        while True:
            method, _, body = channel.basic_get(queue, auto_ack=True)
            if method is None or body is None:
                break
            if named := NAME.search(body, 0, HEAD_BYTES):
                found.add(named[1].decode())
    return frozenset(found)

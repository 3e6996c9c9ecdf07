"""Ask the servers again and again where the messages are, and what the worker does to the database."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from time import monotonic

import pika
import psycopg
from pika.exceptions import AMQPError, ChannelClosedByBroker

from scripts.faults.container import Limit
from scripts.load.background import Background
from scripts.load.broker import patient
from scripts.load.clock import Clock
from scripts.load.results import Kind, Mark, Progress
from scripts.measure import OBSERVER, Ground
from scripts.servers.memory_api import MemoryApiStandIn

LOOK_EVERY_S = 0.1
TELL_EVERY = 3
"""Looks at the database's sessions for one at everything."""

# Between two statements of one transaction every program is idle in it for some microseconds
SESSIONS = """
SELECT count(*),
       count(*) FILTER (WHERE idle_s > 0.05),
       coalesce(max(idle_s), 0)::float
  FROM (SELECT CASE WHEN state LIKE 'idle in transaction%%'
                    THEN extract(epoch FROM clock_timestamp() - state_change) END AS idle_s
          FROM pg_stat_activity
         WHERE datname = current_database() AND backend_type = 'client backend' AND application_name <> %s) AS s
"""
STATUSES = "SELECT status, count(*) FROM conversation_events GROUP BY status"


@dataclass
class Sessions:
    """The worker's sessions. idle_s: summed over those idle in a transaction, on the clock; longest_s: of one."""

    connections: int = 0
    idle: int = 0
    connections_peak: int = 0
    idle_s: float = 0.0
    longest_s: float = 0.0

    def add(self, connections: int, idle: int, longest_s: float, passed_s: float) -> None:
        self.connections, self.idle = connections, idle
        self.connections_peak = max(self.connections_peak, connections)
        self.idle_s += idle * passed_s
        self.longest_s = max(self.longest_s, longest_s if idle else 0.0)


class Probe(Background):
    """Asks. progress: what it was told, in order of time."""

    def __init__(self, ground: Ground, api: MemoryApiStandIn, limit: Limit, clock: Clock) -> None:
        super().__init__()
        self._ground, self._api, self._limit, self._clock = ground, api, limit, clock
        self._database: psycopg.Connection | None = None
        self._broker: pika.BlockingConnection | None = None
        self.published = 0
        self.sessions = Sessions()
        self.api_waited_s = 0.0
        """On the clock, summed over calls."""
        self.progress: list[Progress] = []
        self.marks: list[Mark] = []

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._hang_up()

    def work(self) -> None:
        looks, kills, last = 0, 0, monotonic()
        told = last
        while not self.over.wait(LOOK_EVERY_S):
            now = monotonic()
            with self._lasting():
                self._look_at_sessions(now - last)
                if looks % TELL_EVERY == 0:
                    self.progress.append(self._everything(now))
                    self.api_waited_s += self.progress[-1].api_in_flight * (now - told)
                    told = now
            looks, last = looks + 1, now
            if (found := self._limit.kills()) > kills:
                self.marks.append(Mark(self._clock.minute(now), Kind.KILL, "killed at the memory limit"))
                kills = found

    @contextlib.contextmanager
    def _lasting(self) -> Iterator[None]:
        """Let a look fail when a server is away; the next one connects again."""
        try:
            yield
        except (psycopg.OperationalError, AMQPError, OSError):
            self._hang_up()

    def _hang_up(self) -> None:
        for connection in (self._database, self._broker):
            with contextlib.suppress(Exception):  # what is broken already need not be closed well
                if connection is not None:
                    connection.close()
        self._database = self._broker = None

    def _look_at_sessions(self, passed_s: float) -> None:
        if self._database is None:
            self._database = psycopg.connect(
                self._ground.environment["DATABASE_URL"],
                autocommit=True,
                application_name=OBSERVER,
                connect_timeout=2,
            )
        row = self._database.execute(SESSIONS, (OBSERVER,)).fetchone()
        assert row is not None
        connections, idle, longest_s = row
        self.sessions.add(connections, idle, longest_s, passed_s)

    def _everything(self, now: float) -> Progress:
        assert self._database is not None
        return Progress(
            minute=round(self._clock.minute(now), 3),
            published=self.published,
            queued=self._queued(),
            statuses=dict(self._database.execute(STATUSES).fetchall()),
            api_in_flight=self._api.calls().in_flight,
            connections=self.sessions.connections,
            idle_in_transaction=self.sessions.idle,
        )

    def _queued(self) -> int:
        if self._broker is None:
            self._broker = patient(self._ground.broker.url)
        try:
            with contextlib.closing(self._broker.channel()) as channel:
                return int(
                    channel.queue_declare(self._ground.broker.queue, passive=True).method.message_count
                )
        except ChannelClosedByBroker:
            return 0  # a worker that declares its queue itself has not begun

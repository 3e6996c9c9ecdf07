"""Conversations that keep coming while servers go away, and what became of them: lost, doubled, failed."""

import contextlib
import threading
from dataclasses import dataclass
from time import monotonic, sleep
from typing import Self

import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel

from repository import invariants
from repository.connection import Database
from scripts.conversations import Conversation, make
from scripts.measure import TOLERANCE, NotReached
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.memory_modes import facts_for

LOOK_EVERY_S = 0.05
AGAIN_AFTER_S = 0.1


class Load:
    """A publisher in a thread of its own; a context manager. It sends each conversation until the broker confirms it.

    urls: of the broker's nodes, tried in turn. per_s: how many it sends while it is not paused.
    """

    def __init__(
        self, urls: list[str], queue: str, *, per_s: float, prefix: str = "c", users: int = 20
    ) -> None:
        self._urls, self._queue, self._per_s, self._prefix, self._users = urls, queue, per_s, prefix, users
        self._connection: pika.BlockingConnection | None = None
        self._channel: BlockingChannel | None = None
        self._running = threading.Event()
        self._ended = threading.Event()
        self._quiet = threading.Event()
        self._thread = threading.Thread(target=self._publish, daemon=True)
        self.confirmed: dict[str, Conversation] = {}
        self.tries = 0

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._running.set()
        self._thread.join()

    def resume(self) -> None:
        self._running.set()

    def pause(self) -> None:
        self._running.clear()

    @property
    def quiet(self) -> bool:
        """Say whether it is paused, with nothing begun that the broker has not confirmed."""
        return not self._running.is_set() and self._quiet.is_set()

    def _publish(self) -> None:
        number = 0
        while True:
            if not self._running.is_set():
                self._quiet.set()
            self._running.wait()
            self._quiet.clear()
            if self._ended.is_set():
                break
            one = make(f"{self._prefix}-{number:05}", f"user-{number % self._users}", size_bytes=3_000)
            number += 1
            # What is begun is confirmed before a pause counts: nothing is half sent
            while not self._sent(one):
                if self._ended.wait(AGAIN_AFTER_S):
                    return
            self.confirmed[one.conversation_id] = one
            self._ended.wait(1 / self._per_s)
        self._drop()

    def _sent(self, one: Conversation) -> bool:
        try:
            if self._channel is None:
                self._connect()
            assert self._channel is not None
            properties = pika.BasicProperties(message_id=one.conversation_id, delivery_mode=2)
            self._channel.basic_publish("", self._queue, one.body, properties, mandatory=True)
        except Exception:  # noqa: BLE001 - whatever it was, the next try is on another connection
            self._drop()
            return False
        return True

    def _connect(self) -> None:
        self.tries += 1
        parameters = pika.URLParameters(self._urls[self.tries % len(self._urls)])
        parameters.heartbeat = 0  # nobody pumps it
        parameters.socket_timeout = parameters.stack_timeout = 5
        # A confirm that does not come must not stop the run
        parameters.blocked_connection_timeout = 30
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()

    def _drop(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None:
            with contextlib.suppress(Exception):
                connection.close()


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run came to. calls: of the Memory API, beyond one for each conversation."""

    published: int
    lost: int
    doubled: int
    failed: int
    wrong_scores: int
    most_attempts: int
    extra_calls: int
    breaches: tuple[str, ...]

    @property
    def good(self) -> bool:
        return not (self.lost or self.doubled or self.failed or self.wrong_scores or self.breaches)


class Books:
    """The run's database, asked on a connection that comes back by itself."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.Connection | None = None

    def ask(self, sql: str) -> list[tuple[object, ...]]:
        """Run a SELECT. Raises psycopg.OperationalError while the database is away."""
        if self._connection is None or self._connection.closed:
            self._connection = psycopg.connect(self._url, autocommit=True, connect_timeout=5)
        return self._connection.execute(sql.encode()).fetchall()

    def close(self) -> None:
        """Let go of the database, which may be about to go away."""
        if self._connection is not None:
            self._connection.close()

    def unfinished(self, load: Load) -> int:
        """Count the confirmed conversations that are not PROCESSED."""
        rows = self.ask("SELECT conversation_id FROM conversation_events WHERE status = 'PROCESSED'")
        return len(load.confirmed.keys() - {row[0] for row in rows})

    def wait_until_done(self, load: Load, limit_s: float) -> float:
        """Wait until a paused load is PROCESSED, all of it; return the seconds it took. Raises NotReached."""
        began = monotonic()
        while left := self.unfinished(load) + (not load.quiet):
            if monotonic() - began > limit_s:
                sql = "SELECT status, error_code, count(*) FROM conversation_events GROUP BY 1, 2"
                raise NotReached(f"{left} unfinished after {limit_s:g} s: {self.ask(sql)}")
            sleep(LOOK_EVERY_S)
        return round(monotonic() - began, 2)

    def verdict(self, load: Load, memory_api: MemoryApiStandIn) -> Verdict:
        """Compare what was published with what stands in the rows, independently of the program."""
        expected: dict[str, float] = {}
        for one in load.confirmed.values():
            change = 0.5 * one.turns + 5 * facts_for(one.conversation_id)
            expected[one.user_id] = expected.get(one.user_id, 0.0) + change
        scores = {str(user): float(str(score)) for user, score in self.ask(
            "SELECT user_id, friendship_score FROM friendship_status")}  # fmt: skip
        ledger = "SELECT conversation_id FROM score_ledger GROUP BY 1 HAVING count(*) > 1"
        failed = "SELECT conversation_id FROM conversation_events WHERE status = 'FAILED' OR error_code IS NOT NULL"
        (attempts,) = self.ask("SELECT coalesce(max(attempt_count), 0) FROM conversation_events")
        with contextlib.closing(
            Database(self._url, application_name="friendship-supervisor faults")
        ) as database:
            breaches = tuple(
                finding.name for finding in invariants.check(database) if finding.severity == "breach"
            )
        return Verdict(
            published=len(load.confirmed),
            lost=self.unfinished(load),
            doubled=len(self.ask(ledger)),
            failed=len(self.ask(failed)),
            wrong_scores=sum(
                abs(scores.get(user, 0.0) - score) > TOLERANCE for user, score in expected.items()
            ),
            most_attempts=int(str(attempts[0])),
            extra_calls=memory_api.calls().total - len(load.confirmed),
            breaches=breaches,
        )

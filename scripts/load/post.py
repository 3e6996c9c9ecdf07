"""The post: conversations of one size are made, entered as rows, and published at their time."""

import contextlib
from collections.abc import Callable, Iterator
from time import monotonic, sleep, time
from typing import Self

import pika
import psycopg
from pika.exceptions import AMQPError

from scripts.bench.contenders import Contender
from scripts.conversations import Conversation
from scripts.load.background import Background
from scripts.load.broker import patient
from scripts.load.clock import Clock
from scripts.load.scenario import Scenario, conversation_name
from scripts.measure import OBSERVER, Ground, Model
from scripts.servers.memory_modes import facts_for

AGAIN_AFTER_S = 0.2
TURN, FACT = 0.5, 5.0
ROW = """
INSERT INTO conversation_events (conversation_id, user_id) VALUES (%s, %s) ON CONFLICT (conversation_id) DO NOTHING
"""


class Post(Background):
    """Publishes a scenario's messages. published: wall clock times by id, of those that the broker has confirmed."""

    def __init__(
        self, ground: Ground, worker: Contender, scenario: Scenario, seed: int, clock: Clock
    ) -> None:
        super().__init__()
        self._ground, self._worker, self._scenario, self._clock = ground, worker, scenario, clock
        self._model = Model.of(int(scenario.size_kb * 1024))
        self._arrivals = scenario.arrivals(seed)
        self.published: dict[str, float] = {}

    def changes(self) -> dict[str, float]:
        """Return what each published conversation's score must be."""
        return {name: TURN * self._model.turns + FACT * facts_for(name) for name in self.published}

    def work(self) -> None:
        with Line(self._ground) as line:
            for number, minute in enumerate(self._arrivals, 1):
                if self.over.wait(max(0.0, self._clock.at(minute) - monotonic())):
                    return
                name = conversation_name(self._scenario, number)
                # of a user of its own: so the score says how often it was counted
                one = self._model.conversation(name, f"user-of-{name}")
                if not line.send(one, self._worker, self.over.is_set):
                    return
                self.published[one.conversation_id] = time()


class Line:
    """A connection to the broker and one to the database, opened again whenever a server comes back."""

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._resources = contextlib.ExitStack()
        self._channel: pika.adapters.blocking_connection.BlockingChannel | None = None
        self._database: psycopg.Connection | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._hang_up()

    def send(self, one: Conversation, worker: Contender, given_up: Callable[[], bool]) -> bool:
        """Enter the row and publish until both are confirmed; False when it was given up before."""
        for _ in self._tries(given_up):
            with contextlib.suppress(AMQPError, psycopg.OperationalError, OSError):
                channel, database = self._open()
                database.execute(ROW, (one.conversation_id, one.user_id))
                body, properties = worker.envelope(one, self._ground.broker.queue)
                channel.basic_publish("", self._ground.broker.queue, body, properties, mandatory=True)
                return True
            self._hang_up()
        return False

    def _tries(self, given_up: Callable[[], bool]) -> Iterator[None]:
        while not given_up():
            yield
            sleep(AGAIN_AFTER_S)

    def _open(self) -> tuple[pika.adapters.blocking_connection.BlockingChannel, psycopg.Connection]:
        if self._channel is None or self._database is None:
            connection = patient(self._ground.broker.url)
            self._resources.callback(connection.close)
            self._database = self._resources.enter_context(
                psycopg.connect(
                    self._ground.environment["DATABASE_URL"], autocommit=True, application_name=OBSERVER
                )
            )
            self._channel = connection.channel()
            self._channel.confirm_delivery()
        return self._channel, self._database

    def _hang_up(self) -> None:
        self._channel = self._database = None
        resources, self._resources = self._resources, contextlib.ExitStack()
        with contextlib.suppress(Exception):  # what is broken already need not be closed well
            resources.close()

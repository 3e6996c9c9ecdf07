"""One run's own queue and database: conversations go in here, and what became of them comes out."""

import contextlib
from collections.abc import Iterable
from typing import Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel
from psycopg.rows import dict_row

from repository import invariants
from repository.connection import Database
from scripts import measure
from scripts.conversations import Conversation
from scripts.servers.stack import Stack


class Ground(measure.Ground):
    """The measuring ground, with one connection to the broker kept: it publishes little by little and looks often."""

    _connection: pika.BlockingConnection
    _channel: BlockingChannel

    def __init__(self, stack: Stack, name: str) -> None:
        super().__init__(stack, name)

    def __enter__(self) -> Self:
        super().__enter__()
        parameters = pika.URLParameters(self.broker.url)
        parameters.heartbeat = 0  # nobody pumps it while a run is waited for
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        return self

    def __exit__(self, *_: object) -> None:
        with contextlib.suppress(Exception):
            self._connection.close()
        super().__exit__()

    def send(self, conversations: Iterable[Conversation]) -> None:
        """Publish them, persistent, each confirmed."""
        for one in conversations:
            properties = pika.BasicProperties(message_id=one.conversation_id, delivery_mode=2)
            self._channel.basic_publish("", self.broker.queue, one.body, properties, mandatory=True)

    def queued(self) -> tuple[int, int]:
        """Return how many messages wait in the queue, and how many consumers it has."""
        declared = self._channel.queue_declare(self.broker.queue, passive=True).method
        return int(declared.message_count), int(declared.consumer_count)

    def query(self, sql: str, *parameters: object) -> list[dict[str, Any]]:
        """Run a SELECT and give its rows."""
        with self.database.cursor(row_factory=dict_row) as cursor:
            return cursor.execute(sql, parameters).fetchall()

    def ended(self, prefix: str = "") -> int:
        """Count the events with an outcome whose id begins so."""
        sql = """
            SELECT count(*) AS ended FROM conversation_events
             WHERE status IN ('PROCESSED', 'SKIPPED', 'FAILED') AND starts_with(conversation_id, %s)
        """
        return int(self.query(sql, prefix)[0]["ended"])

    def breaches(self) -> list[str]:
        """Name the promises that the rows break."""
        url = self.environment["DATABASE_URL"]
        with contextlib.closing(Database(url, application_name="friendship-supervisor bench")) as database:
            found = invariants.check(database)
        return [finding.name for finding in found if finding.severity == "breach"]

"""The worker that this project replaces, as it is documented: one process, ten threads, an unbounded queue before them.

    python -m scripts.bench.threaded_worker     # BENCH_PREFETCH=10: ten messages at most, else as many as there are

pika's callback decodes the body and hands the conversation to a ThreadPoolExecutor. A thread claims the event, calls
the Memory API with the claim's transaction open, writes score and outcome, commits, and has the message acknowledged by
the thread that owns the connection, which meanwhile keeps the heartbeats going. On any error: roll back, nack, requeue.

While the API is well it does its job. What it does when the API is not is in its design: up to ten transactions stay
open for as long as a call takes, what is delivered waits decoded, a failed message comes back at once, and the list of
futures, which the end of the program waits for, keeps each failed one's exception, and with it frames and conversation.
"""

import contextlib
import functools
import json
import logging
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from time import sleep
from typing import Any

import httpx
import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPError
from pika.spec import Basic

from scripts.bench import job

THREADS = 10
API_TIMEOUT_S = 240.0
RECONNECT_S = 5.0 * float(os.environ.get("BENCH_TIME_SCALE", "1"))

log = logging.getLogger("threaded_worker")


class Worker:
    """The consumer and its threads."""

    def __init__(self) -> None:
        self._queue = os.environ["RABBITMQ_QUEUE"]
        self._prefetch = int(os.environ.get("BENCH_PREFETCH", "0"))
        self._url = os.environ["MEMORY_API_URL"] + "/extract_facts"
        self._api = httpx.Client(timeout=float(os.environ.get("MEMORY_API_TIMEOUT_SECONDS", API_TIMEOUT_S)))
        self._executor = ThreadPoolExecutor(THREADS)
        self._futures: list[Future[None]] = []
        self._threads = threading.local()
        self._stopping = False

    def run(self) -> None:
        """Consume until asked to stop; a lost broker is looked for again."""
        while not self._stopping:
            try:
                self._consume()
            except AMQPError as error:
                log.warning("broker lost: %r", error)
                sleep(RECONNECT_S)

    def stop(self, *_: object) -> None:
        """Take no more messages: a signal handler. The loop looks once a second."""
        self._stopping = True

    def _consume(self) -> None:
        connection = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"]))
        with contextlib.closing(connection):
            channel = connection.channel()
            if self._prefetch:
                channel.basic_qos(prefetch_count=self._prefetch)
            consumer = channel.basic_consume(self._queue, self._on_message)
            while not self._stopping:
                connection.process_data_events(time_limit=1.0)
                if not channel.consumer_tags:
                    raise AMQPError("the broker has cancelled the consumer")
            channel.basic_cancel(consumer)
            self._finish(connection)

    def _finish(self, connection: pika.BlockingConnection) -> None:
        """Let the threads end what they have begun; what waits for them goes back to the queue."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        while wait(self._futures, timeout=0.1).not_done:
            connection.process_data_events()
        connection.process_data_events()

    def _on_message(
        self, channel: BlockingChannel, method: Basic.Deliver, _properties: pika.BasicProperties, body: bytes
    ) -> None:
        try:
            message = json.loads(body)
        except ValueError:
            channel.basic_nack(method.delivery_tag, requeue=True)
            return
        self._futures.append(self._executor.submit(self._handle, channel, method.delivery_tag, message))

    def _handle(self, channel: BlockingChannel, tag: int, message: dict[str, Any]) -> None:
        try:
            self._score(message)
        except Exception as error:
            log.warning("%s failed: %r", message.get("conversation_id"), error)
            self._settle(channel, functools.partial(channel.basic_nack, tag, requeue=True))
            raise
        self._settle(channel, functools.partial(channel.basic_ack, tag))

    def _settle(self, channel: BlockingChannel, answer: Callable[[], None]) -> None:
        """Have the connection's own thread answer; when it has lost the connection, the message comes again."""

        def settle() -> None:
            if channel.is_open:
                answer()

        channel.connection.add_callback_threadsafe(settle)

    def _score(self, message: dict[str, Any]) -> None:
        conversation_id, conversation = message["conversation_id"], message["conversation_log"]
        database = self._database()
        with database.transaction():
            # A second delivery waits here for the first one's transaction to end, and then finds nothing to do
            if not database.execute(job.PROCESSING, (conversation_id,)).rowcount:
                return
            request = job.request(message)
            answer = self._api.post(self._url, json=request).raise_for_status()
            score = job.turns(conversation) * 0.5 + 5 * answer.json()["count"]
            database.execute(job.SCORE, (message["user_id"], score))
            database.execute(job.PROCESSED, (score, conversation_id))

    def _database(self) -> psycopg.Connection:
        """Return this thread's connection."""
        connection: psycopg.Connection | None = getattr(self._threads, "database", None)
        if connection is None or connection.closed:
            connection = self._threads.database = psycopg.connect(os.environ["DATABASE_URL"])
        return connection


def main() -> None:
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING)
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    worker = Worker()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, worker.stop)
    worker.run()


if __name__ == "__main__":
    main()

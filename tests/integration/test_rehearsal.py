"""The prompter before the clients themselves: psycopg, pika, httpcore."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from functools import partial

import pika
import psycopg
import pytest
from psycopg.rows import dict_row

from consumer.memory_api import MemoryApi
from consumer.rehearsal.api import Api
from consumer.rehearsal.broker import Broker
from consumer.rehearsal.database import Database
from consumer.rehearsal.prompter import Peer, prompt
from supervisor import process

LIMIT_S = 60.0

Prompted = Callable[[Callable[[], Peer]], int]


@pytest.fixture
def prompted() -> Iterator[Prompted]:
    """Start prompters of one peer each, and return their ports."""
    pids: list[int] = []

    def start(peer: Callable[[], Peer]) -> int:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            pids.append(process.fork(lambda: prompt({listener: peer}, LIMIT_S)))
            port: int = listener.getsockname()[1]
            return port

    yield start
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("sslmode", ["prefer", "disable"])
def test_psycopg_reads_a_row_of_every_type(prompted: Prompted, sslmode: str, binary: bool) -> None:
    """In the format that it asks for, after its question for TLS, with parameters or without."""
    row = {"a": 1, "b": "text", "c": None, "d": 1.5, "e": True, "f": [], "g": {}}
    port = prompted(partial(Database, {b"SELECT row": row}))
    with psycopg.connect(
        host="127.0.0.1", hostaddr="127.0.0.1", port=port, user="x", sslmode=sslmode, row_factory=dict_row
    ) as connection:
        with connection.cursor(binary=binary) as cursor:
            for _ in range(2):
                assert cursor.execute(b"SELECT row").fetchone() == row
                assert cursor.execute(b"SELECT row %(a)s, %(b)s", {"a": 1, "b": None}).fetchone() == row
            assert cursor.execute(b"UPDATE something").description is None
        states = [connection.info.transaction_status]
        connection.commit()
        states.append(connection.info.transaction_status)
    assert states == [psycopg.pq.TransactionStatus.INTRANS, psycopg.pq.TransactionStatus.IDLE]


def test_pika_consumes_all_that_there_is(prompted: Prompted) -> None:
    """Connect, declare, consume, acknowledge, cancel, close: each returns, and two bodies came."""
    port = prompted(partial(Broker, b"{}", 2))
    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    channel.queue_declare("q", passive=True)
    channel.basic_qos(prefetch_count=1)
    bodies = []
    for method, _properties, body in channel.consume("q"):
        bodies.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(bodies) == 2:
            break
    channel.cancel()
    channel.close()
    connection.close()
    assert bodies == [b"{}", b"{}"]


class Sample:
    """A request body."""

    length = 2

    def __iter__(self) -> Iterator[bytes]:
        yield b"{}"


def test_the_memory_api_counts_a_fact(prompted: Prompted) -> None:
    """One call, one answer, as often as it is asked."""
    port = prompted(Api)
    api = MemoryApi(f"http://127.0.0.1:{port}", LIMIT_S, ssl_context=None, pump=lambda: None)
    assert [api.extract("u", "c", Sample()) for _ in range(3)] == [1, 1, 1]

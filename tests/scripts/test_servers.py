"""The private servers: they answer, survive what tests do to them, and never outlive their starter."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pika
import psutil
import psycopg
import pytest
from pika.adapters.blocking_connection import BlockingChannel
from pika.exceptions import AMQPConnectionError

from scripts.servers.postgres import Postgres
from scripts.servers.process import Port, Program, ServerFailed, ServerMissing, account_of_ours, program
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.eventually import eventually
from tests.fixtures.servers import start_or_skip

CHECKOUT = Path(__file__).resolve().parents[2]


def answers(url: str) -> bool:
    with psycopg.connect(url, connect_timeout=5) as connection:
        return connection.execute("SELECT true").fetchone() == (True,)


@contextlib.contextmanager
def opened(server: RabbitMQ) -> Iterator[BlockingChannel]:
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    yield connection.channel()
    connection.close()


def test_postgres_keeps_port_and_data_across_a_crash(postgres: Postgres, database_url: str) -> None:
    """A row that was committed is there after an immediate restart, at the same URL."""
    with psycopg.connect(database_url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 7 AS number")
    postgres.restart("immediate")
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT number FROM kept").fetchone() == (7,)


def test_a_message_that_comes_again_is_counted(rabbitmq: RabbitMQ, queue: str) -> None:
    """The broker's own counters, summed over kinds of queues: one delivery of two was a second one."""
    before = rabbitmq.counters()
    with opened(rabbitmq) as channel:
        channel.queue_declare(queue)
        channel.basic_publish("", queue, b"body")
        for _ in range(2):
            eventually(lambda: channel.queue_declare(queue, passive=True).method.message_count, "it waits")
            method, _, _ = channel.basic_get(queue)
            channel.basic_nack(method.delivery_tag, requeue=True)
    grown = {name: value - before[name] for name, value in rabbitmq.counters().items()}
    assert (grown["messages_delivered_total"], grown["messages_redelivered_total"]) == (2, 1)


def test_a_paused_postgres_freezes_open_sessions(postgres: Postgres, database_url: str) -> None:
    """All processes of the server are stopped by a pause, and run again after it."""
    with psycopg.connect(database_url) as connection:
        postgres.pause()
        head = psutil.Process(postgres.pid)
        family = (head, *head.children(recursive=True))
        eventually(
            lambda: {process.status() for process in family} == {psutil.STATUS_STOPPED}, "all are stopped"
        )
        postgres.resume()
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_rabbitmq_keeps_durable_messages_across_a_restart(rabbitmq: RabbitMQ, queue: str) -> None:
    """A confirmed message in a quorum queue is there after the broker ended and started again."""
    with opened(rabbitmq) as channel:
        channel.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})
        channel.confirm_delivery()
        channel.basic_publish("", queue, b"kept", pika.BasicProperties(delivery_mode=2))
    rabbitmq.stop()
    assert not rabbitmq.running
    rabbitmq.start_again()
    with opened(rabbitmq) as channel:
        eventually(lambda: channel.basic_get(queue, auto_ack=True)[2] == b"kept", "the message")


def test_rabbitmq_starts_again_after_a_crash(rabbitmq: RabbitMQ) -> None:
    """A killed broker ends its clients' connections and is back at the same URL."""
    connection = pika.BlockingConnection(pika.URLParameters(rabbitmq.url))
    rabbitmq.kill()
    with pytest.raises(AMQPConnectionError):
        connection.channel()
    rabbitmq.start_again()
    with opened(rabbitmq) as channel:
        assert channel.is_open


def test_rabbitmq_takes_a_body_of_sixty_megabytes(rabbitmq: RabbitMQ, queue: str) -> None:
    """The broker's own size limit is above what our messages may have, and its tool works."""
    with opened(rabbitmq) as channel:
        channel.queue_declare(queue, durable=True)
        channel.confirm_delivery()
        channel.basic_publish("", queue, bytes(60 << 20))
    assert queue in rabbitmq.rabbitmqctl("list_queues", "name")


def test_servers_listen_on_loopback_only(rabbitmq: RabbitMQ, postgres: Postgres) -> None:
    """No other machine can reach a private server."""
    for pid in (rabbitmq.pid, postgres.pid):
        listening = [
            address.laddr.ip
            for address in psutil.Process(pid).net_connections("inet")
            if address.status == psutil.CONN_LISTEN
        ]
        assert listening
        assert set(listening) <= {"127.0.0.1", "::1"}


def test_servers_do_not_run_as_root(rabbitmq: RabbitMQ, postgres: Postgres) -> None:
    """Started by root, they become somebody else."""
    for pid in (rabbitmq.pid, postgres.pid):
        assert 0 not in psutil.Process(pid).uids()


@pytest.fixture
def started() -> Iterator["subprocess.Popen[str]"]:
    """Start all servers as the command does."""
    command = [sys.executable, "-m", "scripts.servers"]
    starter = subprocess.Popen(
        command, cwd=CHECKOUT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    with starter:
        yield starter
        starter.kill()


@pytest.mark.usefixtures("rabbitmq", "postgres")
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_nothing_is_left_when_the_starter_ends(started: "subprocess.Popen[str]", how: signal.Signals) -> None:
    """Asked to end or killed, the command leaves no process and no directory, beside other servers."""
    assert started.stdout is not None
    lines = [started.stdout.readline() for _ in range(3)]
    exports = dict(line.removeprefix("export ").rstrip().split("=", 1) for line in lines)
    assert answers(exports["DATABASE_URL"])
    pika.BlockingConnection(pika.URLParameters(exports["RABBITMQ_URL"])).close()
    family = psutil.Process(started.pid).children(recursive=True)
    places: dict[str, Path] = {}
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):  # the session that ended just now
            places[process.name()] = Path(process.cwd()).parent
    assert {"beam.smp", "epmd", "postgres"} <= places.keys()
    directory = places["beam.smp"]
    assert directory in places["postgres"].parents
    started.send_signal(how)
    started.wait(60)
    eventually(lambda: not any(alive(process) for process in family), "every process of the servers is gone")
    eventually(lambda: not directory.exists(), "their directory is gone")


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def test_a_program_that_ends_early_shows_its_log(tmp_path: Path) -> None:
    """The error holds the status and the last lines that the program wrote."""
    with pytest.raises(ServerFailed, match=r"(?s)a shell ended with status 3.*no such thing"):
        shell(tmp_path, "echo no such thing; exit 3").wait_until(lambda: False, "a shell", 30.0)


def test_what_a_program_detached_ends_with_it(tmp_path: Path) -> None:
    """A daemon that left its parent is killed when the program is stopped."""
    pids = tmp_path / "pids"
    running = shell(tmp_path, f"(setsid sleep 600 & echo $! >{pids}); exec sleep 600")
    pid = int(eventually(lambda: pids.exists() and pids.read_text(), "the daemon runs"))
    daemon = psutil.Process(pid)
    running.stop(signal.SIGTERM, 10.0)
    assert not alive(daemon)


def test_what_a_program_detached_leaves_no_zombie(tmp_path: Path) -> None:
    """An orphan that ends while the program runs is reaped then, not at the end."""
    pids = tmp_path / "pids"
    running = shell(tmp_path, f"(sleep 0.1 & echo $! >{pids}); exec sleep 600")
    pid = int(eventually(lambda: pids.exists() and pids.read_text(), "the orphan runs"))
    eventually(lambda: not psutil.pid_exists(pid), "the orphan is reaped")
    assert running.alive
    running.stop(signal.SIGTERM, 10.0)


def shell(directory: Path, script: str) -> Program:
    return Program.start(
        ["/bin/sh", "-c", script],
        env=dict(os.environ),
        cwd=directory,
        log=directory / "log",
        user=account_of_ours(),
        farewell=signal.SIGKILL,
        remove=directory,
    )


def test_ports_are_claimed_until_released() -> None:
    """No two starters get one port, not even while its server is stopped."""
    ports = [Port.reserve() for _ in range(50)]
    try:
        assert len({port.number for port in ports}) == 50
    finally:
        for port in ports:
            port.release()


def test_a_missing_program_names_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    """A laptop without the server skips, and CI fails, with the name of what to install."""

    def start() -> Path:
        return program("no-such-server", "no-such-package")

    with pytest.raises(ServerMissing, match="install the package no-such-package"):
        start()
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no-such-package"):
        start_or_skip(start)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="no-such-package"):
        start_or_skip(start)

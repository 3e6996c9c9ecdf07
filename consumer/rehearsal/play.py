"""The rehearsal itself: prompter up, some rounds of a child's life, prompter gone."""

import contextlib
import logging
import os
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from functools import partial

from consumer.child import Child
from consumer.rehearsal import gathering
from consumer.rehearsal.api import Api
from consumer.rehearsal.broker import Broker
from consumer.rehearsal.database import Database, Row
from consumer.rehearsal.prompter import Peer, prompt
from consumer.rehearsal.understudy import Curtain, Understudy
from consumer.settings import BrokerSettings, ConsumerSettings, MemoryApiSettings
from repository import connection, events, migrations
from repository.statements import Statement

log = logging.getLogger("friendship.rehearsal")

Fork = Callable[[Callable[[], int]], int]

ROUNDS = 4
"""After the first of them code is gathered; of more than four in all, children are no lighter."""
DELIVERIES = 2
"""In each round: the first is followed by another, the last by a stop."""
ENOUGH_S = 0.5
"""No round begins later than this."""
CONNECT_S = 0.25
LIMIT_S = 1.0
"""The prompter dies then, and with it the round."""

NAME = "rehearsal"
BODY = (
    '{"conversation_id":"rehearsal","user_id":"rehearsal","bot_id":"1","bot_type":"GAME","bot_name":"rehearsal",'
    '"agent_tag":"movie","start_time":"2025-01-01T10:00:00Z","end_time":"2025-01-01T10:05:00+00:00",'
    '"conversation_log":[{"speaker":"pika","turn_id":1,"text":"Hello! \N{WAVING HAND SIGN}"},'
    '{"speaker":"user","turn_id":2,"text":"Hi"},{"speaker":"user","turn_id":3,"text":" "},'
    '{"character":"BOT_RESPONSE_CONVERSATION","content":"How are you?"},{"character":"USER","content":"Fine"}]}'
).encode()


def rehearse(fork: Fork, ssl_context: ssl.SSLContext | None, rounds: int = ROUNDS) -> bool:
    """Live a child's life some times; say whether it went well. Whatever goes wrong, nothing comes of it.

    fork: runs its argument in a process that dies with this one, and returns its pid. Call from the main thread, before
    there is anything that a rehearsal could be taken for: it leaves no process, thread, descriptor or log line.
    """
    started = time.monotonic()
    try:
        played = _rehearse(fork, ssl_context, rounds, started)
    except Exception as error:  # noqa: BLE001 - a child that was not rehearsed is only heavier
        reason = str(error) if isinstance(error, _Interrupted) else type(error).__name__
        log.info("rehearsal_failed", extra={"reason": reason})
        return False
    log.debug("rehearsed", extra={"rounds": played, "ms": round((time.monotonic() - started) * 1000)})
    return True


class _Interrupted(Exception):
    """A round did not come to its end."""


def _rehearse(fork: Fork, ssl_context: ssl.SSLContext | None, rounds: int, started: float) -> int:
    with _alone_after(), _unheard(), _prompted(fork) as ports:
        play = partial(_play, Child(_settings(ports), ssl_context), started + LIMIT_S)
        # Copies of what ran have everything to learn again
        gathering.gather(gathering.ran(play))
        played = 1
        while played < rounds and time.monotonic() - started < ENOUGH_S:
            play()
            played += 1
    return played


def _play(child: Child, end: float) -> None:
    """Play one round. Raises _Interrupted."""
    understudy = Understudy(DELIVERIES, end)
    with contextlib.suppress(Curtain):
        child.live(understudy)
    if understudy.settled_as != ["processed"] * DELIVERIES:
        raise _Interrupted(understudy.obstacle or "a message was not processed")


def _settings(ports: Mapping[str, int]) -> ConsumerSettings:
    """Say where the prompter is. Nothing of the environment may lead libpq elsewhere (PGHOSTADDR, PGSERVICE)."""
    return ConsumerSettings(
        broker=BrokerSettings(f"amqp://{NAME}:{NAME}@127.0.0.1:{ports['broker']}/", NAME),
        database_url=(
            f"host=127.0.0.1 hostaddr=127.0.0.1 port={ports['database']} user={NAME} dbname={NAME} password={NAME}"
            " sslmode=prefer options='' target_session_attrs=any"
        ),
        memory_api=MemoryApiSettings(f"http://127.0.0.1:{ports['api']}", LIMIT_S),
    )


def script() -> Mapping[bytes, Row]:
    """Say what each statement of a child's returns, by how it begins."""
    claimed = {
        "event_id": 1,
        "conversation_id": NAME,
        "user_id": NAME,
        "epoch": 1,
        "attempt": 1,
        "claimed_by": NAME,
        "bot_type": None,
        "agent_tag": None,
        "conversation_log_url": None,
        "log_in_row": False,
        "log_parked": False,
        "claims_since_outcome": 1,
        "blames": [],
    }
    schema, event, session = migrations.SQL, events.SQL, connection.SQL
    answers: dict[Statement, Row] = {
        session["session"]: {"is_pooled": False, "takes_writes": None},
        schema["book_exists"]: {"found": True, "read_only": False},
        schema["version"]: {"version": migrations.LATEST},
        event["claim"]: claimed,
        event["lock_event"]: {"id": 1},
        event["lock_user"]: {"score": 1.5, "level": "PHASE1_STRANGER", "ledger_seq": 1},
        event["topic"]: {"size_bytes": 50, "known": True, "topics": 0, "score": "1.5", "turns": "1"},
        event["ledger_of_user"]: {"seq": 1, "applied": None, "applied_to": None},
        event["write_user"]: {"score": 2.5},
        event["write_ledger"]: {"event_id": 1},
        event["write_processed"]: {"id": 1},
    }
    return {statement.sql.partition(b"%(")[0]: row for statement, row in answers.items()}


@contextlib.contextmanager
def _prompted(fork: Fork) -> Iterator[Mapping[str, int]]:
    """Have a prompter, and know its ports."""
    peers: dict[str, Callable[[], Peer]] = {
        "broker": partial(Broker, BODY, DELIVERIES),
        "database": partial(Database, script()),
        "api": Api,
    }
    with contextlib.ExitStack() as listening:
        listeners = {name: listening.enter_context(socket.create_server(("127.0.0.1", 0))) for name in peers}
        ports = {name: listener.getsockname()[1] for name, listener in listeners.items()}
        # Where loopback swallows packets, this fails soon, and a database client would wait for seconds
        socket.create_connection(("127.0.0.1", ports["api"]), timeout=CONNECT_S).close()
        by_socket = {listeners[name]: peer for name, peer in peers.items()}
        pid = fork(lambda: prompt(by_socket, LIMIT_S))
    # The listeners are the prompter's alone now: when it is gone, nobody waits for an answer
    try:
        yield ports
    finally:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)


@contextlib.contextmanager
def _unheard() -> Iterator[None]:
    """Spell log lines, as children do, and drop them."""
    root = logging.getLogger()
    handlers = root.handlers[:]
    # Never none: logging would have a last resort then, which writes
    root.handlers[:] = [_Mute(handler.formatter) for handler in handlers] or [_Mute(None)]
    try:
        yield
    finally:
        root.handlers[:] = handlers


class _Mute(logging.Handler):
    def __init__(self, formatter: logging.Formatter | None) -> None:
        super().__init__()
        self.setFormatter(formatter)

    def emit(self, record: logging.LogRecord) -> None:
        self.format(record)


@contextlib.contextmanager
def _alone_after() -> Iterator[None]:
    """Wait until the threads that began here have ended: pika looks names up in one, which ends by itself."""
    before = set(threading.enumerate())
    tasks = _tasks()
    try:
        yield
    finally:
        end = time.monotonic() + LIMIT_S
        for thread in set(threading.enumerate()) - before:
            thread.join(max(0.0, end - time.monotonic()))
        # A thread that has been joined may still be on its way out of the kernel's list
        while _tasks() > tasks and time.monotonic() < end:
            time.sleep(0.0005)


def _tasks() -> int:
    return len(os.listdir("/proc/self/task"))  # noqa: PTH208 - no Path for a count

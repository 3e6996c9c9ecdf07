"""SIGTERM in every phase of a message: an end within the drain timeout, exit 0, and another finds what was in hand.

Whoever has a call's result writes it; whoever cannot go on gives the message back, and its attempt with it.
"""

import signal
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

import pika
import psycopg
import pytest

from scripts.conversations import make
from scripts.faults.cluster_balancer import Balancer
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker
from tests.outages.operator import locked
from tests.outages.scene import shown

Start = Callable[..., Worker]

DRAIN_S = 20.0
"""Of these tests; a write that is held up takes 13 s at the most."""


class Ending:
    """One child with one message, brought to a phase and told to end there."""

    def __init__(
        self,
        start: Start,
        desk: Desk,
        memory_api: MemoryApiStandIn,
        postgres: Postgres,
        rabbitmq: RabbitMQ,
    ) -> None:
        self.start, self.desk, self.memory_api = start, desk, memory_api
        self.postgres, self.rabbitmq = postgres, rabbitmq
        self.worker: Worker

    def begin(self, **overrides: str) -> Worker:
        limits = {"FRIENDSHIP_CHILDREN": "1", "FRIENDSHIP_DRAIN_TIMEOUT": str(DRAIN_S)}
        self.worker = self.start(**limits | overrides)
        return self.worker

    def phase_is(self, state: str, conversation_id: str | None = "one") -> None:
        """Wait until the child is shown so."""
        self.worker.wait_until(
            lambda: any(
                (line["state"], line["conversation_id"]) == (state, conversation_id)
                for line in shown(self.worker, 1)
            ),
            f"the child is {state} with {conversation_id}",
        )

    def drained(self, *, told: bool = False) -> None:
        """Tell it to end, unless it was told, and see that it does by itself, within its time."""
        if not told:
            self.worker.send(signal.SIGTERM)
        assert self.worker.wait(DRAIN_S + 20) == 0
        assert self.worker.logged("child_killed") == []
        assert self.worker.left_behind() == []

    def is_finished_by_another(self, *, calls: int) -> None:
        """See that a second supervisor finds all that the first has left, and nothing is counted twice."""
        heir = self.start(FRIENDSHIP_CHILDREN="1")
        heir.wait_for("child_ready")
        heir.wait_until(lambda: self.desk.status("one") == "PROCESSED", "it is processed")
        heir.wait_until(lambda: shown(heir, 1)[0]["state"] == "idle", "nothing is in hand")
        assert heir.stop() == 0
        assert self.memory_api.calls().of("one") == calls
        assert (self.desk.event("one") or {})["attempt_count"] == 1
        self.desk.assert_all_scored()
        self.desk.assert_clean_ending(heir)


@pytest.fixture
def ending(
    start_worker: Start,
    desk: Desk,
    memory_api: MemoryApiStandIn,
    postgres: Postgres,
    rabbitmq: RabbitMQ,
) -> Ending:
    return Ending(start_worker, desk, memory_api, postgres, rabbitmq)


def test_term_while_the_database_is_away(ending: Ending) -> None:
    """Waiting with a new message: it goes back at once."""
    ending.begin().wait_for("child_ready")
    ending.postgres.kill()
    ending.desk.publish([make("one", "user-1")])
    ending.phase_is("waiting")
    ending.drained()
    ending.postgres.start_again()
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
def test_term_in_the_call(ending: Ending) -> None:
    """The call is finished and its result written."""
    ending.memory_api.set_mode("delay", seconds=1)
    ending.begin().wait_for("child_ready")
    ending.desk.publish([make("one", "user-1")])
    ending.worker.wait_until(lambda: ending.memory_api.calls().in_flight == 1, "the call is under way")
    ending.drained()
    assert ending.desk.status("one") == "PROCESSED"
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
@pytest.mark.parametrize("size_mb", [20])
def test_term_while_a_large_body_is_on_its_way(ending: Ending, size_mb: int) -> None:
    """Half here: it is given back, and taken by another, or taken whole and finished; never half."""
    port = urlsplit(ending.rabbitmq.url).port
    assert port is not None
    with Balancer([port]) as balancer:
        url = ending.rabbitmq.url.replace(f":{port}/", f":{balancer.port}/")
        ending.begin(RABBITMQ_URL=url).wait_for("child_ready")
        balancer.hold_after(5 << 20)
        ending.desk.publish([make("one", "user-1", size_bytes=size_mb << 20)])
        assert balancer.holding.wait(30)
        ending.worker.send(signal.SIGTERM)
        ending.worker.wait_for("child_draining")
        assert ending.worker.wait(DRAIN_S + 20) == 0
        balancer.let_go()
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
def test_term_while_claiming(ending: Ending, migrated_database_url: str) -> None:
    """A table that is locked: the claim runs into its limit, and the message goes back."""
    ending.begin().wait_for("child_ready")
    with locked(migrated_database_url):
        ending.desk.publish([make("one", "user-1")])
        ending.phase_is("busy")
        ending.drained()
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
def test_term_while_writing(ending: Ending, migrated_database_url: str) -> None:
    """The user's row is locked when the outcome is to be written: written once it is free."""
    ending.begin().wait_for("child_ready")
    ending.desk.query("INSERT INTO friendship_status (user_id) VALUES ('user-1')")
    with psycopg.connect(migrated_database_url) as other:
        other.execute("SELECT FROM friendship_status FOR UPDATE")
        ending.desk.publish([make("one", "user-1")])
        ending.worker.wait_until(lambda: waits_for_a_lock(ending.desk), "the write waits")
        ending.worker.send(signal.SIGTERM)
        ending.worker.wait_for("child_draining")
    ending.drained(told=True)
    assert ending.desk.status("one") == "PROCESSED"
    ending.is_finished_by_another(calls=1)


def waits_for_a_lock(desk: Desk) -> bool:
    sql = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND application_name LIKE 'friendship%%'"
    return bool(desk.query(sql))


@pytest.mark.faults
def test_term_while_holding_for_another_holder(ending: Ending) -> None:
    """A message whose last holder's fate is not known: it goes back, and its lease decides."""
    ending.desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, attempt_count, claim_epoch, claimed_by, "
        "lease_until, unexplained_takeovers, agent_tag) "
        "VALUES ('one', 'user-1', 'PROCESSING', 1, 2, 'nobody', now() + interval '1 hour', 1, %s)",
        make("one", "user-1").agent_tag,
    )
    ending.desk.publish([make("one", "user-1")])
    redeliver(ending.desk)
    ending.begin().wait_for("child_ready")
    ending.phase_is("busy")
    ending.drained()
    ending.desk.query("UPDATE conversation_events SET lease_until = now()")
    ending.is_finished_by_another(calls=1)


def redeliver(desk: Desk) -> None:
    """Take the first message of the queue and vanish with it, so that it comes a second time."""
    connection = pika.BlockingConnection(pika.URLParameters(desk.broker.url))
    channel = connection.channel()
    method, _, _ = eventually(lambda: taken(channel.basic_get(desk.broker.queue)), "the message")  # type: ignore[misc]
    assert method is not None
    connection.close()


def taken(got: tuple[object, object, object]) -> tuple[object, object, object] | None:
    return got if got[0] is not None else None


def hold_a_result(ending: Ending) -> None:
    """Let a call end while the database is away, and tell the child to end then."""
    ending.memory_api.set_mode("delay", seconds=1)
    ending.worker.wait_for("child_ready")
    ending.desk.publish([make("one", "user-1")])
    ending.worker.wait_until(lambda: ending.memory_api.calls().in_flight == 1, "the call is under way")
    ending.desk.close()
    ending.postgres.kill()
    ending.phase_is("waiting")
    ending.worker.send(signal.SIGTERM)
    ending.worker.wait_for("child_draining")


@pytest.mark.faults
def test_term_with_a_result_that_can_be_written_in_time(ending: Ending) -> None:
    """The database is away when the call ends and back before the drain timeout: nothing is called again."""
    ending.begin()
    hold_a_result(ending)
    ending.postgres.start_again()
    ending.drained(told=True)
    assert ending.desk.status("one") == "PROCESSED"
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
def test_term_with_a_result_that_cannot_be_written(ending: Ending) -> None:
    """The drain timeout ends it: the message goes back, at the price of a second call and of no attempt."""
    ending.begin(FRIENDSHIP_DRAIN_TIMEOUT="3")
    hold_a_result(ending)
    assert ending.worker.wait(DRAIN_S) == 0
    assert ending.worker.left_behind() == []
    ending.postgres.start_again()
    ending.is_finished_by_another(calls=2)


@contextmanager
def gone(server: RabbitMQ) -> Iterator[None]:
    server.stop()
    yield
    server.start_again()


@pytest.mark.faults
def test_term_while_the_broker_is_away(ending: Ending) -> None:
    """Waiting for it, with nothing in hand."""
    ending.begin().wait_for("child_ready")
    with gone(ending.rabbitmq):
        ending.worker.wait_for("waiting", on="broker")
        ending.drained()
        assert ending.worker.logged("child_exited")[0]["exit"] == 0
    ending.desk.publish([make("one", "user-1")])
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
@pytest.mark.parametrize("busy", [True, False])
def test_term_while_the_broker_stands_still(ending: Ending, busy: bool) -> None:
    """Paused: an acknowledgement, a cancel and a close get no answer, and the drain timeout is kept all the same."""
    ending.memory_api.set_mode("delay", seconds=1)
    ending.begin(FRIENDSHIP_DRAIN_TIMEOUT="5").wait_for("child_ready")
    if busy:
        ending.desk.publish([make("one", "user-1")])
        ending.worker.wait_until(lambda: ending.memory_api.calls().in_flight == 1, "the call is under way")
    ending.rabbitmq.pause()
    assert ending.worker.stop() == 0
    ending.rabbitmq.resume()
    if busy:
        assert ending.desk.status("one") == "PROCESSED"
    else:
        ending.desk.publish([make("one", "user-1")])
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
@pytest.mark.parametrize("paused", ["postgres", "rabbitmq", "both away"])
def test_term_in_the_boot(ending: Ending, paused: str) -> None:
    """A server that does not answer, or none at all: the boot is left."""
    with ExitStack() as after:
        match paused:
            case "postgres":
                ending.postgres.pause()
                after.callback(ending.postgres.resume)
            case "rabbitmq":
                ending.rabbitmq.pause()
                after.callback(ending.rabbitmq.resume)
            case _:
                ending.postgres.stop()
                ending.rabbitmq.stop()
                after.callback(ending.postgres.start_again)
                after.callback(ending.rabbitmq.start_again)
        ending.begin().wait_for("child_forked")
        ending.worker.wait_for("waiting")
        assert ending.worker.stop(limit_s=DRAIN_S + 20) == 0
        assert ending.worker.logged("child_ready") == []
        assert ending.worker.logged("broker_away") == []
    ending.desk.publish([make("one", "user-1")])
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
def test_term_to_a_successor_that_has_not_begun(ending: Ending) -> None:
    """Ready, and waiting for its predecessor's seat: it leaves without a word of a broker that is away."""
    ending.memory_api.set_mode("delay", seconds=2)
    ending.begin().wait_for("child_ready")
    ending.desk.publish([make("one", "user-1")])
    ending.worker.wait_until(lambda: ending.memory_api.calls().in_flight == 1, "the call is under way")
    ending.worker.send(signal.SIGHUP)
    ending.worker.wait_for("child_ready", times=2)
    ending.drained()
    assert ending.worker.logged("broker_away") == []
    assert ending.desk.status("one") == "PROCESSED"
    ending.is_finished_by_another(calls=1)


@pytest.mark.faults
@pytest.mark.parametrize("numbers", [(signal.SIGQUIT,), (signal.SIGTERM, signal.SIGTERM)])
def test_a_stop_at_once_gives_the_attempt_back(ending: Ending, numbers: tuple[signal.Signals, ...]) -> None:
    """In the middle of a call: the child is killed, unblamed, and the message goes to the next supervisor."""
    ending.memory_api.set_mode("hang", calls=1)
    ending.begin().wait_for("child_ready")
    ending.desk.publish([make("one", "user-1")])
    ending.worker.wait_until(lambda: ending.memory_api.calls().in_flight == 1, "the call is under way")
    for number in numbers:
        ending.worker.send(number)
        ending.worker.wait_for("stopping", times=numbers.index(number) + 1)
    assert ending.worker.wait() == 0
    (written,) = ending.worker.logged("account_written")
    assert (written["reason"], written["blamed"]) == ("shutdown", False)
    ending.is_finished_by_another(calls=2)

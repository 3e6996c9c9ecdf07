"""RabbitMQ goes away in every way that it can, and comes back."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from time import monotonic

import pytest

from scripts.conversations import make
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.outages.scene import ANSWER_S, Scene

SetScene = Callable[..., Scene]
Outage = Callable[[RabbitMQ], AbstractContextManager[None]]

TIMES = "[consumer_timeout, channel_tick_interval]"
"""How old an unacknowledged delivery may be, and how often that is looked at; in milliseconds."""

USER, PASSWORD, ANOTHER = "outage_user", "first-secret", "second-secret"


@contextmanager
def stopped(server: RabbitMQ) -> Iterator[None]:
    server.stop()
    yield
    server.start_again()


@contextmanager
def killed(server: RabbitMQ) -> Iterator[None]:
    server.kill()
    yield
    server.start_again()


@contextmanager
def password_changed(server: RabbitMQ) -> Iterator[None]:
    server.rabbitmqctl("change_password", USER, ANOTHER)
    server.rabbitmqctl("close_all_connections", "credentials revoked")
    yield
    server.rabbitmqctl("change_password", USER, PASSWORD)


@contextmanager
def permissions_cleared(server: RabbitMQ) -> Iterator[None]:
    server.rabbitmqctl("clear_permissions", USER)
    server.rabbitmqctl("close_all_connections", "permissions revoked")
    yield
    server.rabbitmqctl("set_permissions", USER, ".*", ".*", ".*")


@contextmanager
def alarmed(server: RabbitMQ) -> Iterator[None]:
    """Have no memory left: connections that publish are blocked."""
    server.rabbitmqctl("set_vm_memory_high_watermark", "0.00000001")
    try:
        yield
    finally:
        server.rabbitmqctl("set_vm_memory_high_watermark", "0.6")


@pytest.fixture
def user_url(rabbitmq: RabbitMQ) -> Iterator[str]:
    """Give the broker's URL for a user whose rights may be taken."""
    rabbitmq.rabbitmqctl("add_user", USER, PASSWORD)
    rabbitmq.rabbitmqctl("set_permissions", USER, ".*", ".*", ".*")
    yield rabbitmq.url.replace("guest:guest@", f"{USER}:{PASSWORD}@")
    rabbitmq.rabbitmqctl("delete_user", USER)


@pytest.fixture
def impatient(rabbitmq: RabbitMQ) -> Iterator[None]:
    """Make the broker take a delivery back that is not acknowledged within two seconds."""
    usual = rabbitmq.rabbitmqctl("eval", f"[element(2, application:get_env(rabbit, N)) || N <- {TIMES}].")
    set_times(rabbitmq, 2000, 500)
    yield
    set_times(rabbitmq, *(int(number) for number in usual.strip("[]\n").split(",")))


def set_times(server: RabbitMQ, *milliseconds: int) -> None:
    values = f"lists:zip({TIMES}, {list(milliseconds)})"
    server.rabbitmqctl("eval", f"[application:set_env(rabbit, N, V) || {{N, V}} <- {values}].")


def survive(outage: AbstractContextManager[None], scene: Scene) -> None:
    """Go through one outage: a result that comes meanwhile is written, and its second copy dropped."""
    worker, desk = scene.worker, scene.desk
    began = monotonic()
    # RabbitMQ 3.10 loses a queue that was declared less than about a second before it is killed
    worker.wait_until(lambda: monotonic() - began > 2.5, "the queue is old enough")
    scene.memory_api.set_mode("delay", conversation_id="late", seconds=ANSWER_S)
    scene.publish("late")
    worker.wait_until(lambda: scene.memory_api.calls().of("late") == 1, "its call is under way")
    with outage:
        worker.wait_for("waiting", on="broker")
        worker.wait_until(lambda: desk.status("late") == "PROCESSED", "the result is written")
        assert len(worker.logged("waiting")) == 1
        assert worker.logged("back") == []
    worker.wait_for("back", on="broker")
    scene.publish("new")
    worker.wait_until(lambda: desk.status("new") == "PROCESSED", "the new one is processed")
    # Whoever is free by then takes over the one that is in a call
    scene.ends_well(calls=2)
    calls = scene.memory_api.calls()
    assert (calls.of("late"), calls.of("new")) == (1, 1)


@pytest.mark.faults
@pytest.mark.parametrize("outage", [stopped, killed])
def test_a_broker_that_is_gone_costs_nothing_but_time(
    outage: Outage, set_scene: SetScene, rabbitmq: RabbitMQ
) -> None:
    """Stopped in order, or by SIGKILL: results are written without it, the wait is told once."""
    survive(outage(rabbitmq), set_scene())


@pytest.mark.faults
@pytest.mark.parametrize("outage", [password_changed, permissions_cleared])
def test_rights_that_are_taken_and_given_back(
    outage: Outage, set_scene: SetScene, rabbitmq: RabbitMQ, user_url: str
) -> None:
    """Refused, the children wait as for a broker that is gone, and say no password."""
    scene = set_scene(RABBITMQ_URL=user_url)
    survive(outage(rabbitmq), scene)
    assert PASSWORD not in str(scene.worker.events)


def test_acknowledgements_flow_while_the_broker_is_blocked(
    set_scene: SetScene, desk: Desk, rabbitmq: RabbitMQ
) -> None:
    """A memory alarm: what is in the queue is processed and acknowledged, on connections that never publish."""
    scene = set_scene()
    with alarmed(rabbitmq):
        scene.all_are_processed()
        assert scene.worker.logged("waiting") == []
        assert scene.worker.stop() == 0
        # Every connection is closed: whatever was not acknowledged would be ready by now
        eventually(lambda: desk.depth() == 0, "the queue is empty")
    assert scene.memory_api.calls().total == 2
    desk.assert_all_scored()
    desk.assert_clean_ending(scene.worker)


@pytest.mark.faults
def test_a_broker_that_stands_still_for_less_than_a_heartbeat(
    set_scene: SetScene, rabbitmq: RabbitMQ
) -> None:
    """SIGSTOP for a few seconds: results are written meanwhile, and nothing comes twice."""
    scene = set_scene()
    began = monotonic()
    rabbitmq.pause()
    scene.worker.wait_until(lambda: scene.desk.status("answered") == "PROCESSED", "the result is written")
    scene.worker.wait_until(lambda: monotonic() - began > 5, "it stands still")
    rabbitmq.resume()
    scene.publish("new")
    scene.ends_well()
    assert scene.worker.logged("waiting") == []


@pytest.mark.faults
def test_a_broker_that_stands_still_for_longer_than_heartbeats_allow(
    set_scene: SetScene, rabbitmq: RabbitMQ, rabbitmq_url: str
) -> None:
    """The children notice by themselves, in a call and idle, and come back by themselves."""
    scene = set_scene(RABBITMQ_URL=f"{rabbitmq_url}?heartbeat=2")
    rabbitmq.pause()
    scene.worker.wait_until(lambda: scene.desk.status("answered") == "PROCESSED", "the result is written")
    scene.worker.wait_for("waiting", on="broker")
    scene.worker.wait_for("broker_lost", times=3)
    rabbitmq.resume()
    scene.worker.wait_for("back", on="broker")
    scene.publish("new")
    scene.ends_well(calls=2)


@pytest.mark.faults
def test_a_queue_deleted_in_the_middle_of_the_work(set_scene: SetScene, desk: Desk) -> None:
    """The broker cancels all consumers: calls are finished and scored, the queue is declared again."""
    scene = set_scene()
    desk.delete_queue()
    scene.worker.wait_for("broker_away", times=2)
    scene.publish("new")
    scene.worker.wait_until(lambda: desk.status("new") == "PROCESSED", "the new one is processed")
    scene.ends_well()


@pytest.mark.faults
def test_a_purged_queue_is_only_a_delay(set_scene: SetScene, desk: Desk, rabbitmq: RabbitMQ) -> None:
    """Rows whose message is gone come back by the retry pass."""
    scene = set_scene(children=2, FRIENDSHIP_RETRY_EVERY="1")
    for one in desk.publish(make(f"purged-{number}", "user-3") for number in range(20)):
        desk.query(
            "INSERT INTO conversation_events (conversation_id, user_id, agent_tag, conversation_log) "
            "SELECT %s, %s, %s, %s::jsonb -> 'conversation_log'",
            *(one.conversation_id, one.user_id, one.agent_tag, one.body.decode()),
        )
    rabbitmq.rabbitmqctl("purge_queue", desk.broker.queue)
    assert desk.depth() == 0
    desk.query("UPDATE conversation_events SET next_attempt_at = now() WHERE status = 'PENDING'")
    scene.ends_well()


@pytest.mark.faults
def test_a_delivery_that_the_broker_takes_back_for_its_age(
    impatient: None, set_scene: SetScene, desk: Desk
) -> None:
    """The consumer's acknowledgement timeout: the call goes on, another may make it too, one score is written."""
    scene = set_scene()
    scene.worker.wait_until(lambda: scene.memory_api.calls().of("calling") == 2, "another makes the call too")
    scene.ends_well(calls=2)

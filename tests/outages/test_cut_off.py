"""Something between the children and the broker that lets each connection begin, and cuts it soon after."""

from collections.abc import Callable, Iterator
from time import monotonic

import httpx
import psycopg
import pytest

from scripts.conversations import make
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.desk import Desk
from tests.fixtures.proxy import Connection, Relay, host_and_port, through
from tests.fixtures.worker import Worker
from tests.outages.readiness import until_ready

Start = Callable[..., Worker]

WATCHED_S = 8.0
FEW_CUTS = 35
"""Of two children in WATCHED_S: waits that grow from 0.2 s by 1.3 allow 26 at the most; without waits there are 80."""
REFUSAL = """
CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'not today'; END $$;
CREATE TRIGGER refusal BEFORE INSERT OR UPDATE ON conversation_events FOR EACH ROW EXECUTE FUNCTION refuse();
"""


class Front(Relay):
    """Cuts a connection some time after a delivery was passed on, while cut_after_s is not None."""

    cut_after_s: float | None = None
    deliveries_cut = 0

    def _reply(self, connection: Connection, data: bytes) -> None:
        super()._reply(connection, data)
        if self.cut_after_s is not None and b'"conversation_id"' in data:
            self._closing.wait(self.cut_after_s)
            self.deliveries_cut += 1
            connection.cut()


@pytest.fixture
def front(rabbitmq: RabbitMQ) -> Iterator[Front]:
    """Give what stands between the children and the broker."""
    with Front(*host_and_port(rabbitmq.url)) as relay:
        yield relay


def readiness(worker: Worker) -> bool:
    url = f"http://{worker.wait_for('status_listening')['address']}/readyz"
    return httpx.get(url, trust_env=False).status_code == 200


@pytest.mark.faults
def test_connections_that_are_cut_with_a_delivery_in_hand_are_tried_more_and_more_slowly(
    start_worker: Start, desk: Desk, front: Front, migrated_database_url: str
) -> None:
    """A delivery that goes back proves nothing; innocent messages do not use up what deliveries they have."""
    with psycopg.connect(migrated_database_url, autocommit=True) as connection:
        connection.execute(REFUSAL)
        desk.publish([make("one", "user-1"), make("two", "user-2")])
        front.cut_after_s = 0.15
        worker = start_worker(RABBITMQ_URL=through(front, desk.broker.url))
        worker.wait_until(lambda: front.deliveries_cut, "the first is cut")
        began = monotonic()
        worker.wait_until(lambda: monotonic() - began > WATCHED_S, "it was tried again and again")
        assert front.deliveries_cut < FEW_CUTS
        front.cut_after_s = None
        connection.execute("DROP FUNCTION refuse CASCADE")
    worker.wait_until(lambda: desk.statuses() == {"PROCESSED": 2}, "both are processed")
    assert desk.depth(desk.broker.dead_queue) == 0
    assert worker.stop() == 0


@pytest.mark.faults
def test_children_that_are_cut_off_again_and_again_are_not_ready_in_between(
    start_worker: Start, front: Front, rabbitmq: RabbitMQ
) -> None:
    """Once consuming has failed before it proved to work, it has to prove it; then all is as before."""
    front.cut_at_age(0.7)
    worker = start_worker("--listen", "127.0.0.1:0", RABBITMQ_URL=through(front, rabbitmq.url))
    worker.wait_for("broker_away", times=4)
    seen: set[bool] = set()
    cuts = front.cuts

    def watched() -> bool:
        seen.add(readiness(worker))
        return front.cuts >= cuts + 6

    worker.wait_until(watched, "each child is cut off thrice more")
    assert seen == {False}
    assert len(worker.logged("back", on="broker")) <= 1
    front.cut_at_age(None)
    until_ready(worker)
    assert worker.stop() == 0

"""The retry pass in the worst of places: killed between its steps, beside itself, before a full queue."""

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable

import pika
import pytest

from consumer.alone import alone
from consumer.retries import Counts, pass_once
from repository.connection import Database
from repository.place import place
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

FAULTS = pytest.mark.faults


def passes(environment: dict[str, str], *arguments: str) -> int:
    """Run tests/fixtures/passes.py; give its exit status, negative for a signal."""
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "tests.fixtures.passes", *arguments],
        env=os.environ | environment,
        check=False,
        stdout=subprocess.DEVNULL,
    ).returncode


def insert_due(desk: Desk, events: int) -> None:
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, next_attempt_at)"
        " SELECT 'due-' || n, 'lan', 'FAILED', now() FROM generate_series(1, %s) AS n",
        events,
    )


def queued(desk: Desk) -> Counter[str]:
    """Empty the queue: how often each conversation was in it."""
    connection = pika.BlockingConnection(pika.URLParameters(desk.broker.url))
    channel = connection.channel()
    found: Counter[str] = Counter()
    while True:
        method, _, body = channel.basic_get(desk.broker.queue, auto_ack=True)
        if method is None:
            break
        found[json.loads(body or b"")["conversation_id"]] += 1
    connection.close()
    return found


@pytest.mark.parametrize(
    "step", ["committed", pytest.param("sent", marks=FAULTS), pytest.param("between", marks=FAULTS)]
)
def test_a_pass_killed_at_any_step_loses_nothing(environment: dict[str, str], desk: Desk, step: str) -> None:
    """Rows taken are due again later, without anybody's doing; what comes twice so is harmless."""
    insert_due(desk, 5)
    assert passes(environment, step) == -signal.SIGKILL
    assert desk.statuses() == {"PENDING": 5}
    waits = desk.query(
        "SELECT extract(epoch FROM next_attempt_at - now())::float8 AS s FROM conversation_events"
    )
    assert all(540 < row["s"] <= 600 for row in waits)
    found = queued(desk) if step != "committed" else Counter()
    assert found.total() == (0 if step == "committed" else 1)
    assert desk.retry_pass() == Counts()
    desk.query("UPDATE conversation_events SET next_attempt_at = now()")
    assert desk.retry_pass() == Counts(pending=5, published=5)
    assert queued(desk) == {f"due-{number}": 1 for number in range(1, 6)}
    assert desk.breaches() == []


@FAULTS
def test_ten_hosts_publish_each_of_a_thousand_events_once(environment: dict[str, str], desk: Desk) -> None:
    """All at once, each in a process of its own."""
    insert_due(desk, 1000)
    assert passes(environment, "hosts", "10") == 0
    assert queued(desk) == {f"due-{number}": 1 for number in range(1, 1001)}
    assert desk.query("SELECT DISTINCT status, publish_count FROM conversation_events") == [
        {"status": "PENDING", "publish_count": 1}
    ]


def test_one_pass_at_a_time_on_a_host(
    environment: dict[str, str], desk: Desk, command: Command, caplog: pytest.LogCaptureFixture
) -> None:
    """The second says so and has nothing to do; the name goes with its holder."""
    insert_due(desk, 1)
    nothing = {"failed": 0, "pending": 0, "rescued": 0, "published": 0, "left": 0}
    with alone("retry", place(environment["DATABASE_URL"]), environment["RABBITMQ_QUEUE"]) as granted:
        assert granted
        said = command("retry")
        assert (said.code, said.objects) == (0, [nothing])
        assert "retry_pass_busy" in said.err
        # another queue is another matter
        assert command("retry", "--queue", f"{environment['RABBITMQ_QUEUE']}.dead").code == 0
    desk.query("UPDATE conversation_events SET next_attempt_at = now()")
    assert command("retry").objects[0]["published"] == 1


HELD_AND_KILLED = """
import os, signal
from consumer.alone import alone
with alone("killed") as granted:
    os.kill(os.getpid(), signal.SIGKILL if granted else signal.SIGTERM)
"""


def test_the_lock_dies_with_its_holder() -> None:
    """Whatever killed it; nothing is left to clean up."""
    assert subprocess.run([sys.executable, "-c", HELD_AND_KILLED], check=False).returncode == -signal.SIGKILL
    with alone("killed") as first, alone("killed") as second, alone("another") as third:
        assert (first, second, third) == (True, False, True)


def test_a_pass_stops_where_the_queue_is_full_enough(desk: Desk, command: Command) -> None:
    """What finds no room is counted and not touched; a full queue gets nothing at all."""
    insert_due(desk, 8)
    assert command("retry", "--limit=5").objects == [
        {"failed": 5, "pending": 0, "rescued": 0, "published": 5, "left": 3}
    ]
    before = desk.query("SELECT * FROM conversation_events ORDER BY id")
    assert command("retry", "--limit=5").objects[0] == {
        "failed": 0, "pending": 0, "rescued": 0, "published": 0, "left": 3,
    }  # fmt: skip
    assert desk.query("SELECT * FROM conversation_events ORDER BY id") == before
    assert command("retry", "--limit=6").objects[0]["published"] == 1
    assert desk.depth() == 6
    assert command("retry", "--limit=0").code == 2


def test_what_a_vanished_holder_left_is_rescued_before_any_backlog(desk: Desk, command: Command) -> None:
    """Its message may be in no queue: a queue that is always full must not keep it for ever; the rest waits."""
    insert_due(desk, 6)
    assert command("retry", "--limit=5").objects[0]["left"] == 1
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, lease_until, claimed_by)"
        " VALUES ('held', 'lan', 'PROCESSING', now() - interval '1 s', 'somebody')"
    )
    assert command("retry", "--limit=5").objects[0] == {
        "failed": 0, "pending": 0, "rescued": 1, "published": 1, "left": 1,
    }  # fmt: skip
    assert desk.status("held") == "PENDING"


def test_the_cap_holds_for_a_pass_and_by_the_environment(
    desk: Desk, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Consumers that empty the queue meanwhile do not make a pass endless: a portion is a portion."""
    insert_due(desk, 5)
    monkeypatch.setattr("consumer.retries.BATCH", 2)
    monkeypatch.setattr("consumer.amqp.Publisher.depth", lambda _: 0)
    monkeypatch.setenv("FRIENDSHIP_RETRY_LIMIT", "3")
    assert command("retry").objects[0] == {
        "failed": 3, "pending": 0, "rescued": 0, "published": 3, "left": 2,
    }  # fmt: skip


def test_a_long_queue_is_not_multiplied_by_its_own_retries(desk: Desk) -> None:
    """Its rows stay PENDING for a day: each id is published seven times, less and less often."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('waits', 'lan')")
    database = Database(desk.database_url)
    passed_s = 0.0
    published = 0
    while passed_s < 86_400:
        desk.query("UPDATE conversation_events SET next_attempt_at = next_attempt_at - interval '5 minutes'")
        passed_s += 300
        if desk.query("SELECT 1 AS due FROM conversation_events WHERE next_attempt_at <= now()"):
            counts = Counts()
            pass_once(database, desk.broker, counts)
            published += counts.published
    database.close()
    assert published == 7


def test_a_lost_broker_ends_a_pass_before_it_touches_a_row(desk: Desk, command: Command) -> None:
    """Exit 1, one line."""
    insert_due(desk, 1)
    said = command("retry", "--rabbitmq-url", "amqp://guest:hunter2@127.0.0.1:1/%2F")
    assert (said.code, said.objects[0]["published"]) == (1, 0)
    assert "hunter2" not in said.err
    assert desk.statuses() == {"FAILED": 1}


def test_the_built_in_pass_brings_a_portion_and_yields_to_another_of_its_host(
    environment: dict[str, str], desk: Desk, start_worker: Callable[..., Worker]
) -> None:
    """A hundred messages for two children, the rest later; while another pass is under way here, none."""
    insert_due(desk, 130)
    with alone("retry", place(environment["DATABASE_URL"]), environment["RABBITMQ_QUEUE"]):
        worker = start_worker(FRIENDSHIP_RETRY_EVERY="0.3")
        worker.wait_for("retry_pass_busy")
        assert desk.statuses() == {"FAILED": 130}
    first = worker.wait_for("retry_pass", published=100)
    assert first["left"] == 30
    worker.wait_until(lambda: desk.statuses() == {"FAILED": 130}, "all were tried")
    worker.wait_until(
        lambda: desk.query("SELECT DISTINCT attempt_count AS n FROM conversation_events") == [{"n": 1}],
        "each was tried once",
    )
    assert worker.stop() == 0

"""Storms of kills, cuts and poison over many conversations, with the figures that docs/reliability.md shows."""

import contextlib
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from time import monotonic, sleep

import pytest

from scripts.conversations import make
from scripts.faults.failpoints import COUNTED_IN, Action, Fault, Step, happened
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.rabbitmq import RabbitMQ
from scripts.servers.stack import Stack
from tests.fixtures.amqp_proxy import AmqpProxy, any_half
from tests.fixtures.desk import Desk
from tests.fixtures.failpoints import Stepped
from tests.fixtures.proxy import Relay, host_and_port, through
from tests.fixtures.worker import Worker, starting

SIZE_BYTES = 3_000
USERS = 50
Start = Callable[..., Worker]
Tell = Callable[..., None]


@pytest.fixture
def tell(capsys: pytest.CaptureFixture[str], request: pytest.FixtureRequest) -> Tell:
    """Print figures past pytest: they are what such a test is run for."""

    def write(**figures: object) -> None:
        with capsys.disabled():
            print(
                f"\n{request.node.name}: " + ", ".join(f"{name} {value}" for name, value in figures.items())
            )

    return write


@pytest.fixture
def start_stepped(environment: dict[str, str], tmp_path: Path) -> Iterator[Start]:
    """Start the program with failpoints: start_stepped(**environment overrides)."""
    with starting(Stepped, environment | {COUNTED_IN: str(tmp_path)}) as start:
        yield partial(start, "--allow-overcommit")


def publish(desk: Desk, names: list[str]) -> None:
    desk.publish(
        make(name, f"user-{number % USERS}", size_bytes=SIZE_BYTES) for number, name in enumerate(names)
    )


def all_processed(desk: Desk) -> bool:
    return desk.statuses()["PROCESSED"] == len(desk.published)


def invariants_hold(environment: dict[str, str]) -> None:
    """Run the operator's command."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", "check", "--db", "--invariants"],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def score_error(desk: Desk) -> float:
    """Give the largest difference between a user's score and what the conversations sum up to."""
    expected, scores = desk.expected_scores(), desk.scores()
    assert expected.keys() == scores.keys()
    return max(abs(scores[user] - score) for user, score in expected.items())


def doubled(desk: Desk) -> int:
    """Count the conversations whose change was added more than once."""
    (row,) = desk.query(
        "SELECT count(*) AS doubled FROM (SELECT conversation_id FROM score_ledger"
        " GROUP BY conversation_id HAVING count(*) > 1) AS twice"
    )
    return int(row["doubled"])


def kill_at_random(worker: Worker, *, kills: int, gap_s: float, seed: int) -> None:
    """Send SIGKILL to a random child, again and again, `gap_s` apart on average, whatever it is doing."""
    rng = random.Random(seed)
    for _ in range(kills):
        sleep(rng.uniform(0, 2 * gap_s))  # the fault's own time, nothing is waited for
        victim = worker.wait_until(lambda: rng.choice(worker.children() or [None]), "there is a child")
        with contextlib.suppress(ProcessLookupError):
            os.kill(victim, signal.SIGKILL)
        worker.wait_for("child_exited", pid=victim)


@pytest.mark.slow
@pytest.mark.faults
def test_a_thousand_kills_lose_and_double_nothing(
    start_worker: Start, desk: Desk, memory_api: MemoryApiStandIn, environment: dict[str, str], tell: Tell
) -> None:
    """1,000 SIGKILLs at random times over 5,000 conversations whose calls take 0.2 s, on eight children."""
    memory_api.set_mode("delay", seconds=0.2)
    worker = start_worker(FRIENDSHIP_CHILDREN="8")
    worker.wait_for("child_ready", times=8)
    began = monotonic()
    publish(desk, [f"c-{number:04}" for number in range(5000)])
    kill_at_random(worker, kills=1000, gap_s=0.12, seed=5)
    last_kill = monotonic()
    worker.wait_until(lambda: all_processed(desk), "every event is processed", limit_s=300)
    after_s = monotonic() - last_kill
    assert worker.stop() == 0
    calls = [seen.calls for seen in memory_api.calls().conversations.values()]
    tell(
        kills=len(worker.logged("child_exited", reason="killed")),
        seconds=round(last_kill - began),
        processed_after_last_kill_s=round(after_s, 1),
        doubled=doubled(desk),
        score_error=score_error(desk),
        calls=sum(calls),
        most_calls_of_an_event=max(calls),
    )
    assert len(worker.logged("child_exited", reason="killed")) >= 990  # some die of their own accord first
    assert after_s < 60
    assert doubled(desk) == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    invariants_hold(environment)


@pytest.mark.faults
def test_three_hundred_kills_between_commit_and_ack_double_nothing(
    start_stepped: Start, desk: Desk, environment: dict[str, str], tell: Tell, tmp_path: Path
) -> None:
    """Each child dies with an outcome committed and its message not acknowledged: the copies are dropped."""
    steps = (Step.COMMITTED, Step.AFTER_COMMIT, Step.BEFORE_ACK, Step.INSIDE_ACK)
    aimed = [Fault(step, Action.KILL).conversation_id(str(number)) for number in range(75) for step in steps]
    names = aimed + [f"c-{number:03}" for number in range(600)]
    random.Random(6).shuffle(names)
    worker = start_stepped(FRIENDSHIP_CHILDREN="8")
    worker.wait_for("child_ready", times=8)
    began = monotonic()
    publish(desk, names)
    worker.wait_until(lambda: all(happened(tmp_path, name) for name in aimed), "all are killed", limit_s=300)
    last_kill = monotonic()
    worker.wait_until(lambda: all_processed(desk) and not desk.depth(), "every event is processed")
    after_s = monotonic() - last_kill
    assert worker.stop() == 0
    tell(
        kills=len(worker.logged("child_exited", reason="killed")),
        seconds=round(last_kill - began),
        processed_after_last_kill_s=round(after_s, 1),
        copies_dropped=len(worker.logged("message_left", outcome="duplicate")),
        doubled=doubled(desk),
        score_error=score_error(desk),
    )
    assert len(worker.logged("child_exited", reason="killed")) == len(aimed)
    assert doubled(desk) == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    invariants_hold(environment)


@pytest.mark.faults
def test_half_of_all_acks_cut_with_their_connection_double_nothing(
    start_worker: Start, desk: Desk, environment: dict[str, str], rabbitmq_url: str, tell: Tell
) -> None:
    """300 conversations whose acknowledgements are lost as a coin falls; the queue ends empty."""
    with AmqpProxy(*host_and_port(rabbitmq_url)) as proxy:
        proxy.choose = any_half(7)
        worker = start_worker(FRIENDSHIP_CHILDREN="8", RABBITMQ_URL=through(proxy, rabbitmq_url))
        worker.wait_for("child_ready", times=8)
        publish(desk, [f"c-{number:03}" for number in range(300)])
        worker.wait_until(lambda: proxy.acks - proxy.acks_cut == 300, "all are acknowledged", limit_s=120)
        assert worker.stop() == 0
    tell(acks=proxy.acks, acks_cut=proxy.acks_cut, doubled=doubled(desk), score_error=score_error(desk))
    assert proxy.acks_cut > 200
    assert doubled(desk) == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    invariants_hold(environment)


@pytest.mark.faults
def test_connections_cut_before_a_call_can_end_cost_few_calls(
    start_worker: Start, desk: Desk, environment: dict[str, str], stack: Stack, tell: Tell
) -> None:
    """No connection, to RabbitMQ or PostgreSQL, lives for longer than 0.8 of a call: no message outlives its own."""
    call_s, children = 8.0, 16
    stack.memory_api.set_mode("delay", seconds=call_s)
    rabbitmq_url, database_url = desk.broker.url, desk.database_url
    with (
        Relay(*host_and_port(rabbitmq_url)) as broker,
        Relay(*host_and_port(database_url)) as database,
    ):
        worker = start_worker(
            "--allow-overcommit",
            FRIENDSHIP_CHILDREN=str(children),
            RABBITMQ_URL=through(broker, rabbitmq_url),
            DATABASE_URL=through(database, database_url),
        )
        worker.wait_for("child_ready", times=children)
        broker.cut_at_age(0.8 * call_s)
        database.cut_at_age(0.8 * call_s)
        # A few at a time: a child that is free takes over what a cut gave back
        for number in range(40):
            publish(desk, [f"c-{number:02}"])
            sleep(0.6)  # a publisher's own pace
        worker.wait_until(lambda: all_processed(desk), "every event is processed", limit_s=300)
        broker.cut_at_age(None)
        database.cut_at_age(None)
        worker.wait_until(lambda: held(stack.rabbitmq, desk) == 0, "the queue holds nothing", limit_s=120)
        assert worker.stop() == 0
    calls = [seen.calls for seen in stack.memory_api.calls().conversations.values()]
    tell(
        connections_cut=broker.cuts + database.cuts,
        calls=sum(calls),
        most_calls_of_an_event=max(calls),
        fenced=len(worker.logged("message_fenced")),
        doubled=doubled(desk),
        score_error=score_error(desk),
    )
    assert max(calls) <= 3
    assert doubled(desk) == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)
    invariants_hold(environment)


@pytest.mark.faults
def test_fifty_poisons_cost_two_children_each_and_stop_nobody(
    start_stepped: Start, desk: Desk, environment: dict[str, str], tell: Tell, tmp_path: Path
) -> None:
    """50 messages that segfault whoever works on them, among 500 good ones, on eight children."""
    poisons = [Fault(Step.AFTER_CLAIM, Action.SEGV, times=99).conversation_id(str(n)) for n in range(50)]
    good = [f"c-{number:03}" for number in range(500)]
    names = poisons + good
    random.Random(8).shuffle(names)
    worker = start_stepped(FRIENDSHIP_CHILDREN="8")
    worker.wait_for("child_ready", times=8)
    began = monotonic()
    publish(desk, names)
    ended = {"PROCESSED": len(good), "FAILED": len(poisons)}
    worker.wait_until(lambda: desk.statuses() == ended, "all have ended", limit_s=300)
    took_s = monotonic() - began
    assert worker.stop() == 0
    died = [happened(tmp_path, name) for name in poisons]
    tell(
        seconds=round(took_s, 1),
        children_lost=len(worker.logged("child_exited", reason="crashed")),
        most_of_one_poison=max(died),
        good_processed=desk.statuses()["PROCESSED"],
    )
    assert set(died) == {2}
    assert len(worker.logged("child_exited", reason="crashed")) == 2 * len(poisons)
    codes = desk.query("SELECT DISTINCT error_code FROM conversation_events WHERE status = 'FAILED'")
    assert codes == [{"error_code": "CHILD_CRASHED"}]
    assert {desk.status(name) for name in good} == {"PROCESSED"}
    desk.assert_clean_ending(worker)
    invariants_hold(environment)


def held(rabbitmq: RabbitMQ, desk: Desk) -> int:
    """Count a queue's messages, those on their way to an acknowledgement included."""
    lines = rabbitmq.rabbitmqctl("list_queues", "name", "messages").splitlines()
    return next(int(line.split()[1]) for line in lines if line.split()[:1] == [desk.broker.queue])

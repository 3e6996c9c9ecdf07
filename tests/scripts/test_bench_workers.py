"""The workers that this project is compared with: each does its job, and meets the faults that are injected."""

import contextlib
import signal
import subprocess
import sys
from collections.abc import Iterator

import pika
import psutil
import pytest

from scripts.bench.contenders import CONTENDERS, Contender
from scripts.bench.figures import Plan
from scripts.bench.kill import kill
from scripts.faults.harm import LEAK
from scripts.measure import MB, ROOT, Ground, Tree, copies, running
from scripts.servers.stack import Stack
from tests.fixtures.eventually import eventually

QUICK = {"BENCH_TIME_SCALE": "0.0001", "dramatiq_worker_timeout": "50"}


def contender(name: str) -> Contender:
    """Give a worker; where its library is not installed, the test is skipped."""
    found = CONTENDERS[name]
    if not found.installed:
        pytest.skip(f"{found.package} is not installed")
    return found


@contextlib.contextmanager
def at_work(
    stack: Stack, worker: Contender, *, children: int = 2, faulty: bool = False
) -> Iterator[tuple[Ground, Tree]]:
    """Run a worker on ground of its own until it consumes; kill it at the end."""
    with Ground(stack, f"test_{worker.name}", declared=not worker.declares) as ground:
        variables = ground.environment | worker.variables(children) | QUICK
        with running(worker.arguments(children, faulty=faulty), variables, patience_s=0) as tree:
            tree.until(lambda: ground.consumers() == worker.consumers(children), "all consume")
            yield ground, tree


@pytest.mark.parametrize("name", ["threaded", "threaded10", "celery", "dramatiq"])
def test_a_call_that_failed_is_made_again(stack: Stack, name: str) -> None:
    """Two of twelve calls are answered 503: in the end every score is right, and nothing was called in vain."""
    worker = contender(name)
    conversations = copies(name, 12, size_bytes=20_000, emoji=True)
    stack.memory_api.set_mode("error", status=503, calls=2)
    with at_work(stack, worker) as (ground, tree):
        ground.add(conversations)
        ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
        tree.until(lambda: ground.processed() == 12, "all are PROCESSED")
        ground.prove(conversations)
        assert stack.memory_api.calls().total == 14


@pytest.mark.parametrize("name", ["celery", "dramatiq"])
def test_a_message_that_comes_twice_is_scored_once(stack: Stack, name: str) -> None:
    """What a redelivery after the score was written must not do; with one process, the third message is the last."""
    worker = contender(name)
    first, last = copies(name, 2, size_bytes=20_000)
    with at_work(stack, worker, children=1) as (ground, tree):
        ground.add([first, last])
        ground.publish(worker.envelope(one, ground.broker.queue) for one in (first, first, last))
        tree.until(lambda: ground.processed() == 2, "both are PROCESSED")
        ground.prove([first, last])
        assert stack.memory_api.calls().total == 2


@pytest.mark.parametrize(("name", "dead"), [("celery", ".dead"), ("dramatiq", ".XQ")])
def test_a_message_that_fails_for_good_is_set_aside(stack: Stack, name: str, dead: str) -> None:
    """After the first try and five more it is among the dead letters, its row FAILED."""
    worker = contender(name)
    [conversation] = copies(name, 1, size_bytes=20_000)
    stack.memory_api.set_mode("error", status=503)
    with at_work(stack, worker) as (ground, tree):
        ground.add([conversation])
        ground.publish([worker.envelope(conversation, ground.broker.queue)])
        tree.until(lambda: waiting(ground.broker.url, ground.broker.queue + dead) == 1, "it is set aside")
        assert waiting(ground.broker.url, ground.broker.queue) == 0
        assert ground.outcome(conversation.conversation_id) == "FAILED MEMORY_API_ERROR"
        assert stack.memory_api.calls().total == 6


def waiting(url: str, queue: str) -> int:
    """Count the messages that wait in a queue that there is."""
    with contextlib.closing(pika.BlockingConnection(pika.URLParameters(url))) as connection:
        return int(connection.channel().queue_declare(queue, passive=True).method.message_count)


def test_the_old_worker_keeps_a_transaction_open_while_it_waits(stack: Stack) -> None:
    """That is what it is replaced for: every call that waits holds a session idle in transaction."""
    worker = contender("threaded")
    conversations = copies("threaded", 12, size_bytes=20_000)
    stack.memory_api.set_mode("hang")
    with at_work(stack, worker) as (ground, tree):
        ground.add(conversations)
        ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
        tree.until(lambda: len(stack.memory_api.calls().conversations) == 10, "its ten threads wait")
        [idle] = ground.database.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND state = 'idle in transaction'"
        )
        assert idle == (10,)
        stack.memory_api.set_mode("instant")
        stack.memory_api.release()
        tree.until(lambda: ground.processed() == 12, "all are PROCESSED")


def test_the_old_worker_keeps_what_failed(stack: Stack) -> None:
    """That is what it died of: of every call that failed, its conversation stays in memory."""
    conversations = copies("threaded", 4, size_bytes=MB)
    stack.memory_api.set_mode("error", status=503, calls=30)
    with at_work(stack, CONTENDERS["threaded"]) as (ground, tree):
        ground.add(conversations)
        ground.publish(CONTENDERS["threaded"].envelope(one, ground.broker.queue) for one in conversations)
        tree.until(lambda: ground.processed() == 4, "all are PROCESSED")
        ground.prove(conversations)
        assert sum(member.rss_bytes for member in tree.read()) > 30 * 3 * MB


@pytest.mark.parametrize("name", ["supervised", "threaded", "celery", "dramatiq"])
def test_one_kill_loses_nothing(stack: Stack, name: str) -> None:
    """The message of the killed process comes again and is scored once, the whole worker started again if need be."""
    plan = Plan(children=2, message_mb=0.02, back_limit_s=0.01)
    after = kill(stack, contender(name), plan)
    assert (after.messages, after.processed, after.scored_twice) == (2, 2, 0)
    assert after.redeliveries == after.called_again == (2 if name == "threaded" else 1)
    assert name != "supervised" or not after.deaths


@pytest.mark.parametrize("name", ["supervised", "floor", "threaded", "celery", "dramatiq"])
def test_poison_kills_the_process_that_has_it(stack: Stack, name: str) -> None:
    """One process of the tree is gone once the message is delivered; without faults it would be scored."""
    worker = contender(name)
    [poison] = copies("poison", 1, size_bytes=20_000)
    with at_work(stack, worker, faulty=True) as (ground, tree):
        members = tree.members()
        ground.add([poison])
        ground.publish([worker.envelope(poison, ground.broker.queue)])
        eventually(lambda: not all(alive(one) for one in members), "one is gone")
        assert not ground.processed()


def alive(process: psutil.Process) -> bool:
    try:
        return process.is_running() and bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_poison_is_a_segmentation_fault() -> None:
    """The process dies of SIGSEGV at once, whichever of its threads has the conversation."""
    code = (
        "import threading\n"
        "from scripts.faults.harm import Harm\n"
        "thread = threading.Thread(target=Harm().befall, args=['poison-1'])\n"
        "thread.start(); thread.join()\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGSEGV


def test_a_leak_stays_in_the_process() -> None:
    """Each request of a conversation leaves the megabytes behind; any other request none."""
    code = (
        "import httpx, psutil\n"
        "from scripts.faults import wrapped\n"
        "from scripts.faults.harm import Harm\n"
        f"wrapped.inject(Harm.of({{'{LEAK}': '16'}}))\n"
        "ok = httpx.MockTransport(lambda _: httpx.Response(200))\n"
        "client, me = httpx.Client(transport=ok, base_url='http://api'), psutil.Process()\n"
        "client.post('/', json={'user_id': 'u', 'conversation_id': 'c'})\n"
        "for body in ({'user': 'u'}, {'conversation_id': 'c'}):\n"
        "    before = me.memory_info().rss\n"
        "    for _ in range(4): client.post('/', json=body)\n"
        "    print(round((me.memory_info().rss - before) / 2**20 / 16))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True
    )
    assert done.stdout.split() == ["0", "4"]


def test_every_contender_can_be_made_faulty() -> None:
    """The number of processes reaches it then too, and nothing of the faults is there otherwise."""
    for worker in CONTENDERS.values():
        usual, faulty = worker.arguments(7), worker.arguments(7, faulty=True)
        assert any("scripts.faults" in word for word in faulty)
        assert not any("scripts.faults" in word for word in usual)
        assert usual == faulty[-len(usual) :] or worker.name == "supervised"

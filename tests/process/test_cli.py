"""The commands as a person or a cron job runs them."""

import gzip
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import httpx
import orjson
import psutil
import pytest

from scripts.conversations import make
from scripts.servers.llm import LlmStandIn
from supervisor import arithmetic
from tests.fixtures.cgroup import MemoryGroup
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.s3 import S3Server
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]
EXAMPLES = Path(__file__).parents[2] / "examples"


PROGRAM = (sys.executable, "-W", "error", "-m", "supervisor")
AWAY = {
    "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:1/%2F",
    "DATABASE_URL": "postgresql://127.0.0.1:1/x",
    "MEMORY_API_URL": "http://127.0.0.1:1",
}


def program(
    *arguments: str,
    environment: dict[str, str] | None = None,
    stdin: bytes = b"",
    group: MemoryGroup | None = None,
) -> subprocess.CompletedProcess[str]:
    command = [*PROGRAM, *arguments]
    done = subprocess.run(
        group.inside(*command) if group else command,
        env=os.environ | (environment or {}),
        input=stdin,
        capture_output=True,
        check=False,
    )
    return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())


def test_the_examples_are_all_accepted(environment: dict[str, str], desk: Desk) -> None:
    """`publish` counts what the broker has confirmed."""
    done = program("publish", str(EXAMPLES / "conversations.jsonl"), environment=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == "accepted 36, refused 0\n"
    assert desk.depth() == 36


def test_lines_that_are_no_message_are_named_and_the_others_published(
    environment: dict[str, str], desk: Desk
) -> None:
    """Exit status 1, line numbers, and a good line in their midst goes through."""
    lines = (EXAMPLES / "invalid.jsonl").read_bytes() + make("good", "u").body + b"\n\n"
    done = program("publish", "-", environment=environment, stdin=lines)
    assert done.returncode == 1
    assert done.stdout == "accepted 1, refused 6\n"
    for number in range(1, 7):
        assert f"line {number} is no message" in done.stderr
    assert desk.depth() == 1


def test_a_script_reads_which_lines_are_no_message(command: Command, tmp_path: Path) -> None:
    """An object a line; the counts come last."""
    file = tmp_path / "two.jsonl"
    file.write_bytes(b"nonsense\n" + make("good", "u").body)
    said = command("publish", "--json", str(file))
    assert (said.code, said.err) == (1, "")
    assert [(each.get("line"), each.get("accepted")) for each in said.objects] == [(1, None), (None, 1)]
    assert said.objects[0]["file"] == str(file)


def test_publishing_without_a_broker_says_so_in_one_line(environment: dict[str, str]) -> None:
    """No traceback, no password."""
    away = environment | {"RABBITMQ_URL": "amqp://guest:hunter2@127.0.0.1:1/%2F"}
    done = program("publish", str(EXAMPLES / "conversations.jsonl"), environment=away)
    assert done.returncode == 1
    assert "the broker is away" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr + done.stdout


def test_migrate_does_nothing_the_second_time(database_url: str) -> None:
    """It names what it applied."""
    first = program("migrate", environment={"DATABASE_URL": database_url})
    second = program("migrate", "--database-url", database_url)
    assert (first.returncode, second.returncode) == (0, 0)
    assert "applied 0001" in first.stdout
    assert "applied" not in second.stdout


def test_retry_counts_and_publishes_what_is_due_once(environment: dict[str, str], desk: Desk) -> None:
    """FAILED and due, PENDING and due, PROCESSING over its lease; and nothing the second time."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, next_attempt_at) VALUES "
        "('due', 'u', 'FAILED', now()), ('later', 'u', 'FAILED', now() + interval '1 hour'), "
        "('never', 'u', 'FAILED', NULL), ('stale', 'u', 'PENDING', now()), ('done', 'u', 'PROCESSED', NULL)"
    )
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, attempt_count, lease_until, claimed_by) "
        "VALUES ('lost', 'u', 'PROCESSING', 1, now(), 'somebody')"
    )
    done = program("retry", environment=environment)
    assert done.returncode == 0, done.stderr
    assert orjson.loads(done.stdout) == {"failed": 1, "pending": 1, "rescued": 1, "published": 3, "left": 0}
    assert desk.depth() == 3
    again = program("retry", environment=environment)
    assert orjson.loads(again.stdout)["published"] == 0
    assert desk.statuses() == {"PENDING": 3, "FAILED": 2, "PROCESSED": 1}


def test_check_names_the_remedy_of_each_failure(environment: dict[str, str], database_url: str) -> None:
    """A schema that is missing, a broker that is away, an API that is away."""
    broken = environment | {
        "DATABASE_URL": database_url,
        "RABBITMQ_URL": "amqp://guest:hunter2@127.0.0.1:1/%2F",
        "MEMORY_API_URL": "http://127.0.0.1:1",
    }
    done = program("check", "--memory-api", environment=broken)
    assert done.returncode == 1
    failed = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert [line.split()[1] for line in failed] == ["broker", "database", "API"]
    assert all(" -> " in line for line in failed)
    assert "friendship-supervisor migrate" in done.stdout
    assert "hunter2" not in done.stdout
    assert program("check", "--db", environment=environment).returncode == 0


def test_check_finds_a_broken_promise(environment: dict[str, str], desk: Desk) -> None:
    """A PROCESSED row without its ledger row is a breach, and the exit status says so."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, claim_epoch) "
        "VALUES ('forged', 'u', 'PROCESSED', 1)"
    )
    done = program("check", "--db", "--invariants", environment=environment)
    assert done.returncode == 1
    assert "FAIL" in done.stdout


def test_configuration_errors_are_all_named_with_exit_2() -> None:
    """Before anything is started."""
    done = program("--children", "none", "run", "--rss-mb", "-1")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 2
    assert program("--no-such-option").returncode == 2
    assert program("no-such-command").returncode == 2


def test_a_message_limit_that_cannot_be_received_is_refused(environment: dict[str, str]) -> None:
    """pika holds a body twice; the largest limit that fits is named."""
    done = program(
        "--rss-mb", "100", environment=environment | {"MAX_MESSAGE_MB": "64", "FRIENDSHIP_RSS_MB": ""}
    )
    assert done.returncode == 2
    assert "--max-message-mb" in done.stderr


def test_nine_children_of_300_mb_are_refused_under_3000_mb_and_eight_are_not(
    memory_group: MemoryGroup,
) -> None:
    """Exit 2 before anything starts; `check` finds the same, with what fits for a remedy."""
    memory_group.limit(3000 * 2**20)
    refused = program("--children=9", "--rss-mb=300", environment=AWAY, group=memory_group)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "--children 8" in line
    assert "--rss-mb 271" in line
    assert "3000 MB" in line
    checked = program("check", "--children=9", environment=AWAY, group=memory_group)
    failed = [text for text in checked.stdout.splitlines() if text.startswith("FAIL memory")]
    assert len(failed) == 1
    assert "-> what fits at the most is --children 8, or --rss-mb 271 with 9 children" in failed[0]
    checked = program("check", "--children=8", environment=AWAY, group=memory_group)
    assert "FAIL memory" not in checked.stdout
    assert "warn memory" not in checked.stdout


@pytest.mark.parametrize(
    ("options", "events"),
    [
        (["--children=8"], ["memory_sum"]),
        (["--children=9", "--allow-overcommit"], ["memory_sum", "overcommitted"]),
    ],
)
def test_what_fits_or_is_overcommitted_on_purpose_starts_under_a_limit(
    memory_group: MemoryGroup, options: list[str], events: list[str]
) -> None:
    """The sum is the first thing in the log; an overcommitment is a warning there."""
    memory_group.limit(3000 * 2**20)
    command = [*PROGRAM, "--rss-mb=300", "--log-format=json", *options]
    with subprocess.Popen(
        memory_group.inside(*command), env=os.environ | AWAY, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        said: list[str] = []
        for line in process.stdout:
            said.append(orjson.loads(line)["event"])
            if said[-1] == "supervisor_started":
                break
        process.terminate()
        process.stdout.read()
    assert said == [*events, "supervisor_started"]
    assert process.returncode == 0


def test_a_budget_that_an_idle_child_half_fills_is_refused_unless_overcommitted(
    environment: dict[str, str],
) -> None:
    """Without any limit around: children would be replaced all the time."""
    small = ["--rss-mb=60", "--rss-hard-mb=400"]
    refused = program(*small, environment=environment)
    assert refused.returncode == 2
    assert "--rss-mb 88" in refused.stderr
    assert "--allow-overcommit" in refused.stderr
    checked = program("check", *small, environment=environment)
    assert checked.returncode == 1
    assert "FAIL memory" in checked.stdout
    overcommitted = program("check", *small, "--allow-overcommit", environment=environment)
    assert overcommitted.returncode == 0
    assert "warn memory" in overcommitted.stdout


@pytest.mark.parametrize("loaded", [False, True], ids=["plain", "with S3 and the LLM"])
def test_what_the_arithmetic_assumes_holds_for_the_real_processes(
    start_worker: Start, desk: Desk, s3: S3Server, llm: LlmStandIn, *, loaded: bool
) -> None:
    """The parent, an idle child, the status process, and what these do not share, before and after logs of 3 MB."""
    load = arithmetic.S3_LOAD + arithmetic.LLM_LOAD if loaded else arithmetic.NO_LOAD
    worker = start_worker(
        "--listen", "127.0.0.1:0", **(s3.environment() | llm.environment() if loaded else {})
    )
    worker.wait_for("child_ready", times=2)
    status = worker.wait_for("status_listening")

    def light(pid: int, most_bytes: int) -> bool:
        return bool(psutil.Process(pid).memory_info().rss <= most_bytes)

    def weigh() -> None:
        assert light(worker.pid, arithmetic.PARENT_BYTES + load.parent_bytes)
        for path in ("/", "/status", "/metrics"):
            httpx.get(f"http://{status['address']}{path}", trust_env=False).raise_for_status()
        assert psutil.Process(status["pid"]).memory_full_info().uss <= arithmetic.STATUS_BYTES
        for pid in set(worker.children()) - {status["pid"]}:
            idle = partial(light, pid, arithmetic.IDLE_RSS_BYTES + load.idle_rss_bytes)
            worker.wait_until(idle, "a child is idle and light")
            used = psutil.Process(pid).memory_full_info()
            assert used.uss <= arithmetic.IDLE_CHILD_BYTES + load.own_bytes
            assert used.rss - used.uss >= arithmetic.SHARED_BYTES + load.shared_bytes

    weigh()
    for number in range(20):
        conversation = make(f"c-{number}", "user-1", size_bytes=3_000_000)
        if loaded:
            log = conversation.body[conversation.body.index(b"[") : -1]
            url = s3.put(f"{number}.json.gz", gzip.compress(log, 1))
            ids = {"conversation_id": f"c-{number}", "user_id": "user-1", "conversation_log_url": url}
            desk.publish_raw(orjson.dumps(ids))
        else:
            desk.publish([conversation])
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 20, "all are processed")
    weigh()
    assert worker.stop() == 0


def test_what_only_a_client_refuses_stops_the_start(environment: dict[str, str]) -> None:
    """Each of its children would fail at it again and again."""
    model = {
        "LLM_ANALYSIS_ENABLED": "true",
        "GROQ_BASE_URL": "http://\N{SNOWMAN}.example/v1",
        "GROQ_API_KEY": "secret",
    }
    ended = program("run", environment=environment | model)
    assert ended.returncode == 2
    assert "GROQ_BASE_URL" in ended.stdout + ended.stderr
    assert "secret" not in ended.stdout + ended.stderr


def test_an_old_schema_is_waited_for_and_then_work_begins(
    start_worker: Start, database_url: str, environment: dict[str, str]
) -> None:
    """`migrate` may come a little later than the worker."""
    worker = start_worker(DATABASE_URL=database_url)
    worker.wait_for("waiting", on="schema")
    assert program("migrate", environment={"DATABASE_URL": database_url}).returncode == 0
    worker.wait_for("child_ready", times=2)
    assert worker.stop() == 0


@pytest.mark.slow
def test_a_schema_that_stays_old_ends_the_supervisor_with_exit_2(
    start_worker: Start, database_url: str
) -> None:
    """After 60 s."""
    worker = start_worker(DATABASE_URL=database_url)
    assert worker.wait(90) == 2


def test_secrets_given_as_options_are_not_in_any_process_title(
    start_worker: Start, environment: dict[str, str]
) -> None:
    """Everybody may read /proc/PID/cmdline."""
    secret = environment["RABBITMQ_URL"].replace("guest:guest", "guest:guest") + "?heartbeat=31"
    worker = start_worker("--rabbitmq-url", secret, "run", "--database-url", environment["DATABASE_URL"])
    worker.wait_for("child_ready", times=2)
    for pid in [worker.pid, *worker.children()]:
        title = " ".join(psutil.Process(pid).cmdline())
        assert "friendship-supervisor" in title
        assert "heartbeat=31" not in title
        assert environment["DATABASE_URL"] not in title
    assert worker.stop(signal.SIGINT) == 0

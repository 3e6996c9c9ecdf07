"""No secret leaves the program: not in logs, titles, statuses, rows, nor in what the servers know of it."""

import base64
import contextlib
import os
import re
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import psutil
import psycopg
import pytest
from click.testing import CliRunner
from psycopg.sql import SQL, Identifier

from scripts.servers.llm import LlmStandIn
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ
from supervisor.cli import cli
from tests.fixtures.desk import Desk
from tests.fixtures.s3 import S3Server
from tests.fixtures.titles import crash
from tests.fixtures.worker import Worker
from tests.security.canary import sung

Start = Callable[..., Worker]

BROKER, DATABASE, API, LLM, S3, SESSION = SECRETS = (
    "canaryBroker7f3a9",
    "canaryDatabase51c8e",
    "canaryMemoryApi2b6d4",
    "canaryGroq90e1f",
    "canaryAws4c77d",
    "canarySession8ab02",
)
PROGRAM = (sys.executable, "-W", "error", "-m", "supervisor")


@pytest.fixture
def guarded(
    *,
    environment: dict[str, str],
    rabbitmq: RabbitMQ,
    postgres: Postgres,
    memory_api: MemoryApiStandIn,
    s3: S3Server,
    llm: LlmStandIn,
) -> Iterator[dict[str, str]]:
    """Give variables with a canary for each password, all of which open their doors. Of five calls three fail."""
    all_of_it = '<<".*">>, <<".*">>, <<".*">>'
    rabbitmq.rabbitmqctl(  # one run of the tool instead of two
        "eval",
        f'rabbit_auth_backend_internal:add_user(<<"keeper">>, <<"{BROKER}">>, <<"test">>), '
        f'rabbit_auth_backend_internal:set_permissions(<<"keeper">>, <<"/">>, {all_of_it}, <<"test">>).',
    )
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute(f"CREATE ROLE keeper SUPERUSER LOGIN PASSWORD '{DATABASE}'".encode())
    for number, mode in enumerate(("reset", "redirect", "hang")):
        memory_api.set_mode(mode, conversation_id=f"c-{number:05}")
    yield (
        environment
        | s3.environment()
        | llm.environment()
        | {
            "RABBITMQ_URL": f"amqp://keeper:{BROKER}@127.0.0.1:{rabbitmq.port}/%2F",
            "DATABASE_URL": environment["DATABASE_URL"].replace("postgres@", f"keeper:{DATABASE}@"),
            "MEMORY_API_URL": f"http://keeper:{API}@127.0.0.1:{memory_api.port}",
            "GROQ_API_KEY": LLM,
            "AWS_SECRET_ACCESS_KEY": S3,
            "AWS_SESSION_TOKEN": SESSION,
        }
    )
    rabbitmq.rabbitmqctl("delete_user", "keeper")
    with psycopg.connect(postgres.url, autocommit=True) as session:
        session.execute("DROP ROLE keeper")


def everything_in(desk: Desk) -> str:
    """Give every row of every table, as text."""
    tables = desk.query("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
    rows = []
    for table in tables:
        query = SQL("SELECT t::text AS row FROM {} AS t").format(Identifier(table["table_name"]))
        rows += [row["row"] for row in desk.query(query.as_string())]
    return "\n".join(rows)


def look_at(pid: int, seen: dict[int, bytes]) -> None:
    """Add what /proc shows of a process and of all below it: titles, and what they were started with."""
    with contextlib.suppress(psutil.NoSuchProcess):
        head = psutil.Process(pid)
        for process in (head, *head.children(recursive=True)):
            with contextlib.suppress(OSError):
                places = [Path(f"/proc/{process.pid}/{name}") for name in ("cmdline", "comm", "environ")]
                seen[process.pid] = b"\n".join(place.read_bytes() for place in places)
                assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (0, 0)


@pytest.mark.parametrize("log_format", ["json", pytest.param("text", marks=pytest.mark.faults)])
def test_no_secret_is_seen_while_the_program_works_and_its_children_die(
    start_worker: Start,
    guarded: dict[str, str],
    desk: Desk,
    rabbitmq: RabbitMQ,
    log_format: str,
) -> None:
    """URLs with passwords as options and as variables: a crash, failed calls, the status, the retry pass, the end."""
    desk.publish_many(5)
    # Refused: there is no such object
    desk.publish_raw(
        b'{"conversation_id":"far","user_id":"user-1","conversation_log_url":"s3://logs/far.json"}'
    )
    worker = start_worker(
        *("--rabbitmq-url", guarded["RABBITMQ_URL"], "run", "--database-url", guarded["DATABASE_URL"]),
        *("--log-level=debug", f"--log-format={log_format}", "--retry-every=1"),
        **guarded | {"RABBITMQ_URL": f"amqp://keeper:{BROKER}@127.0.0.1:1/%2F"},
    )
    seen: dict[int, bytes] = {}

    def reached(condition: object) -> object:
        look_at(worker.pid, seen)
        return condition

    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 2, "the good ones are processed")
    worker.wait_until(lambda: desk.status("far") == "FAILED", "the log in S3 is asked for")
    worker.wait_until(lambda: reached(desk.status("c-00002") == "PROCESSING"), "one call hangs")
    known_by_servers = rabbitmq.rabbitmqctl("list_connections", "user", "client_properties") + str(
        desk.query("SELECT application_name, query FROM pg_stat_activity WHERE usename = 'keeper'")
    )
    assert known_by_servers.count("friendship-supervisor") >= 2
    assert sung(SECRETS, known_by_servers) == []
    os.kill(worker.pid, signal.SIGUSR1)
    crash(worker.pid, ": child ")
    deaths = "SELECT 1 AS dead FROM child_deaths"
    worker.wait_until(lambda: reached(desk.query(deaths)), "the dead are accounted for")
    assert worker.stop(signal.SIGQUIT) == 0
    assert len(seen) >= 3
    assert sung(SECRETS, b"\n".join(seen.values())) == []
    output = "".join(worker.other_lines) + str(worker.events)
    assert "child_forked" in output
    assert "crashed" in output
    assert sung(SECRETS, output) == []
    assert "MEMORY_API_ERROR" in everything_in(desk)
    assert "NoSuchKey" in everything_in(desk)
    assert '"llm": "used"' in everything_in(desk).replace('""', '"')
    assert sung(SECRETS, everything_in(desk)) == []


@dataclass(frozen=True, slots=True)
class Mistake:
    """Something wrong with the URLs. arguments: given to each command."""

    name: str
    variables: dict[str, str]
    arguments: tuple[str, ...] = ()


MISTAKES = [
    Mistake("refused", {
        "RABBITMQ_URL": f"amqp://u:{BROKER}@127.0.0.1:1/", "MEMORY_API_URL": f"http://u:{API}@127.0.0.1:1",
        "DATABASE_URL": f"postgresql://u:{DATABASE}@127.0.0.1:1/x"}),
    Mistake("not TLS", {
        "RABBITMQ_URL": f"amqps://u:{BROKER}@127.0.0.1:{{broker}}/", "MEMORY_API_URL": f"https://u:{API}@127.0.0.1:{{broker}}",
        "DATABASE_URL": f"postgresql://u:{DATABASE}@127.0.0.1:{{database}}/x?sslmode=verify-full&sslpassword={DATABASE}"}),
    Mistake("wrong password", {
        "RABBITMQ_URL": f"amqp://guest:{BROKER}@127.0.0.1:{{broker}}/", "MEMORY_API_URL": f"http://u:{API}@127.0.0.1:{{broker}}",
        "DATABASE_URL": f"host=127.0.0.1 port={{database}} user=nobody password={DATABASE} dbname=x"}),
    Mistake("unknown hosts", {
        "RABBITMQ_URL": f"amqp://u:{BROKER}@broker.invalid/", "MEMORY_API_URL": f"http://u:{API}@api.invalid",
        "DATABASE_URL": f"postgresql://u:{DATABASE}@database.invalid/x"}),
    Mistake("stray percent signs", {
        "RABBITMQ_URL": f"amqp://u:%ZZ{BROKER}@127.0.0.1:1/", "MEMORY_API_URL": f"http://u:%ZZ{API}@127.0.0.1:1",
        "DATABASE_URL": f"postgresql://u:%ZZ{DATABASE}@127.0.0.1:1/x"}),
    Mistake("bare @ and /", {
        "RABBITMQ_URL": f"amqp://u:a/{BROKER}@127.0.0.1:1/", "MEMORY_API_URL": f"http://u:a@{API}:x@127.0.0.1",
        "DATABASE_URL": f"postgresql://u:a@{DATABASE}/b@127.0.0.1:1/x"}),
    Mistake("ports", {
        "RABBITMQ_URL": f"amqp://u:a:{BROKER}", "MEMORY_API_URL": f"http://u:{API}", "DATABASE_URL": f"postgresql://u:{DATABASE}"}),
    Mistake("options of TLS", {
        "RABBITMQ_URL": f"amqps://127.0.0.1:1/?ssl_options={{{{'{BROKER}':1}}}}", "MEMORY_API_URL": f"https://u:{API}@[",
        "DATABASE_URL": f"postgresql://127.0.0.1:1/x?sslmode={DATABASE}"}),
    Mistake("other parameters", {
        "RABBITMQ_URL": f"amqps://127.0.0.1:1/?{BROKER}={BROKER}", "MEMORY_API_URL": f"ftp://u:{API}@h",
        "DATABASE_URL": f"postgresql://127.0.0.1:1/x?{DATABASE}={DATABASE}"}),
    Mistake("schemes", {"RABBITMQ_URL": BROKER, "MEMORY_API_URL": API, "DATABASE_URL": DATABASE}),
    Mistake("an option that lost its name", {}, (f"amqp://u:{BROKER}@h",)),
    Mistake("an option that has another name", {}, (f"--rabbit=amqp://u:{BROKER}@h",)),
    Mistake("an option without its value", {}, ("--database-url",)),
]  # fmt: skip
COMMANDS = [
    *("run", "migrate", "publish -", "retry", "check --memory-api --allow-overcommit"),
    *("events list", "dead list", "prune --older-than=1d", "forget user-1 --yes"),
]
# In the default run each command once, each with another mistake; all of them with the fault matrix
SAMPLE = set(
    zip(
        [*COMMANDS[:5]],
        ["refused", "not TLS", "wrong password", "options of TLS", "unknown hosts"],
        strict=True,
    )
)


def mistaken(command: str, mistake: Mistake, ports: dict[str, int], log_format: str) -> bytes:
    """Run a command with a mistake, and give all that it says."""
    variables = {name: value.format(**ports) for name, value in mistake.variables.items()}
    settings = {"GROQ_API_KEY": LLM, "FRIENDSHIP_LOG_LEVEL": "debug", "FRIENDSHIP_LOG_FORMAT": log_format}
    words = [*PROGRAM, *command.split(), *mistake.arguments]
    # `run` waits for servers that are away: it has shown by then all that it is going to show
    with subprocess.Popen(
        words,
        env=os.environ | settings | variables,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    ) as started:
        output = b""
        assert started.stdout is not None
        for line in started.stdout:
            output += line
            if b"waiting" in line and re.search(rb'"reason":"[^"]|reason="?[A-Za-z]', line):
                started.send_signal(signal.SIGTERM)
    return output


@pytest.mark.parametrize(
    ("command", "mistake", "log_format"),
    [
        pytest.param(
            command, mistake, log_format, id=f"{command.split()[0]}-{mistake.name}-{log_format}",
            marks=[] if (command, mistake.name) in SAMPLE and log_format == "json" else [pytest.mark.faults],
        )
        for command, mistake, log_format in product(COMMANDS, MISTAKES, ["json", "text"])
        if log_format == "json" or command == "run"  # the others say most of what they say in their own words
    ],
)  # fmt: skip
def test_no_mistake_with_a_url_shows_its_password(
    command: str, mistake: Mistake, log_format: str, rabbitmq: RabbitMQ, postgres: Postgres
) -> None:
    """Whatever is wrong, something is said about it, and nothing of what is secret."""
    ports = {"broker": rabbitmq.port, "database": postgres.port}
    said = mistaken(command, mistake, ports, log_format)
    assert said
    assert b"Traceback" not in said
    assert sung(SECRETS, said) == []


@pytest.mark.parametrize("command", ["", *(command.split()[0] for command in COMMANDS)])
def test_help_shows_no_value_of_the_environment(command: str) -> None:
    """Only defaults and names."""
    variables = {"RABBITMQ_URL": BROKER, "DATABASE_URL": DATABASE, "MEMORY_API_URL": API, "GROQ_API_KEY": LLM}
    variables |= {"AWS_SECRET_ACCESS_KEY": S3, "AWS_SESSION_TOKEN": SESSION}
    shown = CliRunner().invoke(cli, [*command.split(), "--help"], env=variables).output
    assert "Usage:" in shown
    assert sung(SECRETS, shown) == []


def test_a_canary_is_heard_in_any_form() -> None:
    """Else all of the above would prove nothing."""
    for secret in SECRETS:
        for before in ("", "u", "us", "use"):
            basic = base64.b64encode(f"{before}:{secret}:x".encode())
            assert sung(SECRETS, basic) == [secret]
        assert sung(SECRETS, f"amqp://u:{secret}@h") == [secret]

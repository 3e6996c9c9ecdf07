"""What the environment can break: named with its remedy at the start, or without any harm."""

import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tests.fixtures.eventually import eventually

MB = 2**20
NOWHERE = {
    "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:1/%2F",
    "DATABASE_URL": "postgresql://worker@127.0.0.1:1/friendship",
    "MEMORY_API_URL": "http://127.0.0.1:1",
    "FRIENDSHIP_CHILDREN": "1",
    "FRIENDSHIP_LISTEN": "",
    "FRIENDSHIP_LOG_FORMAT": "json",
}


NO_CIPHERS = "openssl_conf = x\n[x]\nproviders = p\n[p]\nzz = q\n[q]\nactivate = 1\n"


def environment(variables: dict[str, str]) -> dict[str, str]:
    """Give a process these variables, and of this machine none that names authorities or a database."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("SSL_CERT_", "OPENSSL_", "PG"))}
    return kept | NOWHERE | variables


def said(
    command: str, variables: dict[str, str], before: Callable[[], None] | None = None
) -> tuple[int, str]:
    """Run a command to its end; give its exit code and all that it said."""
    done = subprocess.run(
        [sys.executable, "-m", "supervisor", *command.split()],
        env=environment(variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=120,
        check=False,
        preexec_fn=before,
    )
    return done.returncode, done.stdout


@pytest.mark.parametrize(("command", "exit_code"), [("run", 2), ("check", 1), ("migrate", 2)])
def test_a_pipe_in_the_place_of_openssl_s_configuration_is_not_waited_for(
    command: str, exit_code: int, tmp_path: Path
) -> None:
    """It is read while Python loads OpenSSL, before any setting: nothing else is said."""
    os.mkfifo(tmp_path / "pipe")
    code, text = said(command, {"OPENSSL_CONF": str(tmp_path / "pipe")})
    assert (code, "OPENSSL_CONF names a pipe" in text) == (exit_code, True), text


@pytest.mark.parametrize(
    ("command", "variables"),
    [
        ("publish {empty}", {"PGSSLMODE": "strict"}),
        ("publish {empty}", {"SSLKEYLOGFILE": "/nowhere/keys"}),
        ("publish {empty}", {"SSL_CERT_FILE": "/nowhere", "MEMORY_API_URL": "https://127.0.0.1:1"}),
        ("migrate", {"SSL_CERT_FILE": "/nowhere", "MEMORY_API_URL": "https://127.0.0.1:1"}),
        ("events list", {"SSL_CERT_FILE": "/nowhere", "RABBITMQ_URL": "amqps://127.0.0.1:1"}),
        ("dead list", {"SSL_CERT_FILE": "/nowhere", "MEMORY_API_URL": "https://127.0.0.1:1"}),
        ("prune --older-than 90d", {"SSLKEYLOGFILE": "/nowhere/keys"}),
    ],
)
def test_a_command_is_not_stopped_by_what_it_does_not_use(
    command: str, variables: dict[str, str], tmp_path: Path
) -> None:
    """It gets as far as the server that it asks, which is not there."""
    (tmp_path / "empty.jsonl").write_text("{}\n")
    code, text = said(command.format(empty=tmp_path / "empty.jsonl"), variables)
    assert (code, "refused" in text, "Traceback" in text) == (1, True, False), text


def test_a_command_is_stopped_by_what_it_uses() -> None:
    """The same variables, and the servers that they are for."""
    assert said("migrate", {"PGSSLMODE": "strict"})[0] == 2
    for variables in ({"SSL_CERT_FILE": "/nowhere"}, {"SSLKEYLOGFILE": "/nowhere/keys"}):
        assert said("dead list", variables | {"RABBITMQ_URL": "amqps://127.0.0.1:1"})[0] == 2


def test_only_the_variable_that_is_wrong_is_blamed() -> None:
    """Others that are set beside it are right, and so is the URL; where the URL is wrong no variable is."""
    beside = {"PGAPPNAME": "x", "PGPASSWORD": "geheim"}
    for variables, blamed in (
        ({"PGSSLMODE": "strict"}, "PGSSLMODE is refused by libpq"),
        (
            {"DATABASE_URL": "postgresql://127.0.0.1:1/x?user=u&sslmode=strict"},
            "DATABASE_URL is refused by libpq",
        ),
    ):
        (line,) = (each for each in said("check", beside | variables)[1].splitlines() if "libpq" in each)
        assert blamed in line
        assert not any(name in line for name in beside), line
    assert "DATABASE_URL" not in said("run", beside | {"PGSSLMODE": "strict"})[1]


def limited(kind: int, most: int) -> Callable[[], None]:
    return lambda: resource.setrlimit(kind, (most, most))


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"SSLKEYLOGFILE": "/nowhere/keys"}, "SSLKEYLOGFILE"),
        ({"SSLKEYLOGFILE": "/nowhere/keys", "RABBITMQ_URL": "amqps://127.0.0.1:1"}, "SSLKEYLOGFILE"),
        ({"SSLKEYLOGFILE": "/nowhere/keys", "MEMORY_API_URL": "https://127.0.0.1:1"}, "SSLKEYLOGFILE"),
        ({"SSL_CERT_FILE": "/nowhere/ca.pem", "MEMORY_API_URL": "https://127.0.0.1:1"}, "SSL_CERT_FILE"),
        ({"SSL_CERT_FILE": __file__, "RABBITMQ_URL": "amqps://127.0.0.1:1"}, "SSL_CERT_FILE"),
        ({"SSL_CERT_DIR": "/nowhere:/neither", "MEMORY_API_URL": "https://127.0.0.1:1"}, "SSL_CERT_DIR"),
        ({"OPENSSL_CONF": "{no_ciphers}"}, "OPENSSL_CONF"),
        ({"OPENSSL_CONF": "{no_ciphers}", "MEMORY_API_URL": "https://127.0.0.1:1"}, "OPENSSL_CONF"),
        ({"OPENSSL_CONF": "{no_ciphers}", "RABBITMQ_URL": "amqps://127.0.0.1:1"}, "OPENSSL_CONF"),
        ({"SSLKEYLOGFILE": "{pipe}"}, "SSLKEYLOGFILE"),
        ({"SSL_CERT_FILE": "{pipe}", "RABBITMQ_URL": "amqps://127.0.0.1:1"}, "SSL_CERT_FILE"),
        ({"RABBITMQ_URL": "amqps://127.0.0.1:1/?ssl_options={{'cafile':'{pipe}'}}"}, "ssl_options"),
        ({"PGSERVICEFILE": "{pipe}", "PGSERVICE": "ours"}, "PGSERVICEFILE"),
        ({"PGPASSFILE": "{pipe}"}, "PGPASSFILE"),
        ({"PGSSLROOTCERT": "{pipe}"}, "PGSSLROOTCERT"),
        ({"DATABASE_URL": "postgresql://worker@127.0.0.1:1/x?sslcert={pipe}"}, "sslcert"),
        ({"S3_ALLOWED_BUCKETS": "logs", "AWS_CONFIG_FILE": "{pipe}"}, "AWS_CONFIG_FILE"),
        ({"PGHOSTADDR": "not.an.addr"}, "PGHOSTADDR"),
        ({"PGPORT": "1,2", "DATABASE_URL": "postgresql://worker@127.0.0.1/x"}, "PGPORT"),
        ({"PGSSLMODE": "strict"}, "PGSSLMODE"),
        ({"PGPORT": "five", "DATABASE_URL": "postgresql:///x"}, "PGPORT"),
        ({"PGSERVICE": "ours", "PGSERVICEFILE": "/nowhere/services"}, "PGSERVICEFILE"),
        ({"PGSSLMODE": "verify-full", "PGSSLROOTCERT": "/nowhere/root.crt"}, "PGSSLROOTCERT"),
    ],
)
def test_a_variable_that_keeps_the_worker_from_its_servers_is_named(
    variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    """`run` ends with 2 before it begins anything, and `check` says the same with 1; neither with a traceback."""
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "no-ciphers").write_text(NO_CIPHERS)
    places = {"pipe": tmp_path / "pipe", "no_ciphers": tmp_path / "no-ciphers"}
    variables = {name: value.format_map(places) for name, value in variables.items()}
    code, text = said("run", variables)
    assert (code, named in text, "Traceback" in text, "child_forked" in text) == (2, True, False, False), text
    code, text = said("check", variables)
    lines = [line for line in text.splitlines() if line.startswith("FAIL configuration")]
    assert (code, "Traceback" in text) == (1, False), text
    assert [named in line and " -> " in line for line in lines] == [True], text


@pytest.mark.parametrize(
    ("kind", "most", "named"),
    [
        (resource.RLIMIT_NOFILE, 20, "ulimit -n"),
        (resource.RLIMIT_AS, 400 * MB, "ulimit -v"),
        (resource.RLIMIT_DATA, 100 * MB, "ulimit -d"),
    ],
)
def test_a_limit_below_what_children_need_is_named(kind: int, most: int, named: str) -> None:
    """Messages would fail for want of memory that the budget allows, or children for want of a descriptor."""
    code, text = said("run", {}, limited(kind, most))
    assert (code, named in text, "Traceback" in text) == (2, True, False), text
    code, text = said("check", {}, limited(kind, most))
    assert code == 1
    assert [named in line for line in text.splitlines() if line.startswith("FAIL limits")] == [True], text


def test_a_low_limit_that_may_be_raised_is_raised() -> None:
    """The soft limit of descriptors is for shells; what the hard one allows is taken."""
    text = started({}, lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (20, 4096)))
    assert "child_forked" in text


def started(variables: dict[str, str], before: Callable[[], None] | None = None) -> str:
    """Run the supervisor until it waits for its servers, stop it, and give what it said."""
    log = Path(os.environ.get("TMPDIR", "/tmp")) / f"surroundings-{os.getpid()}"
    with log.open("w+") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "supervisor"],
            env=environment(variables),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            preexec_fn=before,  # noqa: PLW1509
        )
        try:
            eventually(
                lambda: '"waiting"' in log.read_text() or process.poll() is not None, "it waits, or ended"
            )
            process.send_signal(signal.SIGTERM)
            assert process.wait(60) == 0, log.read_text()
        finally:
            process.kill()
            process.wait()
        text = log.read_text()
    log.unlink()
    assert "Traceback" not in text
    return text


@pytest.mark.parametrize(
    "variables",
    [
        {"SSL_CERT_FILE": "/nowhere/ca.pem", "SSL_CERT_DIR": "/nowhere"},
        {"SSLKEYLOGFILE": "/dev/null"},
        {"NOTIFY_SOCKET": "/nowhere/notify", "WATCHDOG_USEC": "9" * 5000},
        {"NOTIFY_SOCKET": "/" + "x" * 300, "WATCHDOG_USEC": "9" * 400},
        {"PYTHONWARNINGS": "error", "PYTHONDEVMODE": "1", "PYTHONMALLOC": "debug"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "TZ": "no/zone"},
        {"COLUMNS": "many", "TERM": "none", "http_proxy": "::::", "LISTEN_FDS": "3", "TMPDIR": "/nowhere"},
        {"PGPASSFILE": "/nowhere", "AWS_CONFIG_FILE": "/nowhere", "AWS_PROFILE": "none"},
    ],
)
def test_a_variable_that_harms_nothing_stops_nothing(variables: dict[str, str]) -> None:
    """What is not used is not looked at; what is junk and optional is passed over."""
    started(variables)


@pytest.mark.parametrize("closed", [(0,), (1,), (2,), (0, 1, 2)])
def test_a_closed_standard_stream_is_no_reason_not_to_work(closed: tuple[int, ...]) -> None:
    """And no socket gets its number, where a stray line would go into a protocol: /dev/null takes it."""

    def close() -> None:
        for number in closed:
            os.close(number)

    process = subprocess.Popen(
        [sys.executable, "-m", "supervisor"],
        env=os.environ | NOWHERE,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        preexec_fn=close,  # noqa: PLW1509
    )
    try:
        eventually(lambda: psutil.Process(process.pid).children() or process.poll() is not None, "it forked")
        assert process.poll() is None
        opened = [str(Path(f"/proc/{process.pid}/fd/{number}").readlink()) for number in range(3)]
        assert opened == ["/dev/null"] * 3
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()

"""TLS to all three: a good certificate works end to end, any other is refused with its reason."""

import subprocess
import sys
from collections.abc import Callable

import pytest

from consumer import tls, topology
from consumer.errors import BrokerAway
from consumer.memory_api import MemoryApi, MemoryApiError
from consumer.settings import BrokerSettings
from repository.connection import Database
from repository.errors import DatabaseAway
from scripts.conversations import make
from scripts.servers.postgres import Postgres
from scripts.servers.tls import Kind
from tests.fixtures.depth import depth
from tests.fixtures.desk import Desk
from tests.fixtures.tls import Secured
from tests.fixtures.worker import Worker

Start = Callable[..., Worker]

BAD = [Kind.WRONG_HOST, Kind.UNTRUSTED, Kind.EXPIRED]
IN_PYTHON = {
    Kind.WRONG_HOST: "TLS: certificate refused: IP address mismatch, certificate is not valid for '127.0.0.1'",
    Kind.UNTRUSTED: "TLS: certificate refused: unable to get local issuer certificate",
    Kind.EXPIRED: "TLS: certificate refused: certificate has expired",
}
IN_LIBPQ = {
    Kind.WRONG_HOST: 'does not match host name "127.0.0.1"',
    Kind.UNTRUSTED: "SSL error: certificate verify failed",
    Kind.EXPIRED: "SSL error: certificate verify failed",
}


def probe(secured: Secured) -> int:
    return MemoryApi(secured.front.url, 20.0, ssl_context=None, pump=lambda: None).probe()


@pytest.mark.parametrize("kind", BAD)
def test_a_bad_certificate_is_refused_by_each_client_with_the_reason(
    kind: Kind, secured: Secured, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of another host, of an authority that nobody trusts, and over: the server is away, nothing else."""
    secured.show(kind)
    with pytest.raises(BrokerAway) as broker:
        depth(secured.broker_settings(kind))
    with pytest.raises(DatabaseAway) as database:
        Database(secured.verified(postgres.url)).connection()
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.wallet.authority))
    with pytest.raises(MemoryApiError) as api:
        probe(secured)
    assert IN_PYTHON[kind] in broker.value.reason
    assert IN_LIBPQ[kind] in database.value.reason
    assert IN_PYTHON[kind] in api.value.reason


def is_encrypted(url: str) -> bool:
    """Connect to a database and have it say how."""
    database = Database(url)
    session = database.connection().execute("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()")
    row = session.fetchone()
    database.close()
    return row == {"ssl": True}


def test_a_good_certificate_is_taken_by_each_client(
    secured: Secured, postgres: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same servers, the same trust: what was refused before was refused for its certificate. No proxy is asked."""
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.wallet.authority))
    assert depth(secured.broker_settings(Kind.GOOD)) is None
    assert str(topology.survey(secured.broker_settings(Kind.GOOD)).tls).startswith("TLSv1")
    assert is_encrypted(secured.verified(postgres.url))
    assert is_encrypted(f"{postgres.url}?sslrootcert=system")
    assert probe(secured) == 404


def test_a_url_without_an_authority_trusts_those_of_the_system(
    secured: Secured, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Amqps verifies by itself; SSL_CERT_FILE adds a private authority to what is trusted."""
    broker = BrokerSettings(secured.broker.url(Kind.GOOD), "any")
    monkeypatch.setattr(tls, "trusting_the_system", tls.trusting_the_system.__wrapped__)
    with pytest.raises(BrokerAway, match="unable to get local issuer certificate"):
        depth(broker)
    monkeypatch.setenv("SSL_CERT_FILE", str(secured.wallet.authority))
    assert depth(broker) is None


def test_the_main_job_over_tls_waits_for_good_certificates(
    start_worker: Start, desk: Desk, secured: Secured, migrated_database_url: str
) -> None:
    """The database's is over at first: children wait and say why. Then the Memory API's is a stranger's: the event
    fails by the table, with a backoff. When all are good everything is scored, messages of 3 MB included.
    """
    secured.database.show(Kind.EXPIRED)
    worker = start_worker("--rss-mb=300", **secured.environment(migrated_database_url))
    assert IN_LIBPQ[Kind.EXPIRED] in worker.wait_for("waiting", on="database")["reason"]
    secured.database.show(Kind.GOOD)
    worker.wait_for("child_ready", times=2)
    secured.show(Kind.UNTRUSTED)
    early = desk.publish([make("early", "user-1")])
    failed = worker.wait_for("message_failed")
    assert failed["code"] == "MEMORY_API_ERROR"
    assert failed["retry_in_s"] is not None
    assert IN_PYTHON[Kind.UNTRUSTED] in failed["reason"]
    secured.show(Kind.GOOD)
    desk.query("UPDATE conversation_events SET next_attempt_at = now()")
    desk.publish(early)
    desk.publish_many(40, size_bytes=30_000)
    desk.publish(make(f"large-{n}", "user-large", size_bytes=3_000_000, emoji=True) for n in range(4))
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == 45, "all are processed")
    sessions = desk.query(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) "
        "WHERE application_name LIKE 'friendship-supervisor child %%'"
    )
    assert sessions
    assert all(session["ssl"] for session in sessions)
    assert worker.stop() == 0
    assert {line["reason"] for line in worker.logged("child_exited")} == {"shutdown"}
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)


@pytest.mark.faults
@pytest.mark.parametrize("kind", BAD)
def test_a_broker_with_a_bad_certificate_is_waited_for_and_no_event_fails(
    start_worker: Start, desk: Desk, secured: Secured, migrated_database_url: str, kind: Kind
) -> None:
    """Children say why they wait, and are not replaced for it."""
    desk.query("INSERT INTO conversation_events (conversation_id, user_id) VALUES ('waits', 'user-1')")
    worker = start_worker(**secured.environment(migrated_database_url, kind))
    assert IN_PYTHON[kind] in worker.wait_for("waiting", on="broker")["reason"]
    assert worker.stop() == 0
    assert worker.logged("boot_failed") == []
    assert desk.statuses() == {"PENDING": 1}


@pytest.mark.parametrize(
    "kind",
    [pytest.param(kind, marks=[pytest.mark.faults] if kind is not Kind.EXPIRED else []) for kind in Kind],
)
def test_check_says_what_is_wrong_with_each_certificate(
    environment: dict[str, str], secured: Secured, migrated_database_url: str, kind: Kind
) -> None:
    """One FAIL for each server, with the reason of the refusal; none when all is well."""
    secured.show(kind)
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "supervisor", "check", "--memory-api", "--allow-overcommit"],
        env=environment | secured.environment(migrated_database_url, kind),
        capture_output=True,
        text=True,
        check=False,
    )
    failures = [line for line in done.stdout.splitlines() if line.startswith("FAIL")]
    assert done.stderr == ""
    if kind is Kind.GOOD:
        assert (done.returncode, failures) == (0, [])
        return
    assert done.returncode == 1
    assert [line.split()[1] for line in failures] == ["broker", "database", "API"]
    for line, reason in zip(failures, (IN_PYTHON[kind], IN_LIBPQ[kind], IN_PYTHON[kind]), strict=True):
        assert reason in line

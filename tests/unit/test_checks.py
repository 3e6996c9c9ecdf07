"""What `check` makes of what it sees: a verdict, and a remedy wherever something is to be done."""

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest

from consumer.memory_api import (
    MemoryApiBadResponse,
    MemoryApiError,
    MemoryApiFailure,
    MemoryApiRejected,
    MemoryApiTimeout,
)
from consumer.settings import MIB
from consumer.topology import Broker, Locked, Queue, Refusals, Refused, Value, known, lesson
from repository.activity import Activity, Transaction, Waiting
from repository.server import OPERATOR, TABLES, WORKER, Clock, Numbers, Rights, Seats, Server, Strangers
from supervisor.cli.checks import (
    api,
    archive,
    broker,
    configuration,
    contract,
    database,
    host,
    model,
    sessions,
)
from supervisor.cli.checks.contract import Answer
from supervisor.cli.checks.finding import Finding, Verdict
from supervisor.cli.settings import examine

OK, WARN, FAIL = Verdict.OK, Verdict.WARN, Verdict.FAIL

OURS: dict[str, Value] = {
    "x-queue-type": "quorum",
    "x-delivery-limit": 50,
    "x-dead-letter-exchange": "",
    "x-dead-letter-routing-key": "q.dead",
}
SETTINGS = examine({"queue": "q", "max_message_mb": "16"}, {}).settings


def seen(findings: list[Finding], verdict: Verdict) -> str:
    assert all(each.remedy for each in findings if each.verdict is not OK), "each trouble has its remedy"
    return "\n".join(str(each) for each in findings if each.verdict is verdict)


def judged(version: str = "3.10.8", dead: Queue | None = None, **queue: Any) -> list[Finding]:
    main = Queue("q", 3, 2, **{"arguments": OURS} | queue)
    return list(
        broker.judged(
            Broker("RabbitMQ", version, "TLSv1.3", main, dead or Queue("q.dead", 0, 0, arguments={})),
            SETTINGS,
        )
    )


def test_a_queue_of_ours_is_as_it_should_be() -> None:
    """On any version, with what was seen in the line."""
    for version in ("3.8.0", "3.13.7", "4.1.0"):
        findings = judged(version)
        assert {each.verdict for each in findings} == {OK}
        assert "3 messages ready, 2 consumers now" in seen(findings, OK)
        assert "q is quorum, durable, dead letters to q.dead, delivery limit 50; policies were not" in seen(
            findings, OK
        )


@pytest.mark.parametrize(
    ("queue", "words"),
    [
        ({"arguments": {}}, "q is classic, durable: it lives on one node"),
        ({"durable": False}, "a restart of the broker loses it"),
        ({"auto_delete": True}, "when its last consumer goes"),
        ({"arguments": OURS | {"x-expires": 60_000}}, "after 60 s without a consumer"),
        ({"arguments": OURS | {"x-message-ttl": 5000}}, "q sets aside messages that wait for 5 s"),
        ({"arguments": {"x-message-ttl": 5000}}, "q drops messages that wait for 5 s"),
        ({"arguments": OURS | {"x-max-length": 7}}, "q sets aside the oldest beyond 7 messages"),
        (
            {"arguments": OURS | {"x-max-length-bytes": 7, "x-overflow": "reject-publish"}},
            "q refuses messages beyond 7 bytes",
        ),
        ({"arguments": OURS | {"x-delivery-limit": 20}}, "gives a message up after 20 deliveries"),
        (
            {"arguments": {"x-queue-type": "quorum", "x-delivery-limit": 50}},
            "deletes a message after 50 deliveries",
        ),
        ({"arguments": OURS | {"x-consumer-timeout": 60_000}}, "takes a message back after 60 s"),
        ({"arguments": OURS | {"x-single-active-consumer": True}}, "of all children one works"),
        (
            {"version": "4.0.2", "arguments": {"x-queue-type": "quorum"}},
            "deletes a message after 20 deliveries",
        ),
    ],
)
def test_what_would_lose_refuse_or_hold_up_messages_is_a_warning(queue: dict[str, Any], words: str) -> None:
    """A queue is used as it is."""
    findings = judged(**queue)
    assert words in seen(findings, WARN)
    assert seen(findings, FAIL) == ""


def test_what_the_queues_cannot_be_used_with_is_told() -> None:
    """A stream keeps what is acknowledged; dead letters of no queue are lost; a dead queue may lose them, too."""
    assert "q is a stream" in seen(judged(arguments={"x-queue-type": "stream"}), FAIL)
    without = broker.judged(
        Broker("RabbitMQ", "4.0.0", None, Queue("q", 0, 0, arguments=OURS), None), SETTINGS
    )
    assert "sets aside into q.dead, which is not there" in seen(list(without), WARN)
    dead = Queue("q.dead", 4, 0, durable=False, arguments={"x-message-ttl": 1})
    assert "4 messages; it may lose them (x-message-ttl, not durable)" in seen(judged(dead=dead), WARN)
    assert "looked at 20 times" in seen(
        judged("4.0.0", Queue("q.dead", 0, 0, arguments={"x-queue-type": "quorum"})), WARN
    )
    none = list(broker.judged(Broker("RabbitMQ", "3.7.1", None, None, None), SETTINGS))
    assert "RabbitMQ 3.8 or newer" in seen(none, FAIL)


def test_arguments_that_are_not_told_are_a_warning() -> None:
    """For want of a right, or because they are odd; of both queues."""
    assert "q: its arguments are not told to a user who" in seen(judged(arguments=None, hidden=True), WARN)
    assert "q: its arguments could not be learnt" in seen(judged(arguments=None), WARN)
    assert "q.dead: 7 messages" in seen(judged(dead=Queue("q.dead", 7, 0, hidden=True)), WARN)


def test_rights_that_are_refused_fail_with_the_command_that_grants_them() -> None:
    """The one of docs/security.md, for this user, virtual host and queue, quoted for a shell; no password in it."""
    names = replace(SETTINGS.consumer.broker, url="amqp://lan%20x:hunter2@h/pika", queue="robot.q's")
    given = replace(SETTINGS, consumer=replace(SETTINGS.consumer, broker=names))
    there = Queue("q", 0, 0, arguments=OURS)
    unread = Broker("RabbitMQ", "3.10.8", None, there, there, Refusals(read="ACCESS_REFUSED"))
    told = seen(list(broker.judged(unread, given)), FAIL)
    assert "set_permissions -p pika 'lan x' '^$' '^amq\\.default$' '^robot\\.q'" in told
    assert "hunter2" not in told
    alone = Broker("RabbitMQ", "3.10.8", None, there, there, Refusals(alone="in exclusive use"))
    told = seen(list(broker.judged(alone, given)), FAIL)
    assert "would be received: in exclusive use" in told
    assert "list_consumers -p pika" in told
    missing = Broker("RabbitMQ", "3.10.8", None, None, None, Refusals(declare="no", declare_dead="no"))
    findings = list(broker.judged(missing, SETTINGS))
    told = seen(findings, FAIL)
    assert (
        told.count("'^q(\\.dead)?$' '^amq\\.default$' '^q(\\.dead)?$'; the first of the three may be '^$'")
        == 2
    )
    assert "the first start declares it" not in seen(findings, OK)


def test_an_exclusive_queue_fails_by_its_name() -> None:
    """The broker is well, and its line says nothing of a queue that it does not tell of."""
    findings = list(broker.judged(Broker("RabbitMQ", "3.7.1", None, Locked("q"), Locked("q.dead")), SETTINGS))
    told = seen(findings, FAIL)
    assert "q is exclusive to another connection" in told
    assert "rabbitmqctl delete_queue -p / q.dead" in told
    assert "ready" not in seen(findings, OK)


def test_the_message_limit_is_held_against_the_brokers_default() -> None:
    """16 MB on RabbitMQ 4; what it is configured to it does not tell."""
    large = replace(SETTINGS, consumer=replace(SETTINGS.consumer, max_message_bytes=64 * MIB))
    for version, verdict in (("4.0.1", WARN), ("3.10.8", OK)):
        findings = broker.judged(Broker("RabbitMQ", version, None, None, None), large)
        assert [each.verdict for each in findings if each.subject == "message size"] == [verdict]


@pytest.mark.parametrize(
    ("text", "taught"),
    [
        ("received none but current is the value '60000' of type 'signedint'", Refused("x-a", 60000)),
        ("received none but current is the value '' of type 'longstr'", Refused("x-a", "")),
        ("received none but current is the value 'true' of type 'bool'", Refused("x-a", True)),
        ("received the value '1' of type 'signedint' but current is none", Refused("x-a", None)),
        ("received '49' but current is '50'", Refused("x-a", 50)),
        ("received", None),
    ],
)
def test_a_refused_declare_teaches_the_value(text: str, taught: Refused | None) -> None:
    """The texts are those of RabbitMQ 3.10.8."""
    refusal = f"PRECONDITION_FAILED - inequivalent arg 'x-a' for queue 'it''s' in vhost '/': {text}"
    assert lesson(refusal, {"x-a": 49}) == taught


def test_what_a_type_of_queue_does_not_have_is_left_out() -> None:
    """The broker compares only what it knows: the others are what we asked with."""
    assert known({"x-delivery-limit": 50, "x-expires": 1}) == {"x-expires": 1}
    assert known(OURS | {"x-queue-type": "stream"}) == {"x-queue-type": "stream"}


def answer(failure: MemoryApiFailure | None = None, count: int | None = None) -> Answer:
    return Answer(count, failure, 1.25)


@pytest.mark.parametrize(
    ("failure", "words"),
    [
        (MemoryApiTimeout(), "FAILED MEMORY_API_TIMEOUT"),
        (MemoryApiRejected(422), "FAILED MEMORY_API_REJECTED, for good"),
        (MemoryApiBadResponse("without count or facts"), "FAILED MEMORY_API_BAD_RESPONSE"),
        (MemoryApiError(503, 90.0, "The Memory API answered 503."), "90 s or more as it asks"),
        (MemoryApiError(401, None, "The Memory API answered 401."), "opens the breaker"),
        (MemoryApiError(307, None, "The Memory API answered 307."), "redirects are not followed"),
        (MemoryApiError(None, None, "no answer"), "correct MEMORY_API_URL"),
    ],
)
def test_a_right_call_without_a_right_answer_says_what_becomes_of_conversations(
    failure: MemoryApiFailure, words: str
) -> None:
    """In the words of the table of outcomes."""
    assert words in seen([contract.answered(answer(failure))], FAIL)


def test_a_repeated_key_and_a_wrong_call_are_judged_by_what_they_cost() -> None:
    """Nothing of it stops the worker."""
    assert contract.repeated(3, answer(count=3)).verdict is OK
    assert "says nothing" in contract.repeated(0, answer(count=0)).seen
    assert "finds 0 new facts instead of 3" in seen([contract.repeated(3, answer(count=0))], WARN)
    assert "its facts stay" in seen([contract.repeated(3, answer(MemoryApiTimeout()))], WARN)
    assert contract.refused(answer(MemoryApiRejected(422))).verdict is OK
    assert "taken for a good one" in seen([contract.refused(answer(count=1))], WARN)
    assert "tried again for days" in seen([contract.refused(answer(MemoryApiError(500, None, "500.")))], WARN)
    assert contract.in_time(10.0, 60.0).verdict is OK
    assert "--memory-api-timeout 80" in seen([contract.in_time(40.0, 60.0)], WARN)


@pytest.mark.parametrize(
    ("status", "verdict"), [(200, OK), (404, OK), (401, WARN), (302, WARN), (503, WARN), (422, OK)]
)
def test_an_api_that_answers_is_there(status: int, verdict: Verdict) -> None:
    """It need not have /health; its absence is a warning, as it stops no start."""
    assert api.judged(status, 0.1).verdict is verdict


def transaction(
    application: str, idle_s: float, state: str = "idle in transaction", age_s: float = 0.0
) -> Transaction:
    return Transaction(7, application, state, age_s or idle_s, idle_s)


def test_sessions_idle_in_transaction_are_named_with_the_words_that_end_them() -> None:
    """Ours fail after a second, others' are a warning after a minute; children are counted as one."""
    found = Activity(
        {f"friendship-supervisor child {slot}": Counter(idle=1) for slot in range(3)}
        | {"": Counter(hidden=2)},
        2,
        (
            transaction("friendship-supervisor child 1", 1.5),
            transaction("friendship-supervisor child 2", 0.5),
            transaction("report", 61.0),
            transaction("other", 59.0),
            transaction("long", 0.1, "active", 301.0),
        ),
        (Waiting(8, "migrate", 2.0, (7, 9), ("report",)), Waiting(9, "x", None, (), ())),
    )
    findings = list(sessions.judged(found))
    assert "friendship-supervisor child: 3 idle" in seen(findings, OK)
    assert "unnamed: 2 hidden" in seen(findings, OK)
    assert "GRANT pg_monitor" in seen(findings, OK)
    assert seen(findings, FAIL).count("\n") == 0
    assert "pid 7 (friendship-supervisor child 1) for 1.5 s" in seen(findings, FAIL)
    assert "-> SELECT pg_terminate_backend(7)" in seen(findings, FAIL)
    for words in (
        "(report) for 61.0 s",
        "5 open; the longest: pid 7 (long), 301.0 s",
        "waits 2.0 s for pid 7, 9 (report)",
    ):
        assert words in seen(findings, WARN)
    assert "(other)" not in seen(findings, WARN)
    calm = list(sessions.judged(Activity({}, 0, (), ())))
    assert [each.seen for each in calm] == ["none", "none open", "nobody waits"]


SERVER = Server(
    version_number=150_000, version="15.0", in_recovery=False, read_only=False, encoding="UTF8",
    synchronous_commit="on", fsync=True, full_page_writes=True, superuser=False, role="scorer", database="x",
    encrypted=True, pooled=False, now_s=0.0,
)  # fmt: skip


@pytest.mark.parametrize(
    ("changed", "verdict", "words"),
    [
        ({}, OK, "PostgreSQL 15.0, TLS"),
        ({"version_number": 130_009}, FAIL, "PostgreSQL 14 or newer"),
        ({"in_recovery": True, "read_only": True}, FAIL, "a standby"),
        ({"read_only": True}, FAIL, "default_transaction_read_only"),
        ({"synchronous_commit": "off"}, WARN, "synchronous_commit is off"),
        ({"encoding": "LATIN1"}, FAIL, "the encoding is LATIN1"),
        ({"encoding": "SQL_ASCII"}, FAIL, "ENCODING 'UTF8'"),
        ({"pooled": True}, OK, "a pooler stands between"),
    ],
)
def test_a_server_that_cannot_be_written_to_fails_and_one_that_may_forget_warns(
    changed: dict[str, Any], verdict: Verdict, words: str
) -> None:
    """Each with its remedy."""
    assert words in seen(list(database._server(replace(SERVER, **changed))), verdict)


def test_clocks_may_differ_by_five_seconds() -> None:
    """A slow answer is no difference; the remedy is ntp, and nothing fails of it."""
    assert database._clock(Clock(-4.9, 0.1)).verdict is OK
    assert database._clock(Clock(6.0, 2.0)).verdict is OK
    assert "behind this machine" in seen([database._clock(Clock(-5.5, 0.1))], WARN)


def test_rights_are_those_of_a_worker_or_of_an_operator() -> None:
    """What is lacking is named, table by table."""
    everything = frozenset(TABLES)
    worker = Rights(WORKER, everything, None, ())
    assert [each.verdict for each in database._rights(worker, SERVER)] == [OK]
    assert "a superuser" in seen(list(database._rights(worker, replace(SERVER, superuser=True))), OK)
    assert "operator's commands" in seen(
        list(database._rights(Rights(OPERATOR, everything, None, ()), SERVER)), OK
    )
    poor = Rights(
        dict(WORKER) | {"score_ledger": frozenset({"SELECT"})}, everything, "events_id_seq", ("child_deaths",)
    )
    told = list(database._rights(poor, SERVER))
    assert "lacks INSERT on score_ledger; USAGE on the sequence events_id_seq -> " in seen(told, FAIL)
    assert "BYPASSRLS" in seen(told, WARN)
    assert list(database._rights(Rights({}, frozenset(), None, ()), SERVER)) == []


def test_other_writers_and_scarce_connections_are_warnings() -> None:
    """Users, events, triggers, programs; the least of three limits counts."""
    found = Strangers(("lan",), 2, None, (("audit", "score_ledger"),), (("", 1),))
    told = seen(list(database._strangers(found)), WARN)
    for words in ("1 users whose", "2 events are PROCESSING", "audit on score_ledger", "an unnamed one (1)"):
        assert words in told
    assert [each.verdict for each in database._strangers(Strangers((), 0, None, (), ()))] == [OK]
    seats = Seats(most=100, taken=90, ours=2, free_in_server=7, free_in_database=None, free_for_role=9)
    assert "need 9 more" in seen([database._seats(seats, 8)], WARN)
    assert database._seats(replace(seats, ours=4), 8).verdict is OK


def test_limits_of_files_and_processes_are_held_against_the_children() -> None:
    """None is no limit."""
    assert host.limits(8, host.Allowed(None, None)).verdict is OK
    assert "ulimit -n 96" in seen([host.limits(8, host.Allowed(95, None))], FAIL)
    assert "pids.max" in seen([host.limits(8, host.Allowed(96, 15))], FAIL)
    assert host.limits(8, host.Allowed(96, 16)).verdict is OK


def test_all_that_is_wrong_with_the_settings_is_told_beside_what_they_warn_of() -> None:
    """And the value of a URL is never repeated."""
    examined = examine(
        {"rss_mb": "x", "database_url": "postgresql://u:a@hunter2@h/"}, {"RABBITMQ_URL": "amqp://u:p@far/"}
    )
    findings = list(configuration.look(examined))
    assert {each.facts["setting"] for each in findings if each.verdict is FAIL} == {"rss_mb", "database_url"}
    assert "-> give an amqps:// URL" in seen(findings, WARN)
    assert "hunter2" not in "".join(map(str, findings))
    assert not examined.usable("rss_mb")
    assert examined.usable("children")


@pytest.mark.parametrize(
    ("reason", "verdict", "words"),
    [
        ("", OK, "would give a log"),
        ("S3 bucket b: answered 404 (NoSuchKey)", OK, "would give a log"),
        ("S3 bucket b: answered 404 (NoSuchBucket)", FAIL, "S3_ALLOWED_BUCKETS"),
        ("S3 bucket b: no credentials: ProfileNotFound", FAIL, "AWS_PROFILE"),
        ("S3 bucket b: answered 403 (AccessDenied)", WARN, "s3:ListBucket"),
        (
            "S3 bucket b: answered 403 (AccessDenied); the request was not signed, as no credentials were found",
            WARN,
            "AWS_ACCESS_KEY_ID",
        ),
        ("S3 bucket b: no answer: Connection refused", WARN, "S3_ENDPOINT_URL"),
    ],
)
def test_a_bucket_is_judged_by_how_it_refuses_what_is_not_there(
    reason: str, verdict: Verdict, words: str
) -> None:
    """With the remedy."""
    found = archive.judged("b", reason)
    assert found.verdict is verdict
    assert words in str(found)


@pytest.mark.parametrize(
    ("status", "body", "verdict", "words"),
    [
        (200, b'{"data": [{"id": "m"}, {"id": "n"}]}', OK, "it has m"),
        (200, b'{"data": [{"id": "n"}]}', WARN, "GROQ_MODEL"),
        (200, b"<html>", OK, "GET /models: 200"),
        (200, b'{"data": [7]}', OK, "GET /models: 200"),
        (200, b'{"data": [{"id": {}}]}', OK, "GET /models: 200"),
        (401, b"", WARN, "GROQ_API_KEY"),
        (404, b"", OK, "no such path"),
        (503, b"", WARN, "GROQ_BASE_URL"),
    ],
)
def test_an_llm_is_judged_by_its_list_of_models(
    status: int, body: bytes, verdict: Verdict, words: str
) -> None:
    """Whatever it says, nothing stops at it."""
    found = model.judged(status, body, "m")
    assert found.verdict is verdict
    assert words in str(found)


@pytest.mark.parametrize(
    ("by_hand", "remedy"),
    [(True, "ALTER SEQUENCE theirs NO MAXVALUE"), (False, "ALTER SEQUENCE theirs AS bigint NO MAXVALUE")],
)
def test_the_remedy_for_used_up_numbers_lifts_the_limit_that_is_near(by_hand: bool, remedy: str) -> None:
    """Another type moves no MAXVALUE that somebody set, and the table need not be written anew for one."""
    (finding,) = database._numbers(Numbers("theirs", 0.9, by_hand))
    assert finding.verdict is WARN
    assert remedy in (finding.remedy or "")
    assert ("TYPE bigint" in (finding.remedy or "")) is not by_hand
    assert list(database._numbers(Numbers("theirs", 0.8, by_hand))) == []

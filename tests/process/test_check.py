"""`check` on real servers, in good order and in bad."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pika
import psycopg
import pytest

from scripts.servers.llm import LlmStandIn
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.rabbitmq import RabbitMQ
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.s3 import S3Server

PREFIX = "friendship-supervisor-check-"


def of(said: Any, subject: str) -> list[dict[str, Any]]:
    return [each for each in said.objects if each["subject"] == subject]


def test_a_good_setup_is_told_subject_by_subject(
    command: Command, desk: Desk, memory_api: MemoryApiStandIn
) -> None:
    """A line each, invariants and the trial of the Memory API included; nothing is declared, and nothing fails."""
    memory_api.record(validate=True)
    # 16 MB: what RabbitMQ 4 takes unless it is told otherwise
    said = command("check", "--rss-mb=300", "--max-message-mb=16", "--invariants", "--memory-api")
    assert (said.code, said.err) == (0, "")
    subjects = [line[5:20].strip() for line in said.lines]
    assert subjects == [
        *("configuration", "memory", "memory sum", "limits", "temp files", "kernel"),
        *("broker", "message size", "queue", "dead queue"),
        *("database", "db settings", "clock", "database", "rights", "locks", "other writers", "connections"),
        *("invariants", "API", "API test", "API answer", "API time", "API same key", "API wrong call"),
    ]
    # The tests' server does not care for the disk
    assert [line for line in said.lines if not line.startswith("ok")] == [
        line for line in said.lines if "fsync is off" in line
    ]
    conversations = memory_api.calls().conversations
    assert sorted(entry.calls for entry in conversations.values()) == [1, 2]
    assert all(name.startswith(PREFIX) and entry.keys == (name,) for name, entry in conversations.items())
    with pytest.raises(pika.exceptions.ChannelClosedByBroker, match="NOT_FOUND"):
        desk.depth()


@contextmanager
def declared(desk: Desk, name: str, **how: Any) -> Iterator[None]:
    connection = pika.BlockingConnection(pika.URLParameters(desk.broker.url))
    connection.channel().queue_declare(name, **how)
    connection.close()
    yield


def test_a_queue_that_was_there_before_is_looked_at_and_left_as_it_is(command: Command, desk: Desk) -> None:
    """Its arguments are learnt from refusals, which change nothing: it can be declared as before, and only so."""
    how: dict[str, Any] = {
        "durable": True,
        "arguments": {"x-message-ttl": 60_000, "x-max-length": 7, "x-overflow": "reject-publish"},
    }
    with declared(desk, desk.broker.queue, **how):
        said = command("check", "--json")
        told = " ".join(each["seen"] for each in of(said, "queue"))
        for words in (
            "is classic, durable",
            "drops messages that wait for 60 s",
            "refuses messages beyond 7",
        ):
            assert words in told
        assert {each["verdict"] for each in of(said, "queue")} == {"warn"}
        with declared(desk, desk.broker.queue, **how):
            pass
    assert said.code == 0


def test_our_own_queues_are_known_by_their_arguments(command: Command, desk: Desk) -> None:
    """As the first start declares them."""
    desk.publish_many(2)
    said = command("check", "--json")
    (queue,) = of(said, "queue")
    assert (queue["verdict"], queue["arguments"]["x-queue-type"], queue["arguments"]["x-delivery-limit"]) == (
        "ok",
        "quorum",
        50,
    )
    assert (of(said, "broker")[0]["ready"], of(said, "dead queue")[0]["ready"]) == (2, 0)


def test_a_user_without_rights_on_the_broker_fails(command: Command, desk: Desk, rabbitmq: RabbitMQ) -> None:
    """What is refused to it is named, with the command that grants it: the children would never be ready."""
    desk.publish_many(1)
    rabbitmq.rabbitmqctl(
        "eval",
        'rabbit_auth_backend_internal:add_user(<<"none">>, <<"none">>, <<"test">>), '
        'rabbit_auth_backend_internal:set_permissions(<<"none">>, <<"/">>, <<"^$">>, <<"^$">>, <<"^$">>, <<"test">>).',
    )
    queue = desk.broker.queue
    url = desk.broker.url.replace("guest:guest", "none:none")
    try:
        there = command("check", "--json", f"--rabbitmq-url={url}")
        missing = command("check", "--json", f"--rabbitmq-url={url}", "--queue=friends")
    finally:
        rabbitmq.rabbitmqctl("delete_user", "none")
    assert (there.code, missing.code) == (1, 1)
    assert [each["verdict"] for each in of(there, "queue")] == ["fail", "warn"]
    unread = of(there, "queue")[0]
    assert f"access to queue '{queue}' in vhost '/' refused for user 'none'" in unread["seen"]
    command_of_the_docs = (
        f"rabbitmqctl set_permissions -p / none '^$' '^amq\\.default$' '^{queue}(\\.dead)?$'"
    )
    assert command_of_the_docs in unread["remedy"]
    assert [each["verdict"] for each in of(there, "dead queue")] == ["warn"]
    assert [each["verdict"] for each in of(missing, "dead queue")] == ["fail"]
    assert {each["verdict"] for each in of(missing, "queue")} == {"fail"}
    assert "none '^friends(\\.dead)?$' '^amq" in of(missing, "dead queue")[0]["remedy"]


def test_a_queue_that_another_connection_has_to_itself_fails(command: Command, desk: Desk) -> None:
    """The broker is there, and is not told to be started."""
    connection = pika.BlockingConnection(pika.URLParameters(desk.broker.url))
    connection.channel().queue_declare(desk.broker.queue, exclusive=True)
    said = command("check", "--json")
    connection.close()
    assert (said.code, of(said, "broker")[0]["verdict"]) == (1, "ok")
    (queue,) = of(said, "queue")
    assert (queue["verdict"], "exclusive" in queue["seen"]) == ("fail", True)
    assert f"rabbitmqctl delete_queue -p / {desk.broker.queue}" in queue["remedy"]


def test_a_session_that_is_idle_in_transaction_is_named_and_its_words_are_not(
    command: Command, desk: Desk, migrated_database_url: str
) -> None:
    """Ours is a failure, with what ends it; who waits for it is told, too."""
    ours = psycopg.connect(migrated_database_url, application_name="friendship-supervisor child 3")
    other = psycopg.connect(migrated_database_url, application_name="old worker")
    with ours, other:
        other.execute("UPDATE friendship_status SET friendship_level = 'hunter2'")
        ours.execute("SELECT 'hunter2'")
        desk.query("SELECT pg_sleep(1.1)")
        said = command("check", "--db", "--json")
        (idle,) = [each for each in of(said, "idle in trans.") if each["verdict"] == "fail"]
        assert (said.code, idle["pid"], idle["application"]) == (
            1,
            ours.info.backend_pid,
            "friendship-supervisor child 3",
        )
        assert idle["remedy"] == f"SELECT pg_terminate_backend({idle['pid']})"
        assert {each.get("application") for each in of(said, "sessions")} >= {
            "friendship-supervisor child",
            "old worker",
        }
        assert "old worker (1)" in of(said, "other writers")[0]["seen"]
        assert "hunter2" not in said.out
        assert not {"broker", "memory", "API"} & {each["subject"] for each in said.objects}


def test_writers_that_know_no_claims_leave_traces(command: Command, desk: Desk) -> None:
    """A row without a lease, a score that the ledger does not explain, a trigger."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status) VALUES ('c', 'lan', 'PROCESSING')"
    )
    desk.query(
        "INSERT INTO friendship_status (user_id, friendship_score, ledger_seq) VALUES ('lan', 3, 1), ('minh', 5, 1)"
    )
    desk.query(
        "INSERT INTO score_ledger (event_id, conversation_id, user_id, seq, delta, score_before, score_after,"
        " claim_epoch)"
        " VALUES (8, 'x', 'lan', 1, 5, 0, 5, 1), (9, 'y', 'minh', 1, 5, 0, 5, 1)"
    )
    desk.query("CREATE FUNCTION odd() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
    desk.query("CREATE TRIGGER audit BEFORE UPDATE ON score_ledger FOR EACH ROW EXECUTE FUNCTION odd()")
    said = command("check", "--db", "--json")
    told = [each["seen"] for each in of(said, "other writers")]
    assert (said.code, len(told)) == (0, 3)
    assert told[0].endswith("ledger left it: lan")
    assert told[1].startswith("1 events are PROCESSING without a lease")
    assert told[2].endswith("audit on score_ledger")


@pytest.mark.parametrize(
    ("mode", "words"),
    [
        ({"mode": "wrong_json", "variant": "string"}, "FAILED MEMORY_API_BAD_RESPONSE"),
        ({"mode": "garbage"}, "FAILED MEMORY_API_BAD_RESPONSE"),
        ({"mode": "huge", "megabytes": 9}, "larger than 8388608 bytes"),
        ({"mode": "redirect"}, "The Memory API answered 307."),
        ({"mode": "error", "status": 422}, "FAILED MEMORY_API_REJECTED"),
        ({"mode": "error", "status": 401}, "opens the breaker"),
        ({"mode": "reset"}, "no answer"),
        ({"mode": "hang"}, "FAILED MEMORY_API_TIMEOUT"),
    ],
)
def test_a_memory_api_that_breaks_the_contract_fails_its_test(
    command: Command, memory_api: MemoryApiStandIn, mode: dict[str, Any], words: str
) -> None:
    """What it does to conversations is said; nothing more is asked of it."""
    memory_api.set_mode(**mode)
    said = command("check", "--db", "--memory-api", "--json", "--memory-api-timeout=0.5")
    answers = of(said, "API answer")
    assert (said.code, [each["verdict"] for each in answers]) == (1, ["fail"])
    assert words in answers[0]["seen"]
    assert memory_api.calls().total == 1
    assert memory_api.calls().astray == 0


def test_what_cannot_be_asked_is_told_beside_the_rest(command: Command, desk: Desk) -> None:
    """Settings, memory and servers in one run; the Memory API's absence is a warning."""
    said = command(
        *("check", "--json", "--retry-every=-1", "--rss-mb=60", "--rss-hard-mb=400", "--queue=amq.x"),
        *("--memory-api-url=http://127.0.0.1:1", "--database-url=postgresql://u:hunter2@127.0.0.1:1/x"),
    )
    assert said.code == 1
    failed = [each["subject"] for each in said.objects if each["verdict"] == "fail"]
    assert failed == ["configuration", "configuration", "memory", "broker", "database"]
    assert of(said, "API")[0]["verdict"] == "warn"
    assert "hunter2" not in said.out


def test_s3_and_the_llm_are_looked_at_where_they_are_in_use(
    command: Command, s3: S3Server, llm: LlmStandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A bucket that would give logs, one that is not there, one of nobody's server; no conversation is shown."""
    for name, value in (s3.environment("logs", "absent") | llm.environment()).items():
        monkeypatch.setenv(name, value)
    said = command("check", "--json")
    assert said.err == ""
    assert [(each["verdict"], each["bucket"]) for each in of(said, "S3")] == [
        ("fail", "absent"),
        ("ok", "logs"),
    ]
    assert "NoSuchBucket" in of(said, "S3")[0]["seen"]
    assert [each["verdict"] for each in of(said, "LLM")] == ["ok"]
    assert llm.conduct.calls == 0
    monkeypatch.setenv("S3_ENDPOINT_URL", "http://127.0.0.1:1")
    monkeypatch.delenv("LLM_ANALYSIS_ENABLED")
    away = command("check", "--json")
    assert [each["verdict"] for each in of(away, "S3")] == ["warn", "warn"]
    assert of(away, "LLM") == []


@pytest.mark.parametrize(
    "setting",
    [
        "S3_ENDPOINT_URL=http://h:9000/?x=1",
        "S3_ADDRESSING_STYLE=odd",
        "GROQ_BASE_URL=ftp://h",
        "GROQ_MODEL=m\am",
    ],
)
def test_nobody_is_asked_in_the_place_of_a_server_that_cannot_be(
    command: Command, s3: S3Server, llm: LlmStandIn, monkeypatch: pytest.MonkeyPatch, setting: str
) -> None:
    """Without its endpoint AWS would be asked, with the credentials of a server of one's own."""
    name, _, value = setting.partition("=")
    for each, given in (s3.environment("logs") | llm.environment() | {name: value}).items():
        monkeypatch.setenv(each, given)
    said = command("check", "--json")
    refused, asked = ("S3", "LLM") if name.startswith("S3") else ("LLM", "S3")
    [finding] = of(said, refused)
    assert (finding["verdict"], finding["seen"]) == (
        "fail",
        "not asked: a setting that it needs cannot be used",
    )
    assert [each["verdict"] for each in of(said, asked)] == ["ok"]


@pytest.mark.parametrize(("name", "value"), [("PGTZ", "no/where"), ("PGOPTIONS", "-c nonsense=1")])
def test_what_a_database_refuses_by_itself_names_the_variables_that_are_set(
    command: Command, desk: Desk, monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    """It runs, as it answers: nobody is told to start it, and values are not shown."""
    monkeypatch.setenv(name, value)
    (found,) = of(command("check", "--db", "--json"), "database")
    assert found["verdict"] == "fail"
    assert "FATAL" in found["seen"]
    assert name in found["remedy"]
    assert "start PostgreSQL" not in found["remedy"]


def test_a_database_that_is_not_there_is_to_be_started(
    command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Variables that are set beside it are not in doubt."""
    monkeypatch.setenv("PGTZ", "no/where")
    said = command("check", "--db", "--json", "--database-url=postgresql://u@127.0.0.1:1/x")
    assert of(said, "database")[0]["remedy"].startswith("start PostgreSQL")

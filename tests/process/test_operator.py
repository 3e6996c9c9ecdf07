"""The operator's commands on real servers, as a person or a script sees them."""

import io
from collections.abc import Iterator

import pytest

from consumer.amqp import Publisher
from consumer.dead_letters import DeadLetter, DeadQueue
from consumer.errors import BrokerAway
from repository import operations
from repository.connection import Database
from repository.errors import DatabaseAway
from repository.rejects import keep, keep_parts
from scripts.conversations import make
from tests.fixtures.commands import Command
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually

SECRET = "what a child said"


def insert(
    desk: Desk, conversation_id: str, status: str = "FAILED", user: str = "lan", code: str = "X"
) -> None:
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, error_code, next_attempt_at,"
        " conversation_log, claim_epoch, lease_until, claimed_by) VALUES (%s, %s, %s, %s, now() + interval '1 hour',"
        " jsonb_build_array(%s::text), 1, CASE %s WHEN 'PROCESSING' THEN now() + interval '1 hour' END,"
        " CASE %s WHEN 'PROCESSING' THEN 'somebody' END)",
        conversation_id, user, status, code, SECRET, status, status,
    )  # fmt: skip


@pytest.fixture
def events(desk: Desk) -> Desk:
    for number in range(3):
        insert(desk, f"failed-{number}")
    insert(desk, "other", user="minh", code="LOG_UNAVAILABLE")
    insert(desk, "done", "SKIPPED")
    insert(desk, "busy", "PROCESSING")
    return desk


def test_events_are_listed_for_people_and_for_machines(events: Desk, command: Command) -> None:
    """A table with a head, or an object a line; filters hold; no word of a conversation is shown."""
    table = command("events", "list")
    assert (table.code, len(table.lines)) == (0, 7)
    assert table.lines[0].split() == [
        "CONVERSATION",
        "USER",
        "STATUS",
        "CODE",
        "ATTEMPTS",
        "NEXT",
        "ATTEMPT",
        "CHANGED",
    ]
    found = command("events", "list", "--json", "--status", "failed", "--code=X", "--user=lan", "--limit=2")
    assert {each["conversation_id"] for each in found.objects} < {f"failed-{number}" for number in range(3)}
    assert len(found.objects) == 2
    shown = command("events", "show", "failed-1", "done")
    assert "conversation_log_bytes" in shown.out
    assert command("events", "show", "failed-1", "--json").objects[0]["event"]["status"] == "FAILED"
    assert SECRET not in table.out + found.out + shown.out
    assert command("events", "list", "--older-than", "1h").lines[1:] == []


@pytest.mark.parametrize("which", [("list",), ("requeue", "--user=lan")])
def test_a_limit_beyond_all_counting_is_refused_before_the_database_is_asked(
    command: Command, which: tuple[str, ...]
) -> None:
    """A usage error, not the database's."""
    said = command("events", *which, f"--limit={10**20}")
    assert (said.code, said.out) == (2, "")


def test_what_is_not_known_is_named_with_exit_1(events: Desk, command: Command) -> None:
    """And control characters that a stranger put into an id reach no terminal."""
    said = command("events", "show", "no\x1b[2Jbody")
    assert (said.code, said.out) == (1, "")
    assert said.err == "friendship-supervisor: not known: no\\u001b[2Jbody\n"


def test_events_are_requeued_by_name_with_the_refused_named(events: Desk, command: Command) -> None:
    """Exit 1 when any was refused; the others are published."""
    said = command("events", "requeue", "failed-0", "other", "done", "busy", "nobody")
    assert (said.code, said.out) == (1, "requeued 2, published 2\n")
    for name in ("done (SKIPPED", "busy (PROCESSING", "nobody (not known)"):
        assert name in said.err
    assert len(said.err.splitlines()) == 1
    assert events.depth() == 2
    assert events.statuses() == {"PENDING": 2, "FAILED": 2, "SKIPPED": 1, "PROCESSING": 1}


def test_events_are_requeued_by_filter_and_counted_beforehand(events: Desk, command: Command) -> None:
    """--dry-run touches nothing; FAILED is meant when no state is given; nothing at all is a mistake."""
    assert command("events", "requeue", "--user=lan", "--dry-run").out == "would requeue 3\n"
    assert events.statuses()["FAILED"] == 4
    assert command("events", "requeue", "--user=lan", "--json").objects == [
        {"requeued": 3, "published": 3, "refused": {}}
    ]
    assert (events.depth(), events.statuses()["FAILED"]) == (3, 1)
    refused = command("events", "requeue")
    assert (refused.code, refused.out) == (2, "")


def test_a_requeue_without_a_broker_touches_no_row(events: Desk, command: Command) -> None:
    """One line, exit 1, no password."""
    said = command(
        "events", "requeue", "--user=lan", "--rabbitmq-url", "amqp://guest:hunter2@127.0.0.1:1/%2F"
    )
    assert (said.code, said.out) == (1, "requeued 0, published 0\n")
    assert said.err.startswith("friendship-supervisor: the broker: ")
    assert "hunter2" not in said.err
    assert len(said.err.splitlines()) == 1
    assert events.statuses()["FAILED"] == 4


@pytest.fixture
def dead(desk: Desk, migrated_database_url: str) -> Desk:
    """Two messages in the queue, and two in the table, one of them in parts."""
    with Publisher(desk.broker, "test") as publisher:
        for number in range(2):
            headers = {"reason": "INVALID_MESSAGE", "details": "not JSON"}
            publisher.publish(desk.broker.dead_queue, f"{SECRET} {number}".encode(), f"id-{number}", headers)
    database = Database(migrated_database_url)
    keep(database, b"kept", "INVALID_MESSAGE: not JSON", "id-2")
    keep_parts(database, [b"large ", b"and kept"], "MESSAGE_TOO_LARGE: 14 bytes", None)
    database.close()
    return desk


def settled(desk: Desk, depth: int) -> None:
    eventually(lambda: desk.depth(desk.broker.dead_queue) == depth, f"{depth} dead letters")


def test_dead_letters_are_listed_from_both_places(dead: Desk, command: Command) -> None:
    """With reason, id, size and position; bodies only when asked for; all stay."""
    listed = command("dead", "list", "--json").objects
    assert [(e["place"], e["position"], e["reason"], e["message_id"], e["size"]) for e in listed] == [
        ("queue", 1, "INVALID_MESSAGE", "id-0", 19),
        ("queue", 2, "INVALID_MESSAGE", "id-1", 19),
        ("table", 1, "INVALID_MESSAGE", "id-2", 4),
        ("table", 2, "MESSAGE_TOO_LARGE", None, 14),
    ]
    settled(dead, 2)
    newest = command("dead", "list", "--newest", "--limit=1")
    assert newest.lines[1].split()[:4] == ["queue", "2", "INVALID_MESSAGE", "id-1"]
    settled(dead, 2)
    shown = command("dead", "show")
    assert SECRET not in shown.out
    assert "header details" in shown.out
    settled(dead, 2)
    (letter,) = command("dead", "show", "--id=id-0", "--json").objects
    assert (letter["place"], letter["headers"]["details"], "body" in letter) == ("queue", "not JSON", False)
    (letter,) = command("dead", "show", "--id=id-2", "--json", "--body").objects
    assert (letter["place"], letter["hits"], letter["body"]) == ("table", 1, "kept")
    settled(dead, 2)
    bodies = command("dead", "show", "--body")
    for text in (SECRET, "kept", "large "):
        assert f"body  {text}" in bodies.out
    settled(dead, 2)


def test_a_dead_letter_that_is_not_there_is_named_with_exit_1(dead: Desk, command: Command) -> None:
    """One line; nothing at all to show, without a filter, is no mistake."""
    said = command("dead", "show", "--id", "no\x1bpe")
    assert (said.code, said.out) == (1, "")
    assert said.err == "friendship-supervisor: no dead letter with message_id no\\u001bpe\n"
    said = command("dead", "show", "--reason=X", "--id=id-0", "--json")
    assert said.err == "friendship-supervisor: no dead letter with reason X and message_id id-0\n"
    assert command("dead", "drop", "--all", "--yes").code == 0
    assert command("dead", "show").code == 0


def test_dead_letters_are_given_back(dead: Desk, command: Command) -> None:
    """From both places, by reason, by id, or all."""
    assert command("dead", "requeue", "--reason=INVALID_MESSAGE", "--limit=1").out == "requeued 1\n"
    settled(dead, 1)
    assert command("dead", "requeue", "--id=id-2", "--json").objects == [{"requeued": 1}]
    assert command("dead", "requeue", "--all").out == "requeued 2\n"
    settled(dead, 0)
    assert dead.query("SELECT count(*) AS n FROM rejected_messages")[0]["n"] == 0
    assert dead.query("SELECT count(*) AS n FROM rejected_parts")[0]["n"] == 0
    assert dead.depth() == 4
    assert command("dead", "requeue").code == 2
    assert command("dead", "requeue", "--all", "--id=id-0").code == 2


def test_dead_letters_are_dropped_when_somebody_says_yes(
    dead: Desk, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At a terminal it is asked; without one --yes has to be given."""
    assert command("dead", "drop", "--all").code == 2
    terminal = io.StringIO("n\ny\n")
    monkeypatch.setattr(terminal, "isatty", lambda: True, raising=False)
    monkeypatch.setattr("sys.stdin", terminal)
    assert command("dead", "drop", "--all").code == 1
    settled(dead, 2)
    assert command("dead", "drop", "--reason=INVALID_MESSAGE").code == 0
    settled(dead, 0)
    assert command("dead", "drop", "--all", "--yes").out == "dropped 1\n"
    assert dead.query("SELECT count(*) AS n FROM rejected_messages")[0]["n"] == 0


def test_the_table_is_listed_while_the_broker_is_away(dead: Desk, command: Command) -> None:
    """It is what there is in such an hour; the exit status says that it is not all."""
    said = command("dead", "list", "--json", "--rabbitmq-url", "amqp://127.0.0.1:1/%2F")
    assert said.code == 1
    assert [each["place"] for each in said.objects] == ["table", "table"]
    assert "not listed" in said.err


def test_prune_counts_and_deletes(events: Desk, command: Command) -> None:
    """An age without a unit is refused."""
    events.query("UPDATE conversation_events SET updated_at = now() - interval '100 days'")
    assert (
        command("prune", "--older-than", "90d", "--dry-run").out
        == "would delete: events 1, deaths 0, rejected 0\n"
    )
    assert command("prune", "--older-than", "90d", "--json").objects == [
        {"events": 1, "deaths": 0, "rejected": 0}
    ]
    assert events.event("done") is None
    refused = command("prune", "--older-than", "90")
    assert (refused.code, refused.out) == (2, "")


def test_a_prune_of_the_last_day_is_asked_about(events: Desk, command: Command) -> None:
    """What has ended in it is still looked at; a cron job with a slip in its age must not delete everything."""
    refused = command("prune", "--older-than=0s")
    assert (refused.code, refused.out) == (2, "")
    assert "--yes" in refused.err
    assert (
        command("prune", "--older-than=0s", "--dry-run").out
        == "would delete: events 1, deaths 0, rejected 0\n"
    )
    assert events.event("done") is not None
    assert command("prune", "--older-than=23h", "--yes").out == "deleted: events 0, deaths 0, rejected 0\n"
    assert command("prune", "--older-than=24h").code == 0
    assert command("prune", "--older-than=0s", "--yes").code == 0
    assert events.event("done") is None


def test_a_child_is_forgotten_in_every_place(
    events: Desk, command: Command, migrated_database_url: str
) -> None:
    """Also in dead letters that break off; another's stay; the main queue is said not to be searched."""
    events.query(
        "UPDATE conversation_events SET conversation_log_url = 's3://logs/1' WHERE conversation_id = 'done'"
    )
    theirs = make("failed-1", "lan").body
    with Publisher(events.broker, "test") as publisher:
        for body, message_id in (
            (theirs, None),
            (theirs[:-10], None),
            (b"nothing to be read", "failed-2"),
            (b"nothing to be read", "unknown"),
            (make("failed-2", "minh").body, "failed-2"),
        ):
            publisher.publish(events.broker.dead_queue, body, message_id, {"reason": "INVALID_MESSAGE"})
    database = Database(migrated_database_url)
    keep(database, theirs, "INVALID_MESSAGE", None)
    keep_parts(database, [theirs[:-40], theirs[-40:], b"!"], "MESSAGE_TOO_LARGE", None)
    keep(database, make("x", "minh").body, "INVALID_MESSAGE", None)
    database.close()
    assert command("forget", "lan").code == 2
    said = command("forget", "lan", "--yes")
    assert said.code == 0
    assert said.lines[0] == "in S3, for you to delete: s3://logs/1"
    assert said.lines[1] == "deleted: events 5, deaths 0, ledger 0, friendship_status 0, rejected 2, dead 3"
    assert f"queue {events.broker.queue} was not searched" in said.lines[2]
    settled(events, 2)
    assert events.query("SELECT DISTINCT user_id FROM conversation_events") == [{"user_id": "minh"}]
    assert [message for _, message in events.take_dead()] == [
        b"nothing to be read",
        make("failed-2", "minh").body,
    ]
    assert events.breaches() == []
    again = command("forget", "lan", "--yes", "--json").objects
    assert again == [
        {"urls": []},
        {"events": 0, "deaths": 0, "ledger": 0, "friendship_status": 0, "rejected": 0, "dead": 0},
    ]


def test_nothing_is_forgotten_while_the_broker_is_away(events: Desk, command: Command) -> None:
    """The rows, and the URLs in them, are there for the next try; exit 1 with what was done."""
    events.query("UPDATE conversation_events SET conversation_log_url = 's3://logs/1'")
    said = command("forget", "lan", "--yes", "--rabbitmq-url", "amqp://127.0.0.1:1/%2F")
    assert (said.code, len(said.err.splitlines())) == (1, 1)
    assert said.lines == ["deleted: events 0, deaths 0, ledger 0, friendship_status 0, rejected 0, dead 0"]
    assert events.event("done") is not None


@pytest.mark.parametrize("as_json", [False, True])
def test_the_urls_are_said_before_anything_is_deleted(
    events: Desk, command: Command, monkeypatch: pytest.MonkeyPatch, as_json: bool
) -> None:
    """Whatever ends the command then, a kill too, somebody knows where the logs are; what was done is said."""
    events.query("UPDATE conversation_events SET conversation_log_url = 's3://logs/1'")

    def away(queue: DeadQueue) -> Iterator[DeadLetter]:
        raise BrokerAway("gone")

    monkeypatch.setattr(DeadQueue, "letters", away)
    said = command("forget", "lan", "--yes", *(["--json"] if as_json else []))
    assert said.code == 1
    assert "the broker: gone" in said.err
    if as_json:
        assert said.objects[0] == {"urls": ["s3://logs/1"]}
        assert said.objects[1]["events"] == 5
    else:
        assert said.lines[0] == "in S3, for you to delete: s3://logs/1"
        assert said.lines[1].startswith("deleted: events 5, ")


def test_what_was_promised_of_s3_is_known_though_the_delete_fails(
    events: Desk, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A commit whose answer is lost has deleted all the same."""
    events.query("UPDATE conversation_events SET conversation_log_url = 's3://logs/1'")

    def lost(*_: object) -> None:
        raise DatabaseAway("the answer is lost")

    monkeypatch.setattr(operations, "forget", lost)
    said = command("forget", "lan", "--yes")
    assert (said.code, said.lines[0]) == (1, "in S3, for you to delete: s3://logs/1")


def test_another_childs_message_is_never_dropped_unsaid(
    desk: Desk, command: Command, migrated_database_url: str
) -> None:
    """A body that parses is its own user's; one that does not, and names both, stays, is named, and is exit 1."""
    owners = b'{"conversation_id":"o","user_id":"owner","meta":{"user_id":"guest"}}'
    both = b'[{"user_id":"owner"},{"user_id":"guest"}]'
    escaped = b'{"conversation_id":"c9","\\u0075ser_id":"guest"}'
    with Publisher(desk.broker, "test") as publisher:
        for body, message_id in ((owners, "o"), (both, None), (escaped, None)):
            publisher.publish(desk.broker.dead_queue, body, message_id, {"reason": "INVALID_MESSAGE"})
    database = Database(migrated_database_url)
    for body, message_id in ((owners, "o"), (both, "b\x1b"), (escaped, None)):
        keep(database, body, "INVALID_MESSAGE", message_id)
    database.close()
    said = command("forget", "guest", "--yes")
    assert said.code == 1
    assert said.lines[:3] == [
        "stays, it names others too: in the queue, 41 B, no message_id",
        "stays, it names others too: in the table, 41 B, message_id b\\u001b",
        "deleted: events 0, deaths 0, ledger 0, friendship_status 0, rejected 1, dead 1",
    ]
    assert said.err == (
        "friendship-supervisor: messages that cannot be read and name others beside guest: 2; they stay:"
        " `dead show --body` shows them, `dead drop --id` removes one\n"
    )
    assert command("forget", "guest", "--yes", "--json").objects == [
        {"urls": []},
        {"stays": {"place": "queue", "bytes": 41, "message_id": None}},
        {"stays": {"place": "table", "bytes": 41, "message_id": "b\x1b"}},
        {"events": 0, "deaths": 0, "ledger": 0, "friendship_status": 0, "rejected": 0, "dead": 0},
    ]
    settled(desk, 2)
    assert [body for _, body in desk.take_dead()] == [owners, both]
    assert command("forget", "owner", "--yes").code == 1
    assert desk.query("SELECT count(*) AS n FROM rejected_messages")[0]["n"] == 1


@pytest.mark.parametrize("user", ["", "x" * 256])
def test_nobody_is_forgotten_whose_id_cannot_be(command: Command, user: str) -> None:
    """An empty variable in a script is exit 2 and searches nothing."""
    said = command("forget", user, "--yes")
    assert (said.code, said.out) == (2, "")
    assert "1 to 255" in said.err


def test_a_dead_letter_with_an_unusable_id_hinders_no_forgetting(desk: Desk, command: Command) -> None:
    """A NUL can be stored nowhere, so nothing is asked of the database about it: the message is another's."""
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status) VALUES ('c', 'lan', 'FAILED')"
    )
    with Publisher(desk.broker, "test") as publisher:
        publisher.publish(desk.broker.dead_queue, b"nothing to be read", "a\0b")
    said = command("forget", "lan", "--yes")
    assert (said.code, said.err) == (0, "")
    assert "events 1," in said.out
    assert command("dead", "list", "--json").objects[0]["message_id"] is None


@pytest.mark.parametrize(
    "which", [("list",), ("list", "--newest"), ("show",), ("requeue", "--all"), ("drop", "--all", "--yes")]
)
def test_a_limit_beyond_all_counting_is_no_limit(
    dead: Desk, command: Command, which: tuple[str, ...]
) -> None:
    """There are never so many."""
    said = command("dead", *which, f"--limit={10**20}")
    assert (said.code, said.err) == (0, "")
    assert command("dead", *which, "--limit=0").code == 2


def test_every_command_says_in_one_line_what_is_missing(
    environment: dict[str, str], command: Command, database_url: str
) -> None:
    """A schema that is not there is exit 2, a database that is away exit 1."""
    for arguments in (
        ("events", "list"),
        ("dead", "list"),
        ("prune", "--older-than=1d"),
        ("forget", "x", "--yes"),
    ):
        old = command(*arguments, "--database-url", database_url)
        assert (old.code, len(old.err.splitlines())) == (2, 1)
        assert "friendship-supervisor migrate" in old.err
        away = command(*arguments, "--database-url", "postgresql://u:hunter2@127.0.0.1:1/x")
        assert (away.code, len(away.err.splitlines())) == (1, 1)
        assert "hunter2" not in away.err

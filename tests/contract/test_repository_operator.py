"""What an operator's commands do to the rows, and what they leave alone."""

from collections.abc import Callable, Iterable
from typing import Any

import psycopg
import pytest

from repository import operations
from repository.connection import Connection, Database, Row, rows
from repository.errors import Busy, Fenced
from repository.events import Events
from repository.invariants import check
from repository.operations import Requeued, Selection
from repository.rejects import drop, keep, keep_parts, kept, slices
from repository.retries import due, waiting
from repository.rows import Claimed, Refusal
from repository.statements import Statement
from tests.contract.conftest import LEASE_S
from tests.contract.events_desk import Desk

YEAR_S = 365 * 86_400.0


def ids(batches: Iterable[list[Requeued]]) -> list[str]:
    return [event.conversation_id for batch in batches for event in batch]


def requeue(desk: Desk, *, limit: int | None = None, **selection: Any) -> list[str]:
    return ids(operations.requeue(desk.database, Selection(**selection), limit))


@pytest.fixture
def varied(desk: Desk) -> Desk:
    """One event in each state."""
    desk.complete(desk.claim("done"))
    desk.events.skip(desk.claim("skipped"))
    desk.fail(desk.claim("later"))
    desk.fail(desk.claim("never", user_id="minh"), code="LOG_UNAVAILABLE", delay_s=None)
    desk.claim("at work")
    desk.claim("left")
    desk.lease_runs_out("left")
    desk.insert("waits")
    return desk


def test_a_list_obeys_each_filter(varied: Desk) -> None:
    """And shows the newest change first."""

    def listed(limit: int = 50, **filters: Any) -> list[str]:
        found = operations.listing(varied.database, Selection(**filters), limit=limit)
        return [each.conversation_id for each in found]

    varied.set("updated_at = now() + interval '1 second'", conversation="done")
    assert listed()[0] == "done"
    assert set(listed()) == {"left", "at work", "never", "later", "skipped", "done", "waits"}
    assert listed(limit=1) == listed()[:1]
    assert set(listed(status="FAILED")) == {"later", "never"}
    assert listed(user_id="minh") == ["never"]
    assert listed(code="MEMORY_API_TIMEOUT") == ["later"]
    assert listed(due=True) == ["left"]
    assert listed(older_than_s=60.0) == []
    varied.set("updated_at = now() - interval '1 hour'", conversation="later")
    assert listed(older_than_s=60.0) == ["later"]
    assert listed(status="FAILED", user_id="lan", code="LOG_UNAVAILABLE") == []


def test_a_file_holds_all_but_the_text(desk: Desk) -> None:
    """Sizes of log and parked message, the deaths, the change of score; also when only the ledger knows."""
    desk.insert("talk", conversation_log='[{"speaker": "user", "text": "hunter2"}]')
    claim = desk.claim("talk")
    desk.account(claim, blamed=True)
    desk.set("parked_log = 'hunter2'")
    desk.complete(desk.claim("gone"))
    desk.run("DELETE FROM conversation_events WHERE conversation_id = 'gone'")
    found = operations.files(desk.database, ["talk", "gone", "nobody"])
    assert list(found) == ["talk", "gone"]
    event = found["talk"].event
    assert event is not None
    assert (event["conversation_log_bytes"], event["parked_log_bytes"]) == (40, 7)
    assert "hunter2" not in str(found)
    assert [death["cause"] for death in found["talk"].deaths] == ["rss_hard"]
    assert found["talk"].ledger is None
    assert found["gone"].event is None
    assert found["gone"].ledger is not None
    assert found["gone"].ledger["delta"] == 10.0


@pytest.mark.parametrize(
    ("details", "shown"),
    [
        ('{"change": 1.5}', {"change": 1.5}),
        ("[" * 3000 + "]" * 3000, "[" * 3000 + "]" * 3000),
        ("1" * 6000, "1" * 6000),
        (f'"{"x" * 20_000_000}"', '"' + "x" * 9999),
    ],
    ids=["ours", "deep", "long number", "endless"],
)
def test_a_file_shows_of_endless_values_the_beginning(desk: Desk, details: str, shown: object) -> None:
    """Another program's row may hold any size and shape: none of it hinders who looks."""
    endless = "x" * 3_000_000
    texts = ("bot_type", "bot_id", "bot_name", "agent_tag", "conversation_log_url", "error_details")
    desk.insert(score_calculation_details=details, **dict.fromkeys(texts, endless))
    event = operations.files(desk.database, ["talk"])["talk"].event
    assert event is not None
    assert event["score_calculation_details"] == shown
    assert [len(event[name]) for name in texts] == [2048] * len(texts)


def test_a_file_knows_every_column_of_ours(desk: Desk) -> None:
    """A column that a later version adds must be shown, or said to be text."""
    desk.insert()
    shown = operations.files(desk.database, ["talk"])["talk"].event
    assert shown is not None
    texts = {"conversation_log", "parked_log"}
    assert set(desk.row()) - set(shown) == texts
    assert set(shown) - set(desk.row()) == {f"{text}_bytes" for text in texts}


def test_a_requeue_starts_every_count_again(desk: Desk) -> None:
    """Attempts, claims, deaths, publications: as if never tried, and due again should its id get lost."""
    desk.account(desk.claim(), blamed=True)
    desk.set("attempt_count = 4, publish_count = 6, unexplained_takeovers = 2, claim_epoch = 30")
    desk.lease_runs_out()
    assert requeue(desk, ids=["talk"]) == ["talk"]
    assert 540 < desk.seconds_until("next_attempt_at") <= 600
    claim = desk.claim()
    assert (claim.attempt, claim.claims_since_outcome, claim.blamed_deaths) == (1, 1, 0)
    assert (claim.epoch, desk.row()["publish_count"], desk.row()["unexplained_takeovers"]) == (31, 1, 0)
    assert check(desk.database) == []


def test_only_what_nobody_works_on_is_requeued(varied: Desk) -> None:
    """By name, everything else is refused with its reason."""
    asked = ["done", "skipped", "later", "never", "at work", "left", "waits", "nobody"]
    before = varied.run(
        "SELECT * FROM conversation_events WHERE status IN ('PROCESSED', 'SKIPPED') ORDER BY id"
    )
    taken = requeue(varied, ids=asked)
    assert set(taken) == {"later", "never", "left", "waits"}
    why = operations.objections(varied.database, asked, taken)
    assert list(why) == ["done", "skipped", "at work", "nobody"]
    assert why["done"].startswith("PROCESSED")
    assert why["skipped"].startswith("SKIPPED")
    assert "at work" in why["at work"]
    assert why["nobody"] == "not known"
    assert varied.row("at work")["status"] == "PROCESSING"
    after = varied.run(
        "SELECT * FROM conversation_events WHERE status IN ('PROCESSED', 'SKIPPED') ORDER BY id"
    )
    assert after == before


def test_a_requeue_by_filter_takes_each_event_once_in_batches(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also those that were PENDING, and are afterwards; no more than asked for; counted alike beforehand."""
    monkeypatch.setattr(operations, "BATCH", 3)
    for number in range(8):
        desk.insert(f"talk-{number}", user="lan" if number % 2 else "minh")
    assert operations.count_requeueable(desk.database, Selection(status="PENDING")) == 8
    assert requeue(desk, status="PENDING") == [f"talk-{number}" for number in range(8)]
    assert requeue(desk, status="PENDING", user_id="lan", limit=2) == ["talk-1", "talk-3"]
    assert requeue(desk, status="FAILED") == []


def test_an_old_message_beside_a_requeued_one_changes_nothing(desk: Desk) -> None:
    """Two ids of one event in the queue: worked on once at a time, scored once."""
    desk.fail(desk.claim(), delay_s=None)
    requeue(desk, ids=["talk"])
    first = desk.claim()
    assert desk.refused().reason is Refusal.DUPLICATE
    desk.complete(first)
    assert desk.refused().reason is Refusal.DONE
    assert [row["delta"] for row in desk.ledger()] == [10.0]


def test_the_holder_of_a_lease_that_ran_out_is_fenced_by_a_requeue(desk: Desk) -> None:
    """Paused, and back after an operator gave its event to others."""
    zombie = desk.claim()
    desk.lease_runs_out()
    requeue(desk, ids=["talk"])
    with pytest.raises(Fenced):
        desk.complete(zombie)
    desk.complete(desk.claim())
    with pytest.raises(Fenced):
        desk.fail(zombie)
    assert check(desk.database) == []


def test_what_is_permanent_is_never_due(desk: Desk) -> None:
    """However many attempts it has had; a requeue is its way back."""
    desk.fail(desk.claim(), delay_s=None)
    desk.set("attempt_count = 5, updated_at = now() - interval '1 year'")
    assert (due(desk.database), waiting(desk.database)) == ([], 0)
    assert requeue(desk, ids=["talk"]) == ["talk"]
    assert desk.claim().attempt == 1


def test_what_waits_is_counted_and_untouched(varied: Desk) -> None:
    """Through every kind of being due."""
    varied.becomes_due("later")
    varied.becomes_due("waits")
    before = varied.run("SELECT * FROM conversation_events ORDER BY id")
    assert waiting(varied.database) == 3
    assert varied.run("SELECT * FROM conversation_events ORDER BY id") == before
    assert len(due(varied.database)) == 3
    assert waiting(varied.database) == 0


def test_kept_bodies_are_read_in_pieces_and_dropped_whole(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in a row, one in parts."""
    monkeypatch.setattr("repository.rejects.SLICE_BYTES", 4)
    keep(desk.database, b"in one piece", "INVALID_MESSAGE: no JSON", "talk")
    keep_parts(desk.database, [b"too ", b"", b"large"], "MESSAGE_TOO_LARGE: 9 bytes", None)
    row, parts = kept(desk.database)
    assert list(slices(desk.database, row.sha256)) == [b"in o", b"ne p", b"iece"]
    assert b"".join(map(bytes, slices(desk.database, parts.sha256))) == b"too large"
    assert [drop(desk.database, each.sha256) for each in (row, parts, parts)] == [True, True, False]
    assert desk.run("SELECT count(*) AS n FROM rejected_parts") == [{"n": 0}]


@pytest.fixture
def aged(varied: Desk) -> Desk:
    """All of a year ago, deaths and refused bodies too."""
    varied.account(varied.claim("killer"), blamed=True)
    varied.events.skip(varied.claim("killer 2"))
    varied.lease_runs_out("killer")
    varied.run("UPDATE child_deaths SET died_at = now() - interval '1 year'")
    # as if its event had been deleted by another program
    varied.run(
        "INSERT INTO child_deaths SELECT 0, 1, 'x', 'x', 'x', true, now() - interval '1 year', 'x', 0, 0, 0"
    )
    varied.run(
        "INSERT INTO message_deaths (body_crc32, body_bytes, message_id, cause, blamed, died_at, host, slot, pid,"
        " rss_bytes) VALUES (1, 1, 'x', 'crashed', true, now() - interval '1 year', 'x', 0, 0, 0)"
    )
    keep(varied.database, b"refused", "INVALID_MESSAGE", None)
    keep_parts(varied.database, [b"too ", b"large"], "MESSAGE_TOO_LARGE", None)
    varied.run("UPDATE rejected_messages SET last_seen = now() - interval '1 year'")
    varied.run("UPDATE conversation_events SET updated_at = now() - interval '1 year'")
    return varied


def test_a_prune_takes_what_has_ended_and_leaves_the_rest(
    aged: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its count beforehand is what it does; the ledger stays, and the invariants hold."""
    monkeypatch.setattr(operations, "IDS_AT_ONCE", 2)
    monkeypatch.setattr(operations, "BATCH", 1)
    aged.complete(aged.claim("new"))
    findings = check(aged.database)
    would = operations.prune(aged.database, YEAR_S / 2, dry_run=True)
    assert (would.events, would.deaths, would.rejected) == (4, 2, 2)
    assert operations.prune(aged.database, YEAR_S / 2, dry_run=False) == would
    left = {row["conversation_id"] for row in aged.run("SELECT conversation_id FROM conversation_events")}
    assert left == {"later", "at work", "left", "waits", "killer", "new"}
    assert len(aged.ledger()) == 2
    for table, number in (("child_deaths", 1), ("message_deaths", 0), ("rejected_parts", 0)):
        assert aged.run(f"SELECT count(*) AS n FROM {table}") == [{"n": number}]
    assert check(aged.database) == findings
    assert operations.prune(aged.database, YEAR_S / 2, dry_run=False) == operations.Pruned()


def test_a_pruned_conversation_that_comes_again_is_known(aged: Desk) -> None:
    """By its message, and as a row that another program makes again: its change is in the score once."""
    operations.prune(aged.database, 0.0, dry_run=False)
    assert aged.refused("done").reason is Refusal.DONE
    aged.insert("done")
    score = aged.user()["friendship_score"]
    aged.complete(aged.claim("done"))
    assert aged.user()["friendship_score"] == score
    assert len(aged.ledger()) == 1
    assert [finding.name for finding in check(aged.database) if finding.name != "overdue"] == []


def test_an_empty_database_is_pruned_of_nothing(desk: Desk) -> None:
    """No serial number was ever given."""
    for dry_run in (True, False):
        assert operations.prune(desk.database, 0.0, dry_run=dry_run) == operations.Pruned()


def test_a_user_is_forgotten_everywhere_and_others_are_not(varied: Desk) -> None:
    """Rows, deaths, score, ledger; the invariants hold."""
    varied.account(varied.claim("killer"), blamed=True)
    varied.set("conversation_log_url = 's3://logs/1'", conversation="later")
    varied.complete(varied.claim("minh's", user_id="minh"))
    varied.run(
        "INSERT INTO message_deaths (body_crc32, body_bytes, message_id, cause, blamed, died_at, host, slot, pid,"
        " rss_bytes) SELECT 1, 1, id, 'crashed', true, now(), id, 0, 0, 0 FROM unnest('{done,other}'::text[]) AS id"
    )
    varied.set("conversation_log_url = ''", conversation="waits")
    assert operations.urls(varied.database, "lan") == ["s3://logs/1"]
    assert operations.urls(varied.database, "minh") == []
    forgotten = operations.forget(varied.database, "lan")
    assert forgotten == operations.Forgotten(
        events=7, deaths=2, ledger=1, friendship_status=1, urls=["s3://logs/1"]
    )
    for table in ("conversation_events", "friendship_status", "score_ledger"):
        assert varied.run(f"SELECT DISTINCT user_id FROM {table}") == [{"user_id": "minh"}]
    assert varied.run("SELECT count(*) AS n FROM child_deaths") == [{"n": 0}]
    assert varied.run("SELECT message_id FROM message_deaths") == [{"message_id": "other"}]
    assert check(varied.database) == []
    assert operations.forget(varied.database, "lan") == operations.Forgotten()


def test_a_forgotten_conversation_never_comes_back_by_its_message(varied: Desk) -> None:
    """Processed or not, pruned before or not; a new conversation of the same user begins at 0."""
    operations.prune(varied.database, 0.0, dry_run=False)
    operations.forget(varied.database, "lan")
    for conversation in ("done", "later", "waits", "at work"):
        refused = varied.refused(conversation)
        assert (refused.reason, refused.key, refused.settled) == (Refusal.DONE, None, True)
    assert operations.is_forgotten(varied.database, "done")
    assert not operations.is_forgotten(varied.database, "never")
    assert varied.complete(varied.claim("new")).score == 10.0
    assert [row["seq"] for row in varied.ledger()] == [1]
    assert check(varied.database) == []


def test_a_child_at_work_on_a_forgotten_conversation_changes_nothing(desk: Desk) -> None:
    """Whichever outcome it comes to."""
    ends: list[Callable[[Claimed], object]] = [
        desk.complete,
        desk.fail,
        desk.events.skip,
        desk.events.release,
        desk.events.restore,
    ]
    claims = [desk.claim(f"talk-{number}") for number in range(len(ends))]
    operations.forget(desk.database, "lan")
    for claim, end in zip(claims, ends, strict=True):
        with pytest.raises(Fenced):
            end(claim)
    for table in ("conversation_events", "friendship_status", "score_ledger"):
        assert desk.run(f"SELECT count(*) AS n FROM {table}") == [{"n": 0}]


def test_a_conversation_that_completes_meanwhile_is_forgotten_whole_or_not_at_all(
    desk: Desk, migrated_database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No event is left without its ledger row: what overtook the deletion makes it begin again."""
    desk.complete(desk.claim("old"))
    other = Database(migrated_database_url)
    meanwhile = Desk(other, Events(other, LEASE_S))
    calls = []

    def overtaken(connection: Connection, statement: Statement, values: Any = None) -> list[Row]:
        calls.append(statement.name)
        if statement.name == "forget_status" and calls.count("forget_status") == 1:
            meanwhile.complete(meanwhile.claim("new"))
        return rows(connection, statement, values)

    monkeypatch.setattr("repository.operations.rows", overtaken)
    forgotten = operations.forget(desk.database, "lan")
    other.close()
    assert calls.count("forget_events") == 2
    assert (forgotten.events, forgotten.ledger) == (2, 2)
    assert desk.ledger() == []
    assert check(desk.database) == []


def test_a_locked_row_is_waited_for(migrated_database_url: str, desk: Desk) -> None:
    """An operator means just this event: it is not passed over because a retry pass has it in hand."""
    desk.fail(desk.claim())
    with psycopg.connect(migrated_database_url) as other:
        other.execute("SELECT FROM conversation_events FOR UPDATE")
        hasty = Database(migrated_database_url, lock_timeout_s=0.05)
        with pytest.raises(Busy):
            next(operations.requeue(hasty, Selection(ids=["talk"])))
        hasty.close()
    assert requeue(desk, ids=["talk"]) == ["talk"]

"""A row is named by number, conversation and user: a restore brings numbers back, for others."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from repository.deaths import Mark, Past, record
from repository.errors import DatabaseAway, EventGone, LedgerClash
from repository.invariants import check
from repository.operations import files, forget
from repository.rows import Claimed, Refusal
from tests.contract.events_desk import Desk, death, request

WRITES: dict[str, Callable[[Desk, Claimed], Any]] = {
    "complete": lambda desk, claim: desk.complete(claim),
    "fail": lambda desk, claim: desk.fail(claim),
    "skip": lambda desk, claim: desk.events.skip(claim),
    "release": lambda desk, claim: desk.events.release(claim),
    "restore": lambda desk, claim: desk.events.restore(claim),
    "park": lambda desk, claim: desk.events.park(claim.key, b"words"),
    "keep_url": lambda desk, claim: desk.events.keep_url(claim.key, "s3://logs/new"),
    "stored_log": lambda desk, claim: desk.events.stored_log(claim.key, 2**26),
}


@pytest.mark.parametrize("write", WRITES)
@pytest.mark.parametrize("lost", ["the row", "conversation_id", "user_id"])
def test_a_write_to_a_row_that_is_gone_says_so(desk: Desk, write: str, lost: str) -> None:
    """And leaves alone what has its number: a row of another conversation, or another user's."""
    claim = desk.claim()
    if lost == "the row":
        desk.run("DELETE FROM conversation_events")
    else:
        desk.set(f"{lost} = 'other'")
    before = desk.run("SELECT * FROM conversation_events")
    with pytest.raises(EventGone):
        WRITES[write](desk, claim)
    assert desk.run("SELECT * FROM conversation_events") == before
    assert desk.ledger() == []


@pytest.mark.parametrize("write", ["complete", "fail", "skip", "release", "restore", "park"])
def test_a_write_that_a_trigger_swallows_is_held_and_not_taken_for_done(desk: Desk, write: str) -> None:
    """Row security and rules do the same: nothing is acknowledged, and nothing is in the score."""
    claim = desk.claim()
    desk.run(
        "CREATE FUNCTION swallow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END';"
        "CREATE TRIGGER swallow BEFORE UPDATE ON conversation_events FOR EACH ROW EXECUTE FUNCTION swallow()"
    )
    with pytest.raises(DatabaseAway, match="changes no row"):
        WRITES[write](desk, claim)
    desk.run("DROP TRIGGER swallow ON conversation_events")
    WRITES[write](desk, claim)


def test_a_holder_is_not_found_in_the_row_that_has_its_number(desk: Desk) -> None:
    """Neither by a look, nor by a takeover, nor by one whose reply was lost."""
    desk.claim()
    sighting = desk.contended()
    desk.set("conversation_id = 'other'")
    taker = request(redelivered=True)
    assert desk.events.sight(sighting.key) is None
    assert desk.events.take_over(sighting, taker, accounted=True) is None
    desk.set("claimed_by = %s", taker.claimed_by, conversation="other")
    assert desk.events.take_over(sighting, taker, accounted=True) is None


def test_two_users_change_each_their_own_score_under_one_number(desk: Desk) -> None:
    """The older tables were truncated with their sequence, the ledger was not."""
    desk.complete(desk.claim("lan-1", user_id="lan"), 10.0)
    desk.run("TRUNCATE conversation_events, friendship_status RESTART IDENTITY")
    claim = desk.claim("minh-1", user_id="minh")
    desk.complete(claim, 3.0)
    desk.complete(claim, 3.0)  # the reply to the first was lost
    assert [(entry["event_id"], entry["user_id"], entry["delta"]) for entry in desk.ledger()] == [
        (claim.event_id, "lan", 10.0),
        (claim.event_id, "minh", 3.0),
    ]
    assert desk.user("minh")["friendship_score"] == 3.0
    found = {finding.name: finding.severity for finding in check(desk.database)}
    assert found == {"number_used_again": "warning", "score_written_by_another": "warning"}


def test_a_change_that_is_another_user_s_is_no_outcome_of_this_event(desk: Desk) -> None:
    """The clash is named, by the write and by the invariants, and nobody gets a point."""
    desk.complete(desk.claim("talk", user_id="lan"), 10.0)
    desk.run("DELETE FROM conversation_events")
    desk.insert("talk", "minh")
    with pytest.raises(LedgerClash, match="another user"):
        desk.complete(desk.claim("talk", user_id="minh"), 3.0)
    assert [entry["user_id"] for entry in desk.ledger()] == ["lan"]
    assert "ledger_of_another_user" in {finding.name for finding in check(desk.database)}


def test_a_conversation_that_only_the_ledger_knows_is_not_another_user_s(desk: Desk) -> None:
    """Its message is refused as foreign, and so set aside, not acknowledged as done."""
    desk.complete(desk.claim("talk", user_id="lan"))
    desk.run("DELETE FROM conversation_events")
    assert desk.refused("talk", user_id="minh").reason is Refusal.FOREIGN_USER
    assert desk.refused("talk", user_id="lan").reason is Refusal.DONE


def test_deaths_of_a_number_s_earlier_conversation_blame_nobody(desk: Desk) -> None:
    """Nor do they show, nor count, nor keep the deaths of the new one from being written."""
    poison = desk.claim("poison")
    assert desk.account(poison, blamed=True) == 1
    desk.run("TRUNCATE conversation_events RESTART IDENTITY")
    healthy = desk.claim("healthy")
    assert (healthy.event_id, healthy.epoch) == (poison.event_id, poison.epoch)
    sighting = desk.contended("healthy")
    assert (sighting.accounted, sighting.blamed_deaths) == (False, 0)
    assert files(desk.database, ["healthy"])["healthy"].deaths == []
    assert record(desk.database, [replace(death(healthy, blamed=False))]) == 1
    assert desk.contended("healthy").accounted


def test_a_death_is_told_of_the_message_when_its_event_is_gone(desk: Desk) -> None:
    """Else a poison whose row goes away each time would kill for ever."""
    claim = desk.claim()
    desk.run("DELETE FROM conversation_events")
    told = death(claim, blamed=True)
    assert record(desk.database, [told]) == 1
    history = Past(desk.database).history(Mark(told.body_bytes, told.body_crc32, claim.conversation_id))
    assert (history.deaths, history.blamed) == (1, 1)


def test_scores_that_outlive_their_ledger_are_named(desk: Desk) -> None:
    """What comes again then is counted twice."""
    desk.complete(desk.claim("talk"), 10.0)
    desk.run("TRUNCATE conversation_events, score_ledger RESTART IDENTITY")
    assert {finding.name for finding in check(desk.database)} == {"ledger_lost"}
    desk.complete(desk.claim("talk"), 10.0)
    assert {finding.name for finding in check(desk.database)} == {"ledger_gap"}


def test_forgetting_a_user_leaves_the_one_who_has_the_same_number_alone(desk: Desk) -> None:
    """What the ledger says of the number's earlier conversation goes, and nothing else."""
    desk.complete(desk.claim("lan-1", user_id="lan"))
    desk.run("TRUNCATE conversation_events RESTART IDENTITY")
    claim = desk.claim("minh-1", user_id="minh")
    desk.complete(claim)
    forget(desk.database, "lan")
    assert [entry["user_id"] for entry in desk.ledger()] == ["minh"]
    assert desk.row("minh-1")["status"] == "PROCESSED"

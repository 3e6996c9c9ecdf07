"""Deaths before a claim: told of the body, since there is no event to tell of."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from repository.deaths import Account, History, Mark, Past, record
from repository.errors import ServerTrouble
from tests.contract.events_desk import Desk, death

MARK = Mark(body_bytes=3000, body_crc32=77, message_id="talk")
NOTHING = History(0, 0, None, explained=False)


def died(pid: int, *, cause: str = "crashed", blamed: bool = True, crc32: int = 77) -> Account:
    """Give the account of a child that had not claimed yet."""
    return Account(
        conversation_id="talk",
        event_id=0,
        epoch=0,
        claimed_by="",
        body_bytes=3000,
        body_crc32=crc32,
        claiming=False,
        cause=cause,
        blamed=blamed,
        died_at=datetime.now(UTC),
        host="here",
        slot=0,
        pid=pid,
        rss_bytes=1,
    )


def test_deaths_are_known_by_size_and_checksum(desk: Desk) -> None:
    """Another body of the same size is another message; the same body is the same, whatever its publisher calls it."""
    past = Past(desk.database)
    assert past.history(MARK) == NOTHING
    assert record(desk.database, [died(1), died(2, cause="deadline"), died(3, blamed=False)]) == 3
    assert past.history(MARK) == History(3, 2, "deadline", explained=False)
    assert past.history(replace(MARK, body_crc32=78)) == NOTHING
    assert past.history(replace(MARK, body_bytes=3001)) == NOTHING
    assert past.history(replace(MARK, message_id=None)).blamed == 2


def test_a_death_while_the_body_arrived_counts_for_every_body_of_that_size_and_id(desk: Desk) -> None:
    """Nobody had seen its bytes."""
    record(desk.database, [died(1, crc32=0)])
    assert Past(desk.database).history(MARK) == History(1, 1, "crashed", explained=False)
    assert Past(desk.database).history(replace(MARK, message_id="another")) == NOTHING


def test_an_account_that_is_told_again_counts_once(desk: Desk) -> None:
    """A janitor that was killed is sent again with all that it had."""
    account = died(1)
    assert [record(desk.database, [account]) for _ in range(2)] == [1, 0]
    assert Past(desk.database).history(MARK).deaths == 1


def test_a_redelivery_is_explained_by_a_holder_that_got_to_the_event(desk: Desk) -> None:
    """While it holds the event, and for a moment after its account was written; an earlier claim says nothing."""
    past = Past(desk.database)
    claim = desk.claim("talk")
    explained = replace(NOTHING, explained=True)
    desk.run("UPDATE conversation_events SET updated_at = updated_at - interval '11 seconds'")
    assert past.history(MARK) == explained
    desk.complete(claim)
    assert past.history(MARK) == explained
    desk.run("UPDATE conversation_events SET updated_at = updated_at - interval '11 seconds'")
    assert past.history(MARK) == NOTHING
    desk.account(claim, blamed=False)
    assert past.history(MARK) == explained
    desk.run("UPDATE child_deaths SET recorded_at = recorded_at - interval '11 seconds'")
    assert past.history(MARK) == NOTHING


def test_a_claim_that_was_never_committed_leaves_a_death_of_the_body(desk: Desk) -> None:
    """Whoever dies while it claims has not got the event: the row cannot tell, the body can, and once."""
    lost = replace(desk.claim("other"), conversation_id="talk", claimed_by="nobody")
    account = death(lost, blamed=True, known=False, claiming=True)
    assert [record(desk.database, [account]) for _ in range(2)] == [1, 0]
    assert Past(desk.database).history(MARK).blamed == 1
    assert record(desk.database, [death(lost, blamed=True, known=False)]) == 0


def test_an_account_of_a_claim_is_no_death_of_the_body(desk: Desk) -> None:
    """It is told once, also when it is told again."""
    claim = desk.claim("talk")
    account = death(claim, blamed=True, known=False, claiming=True)
    assert [record(desk.database, [account]) for _ in range(2)] == [1, 0]
    assert Past(desk.database).history(MARK).deaths == 0


def test_forgiven_deaths_and_those_of_long_ago_count_no_more(desk: Desk) -> None:
    """Whoever sends the body again, to a program that was mended, starts anew."""
    past = Past(desk.database)
    record(desk.database, [died(1), replace(died(2), body_bytes=9)])
    past.forgive(MARK)
    assert past.history(MARK) == NOTHING
    assert past.history(replace(MARK, body_bytes=9)).deaths == 1
    desk.run("UPDATE message_deaths SET died_at = died_at - interval '25 hours'")
    assert past.history(replace(MARK, body_bytes=9)) == NOTHING


def test_an_account_that_the_database_refuses_holds_up_no_other(desk: Desk) -> None:
    """It would be refused for ever, and those behind it never be written."""
    assert record(desk.database, [replace(died(1), conversation_id="a\0b"), died(2)]) == 1
    assert Past(desk.database).history(MARK).deaths == 1


def test_an_account_that_a_foreign_check_refuses_holds_up_no_other_and_is_kept(desk: Desk) -> None:
    """The one behind it is written; it itself is written once that is mended."""
    desk.run("ALTER TABLE message_deaths ADD CONSTRAINT theirs CHECK (slot <> 7)")
    accounts = [replace(died(1), slot=7), died(2)]
    with pytest.raises(ServerTrouble, match="23514"):
        record(desk.database, accounts)
    assert Past(desk.database).history(MARK).deaths == 1
    desk.run("ALTER TABLE message_deaths DROP CONSTRAINT theirs")
    assert record(desk.database, accounts) == 1
    assert Past(desk.database).history(MARK).deaths == 2

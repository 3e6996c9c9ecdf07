"""How a claim ends otherwise, and what becomes of the log."""

from collections.abc import Callable

import pytest

from repository.errors import Fenced
from repository.rows import Claimed, EventKey, StoredLog
from tests.contract.events_desk import LARGE_OBJECT, Desk, request

LOG = '[{"speaker": "pika", "turn_id": 1, "text": "chào Lan \U0001f600, hôm nay em có vui không?"}]'


def test_a_failure_says_why_and_when_again(desk: Desk) -> None:
    """The code, the details and the time are on the row; the claim is not."""
    desk.fail(desk.claim(), code="MEMORY_API_ERROR", delay_s=7200.0)
    row = desk.row()
    assert (row["status"], row["error_code"], row["error_details"]) == ("FAILED", "MEMORY_API_ERROR", "why")
    assert 7100 < desk.seconds_until("next_attempt_at") <= 7200
    assert (row["attempt_count"], row["claimed_by"], row["lease_until"]) == (1, None, None)
    assert row["outcome_epoch"] == 1


def test_a_failure_can_always_be_written(desk: Desk) -> None:
    """Its text is cut and cleaned rather than being the reason that it cannot be stored."""
    claim = desk.claim()
    desk.events.fail(
        claim, code="UNEXPECTED_ERROR", details="a\0b\ud800" + "x" * 10_000, delay_s=0.0, parked=None
    )
    assert desk.row()["error_details"].startswith("ab?xx")
    assert len(desk.row()["error_details"]) == 2000


def test_a_failure_parks_the_log_of_its_message(desk: Desk) -> None:
    """In the same statement, so the message may be acknowledged."""
    claim = desk.claim(carries_log=True)
    desk.fail(claim, parked=b"parked")
    assert desk.events.stored_log(claim.key, 2**26) == StoredLog("parked", b"parked")


def test_a_log_that_is_in_the_row_is_not_parked_by_a_loser(desk: Desk) -> None:
    """The row keeps one already."""
    desk.insert(conversation_log=LOG)
    claim = desk.claim()
    desk.events.park(claim.key, b"parked")
    desk.fail(claim)
    assert desk.row()["parked_log"] is None
    assert desk.refused().log_durable


def test_the_holders_own_log_goes_before_the_rows(desk: Desk) -> None:
    """The holder has read its own; the row's may hold no usable item. A retry scores what the first try would have."""
    desk.insert(conversation_log=LOG)
    claim = desk.claim(carries_log=True)
    desk.fail(claim, parked=b"holder's")
    assert desk.events.stored_log(claim.key, 2**26) == StoredLog("parked", b"holder's")


def test_a_url_on_the_row_keeps_nothing(desk: Desk) -> None:
    """The object behind it may be missing, so the log that a message carries is parked all the same."""
    url = {"conversation_log_url": "s3://logs/talk"}
    desk.fail(desk.claim("failed", **url), parked=b"parked")
    assert desk.row("failed")["parked_log"] == b"parked"
    desk.claim("held", **url)
    refused = desk.refused("held", carries_log=True)
    assert refused.key is not None
    assert not refused.log_durable
    assert not desk.contended("held").log_durable
    desk.events.park(refused.key, b"parked")
    assert desk.row("held")["parked_log"] == b"parked"
    assert desk.refused("held").log_durable


def test_the_holders_own_log_replaces_a_parked_one_and_a_losers_does_not(desk: Desk) -> None:
    """The holder's is the one that was worked on; of those that only came by, the first stays."""
    claim = desk.claim(carries_log=True)
    desk.events.park(claim.key, b"first loser's")
    desk.events.park(claim.key, b"second loser's")
    assert desk.row()["parked_log"] == b"first loser's"
    desk.fail(claim, parked=b"holder's")
    assert desk.row()["parked_log"] == b"holder's"
    desk.events.park(claim.key, b"late loser's")
    assert desk.row()["parked_log"] == b"holder's"


def test_a_failure_without_a_log_leaves_the_parked_one(desk: Desk) -> None:
    """A message by id alone read it, and the next one has to."""
    claim = desk.claim()
    desk.events.park(claim.key, b"parked")
    desk.fail(claim)
    assert desk.row()["parked_log"] == b"parked"


def test_a_skipped_event_is_final_and_holds_no_log(desk: Desk) -> None:
    """SKIPPED clears what was parked."""
    claim = desk.claim()
    desk.events.park(claim.key, b"parked")
    desk.events.skip(claim)
    row = desk.row()
    assert (row["status"], row["parked_log"], row["next_attempt_at"], row["error_code"]) == (
        "SKIPPED",
        None,
        None,
        None,
    )
    assert desk.ledger() == []


def test_a_release_gives_the_attempt_back_and_a_time(desk: Desk) -> None:
    """PENDING with a time, so that a message that never comes back is only a delay."""
    claim = desk.claim()
    desk.events.release(claim)
    row = desk.row()
    assert (row["status"], row["attempt_count"], row["claim_epoch"], row["claimed_by"]) == (
        "PENDING",
        0,
        1,
        None,
    )
    assert 540 < desk.seconds_until("next_attempt_at") <= 600
    again = desk.claim()
    assert (again.epoch, again.attempt, again.claims_since_outcome) == (2, 1, 2)


def test_a_release_waits_longer_the_oftener_the_event_was_published(desk: Desk) -> None:
    """Ten minutes, doubled each time, at most 640."""
    claim = desk.claim()
    desk.set("publish_count = 3")
    desk.events.release(claim)
    assert 4700 < desk.seconds_until("next_attempt_at") <= 4800
    claim = desk.claim()
    desk.set("publish_count = 60")
    desk.events.release(claim)
    assert 38_300 < desk.seconds_until("next_attempt_at") <= 38_400


@pytest.mark.parametrize("end", ["release", "restore"])
def test_what_is_given_back_keeps_the_log_that_was_parked(desk: Desk, end: str) -> None:
    """A loser left it, whose message is acknowledged: the holder's return must not cost it."""
    claim = desk.claim()
    desk.events.park(claim.key, b"parked")
    OUTCOMES[end](desk, claim)
    assert desk.claim().log_parked


def test_a_restore_puts_a_failure_back_as_it_was(desk: Desk) -> None:
    """Code, details, time and attempts are those before the claim."""
    desk.fail(desk.claim(), code="LOG_UNAVAILABLE", delay_s=3600.0)
    before = desk.row()
    desk.events.restore(desk.claim(carries_log=True))
    after = desk.row()
    same = (
        "status",
        "error_code",
        "error_details",
        "next_attempt_at",
        "attempt_count",
        "claimed_by",
        "lease_until",
    )
    assert [after[name] for name in same] == [before[name] for name in same]
    assert after["claim_epoch"] == after["outcome_epoch"] == 2


def test_a_restore_keeps_a_pending_row_pending_with_a_time(desk: Desk) -> None:
    """Also one that another program inserted without a time."""
    desk.insert(next_attempt_at=None)
    desk.events.restore(desk.claim())
    row = desk.row()
    assert (row["status"], row["attempt_count"], row["error_code"]) == ("PENDING", 0, None)
    assert desk.seconds_until("next_attempt_at") > 0


def test_a_restore_survives_a_takeover(desk: Desk) -> None:
    """What the first claim found is kept in the row, not in the holder."""
    desk.fail(desk.claim(), code="INVALID_MESSAGE", delay_s=None)
    desk.claim(carries_log=True)
    taken = desk.events.take_over(desk.contended(carries_log=True), request(), accounted=False)
    assert taken is not None
    desk.events.restore(taken)
    row = desk.row()
    assert (row["status"], row["error_code"], row["next_attempt_at"]) == ("FAILED", "INVALID_MESSAGE", None)


OUTCOMES: dict[str, Callable[[Desk, Claimed], object]] = {
    "complete": lambda desk, claim: desk.complete(claim),
    "fail": lambda desk, claim: desk.fail(claim, parked=b"zombie"),
    "skip": lambda desk, claim: desk.events.skip(claim),
    "release": lambda desk, claim: desk.events.release(claim),
    "restore": lambda desk, claim: desk.events.restore(claim),
}


@pytest.mark.parametrize("late", OUTCOMES)
@pytest.mark.parametrize("meanwhile", ["nothing", *OUTCOMES])
def test_a_zombie_changes_nothing(desk: Desk, late: str, meanwhile: str) -> None:
    """Whatever the new holder has done by then, each late write of the old one is fenced."""
    zombie = desk.claim()
    holder = desk.events.take_over(desk.contended(), request(), accounted=False)
    assert holder is not None
    if meanwhile != "nothing":
        OUTCOMES[meanwhile](desk, holder)
    before = (desk.row(), desk.ledger())
    with pytest.raises(Fenced):
        OUTCOMES[late](desk, zombie)
    assert (desk.row(), desk.ledger()) == before


def test_an_event_whose_row_is_gone_fences_its_holder(desk: Desk) -> None:
    """A user was forgotten while a conversation was being processed."""
    claim = desk.claim()
    desk.run("DELETE FROM conversation_events")
    for write in OUTCOMES.values():
        with pytest.raises(Fenced):
            write(desk, claim)


def test_a_loser_parks_its_log_with_the_living_holder(desk: Desk) -> None:
    """The holder goes on, and its success clears what was parked."""
    holder = desk.claim()
    refused = desk.refused(carries_log=True)
    assert refused.key is not None
    desk.events.park(refused.key, b"parked")
    assert desk.row()["parked_log"] == b"parked"
    desk.complete(holder)
    assert desk.row()["parked_log"] is None


@pytest.mark.parametrize("end", ["complete", "skip"])
def test_nothing_is_parked_on_a_settled_event(desk: Desk, end: str) -> None:
    """A child's words are not kept for nothing."""
    claim = desk.claim()
    OUTCOMES[end](desk, claim)
    desk.events.park(claim.key, b"parked")
    assert desk.row()["parked_log"] is None


def test_a_refusal_ends_only_a_pending_row_without_a_log(desk: Desk) -> None:
    """That row waited for just this message, and a later valid one may have it."""
    desk.insert()
    assert desk.events.refuse("talk", "INVALID_MESSAGE", "no JSON")
    row = desk.row()
    assert (row["status"], row["error_code"], row["next_attempt_at"]) == ("FAILED", "INVALID_MESSAGE", None)
    assert desk.claim(carries_log=True).attempt == 1


@pytest.mark.parametrize("state", ["log", "url", "parked", "claimed", "failed", "done", "unknown"])
def test_a_refusal_leaves_every_other_row_untouched(desk: Desk, state: str) -> None:
    """An unusable message says nothing about an event that has its log elsewhere, or is past waiting."""
    if state in {"log", "url", "parked"}:
        column = {"log": "conversation_log", "url": "conversation_log_url", "parked": "parked_log"}[state]
        desk.insert(**{column: LOG if state == "log" else "s3://logs/talk"})
    elif state != "unknown":
        claim = desk.claim()
        if state == "failed":
            desk.fail(claim)
        elif state == "done":
            desk.complete(claim)
    before = desk.run("SELECT * FROM conversation_events")
    assert not desk.events.refuse("talk", "INVALID_MESSAGE", "no JSON")
    assert desk.run("SELECT * FROM conversation_events") == before


def test_blamed_deaths_are_forgotten_with_an_outcome(desk: Desk) -> None:
    """They count since the last outcome only."""
    claim = desk.claim()
    desk.account(claim, blamed=True)
    desk.fail(claim, delay_s=0.0)
    desk.becomes_due()
    assert desk.claim().blamed_deaths == 0


def test_the_rows_log_comes_as_the_bytes_of_its_list(desk: Desk) -> None:
    """UTF-8 JSON, whatever the letters."""
    desk.insert(conversation_log=LOG)
    claim = desk.claim()
    desk.events.park(claim.key, b"never")
    stored = desk.events.stored_log(claim.key, 2**26)
    assert stored is not None
    assert stored.data is not None
    assert stored.kind == "row"
    assert "hôm nay em có vui không?".encode() in stored.data


@pytest.mark.parametrize(
    ("in_row", "parked", "expected"),
    [
        (None, None, None),
        ("null", None, None),
        ("{}", None, None),
        (LARGE_OBJECT, None, None),
        (LARGE_OBJECT, b"parked", StoredLog("parked", b"parked")),
        ("[]", None, StoredLog("row", b"[]")),
        ("[]", b"parked", StoredLog("parked", b"parked")),
        (None, b"parked", StoredLog("parked", b"parked")),
    ],
)
def test_an_empty_log_in_the_row_comes_after_a_parked_one(
    desk: Desk, in_row: str | None, parked: bytes | None, expected: StoredLog | None
) -> None:
    """Words that exist somewhere win; an empty list is a log only when there is nothing else."""
    desk.insert(conversation_log=in_row, parked_log=parked)
    assert desk.events.stored_log(EventKey(desk.row()["id"], "talk", "lan"), 2**26) == expected


@pytest.mark.parametrize(("kind", "size"), [("row", 5004), ("row", 20_000), ("parked", 5004)])
def test_a_log_beyond_the_limit_stays_in_the_database(desk: Desk, kind: str, size: int) -> None:
    """Another program's row may hold any size: what is not to be read is not fetched."""
    if kind == "row":
        desk.insert(conversation_log=f'["{"x" * (size - 4)}"]')
    else:
        desk.insert(parked_log=b"x" * size)
    key = EventKey(desk.row()["id"], "talk", "lan")
    kept = desk.events.stored_log(key, size)
    assert kept is not None
    assert kept.data is not None
    assert (kept.kind, len(kept.data)) == (kind, size)
    assert desk.events.stored_log(key, 4800) == StoredLog(kept.kind, None)


def test_a_large_log_goes_in_and_out_unchanged(desk: Desk) -> None:
    """Megabytes, parked, byte for byte."""
    claim = desk.claim()
    body = bytes(range(256)) * 20_000
    desk.events.park(claim.key, body)
    assert desk.events.stored_log(claim.key, 2**26) == StoredLog("parked", body)


def test_a_claim_that_only_settles_is_no_attempt(desk: Desk) -> None:
    """The two whose children died of the message count; the third only writes that down."""
    first = desk.claim()
    desk.account(first, blamed=True)
    second = desk.events.take_over(desk.contended(), request(), accounted=True)
    assert second is not None
    desk.account(second, blamed=True)
    third = desk.events.take_over(desk.contended(), request(), accounted=True)
    assert third is not None
    assert (third.attempt, third.blamed_deaths) == (3, 2)
    desk.events.fail(third, code="CHILD_CRASHED", details="why", delay_s=60.0, parked=None, settles=True)
    assert desk.row()["attempt_count"] == 2

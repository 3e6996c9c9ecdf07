"""A conversation changes its user's score exactly once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest

from repository.connection import Database
from repository.errors import BadData, Busy, DatabaseAway, Fenced
from repository.events import Events
from repository.rows import Claimed, UserStatus
from repository.topics import TopicGain
from tests.contract.conftest import DIRECT, LEASE_S
from tests.contract.events_desk import Desk, adding, request
from tests.fixtures.eventually import eventually
from tests.fixtures.proxy import Loss, Proxy

COMMIT = b"COMMIT\0"  # not the COMMITTED of an isolation level


@pytest.fixture
def proxy(migrated_database_url: str) -> Iterator[Proxy]:
    address = urlsplit(migrated_database_url)
    assert address.hostname is not None
    assert address.port is not None
    with Proxy(address.hostname, address.port) as proxy:
        yield proxy


@pytest.fixture
def far(migrated_database_url: str, proxy: Proxy) -> Iterator[Events]:
    """The same database, reached through the proxy."""
    address = urlsplit(migrated_database_url)
    database = Database(f"postgresql://{address.username}@127.0.0.1:{proxy.port}{address.path}")
    yield Events(database, LEASE_S)
    database.close()


def complete(events: Events, claim: Claimed, delta: float = 10.0) -> UserStatus:
    topic = TopicGain("movie", delta, 1)
    return events.complete(claim, delta=delta, details={"turns": 2}, advance=adding(delta), topic=topic)


def assert_counted_once(desk: Desk, delta: float = 10.0) -> None:
    assert desk.user()["friendship_score"] == delta
    assert [row["delta"] for row in desk.ledger()] == [delta]
    assert desk.row()["status"] == "PROCESSED"


def test_a_completed_event_shows_its_change_and_leaves_no_claim(desk: Desk) -> None:
    """Event, user and ledger agree, and nothing of the claim or of the parked log is left."""
    claim = desk.claim()
    desk.events.park(claim.key, b"parked")
    status = desk.complete(claim, 12.5)
    assert status == UserStatus(12.5, "PHASE1_STRANGER")
    row = desk.row()
    assert (row["status"], row["friendship_score_change"], row["new_friendship_level"]) == (
        "PROCESSED",
        12.5,
        "PHASE1_STRANGER",
    )
    assert row["score_calculation_details"] == {"turns": 2}
    assert row["processed_at"] is not None
    cleared = ("claimed_by", "lease_until", "parked_log", "error_code", "next_attempt_at")
    assert [row[name] for name in cleared] == [None] * len(cleared)
    assert row["outcome_epoch"] == row["claim_epoch"] == 1
    user = desk.user()
    assert (user["friendship_score"], user["ledger_seq"]) == (12.5, 1)
    assert user["last_interaction_date"] is not None
    (entry,) = desk.ledger()
    assert (entry["event_id"], entry["conversation_id"], entry["seq"]) == (claim.event_id, "talk", 1)
    assert (entry["score_before"], entry["delta"], entry["score_after"], entry["claim_epoch"]) == (
        0,
        12.5,
        12.5,
        1,
    )


def test_a_second_conversation_adds_to_the_first(desk: Desk) -> None:
    """The step sees what is stored: score and level."""
    desk.complete(desk.claim("a"), 10.0)
    status = desk.events.complete(
        desk.claim("b"), delta=0.25, details={}, advance=adding(0.25, "PHASE3_FRIEND")
    )
    assert status == UserStatus(10.25, "PHASE3_FRIEND")
    assert [(row["seq"], row["score_before"], row["score_after"]) for row in desk.ledger()] == [
        (1, 0, 10),
        (2, 10, 10.25),
    ]


def test_a_change_of_nothing_is_counted_too(desk: Desk) -> None:
    """An empty conversation is PROCESSED, so it is in the ledger."""
    desk.complete(desk.claim(), 0.0)
    assert_counted_once(desk, 0.0)


def test_completing_again_gives_the_same_answer(desk: Desk) -> None:
    """Its own epoch is in the ledger: done, not fenced, not counted again."""
    claim = desk.claim()
    first = desk.complete(claim)
    assert desk.complete(claim) == first
    assert_counted_once(desk)


def test_a_zombie_cannot_complete(desk: Desk) -> None:
    """It was paused past its lease; the event is another's now."""
    zombie = desk.claim()
    desk.events.take_over(desk.contended(), request(), accounted=False)
    with pytest.raises(Fenced):
        desk.complete(zombie)
    assert desk.ledger() == []


def test_a_zombie_cannot_complete_after_the_new_holder_did(desk: Desk) -> None:
    """The ledger holds another epoch: fenced, and counted once."""
    zombie = desk.claim()
    holder = desk.events.take_over(desk.contended(), request(), accounted=False)
    assert holder is not None
    desk.complete(holder, 7.0)
    with pytest.raises(Fenced):
        desk.complete(zombie, 10.0)
    assert_counted_once(desk, 7.0)


@pytest.mark.parametrize("loss", [Loss.REPLY, Loss.REQUEST])
def test_a_commit_whose_fate_is_unknown_is_settled_by_its_repeat(
    desk: Desk, far: Events, proxy: Proxy, loss: Loss
) -> None:
    """The connection breaks around COMMIT, before or after the server has it: the score is added once."""
    claim = desk.claim()
    far.sight(claim.key)  # the connection is open, and works
    proxy.arm(COMMIT, loss)
    with pytest.raises(DatabaseAway):
        complete(far, claim)
    assert proxy.fired.wait(10)
    assert complete(far, claim).score == 10.0
    assert_counted_once(desk)


def test_a_repeat_waits_for_a_commit_that_is_still_on_its_way(
    migrated_database_url: str, desk: Desk, far: Events, proxy: Proxy
) -> None:
    """The old session holds the row until its COMMIT arrives late; the answer given then is final."""
    claim = desk.claim()
    far.sight(claim.key)  # the connection is open, and works
    proxy.arm(COMMIT, Loss.LATE)
    with pytest.raises(DatabaseAway):
        complete(far, claim)
    near = Database(
        migrated_database_url, "friendship-supervisor repeat", lock_timeout_s=60.0, statement_timeout_s=60.0
    )
    try:
        with ThreadPoolExecutor(1) as pool:
            repeat = pool.submit(complete, Events(near, LEASE_S), claim)
            eventually(
                lambda: desk.run(
                    "SELECT pid FROM pg_stat_activity WHERE application_name LIKE '%%repeat'"
                    " AND wait_event_type = 'Lock'"
                ),
                "the repeat waits for the first one's lock",
            )
            assert not repeat.done()
            proxy.deliver()
            assert repeat.result(60).score == 10.0
    finally:
        near.close()
    assert_counted_once(desk)


@pytest.mark.parametrize("statement", ["UPDATE conversation_events", "INSERT INTO conversation_events"])
@pytest.mark.parametrize("loss", [Loss.REPLY, Loss.REQUEST])
def test_a_claim_whose_reply_is_lost_is_the_same_claim_when_repeated(
    desk: Desk, far: Events, proxy: Proxy, statement: str, loss: Loss
) -> None:
    """The name is unique per delivery: epoch and attempt are counted once."""
    if statement.startswith("UPDATE"):
        desk.insert()
    far.claim(request("other"))
    mine = request()
    proxy.arm(statement.encode(), loss)
    with pytest.raises(DatabaseAway):
        far.claim(mine)
    claim = far.claim(mine)
    assert isinstance(claim, Claimed)
    assert (claim.epoch, claim.attempt) == (1, 1)


@DIRECT
@pytest.mark.parametrize("name", ["fail", "skip", "release", "restore"])
def test_an_outcome_whose_reply_is_lost_is_not_fenced_when_repeated(
    desk: Desk, far: Events, proxy: Proxy, name: str
) -> None:
    """Each write of a holder recognises what its earlier try did."""

    def write() -> None:
        if name == "fail":
            far.fail(claim, code="MEMORY_API_ERROR", details="why", delay_s=60.0, parked=b"parked")
        else:
            getattr(far, name)(claim)

    far.claim(request("other"))
    claim = desk.claim()
    proxy.arm(b"UPDATE conversation_events", Loss.REPLY)
    with pytest.raises(DatabaseAway):
        write()
    eventually(lambda: desk.row()["status"] != "PROCESSING", "the lost write is committed")
    before = desk.row()
    write()
    assert desk.row() == before


def test_nobody_takes_an_event_over_while_its_score_is_being_added(
    migrated_database_url: str, desk: Desk
) -> None:
    """The fence is held by a lock from the look at the epoch to the commit."""
    claim = desk.claim()
    sighting = desk.contended()
    other = Database(migrated_database_url, lock_timeout_s=0.05)

    def advance(before: UserStatus) -> UserStatus:
        with pytest.raises(Busy):
            Events(other, LEASE_S).take_over(sighting, request(), accounted=False)
        return adding(10.0)(before)

    try:
        desk.events.complete(claim, delta=10.0, details={}, advance=advance)
    finally:
        other.close()
    assert_counted_once(desk)


def test_first_conversations_of_a_new_user_at_once_all_count(migrated_database_url: str, desk: Desk) -> None:
    """Eight sessions race to make the user's row: one row, an unbroken chain, the whole sum."""
    claims = [desk.claim(f"talk-{number}") for number in range(40)]

    def work(mine: list[Claimed]) -> None:
        database = Database(migrated_database_url, lock_timeout_s=30.0, statement_timeout_s=60.0)
        try:
            for claim in mine:
                complete(Events(database, LEASE_S), claim, 1.0)
        finally:
            database.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, [claims[number::8] for number in range(8)]))
    assert desk.user()["friendship_score"] == 40.0
    topic = desk.user()["topic_metrics"]["movie"]
    assert (topic["score"], topic["turns"]) == (40.0, 40)
    ledger = desk.ledger()
    assert [row["seq"] for row in ledger] == list(range(1, 41))
    assert [row["score_before"] for row in ledger] == [float(number) for number in range(40)]


def test_an_event_made_pending_by_hand_is_not_counted_again(desk: Desk) -> None:
    """The ledger knows it: the event becomes PROCESSED once more, with the change it had."""
    desk.complete(desk.claim(), 10.0)
    desk.set("status = 'PENDING', next_attempt_at = now(), friendship_score_change = NULL")
    assert desk.complete(desk.claim(), 99.0).score == 10.0
    assert_counted_once(desk)
    assert desk.row()["friendship_score_change"] == 10.0


def test_a_user_row_made_anew_does_not_stop_its_user(desk: Desk) -> None:
    """Somebody deleted the row: the ledger's own count goes on."""
    desk.complete(desk.claim("a"), 10.0)
    desk.run("DELETE FROM friendship_status")
    assert desk.complete(desk.claim("b"), 5.0).score == 5.0
    assert [row["seq"] for row in desk.ledger()] == [1, 2]
    assert desk.user()["ledger_seq"] == 2


def test_what_another_program_left_in_the_users_row_is_taken_as_it_is(desk: Desk) -> None:
    """A score and a level from before count on."""
    desk.run("INSERT INTO friendship_status (user_id, friendship_score) VALUES ('lan', 90.5)")
    assert desk.complete(desk.claim(), 10.0) == UserStatus(100.5, "PHASE1_STRANGER")


@pytest.mark.parametrize("delta", [float("nan"), float("inf")])
def test_a_change_that_is_no_number_is_refused(desk: Desk, delta: float) -> None:
    """NaN would stay in the score for ever."""
    claim = desk.claim()
    with pytest.raises(BadData):
        desk.complete(claim, delta)
    assert desk.row()["status"] == "PROCESSING"


def test_a_step_that_adds_something_else_than_the_change_is_refused(desk: Desk) -> None:
    """Score and ledger cannot part."""
    with pytest.raises(BadData):
        desk.events.complete(desk.claim(), delta=1.0, details={}, advance=adding(2.0))
    assert desk.run("SELECT * FROM friendship_status") == []


@pytest.mark.parametrize("details", [{"text": "a\0b"}, {"text": "\ud800"}, {1: "no text"}])
def test_a_breakdown_that_cannot_be_stored_is_the_events_fault(desk: Desk, details: dict[str, str]) -> None:
    """NUL and lone surrogates are refused as data, and all of the transaction with them."""
    claim = desk.claim()
    with pytest.raises(BadData):
        desk.events.complete(claim, delta=1.0, details=details, advance=adding(1.0))
    assert desk.ledger() == []
    desk.complete(claim)


def test_a_breakdown_that_spells_a_nul_is_kept(desk: Desk) -> None:
    """A backslash and five more characters are a text as any other."""
    desk.events.complete(desk.claim(), delta=1.0, details={"text": "a\\u0000"}, advance=adding(1.0))
    assert desk.row()["score_calculation_details"] == {"text": "a\\u0000"}


def test_an_error_in_the_step_leaves_nothing_behind(desk: Desk) -> None:
    """The transaction is rolled back, the locks are gone, and the claim stands."""

    def broken(_: UserStatus) -> UserStatus:
        raise ZeroDivisionError

    claim = desk.claim()
    with pytest.raises(ZeroDivisionError):
        desk.events.complete(claim, delta=1.0, details={}, advance=broken)
    desk.complete(claim)
    assert_counted_once(desk)

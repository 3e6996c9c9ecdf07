"""Who may have an event, and who is told why not."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from repository.connection import Database
from repository.errors import BadData
from repository.events import Events
from repository.rows import Claimed, ClaimRequest, Contended, Refusal, Refused
from tests.contract.conftest import LEASE_S
from tests.contract.events_desk import ACCOUNT_CAUSE, LARGE_OBJECT, Desk, request

LOG = '[{"speaker": "pika", "turn_id": 1, "text": "chào Lan"}]'


def test_an_unknown_conversation_gets_a_row_that_is_claimed_from_birth(desk: Desk) -> None:
    """The message's own knowledge is on the row, and the claim is the first of everything."""
    start = datetime(2025, 11, 3, 8, 0, tzinfo=UTC)
    claim = desk.claim(
        claimed_by="me",
        agent_tag="movie",
        bot_type="GAME",
        bot_id="b1",
        bot_name="Pika",
        conversation_log_url="s3://logs/talk",
        start_time=start,
    )
    assert (claim.epoch, claim.attempt, claim.claims_since_outcome, claim.blamed_deaths) == (1, 1, 1, 0)
    assert (claim.bot_type, claim.agent_tag, claim.conversation_log_url) == (
        "GAME",
        "movie",
        "s3://logs/talk",
    )
    row = desk.row()
    assert (row["status"], row["claimed_by"], row["attempt_count"], row["bot_name"]) == (
        "PROCESSING",
        "me",
        1,
        "Pika",
    )
    assert row["start_time"] == start
    assert LEASE_S - 60 < desk.seconds_until("lease_until") <= LEASE_S


def test_a_long_name_is_no_reason_to_refuse_a_message(desk: Desk) -> None:
    """Ids have a limit; what a bot is called has none."""
    long = "x" * 3000
    desk.claim(bot_type=long, bot_id=long, bot_name=long, agent_tag=long)
    row = desk.row()
    assert [row[name] for name in ("bot_type", "bot_id", "bot_name", "agent_tag")] == [long] * 4


def test_a_row_of_another_program_is_claimed_and_keeps_what_it_says(desk: Desk) -> None:
    """A PENDING row with its own log, made with names of the contract only, is worked on; the message fills gaps."""
    desk.insert(conversation_log=LOG, bot_type="GAME")
    claim = desk.claim(bot_type="OTHER", agent_tag="movie")
    assert (claim.epoch, claim.log_in_row, claim.bot_type, claim.agent_tag) == (1, True, "GAME", "movie")


def test_every_column_but_two_is_insertable_by_default(desk: Desk) -> None:
    """A bare row waits for its message for six hours."""
    desk.insert()
    row = desk.row()
    assert (row["status"], row["attempt_count"], row["claim_epoch"]) == ("PENDING", 0, 0)
    assert 5.9 * 3600 < desk.seconds_until("next_attempt_at") <= 6 * 3600


@pytest.mark.parametrize("stored", [None, "null", "[]", "{}", LARGE_OBJECT, f'"{"x" * 5000}"'])
def test_a_row_without_a_list_that_says_something_has_no_log(desk: Desk, stored: str | None) -> None:
    """Neither an empty list nor anything else, of whatever size, must pass for the log that the message carries."""
    desk.insert(conversation_log=stored)
    claim = desk.claim(carries_log=True)
    assert not claim.log_in_row
    desk.fail(claim, parked=b"the message's")
    assert desk.row()["parked_log"] == b"the message's"


def test_a_claim_repeated_under_its_own_name_counts_once(desk: Desk) -> None:
    """The reply to the first try was lost: same epoch, same attempt."""
    first = desk.claim(claimed_by="me")
    assert desk.claim(claimed_by="me") == first
    assert desk.row()["attempt_count"] == 1


def test_a_finished_event_is_refused_as_done(desk: Desk) -> None:
    """PROCESSED and SKIPPED are final for every message."""
    desk.complete(desk.claim("talk"))
    desk.events.skip(desk.claim("dull"))
    assert desk.refused("talk").reason is Refusal.DONE
    assert desk.refused("dull", redelivered=True, carries_log=True).settled


def test_a_conversation_whose_row_was_pruned_is_done_as_long_as_the_ledger_knows_it(desk: Desk) -> None:
    """The ledger outlives the row, so that an old message cannot count twice."""
    desk.complete(desk.claim())
    desk.run("DELETE FROM conversation_events")
    assert desk.refused() == Refused(Refusal.DONE, None, log_durable=True, settled=True)
    assert desk.run("SELECT id FROM conversation_events") == []


def test_another_users_id_is_refused_in_every_state(desk: Desk) -> None:
    """The row of a known conversation is its user's, and stays untouched."""
    desk.insert()
    before = desk.row()
    assert desk.refused(user_id="minh").reason is Refusal.FOREIGN_USER
    assert desk.row() == before
    desk.complete(desk.claim())
    assert desk.refused(user_id="minh").settled


def test_a_live_claim_refuses_a_duplicate(desk: Desk) -> None:
    """Not redelivered, lease alive: somebody is at work."""
    desk.claim()
    refused = desk.refused()
    assert (refused.reason, refused.log_durable, refused.settled) == (Refusal.DUPLICATE, False, False)


def test_a_failed_event_is_early_until_its_time(desk: Desk) -> None:
    """The backoff binds every message, and its end frees the event."""
    desk.fail(desk.claim(), delay_s=3600.0)
    assert desk.refused(redelivered=True).reason is Refusal.EARLY
    desk.becomes_due()
    claim = desk.claim()
    assert (claim.epoch, claim.attempt, claim.claims_since_outcome) == (2, 2, 1)


def test_a_permanent_failure_is_early_for_ever(desk: Desk) -> None:
    """No next_attempt_at: never again by itself."""
    desk.fail(desk.claim(), delay_s=None)
    assert desk.row()["next_attempt_at"] is None
    assert desk.refused(carries_log=True).reason is Refusal.EARLY


@pytest.mark.parametrize("code", ["INVALID_MESSAGE", "MESSAGE_TOO_LARGE", "LOG_UNAVAILABLE"])
@pytest.mark.parametrize("brought", [{"carries_log": True}, {"conversation_log_url": "s3://logs/new"}])
def test_a_failure_for_want_of_a_log_is_cured_by_a_message_with_one(
    desk: Desk, code: str, brought: dict[str, Any]
) -> None:
    """Such an event is claimed at once, due or not, permanent or not; a message without a log cannot."""
    desk.fail(desk.claim(), code=code, delay_s=None)
    assert desk.refused().reason is Refusal.EARLY
    assert desk.claim(**brought).epoch == 2


def test_a_log_that_was_parked_meanwhile_cures_too(desk: Desk) -> None:
    """A message by id alone finds the log that another delivery left in the row."""
    claim = desk.claim()
    desk.fail(claim, code="LOG_UNAVAILABLE")
    desk.events.park(claim.key, b"parked")
    assert desk.claim().log_parked


@pytest.mark.parametrize("code", ["LOG_UNAVAILABLE", "INVALID_MESSAGE", "MEMORY_API_ERROR"])
def test_the_newest_messages_url_is_believed(desk: Desk, code: str) -> None:
    """The one before may be why it comes; a message without one leaves it."""
    claim = desk.claim(conversation_log_url="s3://logs/old")
    desk.fail(claim, code=code)
    desk.run("UPDATE conversation_events SET next_attempt_at = now()")
    assert desk.claim(conversation_log_url="s3://logs/new").conversation_log_url == "s3://logs/new"
    desk.claim("other", claimed_by="me", conversation_log_url="s3://logs/old")
    assert desk.claim("other", claimed_by="me").conversation_log_url == "s3://logs/old"


def test_a_url_is_kept_without_a_claim(desk: Desk) -> None:
    """Of a duplicate: the holder may find nothing where it looks. A settled event needs none."""
    claim = desk.claim()
    desk.events.keep_url(claim.key, "s3://logs/new")
    assert desk.row()["conversation_log_url"] == "s3://logs/new"
    desk.complete(claim)
    desk.events.keep_url(claim.key, "s3://logs/newer")
    assert desk.row()["conversation_log_url"] == "s3://logs/new"


@pytest.mark.parametrize("redelivered", [True, False])
def test_a_lease_that_ran_out_is_contended(desk: Desk, redelivered: bool) -> None:
    """After its lease a claim is anyone's, also for a message that was never delivered before."""
    first = desk.claim()
    desk.lease_runs_out()
    answer = desk.events.claim(request(redelivered=redelivered))
    assert isinstance(answer, Contended)
    assert (answer.sighting.epoch, answer.sighting.lease_live) == (first.epoch, False)


def test_a_claim_of_an_older_worker_is_live_for_half_an_hour(desk: Desk) -> None:
    """It leaves no lease and no owner: its last update counts."""
    desk.insert(status="PROCESSING", attempt_count=2)
    desk.set("updated_at = clock_timestamp() - interval '29 minutes'")
    assert desk.refused().reason is Refusal.DUPLICATE
    desk.set("updated_at = clock_timestamp() - interval '31 minutes'")
    answer = desk.events.claim(request())
    assert isinstance(answer, Contended)
    taken = desk.events.take_over(answer.sighting, request(), accounted=False)
    assert taken is not None
    assert (taken.epoch, taken.attempt) == (1, 2)


def test_a_takeover_without_an_account_gives_the_attempt_back(desk: Desk) -> None:
    """Nobody knows why the holder is gone, so the message is not charged; the takeover is remembered."""
    first = desk.claim()
    sighting = desk.contended()
    assert (sighting.accounted, sighting.unexplained_takeovers) == (False, 0)
    taken = desk.events.take_over(sighting, request(), accounted=False)
    assert taken is not None
    assert (taken.epoch, taken.attempt, taken.claims_since_outcome) == (first.epoch + 1, 1, 2)
    assert desk.row()["unexplained_takeovers"] == 1


def test_a_takeover_with_an_account_that_does_not_blame_gives_the_attempt_back(desk: Desk) -> None:
    """Recycled, or killed by a stranger: explained, and not the message's fault."""
    first = desk.claim()
    desk.set("unexplained_takeovers = 1")
    assert desk.account(first, blamed=False) == 1
    sighting = desk.contended()
    assert (sighting.accounted, sighting.blamed_deaths) == (True, 0)
    taken = desk.events.take_over(sighting, request(), accounted=sighting.accounted)
    assert taken is not None
    assert (taken.attempt, taken.blamed_deaths) == (1, 0)
    assert desk.row()["unexplained_takeovers"] == 0


def test_a_blamed_death_counts_as_an_attempt_and_as_a_death(desk: Desk) -> None:
    """The message killed its holder: the attempt stays counted, and the next holder knows the cause."""
    first = desk.claim()
    desk.account(first, blamed=True)
    sighting = desk.contended()
    assert (sighting.accounted, sighting.blamed_deaths, sighting.last_blame) == (True, 1, ACCOUNT_CAUSE)
    taken = desk.events.take_over(sighting, request(), accounted=True)
    assert taken is not None
    assert (taken.attempt, taken.blamed_deaths, taken.last_blame) == (2, 1, ACCOUNT_CAUSE)


def test_an_account_that_comes_between_the_look_and_the_takeover_counts(desk: Desk) -> None:
    """The takeover reads the accounts again: redelivery is quicker than the account."""
    first = desk.claim()
    sighting = desk.contended()
    desk.account(first, blamed=True)
    taken = desk.events.take_over(sighting, request(), accounted=False)
    assert taken is not None
    assert (taken.attempt, taken.blamed_deaths) == (2, 1)
    assert desk.row()["unexplained_takeovers"] == 0


def test_a_child_that_never_read_its_claim_is_accounted_by_its_name(desk: Desk) -> None:
    """The parent knows no epoch then; the row does, as long as the claim is the dead one's."""
    first = desk.claim()
    assert desk.account(first, blamed=True, known=False) == 1
    sighting = desk.contended()
    assert sighting.accounted
    desk.events.take_over(sighting, request(), accounted=True)
    other = desk.claim("other")
    desk.events.release(other)
    assert desk.account(other, blamed=True, known=False) == 0


def test_an_account_is_written_once_and_also_after_a_takeover(desk: Desk) -> None:
    """It is inserted, never fenced, and its repeat changes nothing."""
    first = desk.claim()
    desk.events.take_over(desk.contended(), request(), accounted=False)
    assert desk.account(first, blamed=True) == 1
    assert desk.account(first, blamed=False) == 0
    sighting = desk.contended()
    assert (sighting.accounted, sighting.blamed_deaths) == (False, 1)


def test_an_account_of_an_epoch_that_never_was_is_dropped(desk: Desk) -> None:
    """A verdict on a future claim would condemn whoever gets it."""
    first = desk.claim()
    fiction = Claimed(
        event_id=first.event_id,
        conversation_id="talk",
        user_id="lan",
        epoch=first.epoch + 1,
        attempt=1,
        claimed_by="nobody",
    )
    assert desk.account(fiction, blamed=True) == 0


def test_an_account_under_anothers_name_says_nothing_of_the_living_holder(desk: Desk) -> None:
    """A record torn at the moment of death must not condemn whoever holds the event, nor shut out its own account."""
    first = desk.claim()
    assert desk.account(replace(first, claimed_by="somebody else"), blamed=True) == 0
    sighting = desk.contended()
    assert (sighting.accounted, sighting.blamed_deaths) == (False, 0)
    assert desk.account(first, blamed=False) == 1


def test_only_one_of_two_takes_over(desk: Desk) -> None:
    """The takeover is fenced on the epoch that was seen."""
    desk.claim()
    sighting = desk.contended()
    assert desk.events.take_over(sighting, request(), accounted=False) is not None
    assert desk.events.take_over(sighting, request(), accounted=False) is None
    assert desk.row()["claim_epoch"] == 2


def test_a_takeover_repeated_under_its_own_name_counts_once(desk: Desk) -> None:
    """The reply to the first try was lost."""
    desk.claim()
    sighting = desk.contended()
    mine = request()
    first = desk.events.take_over(sighting, mine, accounted=False)
    assert desk.events.take_over(sighting, mine, accounted=False) == first
    assert desk.row()["unexplained_takeovers"] == 1


def test_a_look_at_a_row_that_is_gone_says_so(desk: Desk) -> None:
    """A forgotten user's event cannot be seen any more."""
    claim = desk.claim()
    desk.run("DELETE FROM conversation_events")
    assert desk.events.sight(claim.key) is None


def test_of_many_claims_at_once_one_wins(migrated_database_url: str, desk: Desk) -> None:
    """Eight sessions ask for a new conversation at the same time: one row, one claim, seven refusals."""
    databases = [Database(migrated_database_url) for _ in range(8)]
    try:
        for conversation in ("a", "b", "c", "d", "e"):
            with ThreadPoolExecutor(8) as pool:
                claim = [
                    pool.submit(Events(database, LEASE_S).claim, request(conversation))
                    for database in databases
                ]
                answers = [each.result() for each in claim]
            assert sum(isinstance(answer, Claimed) for answer in answers) == 1
            reasons = {answer.reason for answer in answers if isinstance(answer, Refused)}
            assert reasons == {Refusal.DUPLICATE}
            assert desk.row(conversation)["claim_epoch"] == 1
    finally:
        for database in databases:
            database.close()


@pytest.mark.parametrize(
    "bad",
    [
        ClaimRequest(conversation_id="a\0b", user_id="lan", claimed_by="me"),
        ClaimRequest(conversation_id="talk", user_id="\ud800", claimed_by="me"),
        ClaimRequest(conversation_id="x" * 256, user_id="lan", claimed_by="me"),
        ClaimRequest(conversation_id="talk", user_id="lan", claimed_by="me", agent_tag="\0"),
    ],
    ids=["nul", "surrogate", "long id", "nul in tag"],
)
def test_values_that_cannot_be_stored_are_the_events_fault(desk: Desk, bad: ClaimRequest) -> None:
    """They are told apart from an outage, and the connection stays usable."""
    with pytest.raises(BadData):
        desk.events.claim(bad)
    assert desk.claim("next").epoch == 1

"""Three actors interleave every write of the repository on a real PostgreSQL, against a model of a few lines.

Theory of operation. The machine plays what consumers, supervisors and retry passes do: each actor receives deliveries,
claims, and may then be paused for as long as it likes, so that any of its later writes may come from a zombie. Time is
moved by hand (a lease that runs out, a backoff that ends). The model says what every answer must be, and after each
step the whole database is compared with it:
1. every row is as the model says, so a fenced actor changed nothing, and the epoch rose only by claims;
2. a user's score is the sum of the ledger, and of the model; each event is in it at most once, and is PROCESSED if
   and only if it is;
3. no PENDING row is without a time;
4. where a message that carried a log was acknowledged, the row is settled or the log is durable;
5. the bill is that of the last outcome that brought one, with the heaviest child that had the message in hand for it;
6. the questions of `check --invariants` find nothing.
"""

from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    multiple,
    precondition,
    rule,
    run_state_machine_as_test,
)

from repository.connection import Database
from repository.deaths import Account, record
from repository.errors import Fenced
from repository.events import Events
from repository.invariants import check
from repository.retries import Due, due
from repository.rows import (
    Bill,
    Claimed,
    ClaimRequest,
    Contended,
    EventKey,
    Refusal,
    Refused,
    Sighting,
    UserStatus,
)
from tests.contract.events_desk import DEATH_RSS, HEAVY, LIGHT, Desk, adding, bill_of, death, request

USERS = [
    "lan",
    "lan",
    "minh",
]  # who talks in each place; a place's next conversation begins when one is settled
CURABLE = {"INVALID_MESSAGE", "MESSAGE_TOO_LARGE", "LOG_UNAVAILABLE"}
CODES = ["MEMORY_API_TIMEOUT", "LOG_UNAVAILABLE", "INVALID_MESSAGE"]
SETTLED = {"PROCESSED", "SKIPPED"}
ROW_LOG = '[{"speaker": "user", "turn_id": 1, "text": "in the row"}]'
# How many claims and deaths an event may have is the consumer's to decide, and this machine has none
CONSUMERS_OWN = {"claims_unbounded", "deaths_unbounded"}

actors = st.integers(min_value=0, max_value=2)
places = st.integers(min_value=0, max_value=len(USERS) - 1)
deltas = st.sampled_from([0.0, 0.5, 3.0, 17.25])
# Seconds until an event is due again: now, not now, never
delays = st.sampled_from([0.0, 3600.0, None])
bills = st.sampled_from([LIGHT, HEAVY, None])


@dataclass
class Event:
    """What the model knows of a row. `due`: its time has come; None: it has no time."""

    user: str
    status: str = "PENDING"
    epoch: int = 0
    outcome_epoch: int = 0
    attempt: int = 0
    owner: str | None = None
    lease_live: bool = True
    due: bool | None = False
    code: str | None = None
    in_row: bool = False
    url: bool = False
    parked: bytes | None = None
    unexplained: int = 0
    published: int = 0
    change: float | None = None
    deaths: dict[int, bool] = field(default_factory=dict)
    owners: dict[int, str] = field(default_factory=dict)
    acked_with_log: bool = False
    bill: Bill | None = None

    @property
    def durable(self) -> bool:
        return self.in_row or self.parked is not None

    @property
    def account(self) -> bool | None:
        """The verdict on the newest holder; None while there is none."""
        return self.deaths.get(self.epoch) if self.owner is not None else None

    @property
    def blamed(self) -> int:
        return sum(blamed for epoch, blamed in self.deaths.items() if epoch > self.outcome_epoch)

    def claimed(self, owner: str) -> None:
        self.status, self.owner, self.lease_live = "PROCESSING", owner, True
        self.epoch += 1
        self.owners[self.epoch] = owner

    def unclaimed(self, status: str) -> None:
        self.status, self.owner, self.lease_live = status, None, True

    def outcome(self, status: str, bill: Bill | None = None) -> None:
        if bill is not None:
            died = [DEATH_RSS for epoch in self.deaths if epoch > self.outcome_epoch]
            self.bill = replace(bill, peak_rss_bytes=max(bill.peak_rss_bytes, *died, 0))
        self.unclaimed(status)
        self.outcome_epoch, self.unexplained, self.published = self.epoch, 0, 0

    def park(self, log: bytes) -> None:
        """A loser leaves its log: the first stays."""
        if not self.durable:
            self.parked = log

    def park_own(self, log: bytes | None) -> None:
        """The holder ends its attempt: its own log replaces a loser's."""
        if log is not None:
            self.parked = log


@dataclass(frozen=True)
class Hand:
    """What an actor holds, or believes to hold."""

    actor: int
    claim: Claimed
    request: ClaimRequest

    @property
    def log(self) -> bytes | None:
        """What has to be parked before the message may be acknowledged."""
        return self.claim.claimed_by.encode() if self.request.carries_log else None


class EventMachine(RuleBasedStateMachine):
    """The actors, the clock and the model."""

    url = ""
    hands = Bundle("hands")
    requests = Bundle("requests")
    sightings = Bundle("sightings")

    def __init__(self) -> None:
        super().__init__()
        self.databases = [Database(self.url, f"friendship-supervisor actor {number}") for number in range(3)]
        self.actors = [Events(database, 3600.0) for database in self.databases]
        self.desk = Desk(self.databases[0], self.actors[0])
        self.desk.run("DELETE FROM conversation_events")
        self.desk.run("DELETE FROM friendship_status")
        self.desk.run("DELETE FROM score_ledger")
        self.desk.run("DELETE FROM child_deaths")
        self.model: dict[str, Event] = {}
        self.ledger: dict[str, float] = {}
        self.epochs: dict[str, int] = {}
        self.talks = [f"talk-{place}-0" for place in range(len(USERS))]

    def teardown(self) -> None:
        for database in self.databases:
            database.close()

    @initialize(with_log=st.booleans(), with_url=st.booleans())
    def another_program_inserts_a_row(self, with_log: bool, with_url: bool) -> None:
        """One of the conversations is known before its first message; the others come with theirs."""
        self.desk.insert(
            self.talks[0],
            conversation_log=ROW_LOG if with_log else None,
            conversation_log_url="s3://logs/talk" if with_url else None,
        )
        self.model[self.talks[0]] = Event(USERS[0], in_row=with_log, url=with_url)

    @initialize(target=requests, carries_log=st.lists(st.booleans(), min_size=3, max_size=3))
    def every_place_has_a_message(self, carries_log: list[bool]) -> Any:
        """So an actor has something to do from the first step, also where an example is without `publish`."""
        return multiple(*(self.message(place, carries, False) for place, carries in enumerate(carries_log)))

    def message(self, place: int, carries_log: bool, with_url: bool) -> ClaimRequest:
        return request(
            self.talks[place],
            user_id=USERS[place],
            carries_log=carries_log,
            conversation_log_url="s3://logs/message" if with_url else None,
        )

    # Deliveries

    @rule(
        target=requests,
        place=places,
        carries_log=st.booleans(),
        with_url=st.sampled_from([False, False, False, True]),
        duplicate=st.sampled_from([False, False, False, True]),
    )
    def publish(self, place: int, carries_log: bool, with_url: bool, duplicate: bool) -> ClaimRequest:
        """Publish a place's conversation, or (not a duplicate) its next one when that is settled."""
        if duplicate:
            return self.message(place, carries_log, with_url)
        return self.publish_next(place, carries_log, with_url)

    def publish_next(self, place: int, carries_log: bool, with_url: bool) -> ClaimRequest:
        name = self.talks[place]
        event = self.model.get(name)
        if event is not None and event.status in SETTLED:
            stem, _, number = name.rpartition("-")
            self.talks[place] = f"{stem}-{int(number) + 1}"
        return self.message(place, carries_log, with_url)

    @rule(
        target=hands,
        actor=actors,
        place=places,
        carries_log=st.booleans(),
        with_url=st.sampled_from([False, False, False, True]),
    )
    def deliver(self, actor: int, place: int, carries_log: bool, with_url: bool) -> Any:
        """Publish and deliver at once: what happens most."""
        return self.claims(actor, self.publish_next(place, carries_log, with_url))

    @rule(target=hands, actor=actors, delivery=requests, redelivered=st.booleans())
    def claim(self, actor: int, delivery: ClaimRequest, redelivered: bool) -> Any:
        """Deliver a message, perhaps once more: its name makes a repeat of the same claim harmless."""
        return self.claims(actor, replace(delivery, redelivered=redelivered))

    def claims(self, actor: int, delivery: ClaimRequest) -> Any:
        answer = self.actors[actor].claim(delivery)
        event = self.model.get(delivery.conversation_id)
        if event is None:
            event = self.model[delivery.conversation_id] = Event(delivery.user_id)
        if self.may_claim(event, delivery):
            repeated = event.status == "PROCESSING"
            if not repeated:
                event.attempt += 1
                event.code = event.code if event.status == "FAILED" else None
                event.claimed(delivery.claimed_by)
            event.lease_live = True
            event.url |= delivery.conversation_log_url is not None
            return self.got(actor, delivery, answer)
        if event.status == "PROCESSING" and (delivery.redelivered or not event.lease_live):
            assert isinstance(answer, Contended), answer
            self.assert_seen(answer.sighting, event)
            return multiple()
        reason = {"PROCESSED": Refusal.DONE, "SKIPPED": Refusal.DONE, "PROCESSING": Refusal.DUPLICATE}
        assert answer == Refused(
            reason.get(event.status, Refusal.EARLY),
            EventKey(self.desk.row(delivery.conversation_id)["id"], delivery.conversation_id, event.user),
            log_durable=event.durable,
            settled=event.status in SETTLED,
        )
        self.leave(actor, delivery, answer)
        return multiple()

    def may_claim(self, event: Event, delivery: ClaimRequest) -> bool:
        brings_log = delivery.carries_log or delivery.conversation_log_url is not None
        cured = event.code in CURABLE and (brings_log or event.in_row or event.parked is not None)
        return (
            event.status == "PENDING"
            or (event.status == "FAILED" and (event.due is True or cured))
            or (event.status == "PROCESSING" and event.owner == delivery.claimed_by)
        )

    def got(self, actor: int, delivery: ClaimRequest, answer: Any) -> Hand:
        event = self.model[delivery.conversation_id]
        assert isinstance(answer, Claimed), answer
        assert (answer.epoch, answer.attempt, answer.claimed_by) == (event.epoch, event.attempt, event.owner)
        assert (answer.log_in_row, answer.log_parked) == (event.in_row, event.parked is not None)
        assert answer.claims_since_outcome == event.epoch - event.outcome_epoch
        assert answer.blamed_deaths == event.blamed
        return Hand(actor, answer, delivery)

    def leave(self, actor: int, delivery: ClaimRequest, refused: Refused) -> None:
        """Acknowledge without an outcome, by the one ack rule."""
        event = self.model[delivery.conversation_id]
        if delivery.carries_log and not refused.settled:
            if not refused.log_durable:
                assert refused.key is not None
                self.park(actor, delivery.conversation_id, refused.key)
            event.acked_with_log = True

    def park(self, actor: int, conversation: str, key: EventKey) -> None:
        self.actors[actor].park(key, b"left")
        event = self.model[conversation]
        if event.status not in SETTLED:
            event.park(b"left")

    @rule(actor=actors, delivery=requests)
    def claim_for_another_user(self, actor: int, delivery: ClaimRequest) -> None:
        event = self.model.get(delivery.conversation_id)
        if event is None:
            return
        answer = self.actors[actor].claim(replace(delivery, user_id="a stranger"))
        assert isinstance(answer, Refused)
        assert (answer.reason, answer.settled) == (Refusal.FOREIGN_USER, event.status in SETTLED)

    # Takeovers

    @rule(target=sightings, actor=actors, place=places)
    def look(self, actor: int, place: int) -> Any:
        conversation = self.talks[place]
        event = self.model.get(conversation)
        if event is None or event.status != "PROCESSING":
            return multiple()
        sighting = self.actors[actor].sight(
            EventKey(self.desk.row(conversation)["id"], conversation, event.user)
        )
        assert sighting is not None
        self.assert_seen(sighting, event)
        return sighting

    def assert_seen(self, sighting: Sighting, event: Event) -> None:
        assert (sighting.status, sighting.epoch, sighting.claimed_by) == (
            event.status,
            event.epoch,
            event.owner,
        )
        assert (sighting.attempt, sighting.lease_live) == (event.attempt, event.lease_live)
        assert sighting.accounted == (event.account is not None)
        assert (sighting.blamed_deaths, sighting.unexplained_takeovers) == (event.blamed, event.unexplained)
        assert sighting.log_durable == event.durable

    @rule(target=hands, actor=actors, sighting=sightings, delivery=requests, looked=st.booleans())
    def take_over_later(self, actor: int, sighting: Sighting, delivery: ClaimRequest, looked: bool) -> Any:
        """Act on what was seen a while ago."""
        return self.take_over(actor, sighting, delivery, looked)

    def take_over(self, actor: int, sighting: Sighting, delivery: ClaimRequest, looked: bool) -> Any:
        """looked: the actor says what it saw of the account; else it saw none, and one may have come since."""
        conversation = sighting.conversation_id
        event = self.model[conversation]
        delivery = replace(delivery, conversation_id=conversation, user_id=event.user)
        answer = self.actors[actor].take_over(sighting, delivery, accounted=looked and sighting.accounted)
        if event.status == "PROCESSING" and event.owner == delivery.claimed_by:
            return self.got(actor, delivery, answer)
        if (event.status, event.epoch) != ("PROCESSING", sighting.epoch):
            assert answer is None
            return multiple()
        event.attempt = max(1, event.attempt + bool(event.account))
        event.unexplained = 0 if event.account is not None else event.unexplained + 1
        event.claimed(delivery.claimed_by)
        event.url |= delivery.conversation_log_url is not None
        return self.got(actor, delivery, answer)

    @rule(target=hands, actor=actors, hand=hands, looked=st.booleans())
    def lose(self, actor: int, hand: Hand, looked: bool) -> Any:
        """A holder's message is redelivered while it lives: another takes the event over, and it does not know."""
        event = self.model[hand.claim.conversation_id]
        if self.holds(hand) is None:
            return multiple()
        delivery = replace(hand.request, claimed_by=request().claimed_by, redelivered=True)
        answer = self.actors[actor].claim(delivery)
        assert isinstance(answer, Contended)
        self.assert_seen(answer.sighting, event)
        return self.take_over(actor, answer.sighting, delivery, looked)

    # What a holder writes; it keeps its hand, so that it may come again, late or because a reply was lost

    def holds(self, hand: Hand) -> Event | None:
        """Give the event when the claim is the newest still, else None."""
        event = self.model[hand.claim.conversation_id]
        mine = (event.status, event.epoch, event.owner) == (
            "PROCESSING",
            hand.claim.epoch,
            hand.claim.claimed_by,
        )
        return event if mine else None

    def fenced(self, hand: Hand) -> None:
        """Acknowledge as a loser: the message may carry the only log."""
        event = self.model[hand.claim.conversation_id]
        if hand.request.carries_log:
            self.park(hand.actor, hand.claim.conversation_id, hand.claim.key)
            event.acked_with_log = True

    @rule(hand=hands, delta=deltas, bill=bills)
    def complete(self, hand: Hand, delta: float, bill: Bill | None) -> None:
        conversation = hand.claim.conversation_id
        event, known = self.model[conversation], self.holds(hand)
        own = event.status == "PROCESSED" and event.outcome_epoch == hand.claim.epoch
        try:
            status = self.actors[hand.actor].complete(
                hand.claim, delta=delta, details={"change": delta}, advance=adding(delta), bill=bill
            )
        except Fenced:
            assert known is None
            assert not own
            self.fenced(hand)
            return
        assert isinstance(status, UserStatus)
        assert known is not None or own
        if known is not None:
            event.outcome("PROCESSED", bill)
            event.code, event.due, event.parked, event.change = None, None, None, delta
            assert conversation not in self.ledger
            self.ledger[conversation] = delta
            assert status.score == self.score(event.user)
        event.acked_with_log |= hand.request.carries_log

    @rule(hand=hands, code=st.sampled_from(CODES), delay_s=delays, bill=bills)
    def fail(self, hand: Hand, code: str, delay_s: float | None, bill: Bill | None) -> None:
        event, known = self.model[hand.claim.conversation_id], self.holds(hand)
        epoch = hand.claim.epoch
        alike = (event.status, event.epoch, event.outcome_epoch, event.code) == ("FAILED", epoch, epoch, code)
        try:
            self.actors[hand.actor].fail(
                hand.claim, code=code, details="why", delay_s=delay_s, parked=hand.log, bill=bill
            )
        except Fenced:
            assert known is None
            assert not alike
            self.fenced(hand)
            return
        assert known is not None or alike
        if known is not None:
            event.park_own(hand.log)
            event.outcome("FAILED", bill)
            event.code, event.due = code, due_after(delay_s)
        event.acked_with_log |= hand.request.carries_log and known is not None

    @rule(hand=hands, bill=bills)
    def skip(self, hand: Hand, bill: Bill | None) -> None:
        event, known = self.model[hand.claim.conversation_id], self.holds(hand)
        own = event.status == "SKIPPED" and event.outcome_epoch == hand.claim.epoch
        try:
            self.actors[hand.actor].skip(hand.claim, bill=bill)
        except Fenced:
            assert known is None
            assert not own
            self.fenced(hand)
            return
        assert known is not None or own
        if known is not None:
            event.outcome("SKIPPED", bill)
            event.code, event.due, event.parked = None, None, None

    @rule(hand=hands)
    def release(self, hand: Hand) -> None:
        """Give the event back, and the message with its log to the queue: nothing of it need be durable here."""
        event, known = self.model[hand.claim.conversation_id], self.holds(hand)
        try:
            self.actors[hand.actor].release(hand.claim)
        except Fenced:
            assert known is None
            assert (event.status, event.epoch) != ("PENDING", hand.claim.epoch)
            self.fenced(hand)
            return
        assert known is not None or (event.status, event.epoch) == ("PENDING", hand.claim.epoch)
        if known is not None:
            event.unclaimed("PENDING")
            event.attempt -= 1
            event.code, event.due = None, False

    @rule(hand=hands)
    def restore(self, hand: Hand) -> None:
        """Put the row back: the message goes elsewhere, so its log need not be durable here."""
        event, known = self.model[hand.claim.conversation_id], self.holds(hand)
        try:
            self.actors[hand.actor].restore(hand.claim)
        except Fenced:
            assert known is None
            self.fenced(hand)
            return
        if known is None:
            assert event.epoch == hand.claim.epoch
            assert event.status == "PENDING" or (event.status, event.outcome_epoch) == ("FAILED", event.epoch)
        elif event.code is None:
            event.unclaimed("PENDING")
            event.attempt -= 1
        else:
            event.unclaimed("FAILED")
            event.attempt -= 1
            event.outcome_epoch = event.epoch

    @rule(hand=consumes(hands))
    def vanish(self, hand: Hand) -> None:
        """The actor is gone without a word; its message is redelivered by another rule, or not."""

    # Without a claim

    @rule(actor=actors, place=places)
    def refuse(self, actor: int, place: int) -> None:
        conversation = self.talks[place]
        event = self.model.get(conversation)
        done = self.actors[actor].refuse(conversation, "INVALID_MESSAGE", "no JSON")
        if event is None or event.status != "PENDING" or event.durable or event.url:
            assert not done
            return
        assert done
        event.outcome("FAILED")
        event.code, event.due = "INVALID_MESSAGE", None

    @rule(actor=actors, hand=hands, blamed=st.booleans(), known=st.booleans())
    def account_of_the_dead(self, actor: int, hand: Hand, blamed: bool, known: bool) -> None:
        """A supervisor writes how a holder ended, soon or late, knowing its epoch or only its name."""
        claim = hand.claim
        event = self.model[claim.conversation_id]
        account: Account = death(claim, blamed=blamed, known=known)
        written = record(self.databases[actor], [account])
        # Its name tells most: a delivery may hold the event again, under a later epoch
        holds = event.owner == claim.claimed_by
        epoch = event.epoch if holds else claim.epoch
        assert written == ((holds or known) and epoch not in event.deaths)
        if written:
            event.deaths[epoch] = blamed

    @rule(actor=actors, limit=st.sampled_from([1, 10]))
    def retry(self, actor: int, limit: int) -> None:
        """Run a retry pass; its ids come back as deliveries, or are lost."""
        taken = due(self.databases[actor], limit)
        waiting = self.waiting()
        assert len(taken) == min(limit, len(waiting))
        assert set(taken) <= waiting
        for each in taken:
            event = self.model[each.conversation_id]
            if each.kind == "rescued":
                event.attempt = max(0, event.attempt - (event.account is not True))
            event.unclaimed("PENDING")
            event.code, event.due = None, False
            event.published += 1

    def waiting(self) -> set[Due]:
        kinds: dict[str, Any] = {"PENDING": "pending", "FAILED": "failed"}
        found = set()
        for conversation, event in self.model.items():
            if event.status == "PROCESSING" and not event.lease_live:
                found.add(Due(conversation, event.user, "rescued"))
            elif event.status in kinds and event.due:
                found.add(Due(conversation, event.user, kinds[event.status]))
        return found

    # The clock

    @precondition(lambda self: any(event.status == "PROCESSING" for event in self.model.values()))
    @rule(place=places)
    def lease_runs_out(self, place: int) -> None:
        conversation = self.talks[place]
        event = self.model.get(conversation)
        if event is not None and event.status == "PROCESSING":
            self.desk.lease_runs_out(conversation)
            event.lease_live = False

    @rule(place=places)
    def time_comes(self, place: int) -> None:
        conversation = self.talks[place]
        event = self.model.get(conversation)
        if event is not None and event.status in {"PENDING", "FAILED"} and event.due is not None:
            self.desk.becomes_due(conversation)
            event.due = True

    # What holds after every step

    def score(self, user: str) -> float:
        return sum(delta for talk, delta in self.ledger.items() if self.model[talk].user == user)

    @invariant()
    def every_row_is_as_the_model_says(self) -> None:
        rows = self.desk.run(
            "SELECT *, conversation_log IS NOT NULL AS in_row, next_attempt_at <= clock_timestamp() AS due"
            " FROM conversation_events"
        )
        assert {row["conversation_id"] for row in rows} == set(self.model)
        for row in rows:
            event = self.model[row["conversation_id"]]
            assert row["status"] == event.status
            assert (row["claim_epoch"], row["outcome_epoch"]) == (event.epoch, event.outcome_epoch)
            assert row["claim_epoch"] >= self.epochs.get(row["conversation_id"], 0)
            self.epochs[row["conversation_id"]] = row["claim_epoch"]
            assert (row["claimed_by"], row["lease_until"] is not None) == (
                event.owner,
                event.owner is not None,
            )
            assert (row["attempt_count"], row["publish_count"]) == (event.attempt, event.published)
            assert (row["error_code"], row["parked_log"]) == (event.code, event.parked)
            assert row["unexplained_takeovers"] == event.unexplained
            assert row["friendship_score_change"] == event.change
            assert bill_of(row) == event.bill
            assert (row["in_row"], row["conversation_log_url"] is not None) == (event.in_row, event.url)
            if event.status in {"PENDING", "FAILED"}:
                assert row["due"] == event.due
            assert event.status != "PENDING" or row["next_attempt_at"] is not None
            assert not event.acked_with_log or event.status in SETTLED or event.durable

    @invariant()
    def every_score_is_the_sum_of_what_was_applied(self) -> None:
        applied = {row["conversation_id"]: row["delta"] for row in self.desk.ledger()}
        assert applied == self.ledger
        scores = self.desk.run("SELECT user_id, friendship_score FROM friendship_status")
        for row in scores:
            assert row["friendship_score"] == self.score(row["user_id"])
        assert {row["user_id"] for row in scores} == {self.model[talk].user for talk in self.ledger}

    @invariant()
    def no_question_finds_anything(self) -> None:
        assert [finding for finding in check(self.databases[0]) if finding.name not in CONSUMERS_OWN] == []


def due_after(delay_s: float | None) -> bool | None:
    return None if delay_s is None else delay_s == 0


def play(url: str, examples: int, steps: int) -> None:
    machine = type("EventMachineOnThisDatabase", (EventMachine,), {"url": url})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=examples,
            stateful_step_count=steps,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )


def test_three_actors_never_count_twice_nor_lose_a_log(migrated_database_url: str) -> None:
    """Whatever the order of their steps, and however late each comes."""
    play(migrated_database_url, examples=150, steps=50)


@pytest.mark.slow
def test_three_actors_for_a_long_time(migrated_database_url: str) -> None:
    """The same, for longer: after a change of the statements."""
    play(migrated_database_url, examples=2000, steps=80)

"""The pipeline's promises where real servers would have to fail at just the right moment."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

import orjson
import pytest

from consumer import pipeline, reader
from consumer.analysis import Analysis, Result
from consumer.conversation import transcribe
from consumer.errors import LogUnavailable, NoRoom
from consumer.memory_api import MemoryApiTimeout
from consumer.outcome import Outcome
from consumer.pipeline import Pipeline
from consumer.ports import Delivery
from consumer.settings import BrokerSettings, ConsumerSettings, MemoryApiSettings
from repository.deaths import History, Mark
from repository.errors import BadData, DatabaseAway, EventGone, Fenced, Locked, RepositoryError
from repository.locks import Holder, Kind, Locks
from repository.rows import Claimed, Contended, Refusal, Refused, StoredLog
from repository.topics import TopicGain
from tests.fixtures.fakes import (
    SEEN,
    FakeAnalyst,
    FakeApi,
    FakeArchive,
    FakeClock,
    FakeLink,
    FakePast,
    FakeRuntime,
    FakeStore,
)

LOG = [{"speaker": "pika", "text": "hi"}, {"speaker": "user", "text": "hello"}]
BODY = orjson.dumps({"conversation_id": "c", "user_id": "u", "agent_tag": "movie", "conversation_log": LOG})
IDS = orjson.dumps({"conversation_id": "c", "user_id": "u"})
CLAIM = Claimed(event_id=7, conversation_id="c", user_id="u", epoch=1, attempt=1, claimed_by="me")


class Bench:
    """A pipeline with everything around it faked."""

    def __init__(self, analyst: FakeAnalyst | None = None, archive: FakeArchive | None = None) -> None:
        self.runtime = FakeRuntime()
        self.clock = FakeClock()
        self.link = FakeLink(self.clock)
        self.store = FakeStore()
        self.past = FakePast()
        self.api = FakeApi()
        self.rejects: list[bytes] = []
        self.reach_faults: list[Exception] = []
        self.locks = Locks(None, ())
        self.store.claims.append(CLAIM)
        settings = ConsumerSettings(BrokerSettings("", "q"), "", MemoryApiSettings(""))
        self.pipeline = Pipeline(
            runtime=self.runtime,
            link=self.link,
            store=self.store,
            past=self.past,
            keep_reject=lambda delivery, _reason: self.rejects.append(bytes(delivery.body)),
            reach=self.reach,
            locks=lambda _conversation, _user: self.locks,
            api=self.api,
            settings=settings,
            owner="host:1:0",
            rng=Random(1),
            clock=self.clock,
            archive=archive,
            analyst=analyst,
        )

    def reach(self) -> None:
        if self.reach_faults:
            raise self.reach_faults.pop(0)

    def handle(
        self, body: bytes = BODY, *, redelivered: bool = False, message_id: str | None = None
    ) -> Outcome:
        self.delivery = Delivery(1, redelivered, body, message_id)
        return self.pipeline.handle(self.delivery)

    def arguments(self, name: str) -> dict[str, Any]:
        return next(arguments for called, arguments in self.store.calls if called == name)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_locked_user_puts_the_message_off_with_its_log(bench: Bench) -> None:
    """Two lock timeouts are enough; the attempt is given back and is due within minutes."""
    bench.store.faults["complete"] = [Locked("locked")] * 5
    assert bench.handle() is Outcome.DEFERRED
    assert bench.store.names() == ["claim", "complete", "complete", "put_off"]
    told = bench.arguments("put_off")
    assert zlib.decompress(told["parked"]) == BODY
    assert 60 <= told["delay_s"] <= 120
    assert bench.link.sent_again == []


def test_a_message_whose_event_is_locked_goes_behind_the_others(bench: Bench) -> None:
    """Nothing can be written in its row: before the claim, or when the result is there."""
    bench.store.faults["claim"] = [Locked("locked")] * 5
    assert bench.handle() is Outcome.DEFERRED
    bench.store.faults = {"complete": [Locked("locked")] * 2, "put_off": [Locked("locked")] * 2}
    assert bench.handle() is Outcome.DEFERRED
    assert bench.link.sent_again == [BODY, BODY]


def test_a_message_that_cannot_be_sent_again_goes_back(bench: Bench) -> None:
    """It is not acknowledged: the broker still has it."""
    bench.store.faults["claim"] = [Locked("locked")] * 2
    bench.link.queue_away = True
    assert bench.handle() is Outcome.RETURNED


def test_a_locked_table_is_waited_for(bench: Bench) -> None:
    """Nobody could go on: each message would be put off."""
    bench.locks = Locks(Kind.TABLE, ())
    bench.store.faults["complete"] = [Locked("locked")] * 5
    assert bench.handle() is Outcome.PROCESSED
    assert bench.runtime.reports.count("waiting database") == 10


def test_a_stop_ends_the_wait_for_a_locked_row_before_the_claim(bench: Bench) -> None:
    """Nothing is begun yet, so nothing is left behind."""
    bench.store.faults["claim"] = [Locked("locked")] * 5
    bench.link.after_rest = lambda: setattr(bench.runtime, "stopping", True)
    assert bench.handle() is Outcome.RETURNED


def test_a_message_whose_row_goes_away_again_and_again_is_set_aside(bench: Bench) -> None:
    """Three calls at the most, each with a deadline of its own, and it is acknowledged only when its copy is kept."""
    bench.store.claims.extend([CLAIM, CLAIM])
    bench.store.faults["complete"] = [EventGone()] * 3
    assert bench.handle() is Outcome.DEAD_LETTERED
    assert [reason for _, reason in bench.link.dead] == ["UNEXPECTED_ERROR"]
    assert len(bench.api.bodies) == 3
    assert bench.runtime.reports.count("receiving") == 3


def test_a_conversation_is_claimed_called_and_completed(bench: Bench) -> None:
    """Half a point a turn and five a fact, in this order of phases."""
    assert bench.handle() is Outcome.PROCESSED
    assert bench.store.names() == ["claim", "complete"]
    assert bench.arguments("complete")["delta"] == 10.5
    assert bench.runtime.reports == [
        "received",
        "claiming",
        "claimed",
        "calling",
        "called answered",
        "writing",
    ]


@pytest.mark.parametrize(
    ("body", "kept", "topic"), [(BODY, "school", "movie"), (IDS, "school", "school"), (IDS, None, None)]
)
def test_a_conversation_counts_for_its_topic(
    bench: Bench, body: bytes, kept: str | None, topic: str | None
) -> None:
    """The message's before the row's, with the same change and turns as the score."""
    bench.store.claims[0] = replace(CLAIM, agent_tag=kept)
    bench.store.log = StoredLog("row", orjson.dumps(LOG))
    assert bench.handle(body) is Outcome.PROCESSED
    gain = None if topic is None else TopicGain(topic, 10.5, 1)
    assert bench.arguments("complete")["topic"] == gain


def test_a_database_that_goes_away_before_the_claim_is_waited_for(bench: Bench) -> None:
    """The delivery is held, nothing is marked, and the waits grow; the first look at the database comes at once."""
    bench.store.faults["claim"] = [DatabaseAway("down")] * 4
    assert bench.handle() is Outcome.PROCESSED
    # From the third on the tries are waiting, too: nobody knows how long each takes
    assert bench.runtime.reports.count("claiming") == 2
    assert len(bench.link.rests) == 3


def test_the_result_of_a_call_is_kept_while_the_database_is_away(bench: Bench) -> None:
    """One call, however often the write has to be tried, even after the broker took the delivery back."""
    bench.store.faults["complete"] = [DatabaseAway("down")] * 3
    bench.link.after_rest = lambda: setattr(bench.link, "broken", True)
    assert bench.handle() is Outcome.PROCESSED
    assert len(bench.api.bodies) == 1
    assert bench.store.names().count("complete") == 4


def test_a_stop_while_the_database_is_away_gives_the_delivery_back(bench: Bench) -> None:
    """Nothing was claimed, so nothing is left behind."""
    bench.store.faults["claim"] = [DatabaseAway("down")] * 100
    bench.link.after_rest = lambda: setattr(bench.runtime, "stopping", True)
    assert bench.handle() is Outcome.RETURNED


def test_a_stop_before_the_call_releases_the_claim(bench: Bench) -> None:
    """The attempt is given back, and the Memory API is not asked."""
    bench.runtime.stopping = True
    assert bench.handle() is Outcome.RETURNED
    assert bench.store.names() == ["claim", "release"]
    assert bench.api.bodies == []


def test_a_stop_during_the_call_lets_it_finish(bench: Bench) -> None:
    """What was paid for is written."""
    bench.api.during_call = lambda: setattr(bench.runtime, "stopping", True)
    assert bench.handle() is Outcome.PROCESSED


def test_a_result_is_held_on_to_through_a_stop_while_the_database_is_away(bench: Bench) -> None:
    """A minute of the Memory API is worth waiting for, as long as whoever asks for the stop lets it."""
    bench.api.during_call = lambda: setattr(bench.runtime, "stopping", True)
    bench.store.faults["complete"] = [DatabaseAway("down")] * 5
    assert bench.handle() is Outcome.PROCESSED
    assert len(bench.api.bodies) == 1


def test_a_failure_parks_the_log_in_the_same_write(bench: Bench) -> None:
    """The raw body, compressed, unless the log is durable elsewhere."""
    bench.api.answer = MemoryApiTimeout()
    assert bench.handle() is Outcome.FAILED
    written = bench.arguments("fail")
    assert written["code"] == "MEMORY_API_TIMEOUT"
    parked = written["parked"]
    assert isinstance(parked, bytes)
    assert zlib.decompress(parked) == BODY


def test_a_url_on_the_row_does_not_make_up_for_the_messages_own_log(bench: Bench) -> None:
    """The object behind it may be missing: the log in hand is kept."""
    bench.store.claims[0] = replace(CLAIM, conversation_log_url="s3://bucket/key")
    bench.api.answer = MemoryApiTimeout()
    assert bench.handle() is Outcome.FAILED
    assert bench.arguments("fail")["parked"] is not None


def test_the_holders_own_log_is_parked_over_a_losers(bench: Bench) -> None:
    """What was parked before was not read by anybody; this one was."""
    bench.store.claims[0] = replace(CLAIM, log_parked=True)
    bench.api.answer = MemoryApiTimeout()
    assert bench.handle() is Outcome.FAILED
    assert bench.arguments("fail")["parked"] is not None


def test_a_log_that_nobody_read_does_not_replace_a_parked_one(bench: Bench) -> None:
    """An event that is settled instead of processed keeps what it has."""
    bench.store.claims[0] = replace(CLAIM, log_parked=True, blamed_deaths=2, last_blame="crashed")
    assert bench.handle() is Outcome.FAILED
    assert bench.arguments("fail")["parked"] is None


def test_a_loser_with_an_unusable_log_parks_nothing(bench: Bench) -> None:
    """It would stand in the way of the log that the holder has."""
    bench.store.claims[0] = Refused(Refusal.DUPLICATE, CLAIM.key, log_durable=False, settled=False)
    body = orjson.dumps({"conversation_id": "c", "user_id": "u", "conversation_log": [5]})
    assert bench.handle(body) is Outcome.DEAD_LETTERED
    assert "park" not in bench.store.names()


def test_the_next_tries_of_the_database_do_not_count_against_the_message(bench: Bench) -> None:
    """Each is made while waiting; the phase returns when the database answers."""
    bench.store.faults["claim"] = [DatabaseAway("down")]
    bench.reach_faults = [DatabaseAway("down")] * 3
    assert bench.handle() is Outcome.PROCESSED
    at = bench.runtime.reports.index("claiming")
    assert bench.runtime.reports[at + 1 : at + 6] == ["waiting database"] * 4 + ["claiming"]


def test_an_outcome_that_cannot_be_written_sets_the_message_aside(bench: Bench) -> None:
    """A foreign check may refuse our error code: then a plainer write, then the dead queue; never a dead child."""
    bench.api.answer = MemoryApiTimeout()
    bench.store.faults["fail"] = [BadData("check constraint")]
    assert bench.handle() is Outcome.FAILED
    assert [call["code"] for name, call in bench.store.calls if name == "fail"][-1] == "UNEXPECTED_ERROR"


def test_an_outcome_that_can_never_be_written_sets_the_message_aside(bench: Bench) -> None:
    """The body is kept, and the child lives."""
    bench.api.answer = MemoryApiTimeout()
    bench.store.faults["fail"] = [RepositoryError("a trigger")] * 2
    assert bench.handle() is Outcome.DEAD_LETTERED
    assert bench.link.dead == [(BODY, "UNEXPECTED_ERROR")]


def test_a_holder_that_is_fenced_in_its_plainer_write_is_only_fenced(bench: Bench) -> None:
    """Another has the event by then: there is nothing to set aside."""
    bench.api.answer = MemoryApiTimeout()
    bench.store.faults["fail"] = [BadData("check constraint"), Fenced()]
    assert bench.handle() is Outcome.FENCED
    assert bench.link.dead == []


def test_a_claim_that_fails_unforeseen_sets_the_message_aside(bench: Bench) -> None:
    """Rather than killing child after child."""
    bench.store.faults["claim"] = [RepositoryError("a trigger")]
    assert bench.handle() is Outcome.DEAD_LETTERED
    assert bench.link.dead == [(BODY, "UNEXPECTED_ERROR")]


def test_a_redelivery_says_nothing_about_the_next_holder(bench: Bench) -> None:
    """Another copy took the event over meanwhile: this one is a duplicate of a living holder."""
    bench.store.claims[0] = Contended(SEEN)
    bench.store.claims.append(Refused(Refusal.DUPLICATE, CLAIM.key, log_durable=True, settled=False))
    bench.store.sightings.extend([SEEN, replace(SEEN, epoch=4)])
    assert bench.handle(redelivered=True) is Outcome.DUPLICATE
    last = [call["request"] for name, call in bench.store.calls if name == "claim"][-1]
    assert last.redelivered is False
    assert "take_over" not in bench.store.names()


def test_an_empty_list_in_the_row_is_an_empty_conversation(bench: Bench) -> None:
    """PROCESSED with change 0, without a call."""
    bench.store.log = StoredLog("row", b"[]")
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert bench.api.bodies == []


def test_a_row_with_a_log_does_not_make_up_for_the_messages_own(bench: Bench) -> None:
    """Nobody has read the row's: it may hold no usable item."""
    bench.store.claims[0] = replace(CLAIM, log_in_row=True)
    bench.api.answer = MemoryApiTimeout()
    assert bench.handle() is Outcome.FAILED
    assert bench.arguments("fail")["parked"] is not None


def test_a_fenced_holder_parks_the_log_and_writes_nothing_else(bench: Bench) -> None:
    """It may carry the only copy of the log."""
    bench.store.faults["complete"] = [Fenced()]
    assert bench.handle() is Outcome.FENCED
    assert bench.store.names() == ["claim", "complete", "park"]


@pytest.mark.parametrize(
    ("refused", "outcome", "parks"),
    [
        (Refused(Refusal.DONE, CLAIM.key, log_durable=False, settled=True), Outcome.DUPLICATE, False),
        (Refused(Refusal.DUPLICATE, CLAIM.key, log_durable=False, settled=False), Outcome.DUPLICATE, True),
        (Refused(Refusal.DUPLICATE, CLAIM.key, log_durable=True, settled=False), Outcome.DUPLICATE, False),
        (Refused(Refusal.EARLY, CLAIM.key, log_durable=False, settled=False), Outcome.EARLY, True),
    ],
)
def test_a_loser_is_acknowledged_only_with_its_log_kept(
    bench: Bench, refused: Refused, outcome: Outcome, parks: bool
) -> None:
    """The one ack rule for duplicates and early messages."""
    bench.store.claims[0] = refused
    assert bench.handle() is outcome
    assert ("park" in bench.store.names()) == parks


def test_the_account_of_the_dead_is_waited_for_before_a_takeover(bench: Bench) -> None:
    """It comes within a moment, and the takeover says that it is explained."""
    bench.store.claims[0] = Contended(SEEN)
    bench.store.sightings.extend([SEEN, SEEN, replace(SEEN, accounted=True)])
    bench.store.taken_over = replace(CLAIM, epoch=4)
    assert bench.handle(redelivered=True) is Outcome.PROCESSED
    assert bench.arguments("take_over")["accounted"] is True
    assert "holding" in bench.runtime.reports


def test_a_second_unexplained_takeover_holds_until_a_stop(bench: Bench) -> None:
    """Held without a claim, so a stop gives the delivery back as it is."""
    again = replace(SEEN, unexplained_takeovers=1)
    bench.store.claims[0] = Contended(again)
    bench.store.sightings.extend([again] * 60)

    def stop_after_a_while() -> None:
        bench.runtime.stopping = bench.clock.now > 1010

    bench.link.after_rest = stop_after_a_while
    assert bench.handle(redelivered=True) is Outcome.RETURNED
    assert "take_over" not in bench.store.names()


def test_an_event_that_killed_two_children_is_settled_instead_of_processed(bench: Bench) -> None:
    """The code names what killed them."""
    bench.store.claims[0] = replace(CLAIM, blamed_deaths=2, last_blame="deadline")
    assert bench.handle() is Outcome.FAILED
    assert bench.arguments("fail")["code"] == "DEADLINE_EXCEEDED"
    assert bench.arguments("fail")["settles"] is True
    assert bench.api.bodies == []


def test_unusable_items_put_the_row_back_before_the_message_is_set_aside(bench: Bench) -> None:
    """The claim was needed to read the items; the row must not show it."""
    body = orjson.dumps({"conversation_id": "c", "user_id": "u", "conversation_log": [5]})
    assert bench.handle(body) is Outcome.DEAD_LETTERED
    assert bench.store.names() == ["claim", "restore", "refuse"]
    assert bench.link.dead == [(body, "INVALID_MESSAGE")]


def test_a_message_goes_into_a_table_when_the_dead_queue_is_away(bench: Bench) -> None:
    """One bad message never blocks a child."""
    bench.link.dead_queue_away = True
    assert bench.handle(b"nonsense") is Outcome.DEAD_LETTERED
    assert bench.rejects == [b"nonsense"]


def test_values_that_the_database_cannot_hold_make_the_message_invalid(bench: Bench) -> None:
    """An older table may have shorter columns."""
    bench.store.faults["claim"] = [BadData("too long")]
    assert bench.handle() is Outcome.DEAD_LETTERED


def test_an_unexpected_error_fails_the_event_without_quoting_it(bench: Bench) -> None:
    """Its text may hold what a child said: the type and the place are enough."""
    bench.api.answer = RuntimeError("my secret name is Mai")
    assert bench.handle() is Outcome.FAILED
    written = bench.arguments("fail")
    assert written["code"] == "UNEXPECTED_ERROR"
    assert "RuntimeError at " in str(written["details"])
    assert "Mai" not in str(written["details"])


def test_a_parked_log_is_read_by_a_message_of_ids(bench: Bench) -> None:
    """What the retry pass publishes scores as the first message would have."""
    bench.store.claims[0] = replace(CLAIM, log_parked=True, attempt=2)
    bench.store.log = StoredLog("parked", zlib.compress(BODY))
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert bench.arguments("complete")["delta"] == 10.5


def test_a_stored_log_without_a_usable_item_ends_the_event(bench: Bench) -> None:
    """It would be unusable at every retry, and the message of ids is not to blame."""
    bench.store.claims[0] = replace(CLAIM, log_in_row=True)
    bench.store.log = StoredLog("row", b'[{"speaker": "cat", "text": "miau"}]')
    assert bench.handle(IDS) is Outcome.FAILED
    written = bench.arguments("fail")
    assert (written["code"], written["delay_s"]) == ("INVALID_MESSAGE", None)
    assert bench.link.dead == []


@pytest.mark.parametrize(
    "data", [b"junk", zlib.compress(b"junk"), zlib.compress(BODY)[:-5], zlib.compress(IDS)]
)
def test_a_parked_log_that_cannot_be_read_is_unavailable(bench: Bench, data: bytes) -> None:
    """Damage in storage fails the event with a code of its own."""
    bench.store.claims[0] = replace(CLAIM, log_parked=True)
    bench.store.log = StoredLog("parked", data)
    assert bench.handle(IDS) is Outcome.FAILED
    assert bench.arguments("fail")["code"] == "LOG_UNAVAILABLE"


def test_an_envelope_that_takes_all_memory_is_judged_by_a_fresh_child(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no claim that could count the deaths: a child that has grown leaves it, a fresh one sets it aside."""

    def too_much(_body: bytes) -> None:
        raise MemoryError

    monkeypatch.setattr(pipeline, "parse", too_much)
    bench.runtime.is_fresh = False
    with pytest.raises(NoRoom):
        bench.handle()
    bench.runtime.is_fresh = True
    assert bench.handle() is Outcome.DEAD_LETTERED
    assert [reason for _, reason in bench.link.dead] == ["MEMORY_BUDGET_EXCEEDED"]


def test_the_second_judge_of_a_heavy_message_is_a_fresh_child(bench: Bench) -> None:
    """One child died of its memory, which may have been its own: one that has grown gives the attempt back."""
    bench.store.claims[0] = replace(CLAIM, blamed_deaths=1, last_blame="rss_hard")
    bench.runtime.is_fresh = False
    with pytest.raises(NoRoom):
        bench.handle()
    assert [name for name, _ in bench.store.calls] == ["claim", "release"]


def test_out_of_memory_is_no_outcome_of_an_attempt(bench: Bench) -> None:
    """It passes through whatever it is raised as: the death of the child is what is judged."""
    for error in (MemoryError(), OSError(12, "Cannot allocate memory"), ValueError("Not enough memory")):
        bench.store.claims.append(CLAIM)
        bench.api.answer = error
        with pytest.raises(MemoryError):
            bench.handle()
    assert not any(name in {"fail", "complete"} for name, _ in bench.store.calls)


def test_a_message_that_two_children_died_of_unclaimed_is_never_opened(bench: Bench) -> None:
    """It is set aside by its size and checksum, under the cause; whoever sends it again starts anew."""
    bench.past.histories = [History(2, 2, "rss_hard", explained=False)]
    assert bench.handle(b"\x00deadly", redelivered=True, message_id="c") is Outcome.DEAD_LETTERED
    assert bench.link.dead == [(b"\x00deadly", "MEMORY_BUDGET_EXCEEDED")]
    assert bench.store.names() == ["refuse"]
    assert bench.past.forgiven == [Mark(7, zlib.crc32(b"\x00deadly"), "c")]


def test_a_redelivered_message_waits_for_the_account_of_its_last_holder(bench: Bench) -> None:
    """The broker is quicker than the supervisor: what it writes within a second counts."""
    bench.past.histories = [History(1, 1, "crashed", explained=False)] * 3 + [
        History(2, 2, "crashed", explained=False)
    ]
    assert bench.handle(redelivered=True) is Outcome.DEAD_LETTERED
    assert bench.runtime.reports[:3] == ["received", "holding", "holding"]
    assert bench.store.names() == []


def test_without_an_account_it_is_opened_after_a_second(bench: Bench) -> None:
    """Most redeliveries tell of a lost connection only."""
    bench.past.histories = [History(0, 0, None, explained=False)]
    started = bench.clock.now
    assert bench.handle(redelivered=True) is Outcome.PROCESSED
    assert 1.0 <= bench.clock.now - started < 1.5
    assert bench.runtime.reports.count("received") == 2


def test_a_message_whose_last_holder_got_to_its_event_is_opened_at_once(bench: Bench) -> None:
    """It did not kill who opened it."""
    bench.past.histories = [History(0, 0, None, explained=True)]
    started = bench.clock.now
    assert bench.handle(redelivered=True) is Outcome.PROCESSED
    assert bench.clock.now == started


def test_a_message_that_comes_for_the_first_time_is_not_asked_about(bench: Bench) -> None:
    """It costs no statement."""
    bench.past.histories = [History(2, 2, "crashed", explained=False)]
    assert bench.handle() is Outcome.PROCESSED


def test_a_doubt_that_cannot_be_asked_about_opens_the_message(bench: Bench) -> None:
    """Whatever the database has against the question, the message is not to blame."""
    bench.past.fault = BadData("a NUL")
    assert bench.handle(redelivered=True) is Outcome.PROCESSED


def test_a_message_that_somebody_died_of_is_forgiven_with_its_outcome(bench: Bench) -> None:
    """It can be opened, then: a death of tomorrow is not its second."""
    bench.past.histories = [History(1, 1, "crashed", explained=True)]
    assert bench.handle(redelivered=True) is Outcome.PROCESSED
    assert [mark.body_bytes for mark in bench.past.forgiven] == [len(BODY)]


def test_a_call_that_ends_in_an_unknown_error_counts_as_failed(bench: Bench) -> None:
    """A probe must not end without a word."""
    bench.api.answer = RuntimeError("unforeseen")
    assert bench.handle() is Outcome.FAILED
    assert "called failed" in bench.runtime.reports


URL = "s3://logs/c.json"
IN_S3 = replace(CLAIM, conversation_log_url=URL)
STORED = orjson.dumps(LOG)


def with_archive(answer: bytes | LogUnavailable) -> tuple[Bench, FakeArchive]:
    archive = FakeArchive(answer)
    bench = Bench(archive=archive)
    bench.store.claims[0] = IN_S3
    return bench, archive


def test_a_log_in_s3_comes_before_the_rows() -> None:
    """The row is not even asked; the fetch is a phase of its own, and over before the log is read."""
    bench, archive = with_archive(STORED)
    bench.store.log = StoredLog("row", b"[]")
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert archive.urls == [URL]
    assert bench.store.names() == ["claim", "complete"]
    assert bench.arguments("complete")["delta"] == 10.5
    assert bench.arguments("complete")["details"]["log_source"] == "s3"
    assert bench.runtime.reports[2:6] == ["claimed", "fetching", "fetched read", "calling"]


def test_the_message_comes_before_s3() -> None:
    """Nobody asks S3 for what is at hand."""
    bench, archive = with_archive(LogUnavailable("never asked"))
    assert bench.handle() is Outcome.PROCESSED
    assert archive.urls == []
    assert bench.arguments("complete")["details"]["log_source"] == "message"


def test_the_row_comes_after_s3() -> None:
    """A bucket that is away does not matter where the row has the log."""
    bench, _ = with_archive(LogUnavailable("the bucket is away"))
    bench.store.log = StoredLog("row", STORED)
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert bench.arguments("complete")["details"]["log_source"] == "row"
    assert "fetched failed" in bench.runtime.reports


def test_an_endless_url_in_the_row_is_never_asked_for() -> None:
    """Another program's row may hold one, of which the claim gives a beginning."""
    bench, archive = with_archive(STORED)
    bench.store.claims[0] = replace(CLAIM, conversation_log_url=URL.ljust(2049, "x"))
    assert bench.handle(IDS) is Outcome.FAILED
    assert archive.urls == []
    written = bench.arguments("fail")
    assert written["code"] == "LOG_UNAVAILABLE"
    assert "its URL has more than 2048 characters" in written["details"]


@pytest.mark.parametrize("in_use", [True, False])
def test_a_log_in_no_place_is_unavailable_for_the_reason_that_s3_gave(*, in_use: bool) -> None:
    """The person on call reads it in the row."""
    bench = with_archive(LogUnavailable("bucket logs: no such object"))[0] if in_use else Bench()
    bench.store.claims[0] = IN_S3
    assert bench.handle(IDS) is Outcome.FAILED
    failed = bench.arguments("fail")
    assert failed["code"] == "LOG_UNAVAILABLE"
    assert ("no such object" if in_use else "S3_ALLOWED_BUCKETS") in str(failed["details"])
    assert failed["delay_s"] is not None
    assert failed["parked"] is None


def test_a_stop_comes_before_a_fetch() -> None:
    """Thirty seconds that nobody has are not begun: the event goes back."""
    bench, archive = with_archive(STORED)
    bench.runtime.stopping = True
    assert bench.handle(IDS) is Outcome.RETURNED
    assert archive.urls == []
    assert bench.store.names() == ["claim", "release"]


def test_half_a_character_in_s3_is_mended_as_in_a_message() -> None:
    """The same conversation scores the same, wherever it was kept."""
    halved = rb'[{"speaker":"pika","text":"hi \ud83d"},{"speaker":"user","text":"hello"}]'
    bench, _ = with_archive(halved)
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert bench.arguments("complete")["delta"] == 10.5
    assert rb"hi \ufffd" in bench.api.bodies[0]


@pytest.mark.parametrize("junk", [b"no JSON", b'{"a": 1}', b"\xff", b"", STORED[:-5]])
def test_what_s3_has_that_is_no_log_may_be_replaced(junk: bytes) -> None:
    """An upload broken off, a page of a proxy: tried again later, and the reason names S3."""
    bench, _ = with_archive(junk)
    assert bench.handle(IDS) is Outcome.FAILED
    failed = bench.arguments("fail")
    assert failed["code"] == "LOG_UNAVAILABLE"
    assert "S3: what is there is no log" in failed["details"]
    assert "none in the row" in failed["details"]
    assert failed["delay_s"] is not None


def test_a_log_without_a_usable_item_stays_one() -> None:
    """It would be the same at each try."""
    bench, _ = with_archive(b"[1, 2]")
    assert bench.handle(IDS) is Outcome.FAILED
    assert bench.arguments("fail")["code"] == "INVALID_MESSAGE"
    assert bench.arguments("fail")["delay_s"] is None


@pytest.mark.parametrize("junk", [b"no JSON", b"[1, 2]", STORED[:-5]])
def test_a_row_makes_up_for_what_s3_has(junk: bytes) -> None:
    """The row's log was proved when it was parked: what is wrong elsewhere does not matter then."""
    bench, _ = with_archive(junk)
    bench.store.log = StoredLog("row", STORED)
    assert bench.handle(IDS) is Outcome.PROCESSED
    assert bench.arguments("complete")["details"]["log_source"] == "row"


def test_a_parked_message_that_cannot_be_read_does_not_hide_what_s3_said() -> None:
    """Both reasons are told."""
    bench, _ = with_archive(LogUnavailable("bucket logs: no such object"))
    bench.store.log = StoredLog("parked", b"broken")
    assert bench.handle(IDS) is Outcome.FAILED
    assert "no such object" in bench.arguments("fail")["details"]
    assert "parked message cannot be read" in bench.arguments("fail")["details"]


def test_a_fetch_that_breaks_otherwise_counts_as_failed() -> None:
    """Not as a log that was read."""
    bench, archive = with_archive(STORED)
    archive.fault = RuntimeError("a fault of ours")
    assert bench.handle(IDS) is Outcome.FAILED
    assert "fetched failed" in bench.runtime.reports


@pytest.mark.parametrize("refusal", [Refusal.DUPLICATE, Refusal.EARLY])
def test_the_url_of_a_message_that_is_left_is_kept(bench: Bench, refusal: Refusal) -> None:
    """The holder may find nothing where it looks, and this message is gone then."""
    bench.store.claims[0] = Refused(refusal, CLAIM.key, log_durable=False, settled=False)
    body = orjson.dumps({"conversation_id": "c", "user_id": "u", "conversation_log_url": URL})
    bench.handle(body)
    assert bench.arguments("keep_url") == {"url": URL}


def test_the_url_of_a_message_that_is_done_is_not() -> None:
    """Nobody will look for it."""
    bench = Bench()
    bench.store.claims[0] = Refused(Refusal.DONE, CLAIM.key, log_durable=False, settled=True)
    bench.handle(orjson.dumps({"conversation_id": "c", "user_id": "u", "conversation_log_url": URL}))
    assert bench.store.names() == ["claim"]


def test_an_analysis_adds_its_questions_and_mood() -> None:
    """3 points a question and 15 for an interesting session, said in the breakdown; it comes before the call."""
    analyst = FakeAnalyst(Analysis(Result.USED, questions=2, emotion="interesting"))
    bench = Bench(analyst)
    assert bench.handle() is Outcome.PROCESSED
    assert [told.said for told in analyst.asked] == [(("robot", "hi"), ("child", "hello"))]
    assert bench.arguments("complete")["delta"] == 10.5 + 2 * 3 + 15
    details = bench.arguments("complete")["details"]
    told = details["llm"], details["user_initiated_questions"], details["session_emotion"]
    assert told == ("used", 2, "interesting")
    assert bench.runtime.reports[2:5] == ["claimed", "analysing", "analysed used"]


def test_a_failed_analysis_leaves_the_defaults_and_says_so() -> None:
    """The event is scored without it."""
    bench = Bench(FakeAnalyst(Analysis(Result.TIMEOUT, reason="over 20 s")))
    assert bench.handle() is Outcome.PROCESSED
    details = bench.arguments("complete")["details"]
    assert bench.arguments("complete")["delta"] == 10.5
    assert (details["llm"], details["llm_reason"]) == ("timeout", "over 20 s")
    assert (details["user_initiated_questions"], details["session_emotion"]) == (0, "neutral")


def test_an_empty_conversation_is_not_analysed() -> None:
    """There is nothing to judge, and no call to make."""
    bench = Bench(analyst := FakeAnalyst(Analysis(Result.USED)))
    empty = orjson.dumps({"conversation_id": "c", "user_id": "u", "conversation_log": []})
    assert bench.handle(empty) is Outcome.PROCESSED
    assert analyst.asked == []
    assert bench.arguments("complete")["details"]["llm"] == "not_needed"


def test_a_conversation_of_which_nothing_may_be_shown_is_not_asked_about() -> None:
    """No call, and why is said."""
    bench = Bench(analyst := FakeAnalyst(Analysis(Result.USED), budget_chars=1))
    assert bench.handle() is Outcome.PROCESSED
    assert analyst.asked == []
    assert "LLM_LOG_CHARS" in bench.arguments("complete")["details"]["llm_reason"]


def test_a_stop_comes_before_an_analysis() -> None:
    """Twenty seconds that nobody has are not begun."""
    bench = Bench(analyst := FakeAnalyst(Analysis(Result.USED)))
    bench.runtime.stopping = True
    assert bench.handle() is Outcome.RETURNED
    assert analyst.asked == []


def test_what_is_shown_is_chosen_before_the_log_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each indexes the items: both indexes at once, of 60 MB of short ones, would be over the budget."""
    order: list[str] = []
    analyst = FakeAnalyst(Analysis(Result.USED))

    def noting(name: str, usual: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            order.append(name)
            return usual(*given)

        return noted

    monkeypatch.setattr(analyst, "excerpt", noting("excerpt", analyst.excerpt))
    monkeypatch.setattr(reader, "transcribe", noting("transcribe", transcribe))
    assert Bench(analyst).handle() is Outcome.PROCESSED
    assert order == ["excerpt", "transcribe"]


def test_a_child_slows_down_while_s3_is_away() -> None:
    """Else an outage of S3 turns the whole queue into failures; a log that is missing slows nobody down."""
    bench, archive = with_archive(LogUnavailable("bucket logs: connection refused", away=True))

    def ends(answer: LogUnavailable | bytes) -> float:
        archive.answer = answer
        bench.store.claims.append(IN_S3)
        bench.handle(IDS)
        return bench.pipeline.pause_s()

    bench.store.claims.clear()
    away, missing = archive.answer, LogUnavailable("bucket logs: no such object")
    assert [ends(away) for _ in range(3)] == [0.0] * 3
    assert ends(away) > 0.0
    assert bench.runtime.reports.count("fetched away") == 4
    assert ends(missing) == 0.0
    assert "fetched failed" in bench.runtime.reports
    assert [ends(away) for _ in range(3)] == [0.0] * 3
    bench.store.log = StoredLog("row", STORED)
    assert ends(away) == 0.0, "the row makes up for it"


def test_a_backlog_of_a_locked_user_costs_no_calls(bench: Bench) -> None:
    """Once a child knows, it looks before it calls, as long as another program keeps the row."""
    forgetful = Holder(7, "psql", "idle in transaction", 75.0)
    bench.store.claims.extend([CLAIM] * 3)
    bench.locks = Locks(Kind.ROW, (forgetful,))
    bench.store.faults["complete"] = [Locked("locked")] * 2
    assert bench.handle() is Outcome.DEFERRED
    bench.store.faults["try_user"] = [Locked("locked")] * 2
    assert bench.handle() is Outcome.DEFERRED
    assert len(bench.api.bodies) == 1
    bench.locks = Locks(Kind.ROW, (replace(forgetful, application="friendship-supervisor child 1"),))
    assert bench.handle() is Outcome.PROCESSED
    assert bench.handle() is Outcome.PROCESSED
    assert bench.store.names().count("try_user") == 3

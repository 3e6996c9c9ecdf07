"""One delivery: claim, log, call, score, complete.

Theory of operation. Every delivery ends in one Outcome, and the caller acknowledges it unless it is RETURNED. Before
that:
1. The event is claimed, in a transaction of its own, committed.
2. With no transaction open, the log is read, the LLM asked where that is wanted, and the Memory API called.
3. One transaction writes the score and the outcome, fenced by the claim's epoch.
The one ack rule: unless the row says PROCESSED or SKIPPED, a message that carries a log is acknowledged only when
the log is durable elsewhere, else it is parked in the row first. That holds for failures, duplicates and losers alike.
An event whose row is gone when its outcome is to be written is claimed anew from the message.
While the database is away the delivery is held, and no outcome is written because of it.
"""

import contextlib
import logging
import math
import time
import zlib
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Protocol
from uuid import uuid4

from consumer import scoring, sources, suspicion
from consumer.assessor import Analyst, Assessor
from consumer.claiming import ACCOUNT_POLL_S, Claiming
from consumer.conversation import Payload, Transcript, transcribe
from consumer.disposition import ErrorCode, Failure, retry_delay_s, verdict_on_claim
from consumer.errors import (
    BrokerAway,
    GiveBack,
    MalformedMessage,
    MessageTooHeavy,
    MessageTooLarge,
    NoRoom,
    PutOff,
    out_of_memory,
)
from consumer.failures import call_end, failure_of
from consumer.job import Job, claim_request
from consumer.message import Message, identify, parse
from consumer.outcome import Outcome
from consumer.pace import CallEnd, Pace
from consumer.patience import Patience
from consumer.ports import Delivery, Link, Past, Store
from consumer.reader import Reader
from consumer.runtime import Runtime
from consumer.settings import ConsumerSettings
from consumer.sources import Archive, Sources
from consumer.suspicion import Doubt
from repository.deaths import NO_HISTORY, History, Mark
from repository.errors import BadData, DatabaseAway, EventGone, Fenced, Locked, RepositoryError
from repository.locks import Locks
from repository.rows import Bill, Claimed, EventKey, Refusal, Refused, UserStatus
from repository.topics import TopicGain

log = logging.getLogger("friendship.pipeline")

IDENTIFYING_BYTES = 64 * 1024
PUT_OFF_S = 60.0, 120.0
"""When a message is tried again that another session is in the way of: a retry pass runs every 300 s besides."""
LOCKED_S = 120.0
"""For how long a locked user is looked at before the call."""
LOCKED_USERS_MAX = 100
ROWS_MAX = 3
"""Rows of its event that a message may lose while it is worked on: each costs a call."""
OF_MEMORY = {"rss_hard", "oom_killed"}


class Api(Protocol):
    """The Memory API: consumer.memory_api.MemoryApi."""

    def extract(self, user_id: str, conversation_id: str, payload: Payload) -> int:
        """Give the number of new facts."""
        ...


class Pipeline:
    """Deals with deliveries, one after the other. archive, analyst: None where S3 or the LLM is not in use."""

    def __init__(  # noqa: PLR0913 (the parts it ties together, and time and chance)
        self,
        *,
        runtime: Runtime,
        link: Link,
        store: Store,
        past: Past,
        keep_reject: Callable[[Delivery, str], None],
        reach: Callable[[], object],
        locks: Callable[[str, str], Locks],
        api: Api,
        settings: ConsumerSettings,
        owner: str,
        rng: Random,
        clock: Callable[[], float] = time.monotonic,
        archive: Archive | None = None,
        analyst: Analyst | None = None,
    ) -> None:
        self._runtime = runtime
        self._link = link
        self._store = store
        self._past = past
        self._keep_reject = keep_reject
        self._api = api
        self._settings = settings
        self._owner = owner
        self._patience = Patience(runtime, link, reach, locks, rng)
        self._claiming = Claiming(runtime, link, store, self._patience, clock)
        self._s3_pace = Pace()
        elsewhere = Sources(
            runtime=runtime,
            store=store,
            patience=self._patience,
            archive=archive,
            max_bytes=settings.max_message_bytes,
            pace=self._s3_pace,
            rng=rng,
            clock=clock,
        )
        self._reader = Reader(elsewhere, None if analyst is None else analyst.excerpt)
        self._assessor = Assessor(runtime, self._patience, analyst, clock)
        self._rng = rng
        self._clock = clock
        self._pace = Pace()
        self._locked_users: dict[str, float] = {}

    def pause_s(self) -> float:
        """Return how long to take no message now, since calls keep failing; asked for once, it is 0 again."""
        pause_s = max(self._pace.taken(), self._s3_pace.taken())
        return pause_s if self._settings.breaker else 0.0

    def handle(self, delivery: Delivery) -> Outcome:
        """Deal with one delivery. RETURNED: do not acknowledge, it goes back to the broker."""
        mark = Mark(delivery.size, zlib.crc32(delivery.body[:IDENTIFYING_BYTES]), delivery.message_id)
        self._runtime.received(mark.body_bytes, mark.body_crc32)
        try:
            history = self._past_of(mark) if delivery.redelivered and delivery.spool is None else NO_HISTORY
            deadly = verdict_on_claim(1, history.blamed, history.last_blame)
            outcome = self._handle(delivery, mark) if deadly is None else self._avoid(delivery, deadly)
        except GiveBack as given_back:
            log.info(
                "message_returned", extra={"reason": given_back.reason, "message_id": delivery.message_id}
            )
            return Outcome.RETURNED
        if history.deaths:
            # Whoever sends the body again starts anew
            with contextlib.suppress(RepositoryError):
                self._past.forgive(mark)
        return outcome

    def _past_of(self, mark: Mark) -> History:
        """Learn who died of this body before he could claim its event: two such deaths, and it is not opened."""
        try:
            return self._history(mark)
        except (RepositoryError, PutOff):
            # A doubt that cannot be asked about is none
            return NO_HISTORY
        finally:
            self._runtime.received(mark.body_bytes, mark.body_crc32)

    def _history(self, mark: Mark) -> History:
        """Give what is known of a body once that is enough to decide."""
        began, first = self._clock(), None
        while True:
            history = self._patience.hold(
                partial(self._runtime.holding, "what became of its last holder is looked up"),
                partial(self._past.history, mark),
            )
            first = history.deaths if first is None else first
            if suspicion.judge(history, first, self._clock() - began) is not Doubt.WAIT:
                return history
            self._link.rest(ACCOUNT_POLL_S)
            self._patience.give_back_if_over("waiting for the last holder's account")

    def _avoid(self, delivery: Delivery, deadly: Failure) -> Outcome:
        named = identify(b"", delivery.message_id)
        # A row that waits for just this message says what a later one may cure
        row_code = ErrorCode.INVALID_MESSAGE
        return self._dead_letter(delivery, named, deadly.code.value, deadly.details, row_code=row_code)

    def _handle(self, delivery: Delivery, mark: Mark) -> Outcome:
        """Work on the delivery; from the beginning when its event's row goes away, which a restore does to many."""
        # Unique per delivery: a claim under this name is mine, whatever became of the reply, or of the row's number
        claimed_by = f"{self._owner}:{uuid4().hex}"
        for _ in range(ROWS_MAX):
            with contextlib.suppress(EventGone):
                return self._open_and_work(delivery, claimed_by)
            # Its deadline starts again, too
            self._runtime.receiving(mark.body_bytes, delivery.message_id)
            self._runtime.received(mark.body_bytes, mark.body_crc32)
        named = identify(delivery.body, delivery.message_id)
        code = ErrorCode.UNEXPECTED_ERROR.value
        return self._dead_letter(delivery, named, code, f"{ROWS_MAX} rows of its event went away")

    def _open_and_work(self, delivery: Delivery, claimed_by: str) -> Outcome:
        started = self._clock()
        try:
            message = self._open(delivery)
        except MalformedMessage as malformed:
            code, reason = malformed.code, malformed.reason
        except MemoryError:
            # No claim yet, so that no death of this process would count: judged here, by a fresh one
            code, reason = MessageTooHeavy.code, "its envelope needs more memory than a child has"
            if not self._runtime.fresh():
                raise NoRoom(delivery.size) from None
        else:
            job = Job(delivery, message, claim_request(delivery, message, claimed_by), started)
            del message
            return self._work_or_put_off(job)
        return self._dead_letter(delivery, self._identify(delivery, code), code, reason)

    def _open(self, delivery: Delivery) -> Message:
        limit = self._settings.max_message_bytes
        if delivery.size > limit:
            raise MessageTooLarge(f"{delivery.size} bytes, over the limit of {limit}")
        if delivery.spool is not None:
            raise MessageTooHeavy(f"{delivery.size} bytes, more than a fresh child has room for")
        if delivery.content_encoded:
            raise MalformedMessage("content_encoding is set: bodies are never inflated")
        return parse(delivery.body)

    def _identify(self, delivery: Delivery, code: str) -> str | None:
        # A body over the limit is not even skimmed
        body = b"" if code == MessageTooLarge.code else delivery.body
        return identify(body, delivery.message_id)

    # Claiming

    def _work_or_put_off(self, job: Job) -> Outcome:
        """Put a message behind the others when not even its event's row can be written."""
        self._patience.about(job.request.conversation_id, job.request.user_id)
        try:
            return self._claim_and_work(job)
        except EventGone as gone:
            log.warning("event_gone", extra=self._fields(job) | {"reason": gone.reason})
            raise
        except PutOff as locked:
            reason = locked.reason
        self._runtime.writing()
        try:
            self._link.send_again(job.delivery)
        except BrokerAway as away:
            why = away.reason
        else:
            return self._deferred(job, reason, None)
        raise GiveBack(why)

    def _deferred(self, job: Job, reason: str, due_in_s: float | None) -> Outcome:
        """Tell of a message that is put off. due_in_s: None of one that waits at the end of the queue."""
        due = None if due_in_s is None else round(due_in_s)
        log.warning("message_put_off", extra=self._fields(job) | {"reason": reason, "retry_in_s": due})
        return Outcome.DEFERRED

    def _claim_and_work(self, job: Job) -> Outcome:
        try:
            claim = self._claiming.claim(job)
        except RepositoryError as error:
            code = ErrorCode.INVALID_MESSAGE if isinstance(error, BadData) else ErrorCode.UNEXPECTED_ERROR
            reason = error.reason
        else:
            return self._own(job, claim) if isinstance(claim, Claimed) else self._leave(job, claim)
        return self._reject(job, reason, code)

    def _leave(self, job: Job, refused: Refused) -> Outcome:
        """Do not work on an event that is done, another's, or not due; see that the log is kept."""
        match refused.reason:
            case Refusal.FOREIGN_USER:
                return self._reject(job, "another user's id on a known conversation")
            case Refusal.DONE | Refusal.DUPLICATE:
                outcome = Outcome.DUPLICATE
            case Refusal.EARLY:
                outcome = Outcome.EARLY
        if refused.key is not None and not refused.settled and job.request.conversation_log_url:
            keep = partial(self._store.keep_url, refused.key, job.request.conversation_log_url)
            self._patience.hold(self._runtime.writing, keep)
        if refused.key is not None and not refused.settled and not refused.log_durable:
            try:
                self._park_unread(job, refused.key)
            except MalformedMessage as malformed:
                reason = malformed.reason
            else:
                reason = ""
            if reason:
                return self._reject(job, reason)
        log.info("message_left", extra=self._fields(job) | {"outcome": outcome.value})
        return outcome

    def _park_unread(self, job: Job, event: EventKey) -> None:
        """Park a log that nobody has read: proved usable first, as it may be all that a retry will find."""
        if job.message.log is not None:
            transcribe(job.message.log, job.message.user_id, job.message.conversation_id)
            job.log_read()
            self._park(job, event)

    def _park(self, job: Job, event: EventKey) -> None:
        if job.request.carries_log:
            parked = sources.park(job.delivery.body)
            self._patience.hold(self._runtime.writing, partial(self._store.park, event, parked))

    # Owning

    def _own(self, job: Job, claim: Claimed) -> Outcome:
        self._runtime.claimed(claim.event_id, claim.epoch)
        try:
            return self._end_or_put_off(job, claim)
        except EventGone:
            raise
        except Fenced:
            pass
        # Somebody else owns the event by now, and this delivery may hold the only copy of the log
        self._park(job, claim.key)
        log.warning("message_fenced", extra=self._fields(job, claim))
        return Outcome.FENCED

    def _end_or_put_off(self, job: Job, claim: Claimed) -> Outcome:
        try:
            return self._end(job, claim)
        except PutOff as locked:
            reason = locked.reason
        delay_s = self._rng.uniform(*PUT_OFF_S)
        write = partial(self._store.put_off, claim, delay_s=delay_s, parked=self._to_park(job, claim))
        self._patience.hold(self._runtime.writing, write, keep=True)
        return self._deferred(job, reason, delay_s)

    def _end(self, job: Job, claim: Claimed) -> Outcome:
        """End a claim: by its outcome; refused by the database, by the plainest write; refused again, set aside."""
        try:
            return self._settle(job, claim)
        except Fenced:
            raise
        except RepositoryError as error:
            refused = error.reason
        try:
            return self._fail(job, claim, Failure(ErrorCode.UNEXPECTED_ERROR, refused, permanent=True))
        except Fenced:
            raise
        except RepositoryError as error:
            refused = error.reason
        return self._reject(job, refused, ErrorCode.UNEXPECTED_ERROR)

    def _settle(self, job: Job, claim: Claimed) -> Outcome:
        failure = verdict_on_claim(claim.claims_since_outcome, claim.blamed_deaths, claim.last_blame)
        if failure is not None:
            return self._fail(job, claim, failure, settles=True)
        if claim.last_blame in OF_MEMORY and not self._runtime.fresh():
            # It killed one child, perhaps because that had grown; the second judge must be a fresh one
            self._release(claim)
            raise NoRoom(job.delivery.size)
        starved = False
        try:
            return self._work(job, claim)
        except MalformedMessage as malformed:
            unusable = malformed.reason
        except GiveBack:
            self._release(claim)
            raise
        except (Fenced, PutOff):
            raise
        except Exception as error:  # noqa: BLE001 (anything else is UNEXPECTED_ERROR, says the contract)
            starved = out_of_memory(error)
            failure = failure_of(error)
        if starved:
            # The death of this process is the verdict: whoever claims the event next finds it accounted for
            raise MemoryError
        if failure is None:
            self._patience.hold(self._runtime.writing, partial(self._store.restore, claim))
            return self._reject(job, unusable)
        return self._fail(job, claim, failure)

    def _work(self, job: Job, claim: Claimed) -> Outcome:
        """Score the conversation."""
        if (job.message.bot_type or claim.bot_type) in self._settings.skip_bot_types:
            self._patience.hold(self._runtime.writing, partial(self._store.skip, claim, bill=self._bill(job)))
            log.info("message_skipped", extra=self._fields(job, claim))
            return Outcome.SKIPPED
        reading = self._reader.read(job, claim)
        transcript = reading.transcript
        analysis, details = self._assessor.assess(reading)
        if analysis.reason:
            fields = {"llm": analysis.result.value, "reason": analysis.reason}
            log.warning("analysis_failed", extra=self._fields(job, claim) | fields)
        facts, call_ms = 0, 0
        self._put_off_if_still_locked(claim.user_id)
        if transcript.messages:
            self._patience.give_back_if_over("stopping before the call")
            facts, call_ms = self._ask(claim, transcript.payload)
        seen = scoring.Observations(
            turns=transcript.turns,
            new_facts=facts,
            questions=analysis.questions,
            emotion=analysis.emotion,
        )
        counts = _counts(transcript) | {"log_source": reading.place, "memory_api_ms": call_ms}
        return self._complete(job, claim, seen, details | counts)

    def _put_off_if_still_locked(self, user_id: str) -> None:
        """Make no call whose result could not be written: a backlog of one user would take up all children."""
        if self._locked_users.pop(user_id, -math.inf) + LOCKED_S < self._clock():
            return
        is_locked = False
        try:
            self._store.try_user(user_id)
        except Locked:
            is_locked = True
        except DatabaseAway:
            pass
        if is_locked:
            self._remember_lock(user_id)
            self._patience.put_off_if_strange()

    def _remember_lock(self, user_id: str) -> None:
        if len(self._locked_users) >= LOCKED_USERS_MAX:
            self._locked_users.pop(next(iter(self._locked_users)))
        self._locked_users[user_id] = self._clock()

    def _ask(self, claim: Claimed, payload: Payload) -> tuple[int, int]:
        self._runtime.calling()
        started = self._clock()
        try:
            facts = self._api.extract(claim.user_id, claim.conversation_id, payload)
        except Exception as error:
            # Also what nobody foresaw: a call that is never said to be over would count as none
            self._called(call_end(error), started)
            raise
        finally:
            payload.drop()
        self._called("answered", started)
        return facts, round((self._clock() - started) * 1000)

    def _called(self, end: CallEnd, started: float) -> None:
        self._runtime.called(end)
        self._pace.called(end, self._clock() - started, self._rng)

    def _complete(
        self, job: Job, claim: Claimed, seen: scoring.Observations, more: dict[str, Any]
    ) -> Outcome:
        # No call, no points: an empty conversation changes nothing, whatever the formula gives
        result = scoring.score(seen, self._settings.scoring) if more["messages"] else scoring.NOTHING
        details = {
            "change": result.change,
            "points": dict(result.points),
            "turns": seen.turns,
            "new_facts": seen.new_facts,
            "user_initiated_questions": seen.questions,
            "session_emotion": seen.emotion,
        } | more
        advance: Callable[[UserStatus], UserStatus] = partial(
            scoring.advance,
            change=result.change,
            settings=self._settings.scoring,
        )
        topic = job.message.agent_tag or claim.agent_tag
        write = partial(
            self._store.complete,
            claim,
            delta=result.change,
            details=details,
            advance=advance,
            topic=TopicGain(topic, result.change, seen.turns) if topic else None,
            bill=self._bill(job),
        )
        try:
            status = self._patience.hold(self._runtime.writing, write, keep=True)
        except PutOff:
            self._remember_lock(claim.user_id)
            raise
        fields = {
            "change": result.change,
            "turns": seen.turns,
            "new_facts": seen.new_facts,
            "new_level": status.level,
            "llm": details["llm"],
        }
        log.info("message_processed", extra=self._fields(job, claim) | fields)
        return Outcome.PROCESSED

    def _fail(self, job: Job, claim: Claimed, failure: Failure, *, settles: bool = False) -> Outcome:
        """End the claim. settles: what counts are the attempts before it, whose children died."""
        attempt = max(1, claim.attempt - settles)
        delay_s = retry_delay_s(failure, attempt, self._settings.retry, self._rng)
        write = partial(
            self._store.fail,
            claim,
            code=failure.code.value,
            details=failure.details,
            delay_s=delay_s,
            parked=self._to_park(job, claim),
            settles=settles,
            bill=self._bill(job),
        )
        self._patience.hold(self._runtime.writing, write, keep=True)
        retry_in_s = None if delay_s is None else round(delay_s)
        fields = {"code": failure.code.value, "reason": failure.details, "retry_in_s": retry_in_s}
        log.warning("message_failed", extra=self._fields(job, claim) | fields)
        self._runtime.failing(failure.code.value)
        return Outcome.FAILED

    def _to_park(self, job: Job, claim: Claimed) -> bytes | None:
        """Give what of the message has to be kept in the row."""
        # A log that was read is better than a parked one that nobody did; one that was not may be worse
        better = job.log_is_usable or not claim.log_parked
        return sources.park(job.delivery.body) if job.request.carries_log and better else None

    def _release(self, claim: Claimed) -> None:
        """Give the attempt back. With the database away the lease, or the next holder, does it."""
        self._runtime.writing()
        try:
            self._store.release(claim)
        except (DatabaseAway, Fenced) as error:
            log.info(
                "release_left_to_lease",
                extra={"conversation_id": claim.conversation_id, "reason": str(error)},
            )

    # Refusing

    def _reject(self, job: Job, reason: str, code: ErrorCode = ErrorCode.INVALID_MESSAGE) -> Outcome:
        return self._dead_letter(job.delivery, job.request.conversation_id, code.value, reason)

    def _dead_letter(
        self,
        delivery: Delivery,
        conversation_id: str | None,
        code: str,
        reason: str,
        *,
        row_code: str | None = None,
    ) -> Outcome:
        """Set a message aside for good: its row if that waits for just this message, then a copy, then the ack.

        row_code: the row's, where it is not the copy's.
        """
        if conversation_id is not None:
            refuse = partial(self._store.refuse, conversation_id, row_code or code, reason)
            try:
                self._patience.hold(self._runtime.writing, refuse)
            except (RepositoryError, PutOff):
                conversation_id = None
        self._runtime.writing()
        try:
            self._link.dead_letter(delivery, code, reason)
        except BrokerAway as away:
            self._patience.hold(
                self._runtime.writing, partial(self._keep_reject, delivery, f"{code}: {reason}")
            )
            log.warning("dead_queue_unavailable", extra={"reason": away.reason})
        fields = {"code": code, "reason": reason, "body_bytes": delivery.size}
        log.warning("message_dead_lettered", extra=fields | {"conversation_id": conversation_id})
        self._runtime.failing(code)
        return Outcome.DEAD_LETTERED

    def _bill(self, job: Job) -> Bill:
        return Bill(
            body_bytes=job.body_bytes,
            peak_rss_bytes=self._runtime.peak_rss_bytes(),
            processing_ms=round((self._clock() - job.started) * 1000),
        )

    def _fields(self, job: Job, claim: Claimed | None = None) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "conversation_id": job.request.conversation_id,
            "ms": round((self._clock() - job.started) * 1000),
        }
        return fields if claim is None else fields | {"attempt": claim.attempt}


def _counts(transcript: Transcript) -> dict[str, Any]:
    return {
        "messages": transcript.messages,
        "empty_texts": transcript.empty,
        "unusable_items": transcript.unusable,
    }

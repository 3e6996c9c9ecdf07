"""The events' state machine.

Theory of operation. The row in conversation_events is the truth, a message only a hint.

    PENDING ──claim──> PROCESSING ──complete──> PROCESSED (and one row in score_ledger)
       ^ ^    ^            │ │ └────skip──────> SKIPPED
       │ │    └──release,──┤ └──────fail──────> FAILED ──claim when due, or when a log turns up──> PROCESSING
       │ └──lease ran out──┘                      │
       └────────────────retry pass, when due──────┘

1. `claim_epoch` is the fencing token. Every claim and takeover raises it, nothing lowers it, and every later write of
   a holder names it: a holder that was paused, or lost its message, changes nothing any more and learns it (Fenced).
2. `claimed_by` is unique per delivery. PROCESSING under my own name is my claim: the reply to an earlier try was lost.
3. The same holds for every write here: its repeat, after DatabaseAway, finds what the first try did and says so. The
   exception is an outcome that others have moved on from, which is Fenced.
4. Locks are taken in one order, the event's row before the user's, and no lock outlives a call.
5. A write that must find its row and does not is an error: Fenced where another holder has it, EventGone where the row
   is deleted or, after a restore, another conversation's. A row is named by number, conversation and user.
6. All times are the database's, clock_timestamp(); durations are seconds.
"""

import math
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from typing import Any

import orjson

from repository.connection import Connection, Database, Row, one, rows
from repository.errors import BadData, DatabaseAway, EventGone, Fenced, LedgerClash, ServerTrouble
from repository.failures import NOTHING, TEXTS
from repository.rows import (
    Bill,
    Claimed,
    ClaimRequest,
    Contended,
    EventKey,
    Refusal,
    Refused,
    Sighting,
    StoredLog,
    UserStatus,
)
from repository.statements import load
from repository.topics import Kept, TopicGain, grown, obstacle

SQL = load("events")

SETTLED = ("PROCESSED", "SKIPPED")
RACES = 20  # rounds of a claim that finds something else each time it looks
DETAILS_LIMIT = 2000  # characters of error_details
NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")  # an even number of backslashes before it spells backslashes
LONGEST_MS = 2**31 - 1  # what processing_ms, an integer, can hold: 24 days


class Events:
    """The events of one database, as a consumer changes them."""

    def __init__(self, database: Database, lease_s: float) -> None:
        """lease_s: after this a claim is anyone's."""
        self._database = database
        self._lease_s = lease_s

    # Getting an event

    def claim(self, request: ClaimRequest) -> Claimed | Refused | Contended:
        """Take the event of a delivery, made from the message where it is not known; committed at once.

        1. PENDING, FAILED and due, or FAILED for want of a log that is there now: claimed.
        2. PROCESSING under my own name: claimed, nothing counted twice.
        3. PROCESSING under another's, whose lease ran out or whose message was redelivered: contended.
        4. Anything else is refused, with the reason.
        """
        parameters = self._parameters(request)
        for _ in range(RACES):
            claimed = self._database.execute(SQL["claim"], parameters, blaming=TEXTS)
            if claimed:
                return claimed_from(claimed[0])
            seen = self._database.execute(SQL["classify"], parameters)
            if seen:
                answer = judge(sighting_from(seen[0]), request)
                if answer is not None:
                    return answer
                continue
            # Only now: an INSERT that meets a row would use up a serial number each time
            created = self._database.execute(SQL["create_claimed"], parameters, blaming=TEXTS)
            if created:
                return claimed_from(created[0])
            known = self._database.execute(SQL["known_before"], parameters)
            if known:
                owners = {row["user_id"] for row in known} - {None, request.user_id}
                reason = Refusal.FOREIGN_USER if owners else Refusal.DONE
                return Refused(reason, None, log_durable=True, settled=True)
        raise DatabaseAway("the event changed hands at every look")

    def sight(self, event: EventKey) -> Sighting | None:
        """Look at an event again; None when its row is gone."""
        seen = self._database.execute(SQL["sight"], asdict(event))
        return sighting_from(seen[0]) if seen else None

    def take_over(self, sighting: Sighting, request: ClaimRequest, *, accounted: bool) -> Claimed | None:
        """Claim over the holder that was seen; None when its epoch is over already: claim again.

        accounted: the holder's death is explained; else the takeover counts as unexplained.
        """
        parameters = self._parameters(request) | asdict(sighting.key)
        parameters |= {"epoch": sighting.epoch, "accounted": accounted}
        for name in ("take_over", "own"):
            taken = self._database.execute(SQL[name], parameters, blaming=TEXTS)
            if taken:
                return claimed_from(taken[0])
        return None

    # Ending a claim

    def complete(  # noqa: PLR0913 (what an outcome is made of, each with a name)
        self,
        claim: Claimed,
        *,
        delta: float,
        details: Mapping[str, Any],
        advance: Callable[[UserStatus], UserStatus],
        topic: TopicGain | None = None,
        bill: Bill | None = None,
    ) -> UserStatus:
        """Add the conversation to its user's score, exactly once, and return the user's new status.

        delta: the change, no unit. details: its breakdown, kept as JSON. advance: gives the status after the change
        from the one before; pure and quick, as the user's row is locked meanwhile, and called again in a retry.
        topic: what the conversation adds to one topic. One that cannot be added is left out, and the breakdown says
        why as `topic_left_out`. bill: written with the outcome, as in `fail`.

        A connection lost while committing raises DatabaseAway; called again, it gives the final answer.
        Raises Fenced when the claim is no longer the newest, EventGone when the row is gone, LedgerClash when the
        change is another user's already, BadData for values that cannot be stored.
        """
        if not math.isfinite(delta):
            raise BadData("the change of score is not a finite number")
        values = mine(claim) | charge(bill) | {"delta": delta, "details": json(details)}
        return self._database.run(
            lambda connection: add_to_score(connection, values, advance, topic),
            blaming=TEXTS,  # a first conversation makes its user's row
            parameters=values,
        )

    def fail(  # noqa: PLR0913 (an outcome is these, each with a name)
        self,
        claim: Claimed,
        *,
        code: str,
        details: str,
        delay_s: float | None,
        parked: bytes | None,
        settles: bool = False,
        bill: Bill | None = None,
    ) -> None:
        """End the attempt as FAILED, due again after `delay_s`, or (None) never by itself.

        parked: the compressed message, kept in place of an earlier one.
        settles: the claim was made only to write what became of earlier ones: it is no attempt.
        bill: written with the outcome; None leaves what an earlier one wrote. Of its own peak and that of the children
        that died with the message in hand since the last outcome, the highest is kept. Raises Fenced or EventGone, as
        all of these.
        """
        values = mine(claim) | charge(bill) | failure(code, details, delay_s)
        values |= {"parked": parked, "uncounted": int(settles)}
        self._end("fail", values, lambda fate: failed_alike(fate, claim.epoch, code))

    def skip(self, claim: Claimed, *, bill: Bill | None = None) -> None:
        """End the event as SKIPPED. bill: as in `fail`. Raises Fenced."""
        self._end(
            "skip",
            mine(claim) | charge(bill),
            lambda fate: fate["status"] == "SKIPPED" and fate["outcome_epoch"] == claim.epoch,
        )

    def release(self, claim: Claimed) -> None:
        """Give event and attempt back through no fault of the message. Raises Fenced.

        The row is PENDING and due in 10 minutes x 2^(times published since the last outcome), at most 640.
        """
        self._end("release", mine(claim), lambda fate: fate["status"] == "PENDING")

    def put_off(self, claim: Claimed, *, delay_s: float, parked: bytes | None) -> None:
        """Give event and attempt back as PENDING, due in `delay_s`; parked: as in `fail`. Raises Fenced."""
        values = mine(claim) | {"delay_s": delay_s, "parked": parked}
        self._end("put_off", values, lambda fate: fate["status"] == "PENDING")

    def restore(self, claim: Claimed) -> None:
        """Put the row back as the claim found it, the attempt given back. Raises Fenced."""
        self._end(
            "restore",
            mine(claim),
            lambda fate: (
                fate["status"] == "PENDING"
                or (fate["status"] == "FAILED" and fate["outcome_epoch"] == claim.epoch)
            ),
        )

    def _end(self, name: str, values: dict[str, Any], done: Callable[[Row], bool]) -> None:
        """Write as the holder. When nothing is found to write, an earlier try of the same write may have done it."""
        if self._database.execute(SQL[name], values):
            return
        fate = self._fate(values)
        if (fate["status"], fate["epoch"], fate["claimed_by"]) == (
            "PROCESSING",
            values["epoch"],
            values["claimed_by"],
        ):
            raise suppressed(name)
        if fate["epoch"] != values["epoch"] or not done(fate):
            raise Fenced

    def _fate(self, event: Mapping[str, Any]) -> Row:
        """Look at the row that a write did not find. Raises EventGone."""
        return found_row(self._database.execute(SQL["fate"], event))

    # Without a claim

    def try_user(self, user_id: str) -> None:
        """See whether the user's row could be written now. Raises Locked when another session keeps it locked."""
        self._database.execute(SQL["try_user"], {"user_id": user_id})

    def park(self, event: EventKey, parked: bytes) -> None:
        """Keep a compressed message in its event's row, unless that keeps a log already or the event is settled.

        Raises EventGone: the message must not be acknowledged for it.
        """
        self._keep("park", event, {"parked": parked})

    def keep_url(self, event: EventKey, url: str) -> None:
        """Keep where a conversation's log is said to be, by the newest message, unless the event is settled.

        Raises EventGone.
        """
        self._keep("keep_url", event, {"conversation_log_url": url}, blaming=TEXTS)

    def _keep(
        self, name: str, event: EventKey, values: dict[str, Any], blaming: frozenset[str] = NOTHING
    ) -> None:
        if not self._database.execute(SQL[name], asdict(event) | values, blaming=blaming):
            fate = self._fate(asdict(event))
            if name == "park" and not fate["log_durable"] and fate["status"] not in SETTLED:
                raise suppressed(name)

    def refuse(self, conversation_id: str, code: str, details: str) -> bool:
        """End a PENDING row that knows of no log as FAILED for good; leave any other row. Says whether it did."""
        values = failure(code, details, None) | {"conversation_id": conversation_id}
        return bool(self._database.execute(SQL["refuse"], values))

    def stored_log(self, event: EventKey, max_bytes: int) -> StoredLog | None:
        """Read the log kept in the event's row; None when there is none.

        max_bytes: of the largest that is read. Raises EventGone.
        """
        found = self._database.execute(SQL["stored_log"], asdict(event) | {"max_bytes": max_bytes})
        if not found:
            self._fate(asdict(event))
            return None
        data = found[0]["data"]
        return StoredLog(found[0]["kind"], None if data is None else bytes(data))

    def _parameters(self, request: ClaimRequest) -> dict[str, Any]:
        values = asdict(request)
        values["carries_log"] = request.carries_log or bool(request.conversation_log_url)
        return values | {"lease_s": self._lease_s}


def add_to_score(
    connection: Connection,
    values: dict[str, Any],
    advance: Callable[[UserStatus], UserStatus],
    topic: TopicGain | None,
) -> UserStatus:
    """Do the work of `complete` inside its transaction: event, user, ledger."""
    if not rows(connection, SQL["lock_event"], values):
        return already_added(connection, values)
    user = locked_user(connection, values)
    before = UserStatus(user["score"], user["level"])
    ledger = rows(connection, SQL["ledger_of_user"], values)[0]
    if ledger["applied"] is not None:
        if ledger["applied_to"] != values["user_id"]:
            raise LedgerClash
        # Somebody made a processed event PENDING by hand: its change is in the score, and stays there once
        applied = {"delta": ledger["applied"], "level": before.level, "topic_left_out": None}
        write(connection, "write_processed", values | applied)
        return before
    after = advance(before)
    check_advance(before, after, values["delta"])
    values = values | {
        "score": after.score,
        "level": after.level,
        "seq": max(user["ledger_seq"], ledger["seq"]) + 1,
        "before": before.score,
        **topic_values(connection, values, topic),
    }
    stored = write(connection, "write_user", values)["score"]
    write(connection, "write_ledger", values | {"after": stored})
    write(connection, "write_processed", values)
    return after


def write(connection: Connection, name: str, values: Mapping[str, Any]) -> Row:
    """Write one row, which is locked or new: whoever keeps it from being written stops the whole transaction."""
    written = one(connection, SQL[name], values)
    if written is None:
        raise suppressed(name)
    return written


def suppressed(name: str) -> ServerTrouble:
    """A row is there, and a trigger, a rule or row security lets nobody write it: not the message's fault."""
    return ServerTrouble(
        f"`{name}` changes no row: a trigger, a rule or row security of the database prevents it"
    )


def topic_values(
    connection: Connection, values: Mapping[str, Any], topic: TopicGain | None
) -> dict[str, str | None]:
    """Say what is written of a topic, the user's row being locked; without a name, nothing is."""
    nothing: dict[str, str | None] = {"topic": None, "entry": None, "topic_left_out": None}
    if topic is None:
        return nothing
    kept = Kept(**rows(connection, SQL["topic"], {"user_id": values["user_id"], "topic": topic.name})[0])
    left_out = obstacle(topic, kept)
    if left_out is not None:
        return nothing | {"topic_left_out": left_out}
    return nothing | {"topic": topic.name, "entry": json(grown(topic, kept))}


def already_added(connection: Connection, values: Mapping[str, Any]) -> UserStatus:
    """Answer a `complete` whose claim is over. Raises Fenced or EventGone unless an earlier try did it."""
    applied = one(connection, SQL["applied_by"], values)
    if applied is None:
        found_row(rows(connection, SQL["fate"], values))
        raise Fenced
    return UserStatus(applied["score_after"], applied["level"] or "")


def found_row(found: list[Row]) -> Row:
    """Take the only row. Raises EventGone when there is none."""
    if not found:
        raise EventGone
    return found[0]


def locked_user(connection: Connection, values: Mapping[str, Any]) -> Row:
    user = one(connection, SQL["lock_user"], values)
    if user is None:
        # Two first conversations of a user at once: the loser of this INSERT waits for the winner, then reads its row
        rows(connection, SQL["create_user"], values)
        user = one(connection, SQL["lock_user"], values)
    if user is None:
        raise DatabaseAway("the user's row went away")
    return user


def check_advance(before: UserStatus, after: UserStatus, delta: float) -> None:
    """Hold the caller to its word: what goes into the score is what goes into the ledger."""
    if not math.isfinite(after.score):
        raise BadData("the user's score would not be a finite number")
    if not math.isclose(after.score, before.score + delta, rel_tol=1e-9, abs_tol=1e-6):
        raise BadData("the user's new score is not the old one plus the change")


def judge(sighting: Sighting, request: ClaimRequest) -> Refused | Contended | None:
    """Say why a claim found nothing to take; None when it would find something by now."""
    settled = sighting.status in SETTLED

    def refused(reason: Refusal) -> Refused:
        return Refused(reason, sighting.key, log_durable=sighting.log_durable, settled=settled)

    if sighting.user_id != request.user_id:
        return refused(Refusal.FOREIGN_USER)
    if settled:
        return refused(Refusal.DONE)
    if sighting.status == "PENDING" or sighting.claimed_by == request.claimed_by:
        return None
    if sighting.status == "PROCESSING":
        gone = request.redelivered or not sighting.lease_live
        return Contended(sighting) if gone else refused(Refusal.DUPLICATE)
    return refused(Refusal.EARLY)


def failed_alike(fate: Row, epoch: int, code: str) -> bool:
    """Say whether an event failed at just this claim, for just this reason."""
    return (fate["status"], fate["epoch"], fate["outcome_epoch"], fate["error_code"]) == (
        "FAILED",
        epoch,
        epoch,
        code,
    )


def mine(claim: Claimed) -> dict[str, Any]:
    """Say what a holder's write is fenced on."""
    return asdict(claim.key) | {"epoch": claim.epoch, "claimed_by": claim.claimed_by}


def charge(bill: Bill | None) -> dict[str, int | None]:
    """Make a bill storable: a wait of weeks must not be the reason that an outcome cannot be written."""
    if bill is None:
        return dict.fromkeys(field.name for field in fields(Bill))
    return asdict(bill) | {"processing_ms": min(bill.processing_ms, LONGEST_MS)}


def failure(code: str, details: str, delay_s: float | None) -> dict[str, Any]:
    """Make a failure storable: its text must never be the reason that it cannot be written."""
    if delay_s is not None and not math.isfinite(delay_s):
        raise ValueError("delay_s is not a finite number")
    return {"code": code, "details": plain(details), "delay_s": delay_s}


def plain(text: str) -> str:
    """Cut a text to a sane length, without the characters that PostgreSQL refuses."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")[:DETAILS_LIMIT]


def json(value: Mapping[str, Any]) -> str:
    """Raises BadData for what JSON, or the server's, cannot hold."""
    try:
        text = orjson.dumps(value).decode()
    except TypeError as error:  # a lone surrogate, a key that is no text, an integer over 64 bits
        raise BadData(f"not JSON: {error}") from None
    if NUL.search(text):
        raise BadData("not JSON: a text holds a NUL")
    return text


def claimed_from(row: Row) -> Claimed:
    values = dict(row)
    blames = values.pop("blames")
    return Claimed(**values, blamed_deaths=len(blames), last_blame=blames[0] if blames else None)


def sighting_from(row: Row) -> Sighting:
    values = dict(row)
    blames = values.pop("blames")
    return Sighting(**values, blamed_deaths=len(blames), last_blame=blames[0] if blames else None)

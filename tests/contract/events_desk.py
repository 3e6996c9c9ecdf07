"""Short ways for a test to make an event, hurry it along and look at it."""

from collections.abc import Callable
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from itertools import count
from typing import Any

from repository.connection import Database, Row
from repository.deaths import Account, record
from repository.events import Events
from repository.rows import Bill, Claimed, ClaimRequest, Contended, Refused, Sighting, UserStatus
from repository.topics import TopicGain

NUMBERS = count(1)
ACCOUNT_CAUSE = "rss_hard"
LARGE_OBJECT = f'{{"items": "{"x" * 5000}"}}'  # JSON, and no list


DEATH_RSS = 300 << 20  # what a child held when it died
LIGHT = Bill(body_bytes=3 << 20, peak_rss_bytes=DEATH_RSS - 1, processing_ms=250)
HEAVY = Bill(body_bytes=60 << 20, peak_rss_bytes=DEATH_RSS + 1, processing_ms=2500)


def request(conversation: str = "talk", **changes: Any) -> ClaimRequest:
    """A delivery of its own, unless claimed_by says otherwise."""
    values = {"user_id": "lan", "claimed_by": f"holder-{next(NUMBERS)}"} | changes
    return ClaimRequest(conversation_id=conversation, **values)


def adding(delta: float, level: str = "PHASE1_STRANGER") -> Callable[[UserStatus], UserStatus]:
    """A step that adds to the score."""

    def advance(before: UserStatus) -> UserStatus:
        return UserStatus(before.score + delta, level)

    return advance


@dataclass(frozen=True)
class Desk:
    """One database, seen from above."""

    database: Database
    events: Events

    def run(self, sql: str, *values: Any) -> list[Row]:
        with self.database.connection().cursor() as cursor:
            cursor.execute(sql.encode(), values)
            return [] if cursor.description is None else cursor.fetchall()

    def row(self, conversation: str = "talk") -> Row:
        (found,) = self.run("SELECT * FROM conversation_events WHERE conversation_id = %s", conversation)
        return found

    def bill(self, conversation: str = "talk") -> Bill | None:
        return bill_of(self.row(conversation))

    def user(self, user: str = "lan") -> Row:
        (found,) = self.run("SELECT * FROM friendship_status WHERE user_id = %s", user)
        return found

    def ledger(self) -> list[Row]:
        return self.run("SELECT * FROM score_ledger ORDER BY user_id, seq")

    def set(self, assignments: str, *values: Any, conversation: str = "talk") -> None:
        self.run(
            f"UPDATE conversation_events SET {assignments} WHERE conversation_id = %s", *values, conversation
        )

    def insert(self, conversation: str = "talk", user: str = "lan", **columns: Any) -> None:
        """Insert as another program does, naming only the columns given."""
        names = ["conversation_id", "user_id", *columns]
        marks = ", ".join(["%s"] * len(names))
        self.run(
            f"INSERT INTO conversation_events ({', '.join(names)}) VALUES ({marks})",
            conversation,
            user,
            *columns.values(),
        )

    def lease_runs_out(self, conversation: str = "talk") -> None:
        self.set("lease_until = clock_timestamp() - interval '1 second'", conversation=conversation)

    def becomes_due(self, conversation: str = "talk") -> None:
        self.set("next_attempt_at = clock_timestamp() - interval '1 second'", conversation=conversation)

    def seconds_until(self, column: str, conversation: str = "talk") -> float:
        (found,) = self.run(
            f"SELECT extract(epoch FROM {column} - clock_timestamp())::float8 AS s"
            " FROM conversation_events WHERE conversation_id = %s",
            conversation,
        )
        return float(found["s"])

    def claim(self, conversation: str = "talk", **changes: Any) -> Claimed:
        answer = self.events.claim(request(conversation, **changes))
        assert isinstance(answer, Claimed), answer
        return answer

    def refused(self, conversation: str = "talk", **changes: Any) -> Refused:
        answer = self.events.claim(request(conversation, **changes))
        assert isinstance(answer, Refused), answer
        return answer

    def contended(self, conversation: str = "talk", **changes: Any) -> Sighting:
        answer = self.events.claim(request(conversation, redelivered=True, **changes))
        assert isinstance(answer, Contended), answer
        return answer.sighting

    def complete(self, claim: Claimed, delta: float = 10.0, bill: Bill | None = None) -> UserStatus:
        return self.events.complete(
            claim,
            delta=delta,
            details={"turns": 2},
            advance=adding(delta),
            topic=TopicGain("movie", delta, 1),
            bill=bill,
        )

    def fail(
        self,
        claim: Claimed,
        code: str = "MEMORY_API_TIMEOUT",
        delay_s: float | None = 3600.0,
        parked: bytes | None = None,
        bill: Bill | None = None,
    ) -> None:
        self.events.fail(claim, code=code, details="why", delay_s=delay_s, parked=parked, bill=bill)

    def account(self, claim: Claimed, *, blamed: bool, known: bool = True) -> int:
        """Write the account of a holder's death; known: it had read the reply to its claim."""
        return record(self.database, [death(claim, blamed=blamed, known=known)])


def bill_of(row: Row) -> Bill | None:
    """Read the bill off an event's row; None while there is none."""
    figures = {field.name: row[field.name] for field in fields(Bill)}
    return None if set(figures.values()) == {None} else Bill(**figures)


def death(claim: Claimed, *, blamed: bool, known: bool = True, claiming: bool = False) -> Account:
    return Account(
        conversation_id=claim.conversation_id,
        event_id=claim.event_id if known else 0,
        epoch=claim.epoch if known else 0,
        claimed_by=claim.claimed_by,
        body_bytes=3000,
        body_crc32=77,
        claiming=claiming,
        cause=ACCOUNT_CAUSE,
        blamed=blamed,
        died_at=datetime.now(UTC),
        host="here",
        slot=0,
        pid=4711,
        rss_bytes=DEATH_RSS,
    )

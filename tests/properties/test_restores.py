"""Between messages, and during their calls, any of our tables is restored to any earlier state, or emptied.

Whatever comes back, and whichever number with it:
1. the Memory API is shown a conversation's words as its own user's, and no other's;
2. a delivery adds its own change to its own user's score, or nothing;
3. a message that is acknowledged is done, known to be done, waits in its row with its log, or is set aside;
4. no event fails for the deaths of another, or for what the ledger says of another.
"""

import contextlib
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from random import Random

import orjson
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from consumer.conversation import Payload
from consumer.memory_api import MemoryApiTimeout
from consumer.outcome import Outcome
from consumer.pipeline import Pipeline
from consumer.ports import Delivery
from consumer.settings import BrokerSettings, ConsumerSettings, MemoryApiSettings
from repository import locks, migrations
from repository.connection import Database
from repository.deaths import Past, record
from repository.errors import DatabaseAway, RepositoryError
from repository.events import Events
from repository.retries import due
from repository.rows import Claimed, Contended
from tests.contract.events_desk import Desk, death, request
from tests.fixtures.fakes import FakeClock, FakeLink, FakeRuntime

USERS = {"lan-1": "lan", "lan-2": "lan", "minh-1": "minh", "minh-2": "minh"}
FACTS = {"lan-1": 1, "lan-2": 2, "minh-1": 4, "minh-2": 8}
CHANGES = {name: 0.5 + 5 * facts for name, facts in FACTS.items()}
TABLES = ("conversation_events", "friendship_status", "score_ledger", "child_deaths")

conversations = st.sampled_from(sorted(USERS))
some_tables = st.sets(st.sampled_from(TABLES), min_size=1).map(sorted)


@dataclass(frozen=True)
class Backup:
    """All tables are copied, as number 1, 2 ..."""


@dataclass(frozen=True)
class Restore:
    """Some tables are as in that copy, 0 being empty ones.

    numbered: new events get the numbers after those that are there; else from 1, past those that are taken.
    """

    tables: list[str]
    copy: int
    numbered: bool


@dataclass(frozen=True)
class Deletion:
    """Another program deletes an event."""

    conversation: str


@dataclass(frozen=True)
class Poison:
    """A child dies of the message, and is told of."""

    conversation: str


@dataclass(frozen=True)
class RetryPass:
    """All that waits is due, and its ids are delivered."""


@dataclass(frozen=True)
class Message:
    """A delivery. meanwhile: what happens during its call."""

    conversation: str
    with_log: bool = True
    answered: bool = True
    redelivered: bool = False
    meanwhile: "Restore | Deletion | None" = None


restores = st.builds(Restore, some_tables, st.integers(0, 3), st.booleans())
disasters = restores | st.builds(Deletion, conversations)
messages = st.builds(
    Message, conversations, st.booleans(), st.booleans(), st.booleans(), st.none() | disasters
)
steps = st.lists(
    messages | disasters | st.builds(Poison, conversations) | st.sampled_from([Backup(), RetryPass()]),
    max_size=14,
)


def word(conversation: str) -> bytes:
    return f"the secret of {conversation}".encode()


def body(conversation: str, *, with_log: bool) -> bytes:
    log = [{"speaker": "pika", "text": "hi"}, {"speaker": "user", "text": word(conversation).decode()}]
    ids = {"conversation_id": conversation, "user_id": USERS[conversation]}
    return orjson.dumps(ids | ({"conversation_log": log} if with_log else {}))


@dataclass
class World:
    """One database, one child, and what an observer knows."""

    desk: Desk
    copies: int = 0
    killed: Counter[str] = field(default_factory=Counter)
    before: dict[str, float] = field(default_factory=dict)
    now: Message | None = None
    calls: int = 0

    def __post_init__(self) -> None:
        self.desk.run(f"TRUNCATE {', '.join(TABLES)} RESTART IDENTITY")
        self.desk.run("DROP SCHEMA IF EXISTS backup CASCADE; CREATE SCHEMA backup")
        self.copy()
        clock = FakeClock()
        self.link = FakeLink(clock)
        database = self.desk.database
        self.pipeline = Pipeline(
            runtime=FakeRuntime(),
            link=self.link,
            store=Events(database, 180.0),
            past=Past(database),
            keep_reject=lambda _delivery, _reason: None,
            reach=partial(migrations.schema_version, database),
            locks=partial(locks.look, database),
            api=self,
            settings=ConsumerSettings(BrokerSettings("", "q"), "", MemoryApiSettings("")),
            owner="host:1:0",
            rng=Random(1),
            clock=clock,
        )

    def copy(self) -> None:
        for table in TABLES:
            self.desk.run(f"CREATE TABLE backup.{table}_{self.copies} AS TABLE {table}")
        self.copies += 1

    def scores(self) -> dict[str, float]:
        rows = self.desk.run("SELECT user_id, friendship_score FROM friendship_status")
        return {row["user_id"]: row["friendship_score"] for row in rows}

    def strike(self, disaster: Restore | Deletion) -> None:
        match disaster:
            case Deletion(conversation):
                self.desk.run("DELETE FROM conversation_events WHERE conversation_id = %s", conversation)
            case Restore(tables, copy, numbered):
                for table in tables:
                    rows = f"SELECT * FROM backup.{table}_{min(copy, self.copies - 1)}"
                    self.desk.run(f"TRUNCATE {table}; INSERT INTO {table} {rows}")
                if numbered:
                    self.desk.run(
                        "SELECT setval('conversation_events_id_seq', max(id) + 1, false) FROM conversation_events"
                        " HAVING max(id) IS NOT NULL"
                    )
                else:
                    self.desk.run("SELECT setval('conversation_events_id_seq', 1, false)")
        self.before = self.scores()

    def extract(self, user_id: str, conversation_id: str, payload: Payload) -> int:
        """Be the Memory API."""
        shown = b"".join(payload)
        self.calls += 1
        assert user_id == USERS[conversation_id]
        assert [name for name in USERS if word(name) in shown] == [conversation_id]
        assert self.now is not None
        if self.now.meanwhile is not None and self.calls == 1:
            self.strike(self.now.meanwhile)
        if not self.now.answered:
            raise MemoryApiTimeout("late")
        return FACTS[conversation_id]

    def deliver(self, message: Message) -> None:
        self.now, self.calls, self.before = message, 0, self.scores()
        dead = len(self.link.dead)
        sent = body(message.conversation, with_log=message.with_log)
        outcome = self.pipeline.handle(
            Delivery(1, message.redelivered, bytearray(sent), message.conversation)
        )
        after = self.scores()
        for user in {*after, *self.before}:
            gained = after.get(user, 0.0) - self.before.get(user, 0.0)
            own = user == USERS[message.conversation]
            assert gained in ({0.0, CHANGES[message.conversation]} if own else {0.0}), (user, gained)
        if outcome is not Outcome.RETURNED:
            self.assert_kept(message, set_aside=len(self.link.dead) > dead)

    def assert_kept(self, message: Message, *, set_aside: bool) -> None:
        rows = self.desk.run(
            "SELECT * FROM conversation_events WHERE conversation_id = %s", message.conversation
        )
        counted = self.desk.run(
            "SELECT user_id FROM score_ledger WHERE conversation_id = %s", message.conversation
        )
        if set_aside or counted:
            return
        (row,) = rows
        if row["status"] in {"PROCESSED", "SKIPPED"}:
            # Restored so: its change went with the ledger
            return
        assert row["status"] in {"PENDING", "FAILED", "PROCESSING"}
        assert row["parked_log"] is not None or not message.with_log

    def kill(self, conversation: str) -> None:
        claim = None
        while claim is None:
            # As a child does, while the numbers that the sequence gives are taken
            with contextlib.suppress(DatabaseAway, RepositoryError):
                delivery = request(conversation, user_id=USERS[conversation], redelivered=True)
                claim = self.desk.events.claim(delivery)
        if isinstance(claim, Contended):
            claim = self.desk.events.take_over(claim.sighting, delivery, accounted=True)
        if isinstance(claim, Claimed):
            record(self.desk.database, [death(claim, blamed=True)])
            self.killed[conversation] += 1

    def assert_nobody_is_mixed_up(self) -> None:
        for row in self.desk.run("SELECT * FROM conversation_events"):
            name = row["conversation_id"]
            assert row["user_id"] == USERS[name]
            assert row["friendship_score_change"] in {None, CHANGES[name]}
            if row["parked_log"] is not None:
                assert zlib.decompress(row["parked_log"]) == body(name, with_log=True)
            assert row["error_code"] != "UNEXPECTED_ERROR"
            if row["error_code"] == "MEMORY_BUDGET_EXCEEDED":
                assert self.killed[name] >= 2
        for row in self.desk.ledger():
            assert (row["user_id"], row["delta"]) == (
                USERS[row["conversation_id"]],
                CHANGES[row["conversation_id"]],
            )

    def retry(self) -> None:
        past = "clock_timestamp() - interval '1 s'"
        self.desk.run(
            f"UPDATE conversation_events SET next_attempt_at = {past} WHERE status IN ('PENDING', 'FAILED')"
            f" AND next_attempt_at IS NOT NULL; UPDATE conversation_events SET lease_until = {past}"
            " WHERE status = 'PROCESSING'"
        )
        for each in due(self.desk.database):
            self.deliver(Message(each.conversation_id, with_log=False))

    def take(self, step: object) -> None:
        match step:
            case Message():
                self.deliver(step)
            case Restore() | Deletion():
                self.strike(step)
            case Poison(conversation):
                self.kill(conversation)
            case Backup():
                self.copy()
            case RetryPass():
                self.retry()
        self.assert_nobody_is_mixed_up()


@pytest.fixture
def desk(migrated_database_url: str) -> Iterator[Desk]:
    database = Database(migrated_database_url, "friendship-supervisor test", lock_timeout_s=1.0)
    yield Desk(database, Events(database, 180.0))
    database.close()


ANEW = Restore(["conversation_events", "friendship_status"], 0, numbered=False)


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(steps)
@example([Message("lan-1", meanwhile=Deletion("lan-1"))])
@example([Message("lan-1"), ANEW, Message("minh-1"), RetryPass()])
@example([Poison("lan-1"), Poison("lan-1"), ANEW, Message("minh-1")])
@example(
    # The number of a row comes back for another conversation while the call for it runs
    [
        Message("minh-1", with_log=False),
        Backup(),
        ANEW,
        Message("lan-1", answered=False, meanwhile=Restore(["conversation_events"], 1, numbered=True)),
        RetryPass(),
    ]
)
def test_no_word_and_no_point_reaches_another_user_whatever_is_restored(
    desk: Desk, steps: list[object]
) -> None:
    """Nor is a message lost in silence."""
    world = World(desk)
    for step in steps:
        world.take(step)

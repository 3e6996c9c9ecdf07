"""A child's life: open after the fork, consume, stop, close in reverse.

Boot: the database first, then the schema, then the broker, each waited for with backoff. A child that waits takes
no messages. It is ready when the broker has confirmed that it consumes.
"""

import logging
import ssl
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from random import Random
from typing import Literal

from consumer import holder
from consumer.admission import Admission, admit
from consumer.amqp import HASTY_PARTING_S, BrokerLink, nap
from consumer.backoff import jittered
from consumer.errors import BodyNotKept, BrokerAway, GiveBack, NoRoom
from consumer.memory_api import MemoryApi
from consumer.outcome import Outcome
from consumer.pipeline import Pipeline
from consumer.ports import Delivery
from consumer.runtime import Runtime
from consumer.settings import ConsumerSettings
from repository import locks, migrations, rejects
from repository.connection import Database
from repository.deaths import Past
from repository.errors import DatabaseAway, SchemaOld
from repository.events import Events

log = logging.getLogger("friendship.child")

DRAINED = 0

RECEIVE_WAIT_S = 1.0
SEAT_WAIT_S = 0.25
REPLACEMENT_REPORT_S = 5.0
NOT_KEPT_PAUSE_S = 1.0
RETRY_BASE_S = 0.2
RETRY_MAX_S = 10.0
# A connection that rests for longer than this while the Memory API is slow is given back to the database
IDLE_CONNECTION_S = 5.0


@dataclass(frozen=True, slots=True)
class Child:
    """What every child is made from: values made before the fork, and no connection."""

    settings: ConsumerSettings
    ssl_context: ssl.SSLContext | None

    def live(self, runtime: Runtime) -> int:
        """Consume until a stop is asked for. Returns the exit code."""
        name = f"child {runtime.slot}"
        database = Database(self.settings.database_url, application_name=f"friendship-supervisor {name}")
        link = BrokerLink(
            self.settings.broker, name, runtime.stop_requested, partial(self._announce, runtime)
        )
        pipeline = self._pipeline(runtime, database, link)
        rng = Random()  # noqa: S311 (jitter)
        tries = 0
        obstacle: _Obstacle | None = None
        try:
            while not runtime.stop_requested():
                obstacle = _reach(runtime, link, database, first=obstacle is None)
                if obstacle is None:
                    try:
                        _consume(runtime, link, pipeline)
                    except BrokerAway as away:
                        obstacle = _Obstacle("broker", away.reason)
                    except NoRoom as no_room:
                        log.info("no_room", extra={"slot": runtime.slot, "body_bytes": no_room.size_bytes})
                        link.close()
                        _await_replacement(runtime)
                    except BodyNotKept:
                        # Each try of any child ends so, until the broker's delivery limit: not too many in a second
                        link.close()
                        runtime.returned()
                        nap(NOT_KEPT_PAUSE_S, runtime.stop_requested)
                    runtime.wake_with(None)
                    if link.proven:
                        tries = 0
                if obstacle is not None:
                    tries += 1
                    runtime.waiting(obstacle.on, obstacle.reason)
                    link.close()
                    nap(jittered(RETRY_BASE_S, tries, RETRY_MAX_S, rng), runtime.stop_requested)
            link.close()
        except BaseException:
            # The death of this process is told of what it has in hand: that must not be the next delivery by then
            link.abandon()
            raise
        finally:
            runtime.wake_with(None)
            database.close()
        return DRAINED

    def _announce(self, runtime: Runtime, size_bytes: int, message_id: str | None) -> Admission:
        """Say what becomes of a body of that size."""
        runtime.receiving(size_bytes, message_id)
        return admit(
            size_bytes,
            limit_bytes=self.settings.max_message_bytes,
            room_bytes=runtime.room_bytes(),
            fresh_room_bytes=runtime.fresh_room_bytes(),
            fresh=runtime.fresh(),
        )

    def _pipeline(self, runtime: Runtime, database: Database, link: BrokerLink) -> Pipeline:
        def wait_lightly() -> None:
            runtime.trim()
            link.pump()
            runtime.cut_off(link.trouble)
            if database.is_open and database.idle_s() > IDLE_CONNECTION_S:
                database.close()

        api = MemoryApi(
            self.settings.memory_api.url,
            self.settings.memory_api.timeout_s,
            ssl_context=self.ssl_context,
            pump=wait_lightly,
        )

        def wait_for_what_can_be_done_again() -> None:
            wait_lightly()
            if runtime.hurry_requested():
                raise GiveBack("stopping before the call")

        archive = analyst = None
        # Their modules load what nobody else needs
        if self.settings.s3 is not None:
            archive = import_module("consumer.s3").Archive(
                self.settings.s3, ssl_context=self.ssl_context, pump=wait_for_what_can_be_done_again
            )
        if self.settings.llm is not None:
            analyst = import_module("consumer.llm").Analyst(
                self.settings.llm, ssl_context=self.ssl_context, pump=wait_for_what_can_be_done_again
            )
        return Pipeline(
            runtime=runtime,
            link=link,
            store=Events(database, self.settings.lease_s),
            past=Past(database),
            keep_reject=partial(_keep_reject, database),
            reach=partial(migrations.schema_version, database),
            locks=partial(locks.look, database),
            api=api,
            settings=self.settings,
            owner=holder.owner(runtime.slot),
            rng=Random(),  # noqa: S311 (jitter)
            archive=archive,
            analyst=analyst,
        )


@dataclass(frozen=True, slots=True)
class _Obstacle:
    """What a child has to wait for before it can consume, and why."""

    on: Literal["database", "broker", "schema"]
    reason: str


def _reach(runtime: Runtime, link: BrokerLink, database: Database, *, first: bool) -> _Obstacle | None:
    """Reach the database, the schema and the broker, in this order.

    first: nothing is known to be in the way, so the child says whose answer it waits for; one may hang.
    """
    try:
        if first:
            runtime.waiting("database", "")
        try:
            migrations.require(database)
        except DatabaseAway:
            # A session that died while it rested says nothing of the database
            migrations.require(database)
        if first:
            runtime.waiting("broker", "")
        link.open()
    except DatabaseAway as away:
        return _Obstacle("database", away.reason)
    except SchemaOld as old:
        return _Obstacle("schema", str(old))
    except BrokerAway as away:
        return _Obstacle("broker", away.reason)
    return None


def _consume(runtime: Runtime, link: BrokerLink, pipeline: Pipeline) -> None:
    """Take deliveries until a stop is asked for, or until none may be taken for a while.

    Raises BrokerAway when consuming is refused, the link breaks, or a delivery is given back; NoRoom when this process
    should take no more: with the delivery that it left, or before the next one.
    """
    runtime.wake_with(link.wake)
    runtime.empty_handed()
    if not _take_seat(runtime, link):
        return
    try:
        _take_deliveries(runtime, link, pipeline)
    except BrokerAway as away:
        log.info("broker_away", extra={"slot": runtime.slot, "reason": away.reason})
        runtime.empty_handed()
        runtime.cut_off(away.reason)
        link.doubt = "" if link.proven else away.reason
        raise


def _take_deliveries(runtime: Runtime, link: BrokerLink, pipeline: Pipeline) -> None:
    """Deal with one delivery after the other; while calls fail, stand aside at the end."""
    while True:
        delivery = _next(runtime, link)
        if delivery is None:
            return
        outcome = pipeline.handle(delivery)
        if outcome is Outcome.RETURNED:
            # Closing the link is what gives it back
            runtime.returned()
            if runtime.stop_requested():
                return
            raise BrokerAway(link.trouble or "a delivery went back to it")
        runtime.acking()
        pause_s = pipeline.pause_s()
        crowded = runtime.crowded(delivery.size)
        last = crowded or pause_s > 0 or _is_to_stop(runtime)
        if last:
            # Before the acknowledgement: after it the next message would be on its way, only to go back
            link.cancel()
        link.ack(delivery)
        # settled() gives freed pages back to the kernel: the body must be gone by then
        del delivery
        runtime.settled(outcome.value)
        if crowded:
            raise NoRoom(0)
        if last:
            if pause_s:
                link.close()
                nap(pause_s, runtime.stop_requested)
            return


def _is_to_stop(runtime: Runtime) -> bool:
    """Say whether to take no more: for good, or while all calls fail."""
    return runtime.stop_requested() or not runtime.seated()


def _take_seat(runtime: Runtime, link: BrokerLink) -> bool:
    """Have messages sent as soon as that is allowed. False: this child is to go, and takes none. Raises BrokerAway."""
    if not runtime.seated():
        runtime.ready(link.trouble)
    while not runtime.seated() and not runtime.stop_requested():
        link.rest(SEAT_WAIT_S)
        link.watch()
        runtime.cut_off(link.trouble)
        runtime.idle()
    if runtime.stop_requested():
        return False
    link.consume()
    runtime.ready(link.trouble)
    return True


def _next(runtime: Runtime, link: BrokerLink) -> Delivery | None:
    """Give the next delivery; None when there shall be no more. What has arrived before a stop is still dealt with."""
    while True:
        stopping = _is_to_stop(runtime)
        if stopping:
            link.cancel(HASTY_PARTING_S)
        delivery = link.receive(0.0 if stopping and not link.receiving else RECEIVE_WAIT_S)
        if delivery is not None:
            return delivery
        if stopping and (runtime.hurry_requested() or not link.receiving):
            return None
        runtime.cut_off(link.trouble)
        if not link.receiving:
            runtime.idle()


def _keep_reject(database: Database, delivery: Delivery, reason: str) -> None:
    """Keep a body that belongs into the dead queue while that cannot be written."""
    if delivery.spool is None:
        rejects.keep(database, delivery.body, reason, delivery.message_id)
    else:
        rejects.keep_parts(database, delivery.spool.parts(), reason, delivery.message_id)


def _await_replacement(runtime: Runtime) -> None:
    """Stand aside until the supervisor has another child for this one's slot; its message is with others by now."""
    while not runtime.stop_requested():
        runtime.no_room()
        nap(REPLACEMENT_REPORT_S, runtime.stop_requested)

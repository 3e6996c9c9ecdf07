"""Where a conversation's log comes from: the message, then S3, then the event's row (its own log, or a parked message).

A parked log is the body of an earlier message, compressed: what the one ack rule keeps when a message is
acknowledged without a score (docs/decisions/0004).
"""

import logging
import zlib
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Literal, NamedTuple, Protocol, TypeVar

from consumer.decoding import Json
from consumer.errors import LogUnavailable, LogUnusable, MalformedMessage, NothingUsable
from consumer.message import URL_LENGTH_MAX, parse
from consumer.pace import Pace
from consumer.patience import Patience
from consumer.ports import Store
from consumer.runtime import Runtime
from repository.rows import Claimed, EventKey, StoredLog

log = logging.getLogger("friendship.pipeline")

T = TypeVar("T")

# 12 ms for 3 MB; level 6 takes 70 ms and saves little
_LEVEL = 1


def park(body: bytes | bytearray) -> bytes:
    """Compress a message body for its event's row."""
    return zlib.compress(body, _LEVEL)


def stored(log: StoredLog, event: EventKey, max_bytes: int) -> Json:
    """Read a log out of the event's row: a JSON list, or the one in a parked message.

    max_bytes: the largest message that is ever parsed. Raises LogUnavailable when it cannot be read, or is another
    conversation's.
    """
    if log.data is None:
        raise LogUnavailable(f"the row: the log is too large: over {max_bytes} bytes")
    if log.kind == "row":
        return log.data
    try:
        inflater = zlib.decompressobj()
        body = inflater.decompress(log.data, max_bytes)
        message = parse(body) if inflater.eof else None
    except (zlib.error, MalformedMessage):
        message = None
    if message is None or message.log is None:
        raise LogUnavailable("the parked message cannot be read")
    if (message.conversation_id, message.user_id) != (event.conversation_id, event.user_id):
        raise LogUnavailable("the parked message is another conversation's")
    return message.log


class Archive(Protocol):
    """Logs kept in S3: consumer.s3.Archive."""

    def read(self, url: str, max_bytes: int) -> bytearray:
        """Fetch the JSON text of a log. Raises LogUnavailable."""
        ...


class Found(NamedTuple):
    """A log that no message carried. place: s3 or row."""

    data: Json
    place: str


class Sources:
    """The places of logs outside of messages. archive: None where S3 is not in use. pace: told how S3 does."""

    def __init__(  # noqa: PLR0913 (the places, and what time in them is spent with)
        self,
        *,
        runtime: Runtime,
        store: Store,
        patience: Patience,
        archive: Archive | None,
        max_bytes: int,
        pace: Pace,
        rng: Random,
        clock: Callable[[], float],
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._patience = patience
        self._archive = archive
        self._max_bytes = max_bytes
        self._pace = pace
        self._rng = rng
        self._clock = clock

    def read(self, claim: Claimed, reader: Callable[[Found], T]) -> T:
        """Have the log of an event read, from S3 before its row: the first that can be.

        reader: raises MalformedMessage for what is no log. Raises LogUnavailable when there is none in any place, which
        may change; LogUnusable when there is one, and nothing in it can be used, which will not.
        """
        missing: list[str] = []
        unusable: list[str] = []
        for place, look in (("S3", self._in_s3), ("the row", self._in_row)):
            try:
                read = reader(look(claim))
            except LogUnavailable as unavailable:
                missing.append(unavailable.reason)
            except NothingUsable as nothing:
                unusable.append(f"{place}: {nothing.reason}")
            except MalformedMessage as malformed:
                missing.append(f"{place}: what is there is no log: {malformed.reason}")
            else:
                if claim.conversation_log_url is not None and look == self._in_row:
                    # The row makes up for S3: no reason to go slow
                    self._pace.called("answered", 0.0, self._rng)
                    fields = {"conversation_id": claim.conversation_id, "reason": (missing + unusable)[0]}
                    log.warning("log_taken_from_row", extra=fields)
                return read
        if unusable:
            raise LogUnusable(unusable[0])
        raise LogUnavailable("; ".join(["no log in the message", *missing]))

    def _in_s3(self, claim: Claimed) -> Found:
        if claim.conversation_log_url is None:
            raise LogUnavailable("no URL is known")
        if len(claim.conversation_log_url) > URL_LENGTH_MAX:
            raise LogUnavailable(f"its URL has more than {URL_LENGTH_MAX} characters")
        if self._archive is None:
            raise LogUnavailable("S3 is not in use, as S3_ALLOWED_BUCKETS names no bucket")
        self._patience.give_back_if_over("stopping before the log was fetched")
        end: Literal["read", "failed", "away"] = "failed"
        started = self._clock()
        self._runtime.fetching()
        try:
            data = self._archive.read(claim.conversation_log_url, self._max_bytes)
            end = "read"
        except LogUnavailable as unavailable:
            end = "away" if unavailable.away else "failed"
            raise
        finally:
            self._runtime.fetched(end)
            self._pace.called("failed" if end == "away" else "answered", self._clock() - started, self._rng)
        return Found(data, "s3")

    def _in_row(self, claim: Claimed) -> Found:
        report = partial(self._runtime.claimed, claim.event_id, claim.epoch)
        row = self._patience.hold(report, partial(self._store.stored_log, claim.key, self._max_bytes))
        if row is None:
            raise LogUnavailable("none in the row")
        return Found(stored(row, claim.key, self._max_bytes), "row")

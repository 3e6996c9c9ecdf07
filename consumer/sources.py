"""Where a conversation's log comes from: the message, then S3, then the event's row (its own log, or a parked message).

A parked log is the body of an earlier message, compressed: what the one ack rule keeps when a message is
acknowledged without a score (docs/decisions/0004).
"""

import logging
import zlib
from collections.abc import Callable
from functools import partial
from typing import Literal, NamedTuple, Protocol, TypeVar

from consumer.errors import LogUnavailable, LogUnusable, MalformedMessage, NothingUsable
from consumer.message import Json, parse
from consumer.patience import Patience
from consumer.ports import Store
from consumer.runtime import Runtime
from repository.rows import Claimed, StoredLog

log = logging.getLogger("friendship.pipeline")

T = TypeVar("T")

# 12 ms for 3 MB; level 6 takes 70 ms and saves little
_LEVEL = 1


def park(body: bytes | bytearray) -> bytes:
    """Compress a message body for its event's row."""
    return zlib.compress(body, _LEVEL)


def stored(log: StoredLog, max_bytes: int) -> Json:
    """Read a log out of the event's row: a JSON list, or the one in a parked message.

    max_bytes: the largest message that is ever parsed. Raises LogUnavailable when it cannot be read.
    """
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
    """The places of logs outside of messages. archive: None where S3 is not in use."""

    def __init__(
        self, runtime: Runtime, store: Store, patience: Patience, archive: Archive | None, max_bytes: int
    ) -> None:
        self._runtime = runtime
        self._store = store
        self._patience = patience
        self._archive = archive
        self._max_bytes = max_bytes

    def read(self, claim: Claimed, reader: Callable[[Found], T]) -> T:
        """Have the log of an event read, from S3 before its row: the first that can be.

        reader: raises MalformedMessage for what is no log. Raises LogUnavailable when there is none in any place, which
        may change; LogUnusable when there is one, and nothing in it can be used, which will not.
        """
        missing: list[str] = []
        unusable: list[str] = []
        for look in (self._in_s3, self._in_row):
            try:
                read = reader(look(claim))
            except LogUnavailable as unavailable:
                missing.append(unavailable.reason)
            except NothingUsable as nothing:
                unusable.append(nothing.reason)
            except MalformedMessage as malformed:
                missing.append(f"what is there is no log: {malformed.reason}")
            else:
                if claim.conversation_log_url is not None and look == self._in_row:
                    fields = {"conversation_id": claim.conversation_id, "reason": (missing + unusable)[0]}
                    log.warning("log_taken_from_row", extra=fields)
                return read
        if unusable:
            raise LogUnusable(f"the stored log: {unusable[0]}")
        raise LogUnavailable(f"no log in the message; S3: {missing[0]}; row: {missing[1]}")

    def _in_s3(self, claim: Claimed) -> Found:
        if claim.conversation_log_url is None:
            raise LogUnavailable("no URL is known")
        if self._archive is None:
            raise LogUnavailable("not in use, as S3_ALLOWED_BUCKETS names no bucket")
        self._patience.give_back_if_over("stopping before the log was fetched")
        came: Literal["read", "failed"] = "failed"
        self._runtime.fetching()
        try:
            data = self._archive.read(claim.conversation_log_url, self._max_bytes)
            came = "read"
        finally:
            self._runtime.fetched(came)
        return Found(data, "s3")

    def _in_row(self, claim: Claimed) -> Found:
        report = partial(self._runtime.claimed, claim.event_id, claim.epoch)
        row = self._patience.hold(report, partial(self._store.stored_log, claim.event_id))
        if row is None:
            raise LogUnavailable("none")
        return Found(stored(row, self._max_bytes), "row")

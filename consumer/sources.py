"""Where a conversation's log comes from: the message, then S3, then the event's row (its own log, or a parked message).

A parked log is the body of an earlier message, compressed: what the one ack rule keeps when a message is
acknowledged without a score (docs/decisions/0004).
"""

import logging
import zlib
from functools import partial
from typing import NamedTuple, Protocol

from consumer.errors import LogUnavailable, MalformedMessage
from consumer.message import Json, parse
from consumer.patience import Patience
from consumer.ports import Store
from consumer.runtime import Runtime
from repository.rows import Claimed, StoredLog

log = logging.getLogger("friendship.pipeline")

# 12 ms for 3 MB; level 6 takes 70 ms and saves little
_LEVEL = 1


def park(body: bytes | bytearray) -> bytes:
    """Compress a message body for its event's row."""
    return zlib.compress(body, _LEVEL)


def stored(log: StoredLog | None, max_bytes: int) -> Json:
    """Read a log out of the event's row: a JSON list, or the one in a parked message.

    max_bytes: the largest message that is ever parsed. Raises LogUnavailable when there is none, or none that
    can be read.
    """
    if log is None:
        raise LogUnavailable
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

    def find(self, claim: Claimed) -> Found:
        """Get the log of an event, from S3 before its row. Raises LogUnavailable, with what was wrong in each place."""
        not_in_s3 = "and no URL is known"
        if claim.conversation_log_url is not None:
            fetched = self._fetched(claim.conversation_log_url)
            if not isinstance(fetched, str):
                return Found(fetched, "s3")
            not_in_s3 = fetched
        report = partial(self._runtime.claimed, claim.event_id, claim.epoch)
        row = self._patience.hold(report, partial(self._store.stored_log, claim.event_id))
        if row is None:
            raise LogUnavailable(f"no log in the message, none in the row; {not_in_s3}")
        found = Found(stored(row, self._max_bytes), "row")
        if claim.conversation_log_url is not None:
            fields = {"conversation_id": claim.conversation_id, "reason": not_in_s3}
            log.warning("log_taken_from_row", extra=fields)
        return found

    def _fetched(self, url: str) -> bytearray | str:
        """Give the log, or why there is none."""
        if self._archive is None:
            return "S3 is not in use: S3_ALLOWED_BUCKETS names no bucket"
        self._patience.give_back_if_over("stopping before the log was fetched")
        reason = ""
        self._runtime.fetching()
        try:
            return self._archive.read(url, self._max_bytes)
        except LogUnavailable as unavailable:
            reason = unavailable.reason
            return reason
        finally:
            self._runtime.fetched("failed" if reason else "read")

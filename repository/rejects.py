"""Bodies that belong into the dead-letter queue, kept here while it cannot be written."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any
from uuid import uuid4

from repository.connection import Database
from repository.errors import DatabaseAway
from repository.events import plain
from repository.statements import load

SQL = load("rejects")

Bytes = bytes | bytearray | memoryview
SLICE_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Kept:
    """A body that is kept. bytes: its size. hits: times it came."""

    sha256: bytes
    reason: str
    message_id: str | None
    bytes: int
    hits: int
    first_seen: datetime
    last_seen: datetime


def keep(database: Database, body: Bytes, reason: str, message_id: str | None) -> None:
    """Keep a body, once however often it comes; the hits are counted. Raises DatabaseAway."""
    database.execute(SQL["keep"], {"body": body, "bytes": len(body)} | label(reason, message_id))


def keep_parts(database: Database, parts: Iterable[Bytes], reason: str, message_id: str | None) -> None:
    """Keep a body that is too large to be held in memory, given as its parts in order; else as `keep`.

    Each part is committed by itself, and they count for nothing until the last statement makes them one body. After
    DatabaseAway, or a death on the way, call again with the parts from the first on; what the unfinished call left is
    removed by one of hours later. A call must not take longer than an hour, or it is unfinished too. Between two parts
    no transaction is open, and a part is done with when the next is asked for: its buffer may be used again.
    """
    database.execute(SQL["forget_unfinished"])
    whole, digest, size = uuid4(), sha256(), 0
    for number, part in enumerate(parts):
        database.execute(SQL["keep_part"], {"whole": whole, "part": number, "body": part})
        digest.update(part)
        size += len(part)
    body = {"whole": whole, "sha256": digest.digest(), "bytes": size}
    if not database.execute(SQL["keep_whole"], body | label(reason, message_id)):
        raise DatabaseAway("parts of a refused body are gone again")


def kept(database: Database) -> list[Kept]:
    """List what is kept, oldest first. Raises DatabaseAway."""
    return [Kept(**row) for row in database.execute(SQL["kept"])]


def slices(database: Database, body_sha256: Bytes) -> Iterator[Bytes]:
    """Read a body piece by piece, so that one of any size costs a piece. Raises DatabaseAway."""
    number = 0
    while found := database.execute(
        SQL["slice"], {"sha256": body_sha256, "number": number, "size": SLICE_BYTES}
    ):
        yield found[0]["piece"]
        number += 1


def drop(database: Database, body_sha256: Bytes) -> bool:
    """Remove a body for good; say whether it was there. Raises DatabaseAway."""
    return bool(database.execute(SQL["drop"], {"sha256": body_sha256}))


def label(reason: str, message_id: str | None) -> dict[str, Any]:
    return {
        "reason": plain(reason),
        "message_id": None if message_id is None else plain(message_id),
    }

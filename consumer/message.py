"""Message bodies: bytes from the broker -> who talked, and where the log is.

Only the envelope is read here, without copying the log: a 3 MB body takes under a millisecond. The items of
the log are read after the event was claimed (consumer/conversation.py), so that a duplicate costs nothing.
"""

import contextlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

import msgspec

from consumer.decoding import Flaw, Json, Unreadable, reading
from consumer.errors import MalformedMessage

ID_LENGTH_MAX = 255
T = TypeVar("T")

URL_LENGTH_MAX = 2048
"""Twice the longest key of S3, which has 1024 bytes."""
LENGTH_MAX = {"conversation_log_url": URL_LENGTH_MAX, "start_time": 64, "end_time": 64}
"""Characters of a value that becomes part of a row; of any other ID_LENGTH_MAX."""
ESCAPED_BYTES = 12
"""The most that JSON takes for a character: a pair of \\u escapes."""
_ABSENT = (b"", b"null")
_MENDED = rb"\ufffd"
# What stays, an escaped backslash or a whole pair, is taken first; what is left is half a pair.
_SURROGATES = re.compile(
    rb"(\\\\|\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2})|\\u[dD][89a-fA-F][0-9a-fA-F]{2}"
)
# Quotes inside a text are escaped, so that a text holds no such key
_IDS = re.compile(
    rb'"(?:conversation_id|user_id)"[ \t\r\n]{0,64}:[ \t\r\n]{0,64}("(?:[^"\\]|\\.){1,3060}")', re.DOTALL
)


class _Envelope(msgspec.Struct):
    """All values unread: how long they are is looked at first."""

    conversation_id: msgspec.Raw
    user_id: msgspec.Raw
    bot_id: msgspec.Raw = msgspec.Raw()
    bot_type: msgspec.Raw = msgspec.Raw()
    bot_name: msgspec.Raw = msgspec.Raw()
    agent_tag: msgspec.Raw = msgspec.Raw()
    start_time: msgspec.Raw = msgspec.Raw()
    end_time: msgspec.Raw = msgspec.Raw()
    conversation_log_url: msgspec.Raw = msgspec.Raw()
    conversation_log: msgspec.Raw = msgspec.Raw()


class _Identity(msgspec.Struct):
    conversation_id: msgspec.Raw


_envelope = reading(msgspec.json.Decoder(_Envelope))
_identity = reading(msgspec.json.Decoder(_Identity))
_word = reading(msgspec.json.Decoder(str | None))


@dataclass(frozen=True, slots=True)
class Message:
    """One well-formed message.

    log: the raw JSON array of items, a view into the body that keeps the body alive; None when it is elsewhere.
    Times are aware; one without an offset is taken as UTC.
    """

    conversation_id: str
    user_id: str
    bot_id: str | None = None
    bot_type: str | None = None
    bot_name: str | None = None
    agent_tag: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None
    conversation_log_url: str | None = None
    log: msgspec.Raw | None = None


def parse(body: Json, *, mendable: bool = True) -> Message:
    """Read the envelope of a message body.

    mendable: try again with half characters mended, in place. Those of an id are not: two ids could become one.
    Raises MalformedMessage, and nothing else, for any bytes that are no message of CONTRACT section 2.
    """
    try:
        envelope = _envelope(body)
    except Unreadable as unreadable:
        flaw, reason = unreadable.flaw, unreadable.reason
    else:
        return _checked(envelope, mended=not mendable)
    if mendable and flaw in {Flaw.NOT_JSON, Flaw.NOT_UTF8}:
        if any(_is_half(found[1]) for found in _IDS.finditer(body)):
            # Before the body is mended: as it came it goes into the dead queue
            raise MalformedMessage("an id holds half a character, and would not be kept as it came")
        return parse(mend(body), mendable=False)
    raise MalformedMessage(reason)


def mend(text: Json) -> Json:
    """Replace each escape of half a character in a JSON text by U+FFFD, which is as long: in place, if possible.

    A publisher that cuts texts by UTF-16 units (JavaScript does) leaves half an emoji at the end. RFC 8259 allows to
    write it, and no decoder used here reads it. Returns the text itself when there is nothing to mend.
    """
    mended: bytearray | None = None
    for found in _SURROGATES.finditer(text):
        if found[1] is None:
            if mended is None:
                mended = text if isinstance(text, bytearray) else bytearray(text)
            mended[found.start() : found.end()] = _MENDED
    return text if mended is None else mended


def _is_half(token: bytes) -> bool:
    return any(found[1] is None for found in _SURROGATES.finditer(token))


def altered(text: Json) -> bool:
    """Say whether a value of a mended text may have been mended itself."""
    return _MENDED in bytes(text)


def read_mended(read: Callable[[Json], T], text: Json) -> T:
    """Read a text, if need be with half characters mended, in place if possible. Raises Unreadable."""
    with contextlib.suppress(Unreadable):
        return read(text)
    return read(mend(text))


def identify(body: bytes | bytearray, message_id: str | None) -> str | None:
    """Say which conversation a malformed message speaks of, when that much can be read."""
    try:
        raw = _identity(body).conversation_id
        candidate = _read("conversation_id", raw)
        if altered(raw):
            # It may be the id of another conversation since the body was mended
            candidate = None
    except (Unreadable, MalformedMessage):
        candidate = message_id
    return candidate if candidate is not None and _is_id(candidate) else None


def _checked(envelope: _Envelope, *, mended: bool) -> Message:
    read = {
        name: _read(name, getattr(envelope, name))
        for name in _Envelope.__struct_fields__
        if name != "conversation_log"
    }
    for name in ("conversation_id", "user_id"):
        if not _is_id(read[name] or ""):
            raise MalformedMessage(f"{name} must have 1 to {ID_LENGTH_MAX} characters and no NUL")
        if mended and altered(getattr(envelope, name)):
            raise MalformedMessage(f"{name} may hold half a character: it would not be kept as it came")
    for name in ("bot_id", "bot_type", "bot_name", "agent_tag", "conversation_log_url"):
        if "\0" in (read[name] or ""):
            raise MalformedMessage(f"{name} holds a NUL character")
    return Message(
        conversation_id=read["conversation_id"] or "",
        user_id=read["user_id"] or "",
        bot_id=read["bot_id"],
        bot_type=read["bot_type"],
        bot_name=read["bot_name"],
        agent_tag=read["agent_tag"] or None,
        start_time=_time("start_time", read["start_time"]),
        end_time=_time("end_time", read["end_time"]),
        conversation_log_url=_log_url(read["conversation_log_url"]),
        log=_log(envelope.conversation_log),
    )


def _read(name: str, raw: msgspec.Raw) -> str | None:
    """Read one value that is no log: a string within its length, or null. A longer one is never decoded."""
    size = memoryview(raw).nbytes
    if size == 0:
        return None
    longest = LENGTH_MAX.get(name, ID_LENGTH_MAX)
    too_long = f"{name} has more than {longest} characters"
    if size > ESCAPED_BYTES * longest + len('""'):
        raise MalformedMessage(too_long)
    try:
        word: str | None = _word(raw)
    except Unreadable as unreadable:
        flaw = unreadable.flaw
    else:
        if word is None or len(word) <= longest:
            return word
        raise MalformedMessage(too_long)
    match flaw:
        case Flaw.NOT_UTF8:
            reason = flaw.value
        case Flaw.OTHER_TYPE:
            reason = f"{name} is no string"
        case _:
            reason = f"{name} is no JSON string"
    raise MalformedMessage(reason)


def _is_id(value: str) -> bool:
    return 0 < len(value) <= ID_LENGTH_MAX and "\0" not in value


def _time(name: str, value: str | None) -> datetime | None:
    if not value:
        return None
    try:
        moment = datetime.fromisoformat(value)
        # year 1 or 9999 with an offset leaves the range when it is brought to UTC
        return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise MalformedMessage(f"{name} is no ISO 8601 time")


def _log_url(url: str | None) -> str | None:
    if not url:
        return None
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket or not key:
        raise MalformedMessage("conversation_log_url is not s3://bucket/key")
    return url


def _log(raw: msgspec.Raw) -> msgspec.Raw | None:
    view = memoryview(raw)
    if bytes(view[:4]) in _ABSENT:
        return None
    if bytes(view[:1]) != b"[":
        raise MalformedMessage("conversation_log is not a list")
    return raw

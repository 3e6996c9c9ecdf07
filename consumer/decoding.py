"""The one place where msgspec decodes what strangers wrote, and where its errors become one of ours.

Which exception a release of msgspec raises is no promise of its: text that is not UTF-8 was a UnicodeDecodeError until
0.22 and is a DecodeError since. So whatever is raised means that the text is bad, except for memory that ran out, which
says nothing about the text.
"""

import codecs
from collections.abc import Callable
from enum import Enum
from typing import Protocol, TypeVar

import msgspec

from consumer.errors import out_of_memory

Json = bytes | bytearray | memoryview | msgspec.Raw
"""A JSON text, unread."""

T_co = TypeVar("T_co", covariant=True)

REASON_CHARS_MAX = 200

PROOF_BYTES = 32 * 1024
"""Proved to be UTF-8 at a time: the decoder reserves four times as much for a str."""

_utf8 = codecs.getincrementaldecoder("utf-8")


class Flaw(Enum):
    """What is wrong with a text."""

    NOT_JSON = "not JSON"
    NOT_UTF8 = "not UTF-8"
    TOO_DEEP = "nested too deeply"
    OTHER_TYPE = "of another type than wanted"


class Unreadable(Exception):
    """A text is not what was to be read.

    reason: a few words that may be shown. Of another type msgspec names the path and both types, never a value; but a
    path may show a key of the text. where: msgspec's words, often with the byte, for what is not JSON; never a value.
    """

    def __init__(self, flaw: Flaw, reason: str = "", where: str = "") -> None:
        super().__init__(reason or flaw.value)
        self.flaw = flaw
        self.reason = reason or flaw.value
        self.where = where


class Decoder(Protocol[T_co]):
    """Reads JSON into one type: msgspec.json.Decoder."""

    def decode(self, text: Json, /) -> T_co: ...


def reading(decoder: Decoder[T_co]) -> Callable[[Json], T_co]:
    """Give the decoder's way to read a text, which raises Unreadable and MemoryError, and nothing else."""
    decode = decoder.decode

    def read(text: Json) -> T_co:
        try:
            return decode(text)
        except Exception as error:  # noqa: BLE001 (whatever it is, the text made the decoder raise it)
            flaw = None if out_of_memory(error) else _flaw(error, text)
            words = str(error)[:REASON_CHARS_MAX]
            reason = words if flaw is Flaw.OTHER_TYPE else ""
            where = words.removeprefix("JSON is malformed: ") if flaw is Flaw.NOT_JSON else ""
        # Outside of the handler: an error being handled would stay behind this one, with the text
        if flaw is None:
            raise MemoryError
        raise Unreadable(flaw, reason, where)

    return read


def is_utf8(text: Json) -> bool:
    """Say whether a text is UTF-8, without ever holding a str of all of it."""
    view = memoryview(text)
    decoder = _utf8()
    try:
        for start in range(0, view.nbytes, PROOF_BYTES):
            decoder.decode(view[start : start + PROOF_BYTES])
        decoder.decode(b"", final=True)
    except UnicodeDecodeError:
        return False
    return True


def _flaw(error: Exception, text: Json) -> Flaw:
    match error:
        case RecursionError():
            return Flaw.TOO_DEEP
        case msgspec.ValidationError():
            return Flaw.OTHER_TYPE
        case _:
            return Flaw.NOT_JSON if is_utf8(text) else Flaw.NOT_UTF8

"""An entry that is a message, and the same message with its log elsewhere. Values only."""

import contextlib
from dataclasses import dataclass

import msgspec

from consumer.conversation import transcribe
from consumer.decoding import Unreadable, reading
from consumer.errors import MalformedMessage, MessageTooLarge
from consumer.message import Message, parse, read_mended
from supervisor.cli.publishing.entries import Entry

LOG = "conversation_log"
URL = "conversation_log_url"

_keys = reading(msgspec.json.Decoder(dict[str, msgspec.Raw]))
_encode = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
class Letter:
    """A message that a consumer can work on. body: as it stood in the file."""

    message: Message
    body: bytes

    @property
    def has_log_of_its_own(self) -> bool:
        """Say whether the log is in the message, and nowhere else that it speaks of."""
        return self.message.log is not None and self.message.conversation_log_url is None


def letter(entry: Entry, max_bytes: int) -> Letter:
    """Read an entry. Raises MalformedMessage, as a consumer would find it."""
    if entry.body is None:
        raise MessageTooLarge(f"{entry.size} bytes, over the limit of {max_bytes} (MAX_MESSAGE_MB)")
    message = parse(entry.body)
    if message.log is not None:
        transcribe(message.log, message.user_id, message.conversation_id)
    return Letter(message, entry.body)


def without_log(letter: Letter, url: str | None = None) -> bytes:
    """Take the log out of a message, and say where it is. All else stays byte for byte, in its order."""
    raws = _decoded(letter.body)
    del raws[LOG]
    if url is not None:
        raws[URL] = msgspec.Raw(_encode(url))
    return b"{%b}" % b",".join(b"%b:%b" % (_encode(key), bytes(raw)) for key, raw in raws.items())


def _decoded(body: bytes) -> dict[str, msgspec.Raw]:
    with contextlib.suppress(Unreadable):
        return read_mended(_keys, body)
    raise MalformedMessage("a key is no text")

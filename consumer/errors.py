"""What can go wrong with one message, by whose fault it is.

ConsumerError
├── MalformedMessage      the message can never be processed
│   ├── MessageTooLarge
│   ├── MessageTooHeavy
│   └── NothingUsable     a log, but not one of its items can be used
├── LogUnavailable        the conversation's log is in none of its places
├── LogUnusable           the log in storage is none
├── BrokerAway            the broker is lost: the delivery has gone back to it
├── BodyNotKept           a body too large for memory found no place in a file
├── NoRoom                the next message needs more memory than this process may still take
├── PutOff                another session keeps a row locked that the message needs
└── GiveBack              the delivery goes back to the broker unfinished

None of them carries a message body, or anything that keeps one alive.
"""

import errno
import re

_STARVED = re.compile(r"\b(?:not enough|out of) memory\b", re.IGNORECASE)


def out_of_memory(error: Exception) -> bool:
    """Say whether an error means that this process may have no more memory, whatever its type.

    A file that could not be mapped says so by errno; some decoders raise an error of their own, as of bad JSON.
    """
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    return isinstance(error, MemoryError) or (
        isinstance(error, ValueError) and _STARVED.search(str(error)) is not None
    )


class ConsumerError(Exception):
    """A message could not be dealt with."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason or type(self).__doc__)
        self.reason = reason or (type(self).__doc__ or "")


class MalformedMessage(ConsumerError):
    """The message can never be processed."""

    code = "INVALID_MESSAGE"


class MessageTooLarge(MalformedMessage):
    """The body is larger than the limit."""

    code = "MESSAGE_TOO_LARGE"


class MessageTooHeavy(MalformedMessage):
    """The body is within the limit, but not even a fresh child has room for it."""

    code = "MEMORY_BUDGET_EXCEEDED"


class NothingUsable(MalformedMessage):
    """It holds a log, and not one item of it can be used."""


class LogUnavailable(ConsumerError):
    """The conversation's log is neither in the message nor in storage.

    away: the place could not be asked, or refuses everybody: of other logs there the same is to be expected.
    """

    def __init__(self, reason: str = "", *, away: bool = False) -> None:
        super().__init__(reason)
        self.away = away


class LogUnusable(ConsumerError):
    """The log in storage holds nothing that can be used."""


class BrokerAway(ConsumerError):
    """The broker cannot be reached, or took the connection away."""


class BodyNotKept(ConsumerError):
    """A body that is too large for memory cannot be written to a file: it goes back to the queue."""


class NoRoom(ConsumerError):
    """This process has no room for the next message.

    size_bytes: of its body, which goes back to the queue untouched; 0 when none has come yet.
    """

    def __init__(self, size_bytes: int) -> None:
        super().__init__(f"a message of {size_bytes} bytes")
        self.size_bytes = size_bytes


class PutOff(ConsumerError):
    """Another session keeps a row locked that the message needs: it is for later."""


class GiveBack(ConsumerError):
    """The delivery goes back to the broker, its event released or untouched."""

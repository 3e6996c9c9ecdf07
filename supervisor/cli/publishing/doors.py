"""Where a conversation's log goes: with its message, into its event's row, or into S3.

A door carries the log to its place before the message is published, so that a consumer finds it there. A run that is
killed between the two leaves a log that the next run writes again, under the same name.
"""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import sha256
from time import sleep
from typing import Protocol, assert_never

from consumer.buckets import KEY_MAX_BYTES
from consumer.errors import LogUnavailable, MalformedMessage
from consumer.message import Message
from repository import logs
from repository.connection import Database
from repository.errors import BadData
from supervisor.cli.publishing.letters import Letter, without_log

LEVEL = 6
MARK_CHARS = 16

TRIES = 4
"""Of one object: a busy S3 answers 503 now and then, and credentials that have expired are looked for again."""

IDLE_S = 20.0
"""A connection that was silent for so long may have been taken away, by a pooler or a firewall: another costs 3 ms."""


class Door(Protocol):
    """Carries logs."""

    def carry(self, letter: Letter) -> bytes:
        """Bring the log where it belongs and give the body to publish.

        Raises MalformedMessage for a line whose log cannot go there; whatever else it raises stops the run.
        """
        ...


class MessageDoor:
    """The log stays in the message."""

    def carry(self, letter: Letter) -> bytes:
        return letter.body


@dataclass(frozen=True, slots=True)
class RowDoor:
    """The log goes into the event's row. max_bytes: of a log, as its row gives it back."""

    database: Database
    max_bytes: int

    def carry(self, letter: Letter) -> bytes:
        """Raises MalformedMessage, or what the repository raises."""
        if not letter.has_log_of_its_own:
            return letter.body
        if self.database.idle_s() > IDLE_S:
            self.database.close()
        log = bytes(letter.message.log or b"")
        problem = ""
        try:
            stored = logs.store(self.database, _heading(letter.message), log, self.max_bytes)
        except BadData as bad:
            problem = f"the log cannot be kept in a row: {bad.reason}"
        else:
            match stored:
                case logs.Stored.IN_ROW | logs.Stored.NOT_NEEDED:
                    return without_log(letter)
                case logs.Stored.ELSEWHERE:
                    # A worker takes the log of the message before that in S3, and that before the row's
                    return letter.body
                case logs.Stored.TOO_LARGE:
                    problem = f"the log would be over {self.max_bytes} bytes in a row (MAX_MESSAGE_MB)"
                case logs.Stored.FOREIGN:
                    problem = "the conversation is known as another user's"
                case _:
                    assert_never(stored)
        raise MalformedMessage(problem)


@dataclass(frozen=True, slots=True)
class S3Door:
    """The log becomes an object, compressed.

    write: puts an object under its URL; raises LogUnavailable. url_of: gives the URL of a conversation's log with this
    mark.
    """

    write: Callable[[str, bytes], None]
    url_of: Callable[[str, str], str]

    def carry(self, letter: Letter) -> bytes:
        """Raises MalformedMessage, or what `write` raises: of a server that is away, at the last of its TRIES."""
        if not letter.has_log_of_its_own:
            return letter.body
        url = self.url_of(letter.message.conversation_id, _mark(letter.message))
        key = url.removeprefix("s3://").partition("/")[2]
        if len(key.encode()) > KEY_MAX_BYTES:
            raise MalformedMessage(f"its key in S3 would be longer than {KEY_MAX_BYTES} bytes")
        # Without a time: the same log is the same object
        self._put(url, gzip.compress(memoryview(letter.message.log or b"[]"), LEVEL, mtime=0))
        return without_log(letter, url)

    def _put(self, url: str, body: bytes) -> None:
        for number in range(1, TRIES):
            try:
                return self.write(url, body)
            except LogUnavailable as unavailable:
                if not unavailable.away:
                    raise
            sleep(pause_s(number))  # a signal ends it: its handler raises
        return self.write(url, body)


def pause_s(number: int) -> float:
    """Say how long to wait after a try that failed, in seconds. number: of the try, from 1."""
    return float(0.25 * 3 ** (number - 1))


def _mark(message: Message) -> str:
    """Tell this log of a conversation from any other, and from one that another user's line brings.

    Under one name the later would take the earlier's place, and an event be scored with the words of another child.
    """
    digest = sha256(message.user_id.encode() + b"\0")  # no id holds a NUL
    digest.update(memoryview(message.log or b""))
    return digest.hexdigest()[:MARK_CHARS]


def _heading(message: Message) -> logs.Heading:
    return logs.Heading(
        conversation_id=message.conversation_id,
        user_id=message.user_id,
        bot_type=message.bot_type,
        bot_id=message.bot_id,
        bot_name=message.bot_name,
        agent_tag=message.agent_tag,
        start_time=message.start_time,
        end_time=message.end_time,
    )

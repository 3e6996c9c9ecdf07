"""A log on its way to a transcript, wherever it comes from, and what of it may be shown to an LLM."""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from consumer.conversation import Transcript, transcribe
from consumer.decoding import Json
from consumer.errors import MalformedMessage, NothingUsable
from consumer.job import Job
from consumer.message import mend
from consumer.sources import Found, Sources
from repository.rows import Claimed

if TYPE_CHECKING:
    # Loaded only where an LLM is asked
    from consumer.excerpt import Excerpt

Choose = Callable[[Json], "Excerpt"]
"""Chooses what of a log is shown. Raises MalformedMessage when it is none."""


class Reading(NamedTuple):
    """A log that was read, and which its transcript alone still holds.

    place: where it came from. shown: None where no LLM is asked.
    """

    transcript: Transcript
    place: str
    size_bytes: int
    shown: "Excerpt | None"


class Reader:
    """Reads the logs of claimed events. choose: None where no LLM is asked."""

    def __init__(self, sources: Sources, choose: Choose | None) -> None:
        self._sources = sources
        self._choose = choose

    def read(self, job: Job, claim: Claimed) -> Reading:
        """Read the log in the message, or what the sources have.

        Raises MalformedMessage for one in the message that is none, else LogUnavailable or LogUnusable.
        """
        if job.message.log is None:
            reading = self._sources.read(claim, partial(self._read_mended, claim))
            job.body_bytes = reading.size_bytes
            return reading
        reading = self._read(claim, Found(job.message.log, "message"))
        job.log_read()
        return reading

    def _read_mended(self, claim: Claimed, found: Found) -> Reading:
        """Read a log; if it is none, again with half characters mended, as those of a message are."""
        try:
            return self._read(claim, found)
        except NothingUsable:
            raise
        except MalformedMessage:
            pass
        return self._read(claim, Found(mend(found.data), found.place))

    def _read(self, claim: Claimed, found: Found) -> Reading:
        # First what is shown: it indexes the items as well, and two such indexes of 60 MB would be over the budget
        shown = self._choose(found.data) if self._choose is not None else None
        transcript = transcribe(found.data, claim.user_id, claim.conversation_id)
        return Reading(transcript, found.place, memoryview(found.data).nbytes, shown)

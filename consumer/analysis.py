"""What an LLM made of a conversation, or why it made nothing: values, here so that nobody loads a client for them."""

from dataclasses import dataclass
from enum import StrEnum


class Result(StrEnum):
    """What came of an analysis. Anything but `used` leaves the defaults."""

    OFF = "off"
    NOT_NEEDED = "not_needed"  # nothing was said
    USED = "used"
    TIMEOUT = "timeout"
    ERROR = "error"
    BAD_ANSWER = "bad_answer"


@dataclass(frozen=True, slots=True)
class Analysis:
    """questions: that the child asked of itself, >= 0. emotion: one word. reason: in words, why the defaults."""

    result: Result
    questions: int = 0
    emotion: str = "neutral"
    reason: str = ""


UNASKED = Analysis(Result.OFF)
NOT_NEEDED = Analysis(Result.NOT_NEEDED)
RESULTS = tuple(result.value for result in Result if result not in {Result.OFF, Result.NOT_NEEDED})
"""How an analysis that was begun may end."""

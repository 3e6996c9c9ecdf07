"""What a conversation adds to one topic of its user, whatever another program left in that column.

Of the column only one topic's two numbers come into this process, as texts of a bounded length: the whole may be
megabytes, and of any shape.
"""

import math
from dataclasses import dataclass
from typing import Any

TOPICS_MAX = 1000
"""Of one user. Further topics are not added; those that are there still grow."""
BYTES_MAX = 64 * 2**20
"""Of the whole column, as jsonb. PostgreSQL writes it anew for each conversation, in about 18 ms a MB."""
NAME_MAX = 255
COUNT_MAX = 2.0**53
"""Beyond it adding one changes nothing."""


@dataclass(frozen=True, slots=True)
class TopicGain:
    """What a conversation adds to a topic. score: points. turns: count >= 0."""

    name: str
    score: float
    turns: int


@dataclass(frozen=True, slots=True)
class Kept:
    """What the user's row says of the topic. size_bytes: of all topics. topics: their number, counted for a new one."""

    size_bytes: int
    known: bool
    topics: int
    score: str | None
    turns: str | None


def obstacle(gain: TopicGain, kept: Kept) -> str | None:
    """Say why the topic cannot be added; None when it can."""
    if len(gain.name) > NAME_MAX:
        return f"its name has more than {NAME_MAX} characters"
    if kept.size_bytes > BYTES_MAX:
        return f"the user's topics take more than {BYTES_MAX >> 20} MB"
    if not kept.known and kept.topics >= TOPICS_MAX:
        return f"the user has {TOPICS_MAX} topics already"
    return None


def grown(gain: TopicGain, kept: Kept) -> dict[str, Any]:
    """Give the topic's new numbers. What is there and is no number of use counts as nothing."""
    return {"score": _number(kept.score) + gain.score, "turns": int(_number(kept.turns)) + gain.turns}


def _number(text: str | None) -> float:
    value = float(text or 0)
    return value if math.isfinite(value) and abs(value) <= COUNT_MAX else 0.0

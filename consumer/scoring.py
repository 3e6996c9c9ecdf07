"""The friendship score: what one conversation adds, and what it makes of a child's standing.

Source: CONTRACT section 5.
    change = max(0, 0.5 x turns + 3 x questions + emotion + 5 x new facts)
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from consumer.settings import ScoringSettings
from repository.rows import UserStatus

LEVELS = ("PHASE1_STRANGER", "PHASE2_ACQUAINTANCE", "PHASE3_FRIEND")


@dataclass(frozen=True, slots=True)
class Observations:
    """What was learnt from one conversation.

    turns, questions, new_facts: counts >= 0. emotion: one word; those without points of their own count 0.
    """

    turns: int
    new_facts: int
    questions: int = 0
    emotion: str = "neutral"


@dataclass(frozen=True, slots=True)
class Score:
    """The change of one conversation (points, finite, >= 0) and how it came about, part by part."""

    change: float
    points: Mapping[str, float]


NOTHING = Score(0.0, {})


def score(seen: Observations, settings: ScoringSettings) -> Score:
    """Say how much friendship a conversation adds."""
    points = {
        "turns": settings.per_turn * seen.turns,
        "questions": settings.per_question * seen.questions,
        "emotion": settings.emotions.get(seen.emotion, 0.0),
        "facts": settings.per_fact * seen.new_facts,
    }
    return Score(max(0.0, math.fsum(points.values())), points)


def level(total: float, settings: ScoringSettings) -> str:
    """Name the level of a total score: a threshold belongs to the level above it."""
    return LEVELS[sum(total >= threshold for threshold in settings.level_thresholds)]


def advance(status: UserStatus, *, change: float, settings: ScoringSettings) -> UserStatus:
    """Add one conversation to a child's status."""
    total = status.score + change
    return UserStatus(total, level(total, settings))

"""What becomes of an event whose attempt failed: its error code, and when it is tried again.

Source: the outcome table and the backoff rule of CONTRACT section 4.
1. A failure that the same message would meet again is permanent.
2. Any other is tried again after base x 2^(attempt-1) hours, plus 0-20 % jitter, at most the cap.
3. A longer Retry-After is respected, up to the same cap.
4. At the last attempt a failure is permanent.
"""

from dataclasses import dataclass
from enum import StrEnum
from random import Random

from consumer.backoff import exponential
from consumer.settings import RetrySettings

HOUR_S = 3600.0
JITTER = 0.2
CLAIMS_MAX = 25
BLAMED_DEATHS_MAX = 2


class ErrorCode(StrEnum):
    """The error codes of an event's row."""

    MEMORY_API_TIMEOUT = "MEMORY_API_TIMEOUT"
    MEMORY_API_ERROR = "MEMORY_API_ERROR"
    MEMORY_API_REJECTED = "MEMORY_API_REJECTED"
    MEMORY_API_BAD_RESPONSE = "MEMORY_API_BAD_RESPONSE"
    LOG_UNAVAILABLE = "LOG_UNAVAILABLE"
    INVALID_MESSAGE = "INVALID_MESSAGE"
    MESSAGE_TOO_LARGE = "MESSAGE_TOO_LARGE"
    MEMORY_BUDGET_EXCEEDED = "MEMORY_BUDGET_EXCEEDED"
    CHILD_CRASHED = "CHILD_CRASHED"
    DEADLINE_EXCEEDED = "DEADLINE_EXCEEDED"
    CLAIM_LIMIT = "CLAIM_LIMIT"
    UNEXPECTED_ERROR = "UNEXPECTED_ERROR"

    @property
    def permanent(self) -> bool:
        """Say whether the same message would fail the same way at every try."""
        return self in _PERMANENT


_PERMANENT = {
    ErrorCode.MEMORY_API_REJECTED,
    ErrorCode.INVALID_MESSAGE,
    ErrorCode.MESSAGE_TOO_LARGE,
    ErrorCode.MEMORY_BUDGET_EXCEEDED,
    ErrorCode.CLAIM_LIMIT,
}

# What a supervisor writes into the account of a dead child -> what two such deaths make of the event.
_BY_CAUSE_OF_DEATH = {
    "rss_hard": ErrorCode.MEMORY_BUDGET_EXCEEDED,
    "oom_killed": ErrorCode.MEMORY_BUDGET_EXCEEDED,
    "deadline": ErrorCode.DEADLINE_EXCEEDED,
}


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed. details: a sentence for the person on call, without what the child said."""

    code: ErrorCode
    details: str
    retry_after_s: float | None = None
    permanent: bool = False


def retry_delay_s(failure: Failure, attempt: int, settings: RetrySettings, rng: Random) -> float | None:
    """Say how many seconds to wait before attempt + 1, or None when there is none.

    attempt: the one that failed, from 1.
    """
    if failure.permanent or failure.code.permanent or attempt >= settings.max_attempts:
        return None
    cap_s = settings.max_hours * HOUR_S
    backoff_s = exponential(settings.base_hours * HOUR_S, attempt, cap_s) * (1.0 + JITTER * rng.random())
    return min(max(backoff_s, failure.retry_after_s or 0.0), cap_s)


def verdict_on_claim(claims_since_outcome: int, blamed_deaths: int, last_blame: str | None) -> Failure | None:
    """Say whether an event must be settled instead of processed: its children died of it, or it never ends.

    claims_since_outcome: claims without an outcome, this one included.
    """
    if blamed_deaths >= BLAMED_DEATHS_MAX:
        code = _BY_CAUSE_OF_DEATH.get(last_blame or "", ErrorCode.CHILD_CRASHED)
        return Failure(code, f"{blamed_deaths} children died of this message; the last one: {last_blame}")
    if claims_since_outcome > CLAIMS_MAX:
        return Failure(ErrorCode.CLAIM_LIMIT, f"claimed {CLAIMS_MAX} times without an outcome")
    return None

"""What ended an attempt, as the error code of its event."""

import traceback
from pathlib import Path

from consumer.disposition import ErrorCode, Failure
from consumer.errors import LogUnavailable, LogUnusable
from consumer.memory_api import (
    MemoryApiBadResponse,
    MemoryApiError,
    MemoryApiRejected,
    MemoryApiTimeout,
)
from consumer.pace import CallEnd
from repository.errors import BadData, RepositoryError


def call_end(error: Exception) -> CallEnd:
    """Say what a call that raised tells of the next one. A request that is refused for what is in it was answered."""
    match error:
        case MemoryApiRejected():
            return "answered"
        case MemoryApiError(opens_breaker=True):
            return "barred"
    return "failed"


def failure_of(error: Exception) -> Failure:  # noqa: PLR0911 (one line an error class)
    """Turn what ended an attempt into the event's error code. Keeps nothing of the error itself."""
    match error:
        case MemoryApiTimeout():
            return Failure(ErrorCode.MEMORY_API_TIMEOUT, str(error))
        case MemoryApiError():
            return Failure(ErrorCode.MEMORY_API_ERROR, str(error), retry_after_s=error.retry_after_s)
        case MemoryApiRejected():
            return Failure(ErrorCode.MEMORY_API_REJECTED, str(error))
        case MemoryApiBadResponse():
            return Failure(ErrorCode.MEMORY_API_BAD_RESPONSE, str(error))
        case LogUnavailable():
            return Failure(ErrorCode.LOG_UNAVAILABLE, error.reason)
        case LogUnusable():
            return Failure(ErrorCode.INVALID_MESSAGE, error.reason)
        case RepositoryError():
            return Failure(ErrorCode.UNEXPECTED_ERROR, error.reason, permanent=isinstance(error, BadData))
    # The text of an unknown error may hold what a child said: the place where it arose does not
    place = traceback.extract_tb(error.__traceback__)[-1]
    where = f"{Path(place.filename).name}:{place.lineno}"
    return Failure(ErrorCode.UNEXPECTED_ERROR, f"{type(error).__name__} at {where}")

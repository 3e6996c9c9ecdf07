"""The Memory API: is it there? Its absence stops no start, so it is a warning."""

import time

from consumer.memory_api import MemoryApi, MemoryApiFailure
from supervisor.cli.checks.finding import Finding, ok, warn

SUBJECT = "API"
TIMEOUT_S = 5.0
REMEDY = "start it, or correct MEMORY_API_URL"


def look(url: str) -> Finding:
    """Ask GET /health the way that calls go: the same trust, the same credentials, no proxy."""
    began = time.monotonic()
    try:
        status = MemoryApi(url, TIMEOUT_S, ssl_context=None, pump=lambda: None).probe("/health")
    except MemoryApiFailure as failure:
        return warn(SUBJECT, failure.reason, REMEDY)
    took_s = time.monotonic() - began
    return judged(status, took_s)


def judged(status: int, took_s: float) -> Finding:
    """Say what a status of /health means. An API need not have that path: a 404 shows that it is there."""
    seen = f"GET /health: {status} after {took_s:.2f} s"
    match status:
        case 401 | 403 | 407:
            return warn(
                SUBJECT,
                f"{seen}: calls may be refused likewise",
                "put user:password into MEMORY_API_URL",
                status=status,
            )
        case _ if 300 <= status < 400:
            return warn(
                SUBJECT,
                f"{seen}: redirects are not followed",
                "give the URL that it points to",
                status=status,
            )
        case _ if status >= 500:
            return warn(SUBJECT, seen, "see why it is not well", status=status)
        case 404 | 405:
            return ok(SUBJECT, f"{seen}: it answers, and has no such path", status=status)
    return ok(SUBJECT, seen, status=status)

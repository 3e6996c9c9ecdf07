"""How the Memory API stand-in may behave, and what it answers; values and pure functions only."""

import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import Enum
from itertools import pairwise
from typing import Any, Self


class Behaviour(Enum):
    INSTANT = "instant"
    DELAY = "delay"  # `seconds`, give or take `spread_s`
    INCIDENT = "incident"  # the latencies of a real incident, times `factor`
    HANG = "hang"  # not one byte, for as long as the client waits
    SILENCE_AFTER_HEADERS = "silence_after_headers"
    BODY_DRIP = "body_drip"  # headers at once, then a byte every `seconds`
    HEADER_DRIP = "header_drip"  # a header's byte every `seconds`
    ERROR = "error"  # `status`, with Retry-After when `retry_after` is set
    GARBAGE = "garbage"  # 200 and no JSON
    WRONG_JSON = "wrong_json"  # 200 and JSON that breaks the agreement, see `variant`
    FACTS_ONLY = "facts_only"  # a good answer without a count
    RESET = "reset"  # the connection is torn down once the request is read
    REDIRECT = "redirect"  # 307 to a path that counts who follows
    HUGE = "huge"  # a JSON answer of `megabytes`, streamed
    GZIP_BOMB = "gzip_bomb"  # a few kilobytes that inflate to `megabytes`


WRONG: Mapping[str, object] = {
    "negative": {"status": "ok", "count": -1},
    "string": {"status": "ok", "count": "3"},
    "billion": {"status": "ok", "count": 1_000_000_000},
    "fraction": {"status": "ok", "count": 1.5},
    "boolean": {"status": "ok", "count": True},
    "null": {"status": "ok", "count": None},
    "missing": {"status": "ok"},
    "list": [],
}


@dataclass(frozen=True)
class Mode:
    """One way to behave; a field that the behaviour does not name means nothing."""

    behaviour: Behaviour = Behaviour.INSTANT
    seconds: float = 0.2
    spread_s: float = 0.0
    factor: float = 1.0
    seed: int = 0
    status: int = 500
    retry_after: str | None = None
    variant: str = "negative"
    megabytes: int = 2048

    @classmethod
    def parse(cls, values: Mapping[str, Any]) -> Self:
        """Read {"mode": "delay", "seconds": 2}; raises ValueError, saying what is wrong with it."""
        given = dict(values)
        behaviour = Behaviour(given.pop("mode", Behaviour.INSTANT.value))
        unknown = given.keys() - {field.name for field in fields(cls)}
        if unknown:
            raise ValueError(f"unknown: {', '.join(sorted(unknown))}")
        mode = cls(behaviour, **given)
        if mode.variant not in WRONG:
            raise ValueError(f"variant is none of {', '.join(WRONG)}")
        return mode


# Quantile and seconds. Measured in the incident: the 50th and 75th percentile, and that from the 90th on
# the caller's 60 s were over. Between them a straight line; below the 50th one from a third of it.
INCIDENT_S = ((0.0, 6.4), (0.5, 19.1), (0.75, 26.2), (0.9, 60.0))


def incident_latency_s(quantile: float) -> float | None:
    """Return the incident's latency at a quantile in [0, 1), or None where no answer came in time."""
    for (low, from_s), (high, to_s) in pairwise(INCIDENT_S):
        if quantile < high:
            return from_s + (to_s - from_s) * (quantile - low) / (high - low)
    return None


def chance(seed: int, conversation_id: str, call: int) -> float:
    """Return a number in [0, 1) that depends on the call only, not on the order in which calls arrive."""
    return zlib.crc32(f"{seed}/{call}/{conversation_id}".encode()) / 2**32


def wait_s(mode: Mode, conversation_id: str, call: int) -> float | None:
    """Return how long the answer to this call takes, in seconds; None for ever. call: counted from 1."""
    match mode.behaviour:
        case Behaviour.DELAY:
            lean = 2 * chance(mode.seed, conversation_id, call) - 1
            return max(0.0, mode.seconds + lean * mode.spread_s)
        case Behaviour.INCIDENT:
            latency_s = incident_latency_s(chance(mode.seed, conversation_id, call))
            return None if latency_s is None else latency_s * mode.factor
        case Behaviour.HANG:
            return None
        case _:
            return 0.0


def facts_for(conversation_id: str) -> int:
    """Return how many new facts the stand-in finds in a conversation: 0 to 6, by its id alone.

    So a test can compute every user's score without asking the server.
    """
    return zlib.crc32(conversation_id.encode()) % 7


def answer(conversation_id: str, *, with_count: bool = True) -> bytes:
    """Return the good answer."""
    count = facts_for(conversation_id)
    facts = [f"fact {number} of {conversation_id}" for number in range(1, count + 1)]
    found = {"status": "ok", "count": count, "facts": facts}
    if not with_count:
        del found["count"]
    return json.dumps(found).encode()


def request_fault(body: bytes, idempotency_key: str | None) -> str | None:
    """Say what is wrong with a request to /extract_facts, or None."""
    try:
        request = json.loads(body)
    except ValueError as error:
        return f"not JSON: {error}"
    match request:
        case {"user_id": str(), "conversation_id": str(conversation_id), "conversation": list(items), **rest}:
            pass
        case _:
            return "not an object with user_id, conversation_id and conversation"
    if rest:
        return f"unexpected: {', '.join(map(str, rest))}"
    for number, item in enumerate(items, 1):
        match item:
            case {"role": "assistant" | "user", "content": str(content), **more} if content and not more:
                pass
            case _:
                return f"item {number} of the conversation is no role and content"
    if idempotency_key != conversation_id:
        return f"Idempotency-Key is {idempotency_key!r}, conversation_id {conversation_id!r}"
    return None

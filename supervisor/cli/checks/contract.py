"""A Memory API held against docs and contract: a right call, the same again, and a wrong one.

It writes what it is asked to: the facts of one short conversation, under ids that begin with PREFIX. What an answer
would mean for a conversation is said in the worker's words (the table of outcomes in docs/reliability.md).
"""

import math
import secrets
import time
from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from consumer.conversation import transcribe
from consumer.memory_api import (
    MemoryApi,
    MemoryApiBadResponse,
    MemoryApiError,
    MemoryApiFailure,
    MemoryApiRejected,
    MemoryApiTimeout,
    Payload,
)
from supervisor.cli.checks.finding import Finding, fail, ok, warn

PREFIX = "friendship-supervisor-check-"
SLOW = 0.5
"""Of the time limit: what a short conversation may take of it, as long ones take longer."""

TALK = (
    ("pika", "Hello! What is your name, and do you have a pet?"),
    ("user", "My name is Lan, I am seven years old, and my dog is called Milo."),
    ("pika", "Milo is a nice name! What do you like best?"),
    ("user", "I like swimming, and my favourite colour is green."),
)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a call came to. count: of new facts, or None with a failure. took_s: from connect to the last byte."""

    count: int | None
    failure: MemoryApiFailure | None
    took_s: float


class Wrong:
    """A request that no Memory API may take for a good one: its conversation is no list."""

    def __init__(self, user_id: str, conversation_id: str) -> None:
        self._body = orjson.dumps(
            {"user_id": user_id, "conversation_id": conversation_id, "conversation": "this is no list"}
        )
        self.length = len(self._body)

    def __iter__(self) -> Iterator[bytes]:
        yield self._body


def look(url: str, timeout_s: float) -> Iterator[Finding]:
    """Make the calls, one after the other; without a right answer to the first the others would say nothing."""
    api = MemoryApi(url, timeout_s, ssl_context=None, pump=lambda: None)
    user_id, conversation_id, wrong_id = (PREFIX + secrets.token_hex(6) for _ in range(3))
    yield ok(
        "API test",
        f"writes the facts of a test: user_id {user_id}, conversation_id {conversation_id}",
        user_id=user_id,
        conversation_id=conversation_id,
    )
    log = orjson.dumps(
        [
            {"speaker": speaker, "turn_id": number, "text": text}
            for number, (speaker, text) in enumerate(TALK, 1)
        ]
    )
    first = _asked(api, user_id, conversation_id, transcribe(log, user_id, conversation_id).payload)
    yield answered(first)
    if first.count is None:
        return
    yield in_time(first.took_s, timeout_s)
    again = _asked(api, user_id, conversation_id, transcribe(log, user_id, conversation_id).payload)
    yield repeated(first.count, again)
    yield refused(_asked(api, user_id, wrong_id, Wrong(user_id, wrong_id)))


def _asked(api: MemoryApi, user_id: str, conversation_id: str, payload: Payload) -> Answer:
    began = time.monotonic()
    try:
        count = api.extract(user_id, conversation_id, payload)
    except MemoryApiFailure as failure:
        return Answer(None, failure, time.monotonic() - began)
    return Answer(count, None, time.monotonic() - began)


def answered(first: Answer) -> Finding:
    """Judge the answer to a right call."""
    subject, after = "API answer", f"after {first.took_s:.2f} s"
    facts = {"took_s": round(first.took_s, 3)}
    match first.failure:
        case None:
            return ok(subject, f"{first.count} new facts {after}", count=first.count, **facts)
        case MemoryApiTimeout():
            return fail(
                subject,
                f"none {after}: conversations end FAILED MEMORY_API_TIMEOUT, and are tried again after hours",
                "raise --memory-api-timeout, or see why it is slow",
                **facts,
            )
        case MemoryApiRejected() as rejected:
            return fail(
                subject,
                f"{rejected.reason} It is a right one: conversations end FAILED MEMORY_API_REJECTED, for good",
                "the call is POST /extract_facts with user_id, conversation_id and conversation (role, content)",
                status=rejected.status,
                **facts,
            )
        case MemoryApiBadResponse() as bad:
            return fail(
                subject,
                f"{bad.reason} Conversations end FAILED MEMORY_API_BAD_RESPONSE, and are tried again after hours",
                'answer 200 with {"status": "ok", "count": 3, "facts": [...]}, of at most 8 MB, not compressed',
                **facts,
            )
        case MemoryApiError() as error:
            return fail(
                subject, f"{error.reason} {_cost(error)}", _remedy(error), status=error.status, **facts
            )
    return fail(subject, first.failure.reason, "see why", **facts)


def _cost(error: MemoryApiError) -> str:
    wait = "" if error.retry_after_s is None else f", {error.retry_after_s:g} s or more as it asks"
    breaker = "; the first one opens the breaker" if error.opens_breaker else ""
    return f"Conversations end FAILED MEMORY_API_ERROR, and are tried again after hours{wait}{breaker}"


def _remedy(error: MemoryApiError) -> str:
    match error.status:
        case None:
            return "start it, or correct MEMORY_API_URL"
        case 401 | 403 | 407:
            return "put user:password into MEMORY_API_URL, or allow this host"
        case 404 | 405:
            return "correct MEMORY_API_URL: the call is POST <MEMORY_API_URL>/extract_facts"
        case status if 300 <= status < 400:
            return "redirects are not followed: give the URL that it points to"
        case 429:
            return "allow more calls, or run fewer --children"
    return "see why it is not well"


def in_time(took_s: float, timeout_s: float) -> Finding:
    """Judge how much of the time limit a short conversation takes."""
    seen = f"{took_s:.2f} of {timeout_s:g} s for {len(TALK)} short messages"
    if took_s > SLOW * timeout_s:
        longer = math.ceil(took_s / SLOW)
        return warn(
            "API time", f"{seen}: long conversations may time out", f"--memory-api-timeout {longer} or more"
        )
    return ok("API time", seen, took_s=round(took_s, 3), timeout_s=timeout_s)


def repeated(first: int, again: Answer) -> Finding:
    """Judge the second call with the same Idempotency-Key, as it is made when the answer to the first was lost."""
    subject = "API same key"
    if again.count is None:
        reason = again.failure.reason if again.failure else ""
        return warn(
            subject,
            f"the same call again: {reason} A conversation whose answer was lost ends FAILED, and its facts stay",
            "answer a repeated Idempotency-Key as the first time",
        )
    if again.count != first:
        return warn(
            subject,
            f"the same call again finds {again.count} new facts instead of {first}: the Idempotency-Key is not"
            " honoured, and a conversation whose answer was lost is scored by the second count",
            "answer a repeated Idempotency-Key as the first time",
            count=again.count,
        )
    if first == 0:
        return ok(subject, "0 new facts both times, which says nothing about the Idempotency-Key", count=0)
    return ok(
        subject,
        f"{again.count} new facts again: a conversation whose answer was lost is scored the same",
        count=again.count,
    )


def refused(wrong: Answer) -> Finding:
    """Judge the answer to a call that can never be right."""
    subject, told = "API wrong call", "400, 413, 415 or 422"
    match wrong.failure:
        case MemoryApiRejected() as rejected:
            return ok(
                subject,
                f"refused with {rejected.status}: such a conversation ends FAILED MEMORY_API_REJECTED, for good",
                status=rejected.status,
            )
        case None:
            return warn(
                subject,
                f"taken for a good one ({wrong.count} new facts): what cannot be right is scored all the same",
                f"check requests, and answer {told}",
            )
        case failure:
            return warn(
                subject,
                f"{failure.reason} Such a conversation is tried again for days, and counts as an outage",
                f"answer {told} to a request that is wrong",
            )

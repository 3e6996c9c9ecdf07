"""The real command line with faults injected into what it does with a conversation: tests and benchmarks only.

    python -m scripts.faults.injected run --children 8

A conversation whose id names a runaway (`scripts.faults.runaway`) becomes one where its log would be read. With
FRIENDSHIP_FAULT_LEAK_MB set, every conversation leaves that much memory behind in its child; with
FRIENDSHIP_FAULT_USE_MB it uses as much and gives it back. And every delivery that the broker calls a second one is told
in the log, as `redelivered`: most leave no other trace.
"""

import functools
import logging
import os
from typing import Any

from consumer import pipeline
from consumer.ports import Delivery
from scripts.faults import runaway
from supervisor import signals
from supervisor.__main__ import main

LEAK, USE = "FRIENDSHIP_FAULT_LEAK_MB", "FRIENDSHIP_FAULT_USE_MB"

log = logging.getLogger("friendship.faults")
_leaked: list[bytes] = []


def inject(leak_bytes: int, use_bytes: int) -> None:
    """Put the faults before the step that reads a log; before the fork, so that every child has them."""
    parent = os.getpid()
    transcribe = pipeline.transcribe  # type: ignore[attr-defined] # imported there, and looked up there at each call
    handle = pipeline.Pipeline.handle

    @functools.wraps(transcribe)
    def faulty(source: Any, user_id: str, conversation_id: str, *rest: Any, **named: Any) -> Any:
        if os.getpid() == parent:
            # The rehearsal before the fork
            return transcribe(source, user_id, conversation_id, *rest, **named)
        kind = runaway.kind_of(conversation_id)
        if kind is not None:
            runaway.run(kind)
        taken = b"\1" * (leak_bytes + use_bytes)
        if leak_bytes:
            _leaked.append(taken)
        del taken
        return transcribe(source, user_id, conversation_id, *rest, **named)

    @functools.wraps(handle)
    def telling(self: pipeline.Pipeline, delivery: Delivery) -> Any:
        if delivery.redelivered:
            log.info("redelivered", extra={"message_id": delivery.message_id})
        return handle(self, delivery)

    setattr(pipeline, "transcribe", faulty)  # noqa: B010 - not one of its own names
    setattr(pipeline.Pipeline, "handle", telling)  # noqa: B010 - mypy takes methods for fixed


if __name__ == "__main__":
    signals.hold()
    inject(*(int(float(os.environ.get(name, "0")) * runaway.MB) for name in (LEAK, USE)))
    main()

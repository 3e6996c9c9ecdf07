"""The real command line with faults injected into what it does with a conversation: tests and benchmarks only.

    python -m scripts.faults.injected run --children 8

Where its log would be read, a conversation does the harm that `scripts.faults.harm` describes. And every delivery that
the broker calls a second one is told in the log, as `redelivered`: most leave no other trace. With
FRIENDSHIP_FAULT_TIME_SCALE set, the breaker's times, which are no settings, are scaled by it.
"""

import functools
import logging
import os
from dataclasses import replace
from typing import Any

from consumer import pace, pipeline, reader
from consumer.ports import Delivery
from scripts.faults.harm import HEAD_BYTES, LEAK, UNREADABLE, USE, Harm, die
from supervisor import signals
from supervisor.__main__ import main
from supervisor.breaker import Rules
from supervisor.cli import settings

__all__ = ["LEAK", "TIME_SCALE", "USE", "hasten", "inject"]

TIME_SCALE = "FRIENDSHIP_FAULT_TIME_SCALE"

log = logging.getLogger("friendship.faults")


def inject(harm: Harm) -> None:
    """Put the faults before the step that reads a log; before the fork, so that every child has them."""
    parent = os.getpid()
    transcribe = reader.transcribe  # type: ignore[attr-defined] # imported there, and looked up there at each call
    parse = pipeline.parse  # type: ignore[attr-defined] # likewise
    handle = pipeline.Pipeline.handle

    @functools.wraps(transcribe)
    def faulty(source: Any, user_id: str, conversation_id: str, *rest: Any, **named: Any) -> Any:
        if os.getpid() == parent:
            # The rehearsal before the fork
            return transcribe(source, user_id, conversation_id, *rest, **named)
        harm.befall(conversation_id)
        return transcribe(source, user_id, conversation_id, *rest, **named)

    @functools.wraps(parse)
    def deadly(body: bytes, *rest: Any, **named: Any) -> Any:
        if UNREADABLE in body[:HEAD_BYTES]:
            die()
        return parse(body, *rest, **named)

    @functools.wraps(handle)
    def telling(self: pipeline.Pipeline, delivery: Delivery) -> Any:
        if delivery.redelivered:
            log.info("redelivered", extra={"message_id": delivery.message_id})
        return handle(self, delivery)

    setattr(pipeline, "parse", deadly)  # noqa: B010 - not one of its own names
    setattr(reader, "transcribe", faulty)  # noqa: B010 - likewise
    setattr(pipeline, "transcribe", faulty)  # noqa: B010 - of a log that is parked unread
    setattr(pipeline.Pipeline, "handle", telling)  # noqa: B010 - mypy takes methods for fixed


def hasten(scale: float) -> None:
    """Scale the times of breaker and pace."""
    rules = Rules()
    scaled = replace(
        rules,
        over_s=rules.over_s * scale,
        pause_s=rules.pause_s * scale,
        longest_pause_s=rules.longest_pause_s * scale,
    )
    setattr(settings, "Rules", lambda: scaled)  # noqa: B010 - mypy takes classes for fixed
    pace.STEP_S *= scale
    pace.LONGEST_S *= scale


if __name__ == "__main__":
    signals.hold()
    hasten(float(os.environ.get(TIME_SCALE) or "1"))
    inject(Harm.of(os.environ))
    main()

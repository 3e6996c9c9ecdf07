"""The real command line with faults injected into what it does with a conversation: tests and benchmarks only.

    python -m scripts.faults.injected run --children 8

Where its log would be read, a conversation does the harm that `scripts.faults.harm` describes. And every delivery that
the broker calls a second one is told in the log, as `redelivered`: most leave no other trace.
"""

import functools
import logging
import os
from typing import Any

from consumer import pipeline
from consumer.ports import Delivery
from scripts.faults.harm import LEAK, USE, Harm
from supervisor import signals
from supervisor.__main__ import main

__all__ = ["LEAK", "USE", "inject"]

log = logging.getLogger("friendship.faults")


def inject(harm: Harm) -> None:
    """Put the faults before the step that reads a log; before the fork, so that every child has them."""
    parent = os.getpid()
    transcribe = pipeline.transcribe  # type: ignore[attr-defined] # imported there, and looked up there at each call
    handle = pipeline.Pipeline.handle

    @functools.wraps(transcribe)
    def faulty(source: Any, user_id: str, conversation_id: str, *rest: Any, **named: Any) -> Any:
        if os.getpid() == parent:
            # The rehearsal before the fork
            return transcribe(source, user_id, conversation_id, *rest, **named)
        harm.befall(conversation_id)
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
    inject(Harm.of(os.environ))
    main()

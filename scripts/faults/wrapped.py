"""Any other worker with faults injected into what it does with a conversation: tests and benchmarks only.

    python -m scripts.faults.wrapped scripts/floor.py 8
    python -m scripts.faults.wrapped -m celery -A scripts.bench.celery_worker worker

The program runs as it is, but for `httpx.Client.send`: before a request to the Memory API goes out, its conversation
does the harm that `scripts.faults.harm` describes. So each worker holds then what it holds during a call, and neither
the frozen yardstick nor a library's worker has to know of faults.
"""

import functools
import os
import re
import runpy
import sys
from typing import Any

import httpx
import orjson

from scripts.faults.harm import HEAD_BYTES, Harm

CONVERSATION_ID = re.compile(rb'"conversation_id"\s*:\s*("(?:[^"\\]|\\.)*")')


def inject(harm: Harm) -> None:
    """Put the faults before every request that names a conversation."""
    send = httpx.Client.send

    @functools.wraps(send)
    def faulty(self: httpx.Client, request: httpx.Request, **named: Any) -> httpx.Response:
        found = CONVERSATION_ID.search(request.content, 0, HEAD_BYTES)
        if found is not None:
            harm.befall(orjson.loads(found[1]))
        return send(self, request, **named)

    setattr(httpx.Client, "send", faulty)  # noqa: B010 - mypy takes methods for fixed


def run(words: list[str]) -> None:
    """Become the program: a script's path or `-m` and a module, and its arguments."""
    match words:
        case ["-m", module, *rest]:
            sys.argv = [module, *rest]
            runpy.run_module(module, run_name="__main__", alter_sys=True)
        case [path, *rest]:
            sys.argv = [path, *rest]
            runpy.run_path(path, run_name="__main__")
        case _:
            raise SystemExit("usage: python -m scripts.faults.wrapped (SCRIPT | -m MODULE) [ARGUMENT...]")


if __name__ == "__main__":
    inject(Harm.of(os.environ))
    run(sys.argv[1:])

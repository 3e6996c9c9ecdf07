"""The real command line, with faults injected, in a process of its own; its log is read as it grows."""

import json
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep
from types import TracebackType
from typing import Self

from scripts.faults.timeline import Line
from scripts.servers.process import Program, ServerFailed, account_of_ours, tail

CHECKOUT = Path(__file__).resolve().parents[2]
LOOK_EVERY_S = 0.02
STOP_LIMIT_S = 60.0
COMMON = {
    "FRIENDSHIP_LOG_FORMAT": "json",
    "FRIENDSHIP_LISTEN": "",
    "FRIENDSHIP_RETRY_EVERY": "0",
}


class Supervised:
    """A running supervisor; a context manager. lines: its log so far, as of the last look."""

    def __init__(
        self,
        directory: Path,
        environment: dict[str, str],
        *options: str,
        inside: Callable[[Sequence[str]], Sequence[str]] = lambda words: words,
    ) -> None:
        """Start it. directory: for its log. inside: makes its command line one that runs in some container."""
        self._log = directory / "supervisor.log"
        self._log.write_bytes(b"")
        self._words = inside([sys.executable, "-m", "scripts.faults.injected", "run", *options])
        self._environment = os.environ | COMMON | environment
        self._directory = directory
        self._rest = b""
        self.lines: list[Line] = []

    def __enter__(self) -> Self:
        self._program = Program.start(
            list(self._words),
            env=self._environment,
            cwd=CHECKOUT,
            log=self._log,
            user=account_of_ours(),
            farewell=signal.SIGQUIT,
            remove=self._directory,
        )
        self._file = self._log.open("rb")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._program.stop(signal.SIGTERM if error is None else signal.SIGQUIT, STOP_LIMIT_S)
        self.look()
        self._file.close()

    @property
    def pid(self) -> int:
        return self._program.pid

    def look(self) -> list[Line]:
        """Read what was logged since the last look, and return it."""
        *new, self._rest = (self._rest + self._file.read()).split(b"\n")
        lines = [json.loads(line) for line in new if line.startswith(b"{")]
        self.lines.extend(lines)
        return lines

    def logged(self, event: str, **fields: object) -> list[Line]:
        """Give the lines of this event with these fields."""
        return [
            line
            for line in self.lines
            if line["event"] == event and all(line.get(name) == value for name, value in fields.items())
        ]

    def ready(self) -> set[int]:
        """Give the pids of the children that are ready, as far as the log tells."""
        self.look()
        ready = {line["pid"] for line in self.logged("child_ready")}
        return ready - {line["pid"] for line in self.logged("child_exited")}

    def wait_until(
        self, condition: Callable[[], bool], what: str, limit_s: float = 60.0, every_s: float = LOOK_EVERY_S
    ) -> None:
        """Wait for a condition; raises ServerFailed, with the log's tail, when it does not come."""
        end = monotonic() + limit_s
        while not condition():
            if not self._program.alive:
                raise ServerFailed(f"the supervisor ended before: {what}\n{tail(self._log)}")
            if monotonic() > end:
                raise ServerFailed(f"not within {limit_s:g} s: {what}\n{tail(self._log)}")
            sleep(every_s)

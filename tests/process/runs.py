"""A supervisor over fake programs (tests.process.fakes), started and watched as a real process."""

import json
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from tests.fixtures.worker import Worker

Start = Callable[..., "Run"]


class Run(Worker):
    """A supervisor over fake programs, watched through its log."""

    def __init__(
        self,
        directory: Path,
        scenario: str,
        prefix: tuple[str, ...],
        limits: dict[str, Any],
        environment: dict[str, str],
    ) -> None:
        self.directory = directory
        self.apart = bool(prefix)
        self._start(
            [*prefix, sys.executable, "-W", "error", "-m", "tests.process.fakes", scenario, str(directory)],
            os.environ | {"LIMITS": json.dumps(limits)} | environment,
        )

    def say(self, what: str) -> None:
        (self.directory / what).touch()

    def accounts(self) -> list[dict[str, Any]]:
        try:
            return [json.loads(line) for line in (self.directory / "accounts").read_text().splitlines()]
        except FileNotFoundError:
            return []

    def left_behind(self) -> list[int]:
        """Give the pids that outlived it; those of another namespace went with it."""
        return [] if self.apart else super().left_behind()

    def names(self, *wanted: str) -> list[tuple[str, int]]:
        """Give the wanted events with their slots, in the log's order."""
        return [(line["event"], line["slot"]) for line in list(self.events) if line["event"] in wanted]

    def ends_well(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop it, and hold it to a clean end: exit 0, nobody left behind, nothing else said on its output."""
        assert self.stop(number) == 0
        assert self.left_behind() == []
        assert self.other_lines == []


def gone(pid: int) -> bool:
    """Say whether a process has ended, even if nobody reaps it here."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True

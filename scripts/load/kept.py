"""A worker that is kept running: started inside the memory limit, sampled, and started again when it has ended."""

import contextlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from time import monotonic
from typing import Self

from scripts.faults.container import Limit
from scripts.load.background import Background
from scripts.load.sampler import Sample, Sampler, samples
from scripts.measure import NotReached, Tree, running
from scripts.servers.process import tail

LOOK_EVERY_S = 0.05


class Kept(Background):
    """Does what a container's restart policy does.

    ends: monotonic time and exit status of each end that nobody asked for.
    """

    def __init__(
        self,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        limit: Limit,
        directory: Path,
        *,
        restart_after_s: float,
    ) -> None:
        """restart_after_s: pause before it is started again.

        At the end it is killed, not asked to stop: what it did by then is what counts.
        """
        super().__init__()
        self._arguments, self._environment, self._limit = arguments, environment, limit
        self._directory, self._restart_after_s = directory, restart_after_s
        self._started = threading.Event()
        self._files: list[Path] = []
        self._log = directory / "worker.log"
        self.ends: list[tuple[float, int]] = []

    def __enter__(self) -> Self:
        super().__enter__()
        self._started.wait()
        return self

    def until(self, condition: Callable[[], bool], what: str, limit_s: float) -> None:
        """Wait for a condition while the worker lives. Raises NotReached."""
        end = monotonic() + limit_s
        while not condition():
            if self.failure is not None or self.ends:
                raise NotReached(f"the worker ended before: {what}\n{tail(self._log)}") from self.failure
            if monotonic() > end:
                raise NotReached(f"not reached within {limit_s:g} s: {what}")
            self.over.wait(LOOK_EVERY_S)

    def samples(self) -> list[Sample]:
        """Read all samples so far, and nothing at each end. Processor time goes on where the one before had ended."""
        found: list[Sample] = []
        before_s = 0.0
        for number, file in enumerate(list(self._files)):
            own = list(samples(file))
            found += [
                Sample(one.at, one.rss_bytes, one.pss_bytes, one.processes, round(before_s + one.cpu_s, 2))
                for one in own
            ]
            before_s += own[-1].cpu_s if own else 0.0
            if number < len(self.ends):
                found.append(Sample(self.ends[number][0], 0, 0, 0, round(before_s, 2)))
        return found

    def work(self) -> None:
        try:
            while not self.over.is_set():
                self._live_once()
                self.over.wait(self._restart_after_s)
        finally:
            self._started.set()

    def _live_once(self) -> None:
        file = self._directory / f"samples-{len(self._files)}"
        with contextlib.ExitStack() as resources:
            tree: Tree = resources.enter_context(
                running(
                    self._arguments,
                    self._environment,
                    patience_s=0,
                    inside=self._limit.inside,
                    log=self._log,
                )
            )
            self._limit.enforce_on(tree.pid)
            resources.enter_context(Sampler(tree.pid, file))
            self._files.append(file)
            self._started.set()
            while tree.alive and not self.over.wait(LOOK_EVERY_S):
                pass
            died = not self.over.is_set()
            at = monotonic()
        if died:
            self.ends.append((at, tree.exit_status or 0))

"""A supervisor over tiny fake programs: no broker, no database.

Run as `python -m tests.process.fakes SCENARIO DIRECTORY`. The directory is how test and children talk: a file that
appears says go. Limits come from LIMITS, a JSON object.
"""

import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from supervisor import errands, logs, loop, policy, signals
from supervisor.counters import Layout
from supervisor.errands import Kind
from supervisor.events import Death
from supervisor.limits import MB, Listen, SupervisorSettings
from supervisor.programs import ChildRuntime, Depth
from supervisor.status import desk, guests

log = logging.getLogger("friendship.fakes")

STEP = 16 * MB
TROUBLE = "MEMORY_API_TIMEOUT"


class Fakes:
    """Programs whose child plays the scenario, and whose janitor writes to a file."""

    def __init__(self, scenario: str, directory: Path) -> None:
        self.directory = directory
        self.scenario: Callable[[ChildRuntime], int] = getattr(self, scenario)

    def child(self, runtime: ChildRuntime) -> int:
        return self.scenario(runtime)

    def settle(self, deaths: Sequence[Death]) -> None:
        if (self.directory / "settle-fails").exists():
            raise ConnectionError("away")
        with (self.directory / "accounts").open("a") as file:
            for death in deaths:
                peak = _peak_mb(death.pid)
                row = {"cause": death.cause.value, "blamed": death.blamed, "pid": death.pid, "peak_mb": peak}
                row |= {"conversation_id": death.conversation_id, "event_id": death.event_id}
                row |= {"epoch": death.epoch, "claimed_by": death.claimed_by, "slot": death.slot}
                file.write(json.dumps(row) + "\n")

    def retry(self) -> None:
        (self.directory / "retried").touch()

    # --- scenarios

    def idle(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        while not runtime.stop_requested():
            runtime.idle()
            time.sleep(0.01)
        return 0

    def busy(self, runtime: ChildRuntime) -> int:
        """Work on a message until it is allowed to finish; take no more when asked to stop."""
        runtime.ready()
        self._claim(runtime)
        runtime.calling()
        while not self._said("finish"):
            time.sleep(0.01)
        runtime.writing()
        runtime.acking()
        runtime.settled("processed")
        return self._until_stop(runtime)

    def heavy(self, runtime: ChildRuntime) -> int:
        """Settle one message and keep 60 MB of it, in the first life of each slot."""
        runtime.ready()
        self._claim(runtime)
        kept = b"x" * 60 * MB if self._first(runtime, "heavy") else b""
        runtime.settled("processed")
        self._until_stop(runtime)
        return len(kept[:0])

    def chatty(self, runtime: ChildRuntime) -> int:
        """Log more than a pipe holds, and only then settle a message."""
        runtime.ready()
        self._claim(runtime)
        for number in range(1000):
            log.warning("chatter", extra={"number": number, "padding": "x" * 200})
        runtime.settled("processed")
        (self.directory / f"chatted-{runtime.slot}").touch()
        return self._until_stop(runtime)

    def failing(self, runtime: ChildRuntime) -> int:
        """Fail one message after a call, then wait."""
        runtime.ready()
        self._claim(runtime)
        runtime.calling()
        runtime.called("failed")
        runtime.failing(TROUBLE)
        runtime.settled("failed")
        return self._until_stop(runtime)

    def breathing(self, runtime: ChildRuntime) -> int:
        """Weigh much with a message in hand and little without; slot 0 stays near the hard budget instead."""
        runtime.ready()
        if runtime.slot == 0:
            kept = b"x" * 270 * MB
            self._until_stop(runtime)
            return len(kept[:0])
        while not runtime.stop_requested():
            self._claim(runtime)
            runtime.calling()
            kept = b"x" * 60 * MB
            time.sleep(0.01)
            del kept
            runtime.settled("processed")
            time.sleep(0.005)
        return 0

    def leaks_idle(self, runtime: ChildRuntime) -> int:
        """Settle one message, rest, and only then grow, in the first life of each slot."""
        runtime.ready()
        self._claim(runtime)
        runtime.settled("processed")
        kept = b"x" * 60 * MB if self._first(runtime, "leak") else b""
        self._until_stop(runtime)
        return len(kept[:0])

    def unanswered(self, runtime: ChildRuntime) -> int:
        """Try to reach a database that takes the connection and says nothing."""
        runtime.waiting("database", "")
        while not self._said("database-answers"):
            time.sleep(0.01)
        return self.idle(runtime)

    def greedy(self, runtime: ChildRuntime) -> int:
        """Take memory as fast as it can, in the first life of slot 0."""
        runtime.ready()
        self._claim(runtime)
        runtime.calling()
        taken = []
        while runtime.slot == 0 and not self._said("greed-over"):
            taken.append(b"x" * STEP)
        return self._until_stop(runtime)

    def late_writer(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        if self._first(runtime, "late"):
            self._claim(runtime)
            runtime.writing()
        return self._until_stop(runtime)

    def late_once(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        if self._first(runtime, "late"):
            self._claim(runtime)
            runtime.calling()
            while True:
                time.sleep(1)
        return self._until_stop(runtime)

    def deaf(self, runtime: ChildRuntime) -> int:
        """Never heed a request to stop."""
        runtime.ready()
        self._claim(runtime)
        runtime.holding("why")
        while True:
            time.sleep(1)

    def segv_once(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        if self._first(runtime, "crash"):
            self._claim(runtime)
            os.kill(os.getpid(), signal.SIGSEGV)
        return self._until_stop(runtime)

    def cannot_boot(self, _runtime: ChildRuntime) -> int:
        return 1

    def crashes_when_ready(self, runtime: ChildRuntime) -> int:
        runtime.ready()
        raise RuntimeError("password=hunter2")

    def schema(self, runtime: ChildRuntime) -> int:
        runtime.waiting("schema", "version 1, wanted 2")
        return self._until_stop(runtime)

    def database(self, runtime: ChildRuntime) -> int:
        runtime.waiting("database", "refused")
        while not self._said("database-is-here"):
            time.sleep(0.01)
        return self.idle(runtime)

    def chatter(self, runtime: ChildRuntime) -> int:
        """Write to the board without a pause, so that a kill comes in the middle of a write."""
        runtime.ready()
        number = 0
        while not runtime.stop_requested():
            number += 1
            runtime.receiving(number, None)
            runtime.received(number, number)
            runtime.claiming(f"conv-{number}", f"me-{number}")
            runtime.claimed(number, number)
            runtime.calling()
        return 0

    def orphans(self, runtime: ChildRuntime) -> int:
        """Leave an orphan that ends; note when PID 1 has reaped it."""
        go_read, go = os.pipe()
        middle = os.fork()
        if middle == 0:
            orphan = os.fork()
            if orphan == 0:
                os.read(go_read, 1)
                os._exit(5)
            (self.directory / "orphan").write_text(str(orphan))
            os._exit(0)
        os.waitpid(middle, 0)
        orphan = int((self.directory / "orphan").read_text())
        runtime.ready()
        os.write(go, b"x")
        while not runtime.stop_requested():
            if not Path(f"/proc/{orphan}").exists():
                (self.directory / "reaped").touch()
            time.sleep(0.01)
        return 0

    def depth(self) -> Callable[[], Depth]:
        return lambda: Depth("queue", ready=3, dead=1, consumers=2)

    def _until_stop(self, runtime: ChildRuntime) -> int:
        while not runtime.stop_requested():
            time.sleep(0.01)
        return 0

    def _claim(self, runtime: ChildRuntime) -> None:
        runtime.receiving(10, None)
        runtime.received(10, 20)
        runtime.claiming(f"conv-{runtime.slot}", f"me-{runtime.slot}-{os.getpid()}")
        runtime.claimed(40 + runtime.slot, 7)

    def _said(self, what: str) -> bool:
        return (self.directory / what).exists()

    def _first(self, runtime: ChildRuntime, what: str) -> bool:
        mark = self.directory / f"{what}-{runtime.slot}"
        if mark.exists():
            return False
        mark.touch()
        return True


def _peak_mb(pid: int) -> float | None:
    """Return a process's own high-water mark of resident memory; None when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return None


def main() -> int:
    signals.hold()
    scenario, directory = sys.argv[1:]
    policy.SILENT_S = float(os.environ.get("SILENT_S", policy.SILENT_S))
    guests.PATIENCE_S = float(os.environ.get("PATIENCE_S", guests.PATIENCE_S))
    errands.LIMITS_S[Kind.STATUS] = float(os.environ.get("HUNG_S", errands.LIMITS_S[Kind.STATUS]))
    desk.ALIVE_S = float(os.environ.get("ALIVE_S", desk.ALIVE_S))
    start = Path(directory) / "slow-start"
    while start.exists():
        time.sleep(0.01)
    limits = {
        "children": 2,
        "rss_budget_bytes": 300 * MB,
        "rss_hard_bytes": 375 * MB,
        "message_deadline_s": 60.0,
        "write_budget_s": 30.0,
        "drain_timeout_s": 65.0,
        "sample_interval_s": 0.05,
        "max_messages": 0,
        "retry_every_s": 0.0,
    }
    given = limits | json.loads(os.environ.get("LIMITS", "{}"))
    if "listen" in given:
        given["listen"] = Listen(*given["listen"])
    settings = SupervisorSettings(**given)
    logs.configure("json", "info")
    return loop.run(settings, Fakes(scenario, Path(directory)), Layout(["processed", "failed"], [TROUBLE]))


if __name__ == "__main__":
    sys.exit(main())

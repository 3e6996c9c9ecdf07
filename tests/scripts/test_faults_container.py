"""A memory limit around a process: what passes it is killed, and counted."""

import signal
import subprocess
import sys
from pathlib import Path

from scripts.faults.container import Limit, Watch, limited
from scripts.faults.runaway import MB
from tests.fixtures.eventually import eventually

TAKE = "import signal; input(); hoard = b'1' * ({} << 20); print('taken', flush=True); signal.pause()"


def start(limit: Limit, megabytes: int) -> "subprocess.Popen[str]":
    """Start a process inside that takes so much when it is told to."""
    words = limit.inside([sys.executable, "-c", TAKE.format(megabytes)])
    process = subprocess.Popen(list(words), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    eventually(lambda: b"signal" in Path(f"/proc/{process.pid}/cmdline").read_bytes(), "it has started")
    return process


def take(process: "subprocess.Popen[str]") -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def held(limit: Limit) -> None:
    with start(limit, 30) as small:
        assert small.stdout is not None
        take(small)
        assert small.stdout.readline() == "taken\n"
        assert limit.kills() == 0
        small.kill()
    with start(limit, 300) as large:
        eventually(lambda: b"sh" not in Path(f"/proc/{large.pid}/comm").read_bytes(), "the shell is gone")
        limit.enforce_on(large.pid)
        take(large)
        eventually(lambda: large.poll() == -signal.SIGKILL, "it is killed")
    eventually(lambda: limit.kills() == 1, "it is counted")
    assert limit.peak_bytes() > 60 * MB
    with start(limit, 30) as next_one:
        limit.enforce_on(next_one.pid)
        assert next_one.stdout is not None
        take(next_one)
        assert next_one.stdout.readline() == "taken\n"
        if isinstance(limit, Watch):
            limit.look()
        assert limit.kills() == 1, "who comes after a killed one is judged by what it takes itself"
        next_one.kill()


def test_what_passes_the_limit_is_killed_and_counted() -> None:
    """By the kernel where a group can be made, else by the watch."""
    with limited(100 * MB) as limit:
        held(limit)


def test_without_control_groups_a_watch_does_it(tmp_path: Path) -> None:
    """A place where no directory can be made leaves the watch."""
    with limited(100 * MB, parent=tmp_path / "missing") as limit:
        assert limit.name.startswith("watch")
        held(limit)

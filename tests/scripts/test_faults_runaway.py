"""The runaways: they take memory without end, and at a wall each dies in its own way."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from scripts.faults import runaway
from scripts.faults.runaway import ENDLESS, MB, PAGE, Kind
from tests.fixtures.eventually import eventually

CHECKOUT = Path(__file__).resolve().parents[2]
ADDRESS_SPACE = 1024 * MB


@contextlib.contextmanager
def running(kind: Kind, cap_bytes: int, *, walled: bool = False) -> Iterator["subprocess.Popen[str]"]:
    wall = f"import resource; resource.setrlimit(resource.RLIMIT_AS, ({ADDRESS_SPACE}, {ADDRESS_SPACE}))\n"
    code = f"from scripts.faults.runaway import Kind, run; run(Kind({kind.value!r}), {cap_bytes})"
    process = subprocess.Popen(
        [sys.executable, "-c", wall + code if walled else code],
        cwd=CHECKOUT,
        stderr=subprocess.PIPE,
        text=True,
    )
    with process:
        yield process
        process.kill()


def resident_bytes(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


@pytest.mark.parametrize("kind", ENDLESS)
def test_each_kind_becomes_resident_and_stands_still_at_the_cap(kind: Kind) -> None:
    """What nobody stops does not take the machine along."""
    cap = 200 * MB
    with running(kind, cap) as process:
        eventually(lambda: resident_bytes(process.pid) >= cap, f"{kind} is resident")
        eventually(lambda: "(sleeping)" in Path(f"/proc/{process.pid}/status").read_text(), "it stands still")
        assert resident_bytes(process.pid) < cap + 64 * MB
        assert process.poll() is None


@pytest.mark.parametrize(
    ("kind", "death"),
    [
        (Kind.OBJECTS, "MemoryError"),
        (Kind.BYTES, "MemoryError"),
        (Kind.MALLOC, "MemoryError"),
        (Kind.SHARED, "OSError: [Errno 12]"),
        (Kind.MEMORY_ERROR, "MemoryError"),
    ],
)
def test_at_a_wall_each_kind_dies_in_its_own_way(kind: Kind, death: str) -> None:
    """Without the cap, only a limit on the address space ends it: with an exception."""
    with running(kind, 1 << 60, walled=True) as process:
        _, error = process.communicate(timeout=60)
        assert process.returncode == 1
        assert death in error.splitlines()[-1]


def test_c_that_looks_at_nothing_dies_of_a_signal() -> None:
    """A NULL that is written to is SIGSEGV, as in an extension without checks."""
    with running(Kind.SEGFAULT, 1 << 60, walled=True) as process:
        process.communicate(timeout=60)
        assert process.returncode == -signal.SIGSEGV


def test_only_an_id_made_for_it_is_a_runaway() -> None:
    """Every kind can be read out of its ids; an ordinary id is none, an unknown kind is a mistake."""
    for kind in Kind:
        assert runaway.kind_of(runaway.conversation_id(kind, "7")) is kind
    assert runaway.kind_of("c-00001") is None
    with pytest.raises(ValueError, match="nonsense"):
        runaway.kind_of("runaway-nonsense-1")


def test_a_process_without_a_runaway_is_small() -> None:
    """The sizes above come from what is taken, not from what is imported."""
    assert resident_bytes(os.getpid()) > 0
    done = subprocess.run(
        [sys.executable, "-c", "from scripts.faults import runaway; print(runaway._resident_bytes())"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert int(done.stdout) < 100 * MB

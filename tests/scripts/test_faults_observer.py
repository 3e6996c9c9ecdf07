"""The observer: a process of its own that sees every child's size, and says how well it looked."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator

from scripts.faults.observer import Observer, Report
from scripts.faults.runaway import MB
from tests.fixtures.eventually import eventually

HOLD = """
import subprocess, sys
hoard = b"1" * (int(sys.argv[1]) << 20)
inner = subprocess.Popen([sys.executable, "-c", "x = b'1' * (300 << 20); print(flush=True); input()"], text=True,
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE) if len(sys.argv) > 2 else None
if inner: inner.stdout.readline()
print(inner.pid if inner else 0, flush=True)
input()
if inner: inner.communicate("\\n")
"""


@contextlib.contextmanager
def child(megabytes: int, *more: str) -> Iterator[tuple[int, int]]:
    """Hold so much in a child of ours, and perhaps more in a child of its own; gives both pids."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(megabytes), *more],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        inner = int(process.stdout.readline())
        yield process.pid, inner
        process.communicate("\n")


def looked(observer: Observer, pid: int) -> Report:
    """Wait for a report in which this child is."""
    seen: list[Report] = []

    def found() -> bool:
        seen.append(observer.report())
        return pid in seen[-1].peaks

    eventually(found, f"{pid} is seen")
    return seen[-1]


def test_it_sees_the_size_of_each_child_also_of_one_that_comes_later() -> None:
    """A child is found without being told of; one that has ended is in no later report."""
    with Observer(os.getpid()) as observer:
        with child(100) as (pid, _):
            report = looked(observer, pid)
            assert 100 * MB < report.peaks[pid] < 200 * MB
            assert pid in report.above(100 * MB)
            assert pid not in report.above(200 * MB)
        eventually(lambda: pid not in observer.report().peaks, "it is gone")
        with child(50) as (later, _):
            assert looked(observer, later).peaks[later] > 50 * MB


def test_grandchildren_are_not_the_parents_children() -> None:
    """What a child starts itself is another's."""
    with Observer(os.getpid()) as observer, child(10, "with one of its own") as (pid, inner):
        report = looked(observer, pid)
        assert inner not in report.peaks
        assert report.above(250 * MB) == {}


def test_it_says_how_long_it_did_not_look() -> None:
    """Looks and the longest time between two are told, and each report begins anew."""
    with Observer(os.getpid()) as observer, child(1) as (pid, _):
        report = looked(observer, pid)
        assert report.looks >= 1
        assert report.largest_gap_ms > 0
        assert report.peak_bytes == max(report.peaks.values())
        assert observer.report().looks < 1000

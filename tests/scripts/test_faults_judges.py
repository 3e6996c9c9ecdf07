"""The benchmarks' judges: a run that keeps its promises passes, and each one that is broken is named."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from scripts import bench_container, bench_leak, bench_runaway
from scripts.faults.runaway import MB, Kind

CHECKOUT = Path(__file__).resolve().parents[2]

RUNAWAY = bench_runaway.Run(
    kind=Kind.BYTES,
    number=3,
    status="FAILED",
    error_code="MEMORY_BUDGET_EXCEEDED",
    deaths=("rss_hard", "rss_hard"),
    others_died=0,
    others_unprocessed=0,
    peak_bytes=375 * MB,
    observer_gap_ms=6.0,
    quiet_p99_ms=220.0,
    runaway_p99_ms=440.0,
    settled_ms=5.0,
)
LEAK = bench_leak.Result(
    leak_mb=5.0,
    throughput=38.0,
    statuses={"PROCESSED": 2000},
    redelivered=0,
    taken_again=0,
    fewest_ready=7,
    fewest_consumers=7,
    peak_bytes=375 * MB,
    observer_gap_ms=6.0,
    breaches=[],
    leave_s=[0.2],
)
FREE = replace(LEAK, leak_mb=0.0, leave_s=[])
CONTAINER = bench_container.Result(
    limit="cgroup",
    wall_s=60.0,
    outcomes={"PROCESSED": 900, "FAILED MEMORY_API_TIMEOUT": 100},
    kills=0,
    peak_bytes=3000 * MB,
    child_peak_bytes=375 * MB,
    ends={"rss_soft": 3, "shutdown": 8},
    breaches=[],
)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"peak_bytes": 375 * MB + 1}, "above 375"),
        ({"error_code": "CHILD_CRASHED"}, "CHILD_CRASHED"),
        ({"status": "PROCESSED", "error_code": None}, "PROCESSED"),
        ({"deaths": ("rss_hard",)}, None),
        ({"deaths": ()}, "0 children died"),
        ({"deaths": ("rss_hard",) * 3}, "3 children died"),
        ({"others_died": 1}, "1 children died of other"),
        ({"others_unprocessed": 2}, "2 other messages"),
        ({"runaway_p99_ms": 441.0}, "p99"),
    ],
)
def test_a_runaways_run_is_judged(change: dict[str, Any], named: str | None) -> None:
    """Exactly at a bound is kept; past it the promise is named, with kind and number."""
    broken = bench_runaway.judge(replace(RUNAWAY, **change), bench_runaway.Setting(8, 300, 375, 16))
    assert len(broken) == (named is not None)
    assert all(named in promise and promise.startswith("bytes 3: ") for promise in broken if named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"statuses": {"PROCESSED": 1999, "FAILED": 1}}, "outcomes"),
        ({"redelivered": 1}, "1 deliveries came again"),
        ({"taken_again": 1}, "claimed more than once"),
        ({"fewest_ready": 6}, "6 children were ready"),
        ({"fewest_consumers": 6}, "6 consumers"),
        ({"peak_bytes": 375 * MB + 1}, "seen at 375.0 MB"),
        ({"other_ends": {"rss_hard": 1}}, "rss_hard"),
        ({"breaches": ["ledger_chain"]}, "ledger_chain"),
        ({"leave_s": []}, "no child was replaced"),
    ],
)
def test_a_leaking_run_is_judged(change: dict[str, Any], named: str | None) -> None:
    """The leak-free run of the pair is judged likewise, but need not replace a child."""
    setting = bench_leak.Setting(8, 300, 375, 5.0, 0.0, 2000)
    broken = bench_leak.judge([{"free": FREE, "leaking": replace(LEAK, **change)}], setting)
    assert len(broken) == (named is not None)
    assert all(named in promise for promise in broken if named)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({}, None),
        ({"kills": 1}, "1 kills"),
        ({"peak_bytes": 3000 * MB + 1}, "3000 MB"),
        ({"child_peak_bytes": 375 * MB + 1}, "375.0 MB"),
        ({"outcomes": {"PROCESSED": 999}}, "outcomes"),
        ({"outcomes": {"PROCESSED": 999, "FAILED MEMORY_BUDGET_EXCEEDED": 1}}, "outcomes"),
        ({"ends": {"oom_killed": 1, "shutdown": 8}}, "oom_killed"),
        ({"breaches": ["overdue"]}, "overdue"),
    ],
)
def test_a_containers_run_is_judged(change: dict[str, Any], named: str | None) -> None:
    """Answers that took too long are the incident's own doing; all else is a broken promise."""
    setting = bench_container.Setting(3000, 8, 300, 1000, 3_000_000, 0.02)
    broken = bench_container.judge(replace(CONTAINER, **change), setting)
    assert len(broken) == (named is not None)
    assert all(named in promise for promise in broken if named)


def test_the_containers_conversations_differ_in_their_ids_only() -> None:
    """Each has an id of its own, in its body too, and the size that was asked for."""
    setting = bench_container.Setting(3000, 8, 300, 3, 20_000, 0.02)
    made = list(bench_container.conversations(setting))
    assert len({one.conversation_id for one in made}) == 3
    for one in made:
        assert one.body.startswith(b'{"conversation_id":"%b"' % one.conversation_id.encode())
        assert len(one.body) >= 20_000


@pytest.mark.parametrize("name", ["bench_runaway", "bench_leak", "bench_container"])
def test_each_benchmark_starts_as_a_file_and_as_a_module(name: str) -> None:
    """Both ways are documented."""
    for words in ([f"scripts/{name}.py"], ["-m", f"scripts.{name}"]):
        done = subprocess.run(
            [sys.executable, *words, "--help"], cwd=CHECKOUT, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        assert "--json" in done.stdout

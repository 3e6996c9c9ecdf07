"""The load test itself, small: a replay is run and counted, a worker that ends is started again."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import psutil
import pytest
from rich.console import Console

from scripts.bench.contenders import CONTENDERS
from scripts.faults.container import MEMORY, Watch
from scripts.load import stored
from scripts.load.kept import Kept
from scripts.load.replay import Setting
from scripts.load.scenario import SCENARIOS
from scripts.load_test import beginning, play, write
from scripts.measure import MB, NotReached
from scripts.servers.stack import Stack
from tests.fixtures.eventually import eventually

CHECKOUT = Path(__file__).resolve().parents[2]


def load_test(*words: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "scripts.load_test", *words],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_a_small_replay_counts_every_message(stack: Stack, tmp_path: Path) -> None:
    """A compressed day: every message has one fate, nothing is lost, and what was read is kept."""
    scenario = replace(SCENARIOS["steady"], size_kb=30.0, to_minute=10.0)
    setting = Setting(scenario, scale=0.005, seed=1, children=4, limit_mb=3000)
    said = io.StringIO()
    run, missed = play(
        stack,
        [CONTENDERS["supervised"]],
        setting,
        beginning(setting, "load_test"),
        Console(file=said, width=100),
    )
    assert missed == []
    [worker] = run.workers
    figures = worker.figures
    fates = (figures.processed, figures.failed, figures.skipped, figures.dead_lettered, figures.unfinished)
    assert figures.published == len(scenario.arrivals(1)) > 100
    assert sum(fates) == figures.published
    assert figures.processed > 0
    assert (figures.lost, figures.doubled, figures.deaths, figures.kills) == (0, 0, 0, 0)
    assert figures.connections_peak == 4
    assert figures.latency is not None
    assert 0 < figures.latency.p50_s <= figures.latency.p90_s <= figures.latency.max_s
    assert 10 < figures.pss_rest_mb <= figures.pss_peak_mb <= figures.rss_peak_mb
    minutes = [reading.minute for reading in worker.readings]
    assert minutes == sorted(minutes)
    assert worker.progress[-1].published > 0
    assert "friendship-supervisor" in said.getvalue()
    files = write(run, tmp_path)
    assert {file.suffix for file in files} >= {".json", ".md"}
    assert stored.load((tmp_path / "steady.json").read_bytes()).workers[0].figures == figures


@pytest.mark.usefixtures("rabbitmq", "postgres")  # only so that it is skipped where these are not installed
def test_nothing_is_left_when_it_is_told_to_stop(tmp_path: Path) -> None:
    """SIGTERM in the middle of a replay, as a cancelled job gets it: no process of it is left, nor its memory group."""
    words = (
        "--scenario=steady",
        "--size-kb=1",
        "--workers=supervised",
        "--children=2",
        f"--output={tmp_path}",
    )
    groups = set(MEMORY.glob("friendship-*"))
    with subprocess.Popen(
        [sys.executable, "-u", "-m", "scripts.load_test", *words],
        cwd=CHECKOUT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "PROCESSED 0" in line:
                break
        family = psutil.Process(process.pid).children(recursive=True)
        assert len(family) > 5  # servers, their keepers, the supervisor, its children, the sampler
        process.terminate()
        rest = process.stdout.read()
    assert process.returncode == 130, rest
    assert "Traceback" not in rest
    _, left = psutil.wait_procs(family, timeout=30)
    assert left == []
    assert set(MEMORY.glob("friendship-*")) <= groups


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--workers=thread",), "thread: not among supervised, floor"),
        (("--children=0",), "'0' is no number above 0"),
        (("--children=1,2",), "one number only"),
        (("--scenario=none",), "'none' is not one of 'incident'"),
        ((f"--compare={Path(__file__)}",), "no JSON"),
    ],
)
def test_wrong_usage_is_refused_before_anything_starts(words: Sequence[str], said: str) -> None:
    """Status 2, and what is wrong with it."""
    done = load_test(*words)
    assert done.returncode == 2
    assert said in " ".join(done.stderr.replace("│", " ").split())
    assert "starting" not in done.stdout


Keep = Callable[[str], Kept]


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Keep]:
    """Give what keeps a program running, within a limit that it does not reach."""
    with contextlib.closing(Watch(10_000 * MB)) as watch:
        yield lambda program: Kept(("-c", program), {}, watch, tmp_path, restart_after_s=0.0)


def test_a_worker_that_ends_is_started_again(kept: Keep) -> None:
    """As often as it ends, with its status and its processor time kept."""
    with kept("import os, sys, time; time.sleep(0.5); sys.exit(3)") as worker:
        eventually(lambda: len(worker.ends) >= 2, "it has ended twice")
    assert {status for _, status in worker.ends} == {3}
    cpu_s = [sample.cpu_s for sample in worker.samples()]
    assert cpu_s == sorted(cpu_s)


def test_a_killed_worker_ends_as_a_containers(kept: Keep) -> None:
    """SIGKILL of its first process is told as 137."""
    with kept("import os, signal; os.kill(os.getpid(), signal.SIGKILL)") as worker:
        eventually(lambda: bool(worker.ends), "it has ended")
    assert worker.ends[0][1] == 137


def test_who_waits_for_a_worker_learns_of_its_end(kept: Keep) -> None:
    """Rather than to wait until the time is over."""
    with (
        kept("raise SystemExit(1)") as worker,
        pytest.raises(NotReached, match="ended before: never"),
    ):
        worker.until(lambda: False, "never", 60.0)

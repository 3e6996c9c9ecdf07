"""The long proofs of what memory is promised: the benchmarks themselves, which exit 1 when a promise is broken."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.usefixtures("rabbitmq", "postgres")  # only so that it is skipped where these are not installed
@pytest.mark.parametrize("name", ["bench_runaway", "bench_leak", "bench_container"])
def test_the_benchmark_finds_no_broken_promise(name: str, tmp_path: Path) -> None:
    """At full length, with the figures written down as well."""
    figures = tmp_path / f"{name}.json"
    done = subprocess.run(
        [sys.executable, "-m", f"scripts.{name}", "--json", str(figures)],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(figures.read_bytes())["broken"] == []

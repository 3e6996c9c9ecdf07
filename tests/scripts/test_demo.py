"""The demo itself, small: what a newcomer runs first must work."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
EXAMPLES = CHECKOUT / "examples" / "conversations.jsonl"


@pytest.mark.usefixtures("rabbitmq", "postgres")  # only so that it is skipped where these are not installed
def test_the_demo_processes_everything_and_ends_by_itself() -> None:
    """Without a terminal it prints progress, recyclings and scores, and exits 0 once all is processed."""
    done = subprocess.run(
        [sys.executable, "-m", "scripts.demo", "--children=2", "--big=3"],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "120"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    expected = len(EXAMPLES.read_text("utf-8").splitlines()) + 3
    assert f"demo: {expected}/{expected} settled (PROCESSED" in done.stdout
    assert "FAILED" not in done.stdout
    assert "recycled (rss_soft)" in done.stdout
    assert "user-long-1" in done.stdout

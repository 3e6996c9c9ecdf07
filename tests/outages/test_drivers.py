"""The drivers that make the figures: short runs of each, held to the same promises."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.slow
@pytest.mark.parametrize(
    "words",
    [
        ("scripts.faults.outages", "--kills", "1", "--pauses", "0"),
        ("scripts.faults.outages_endings", "--kills", "3", "--restarts", "3"),
        ("scripts.faults.cluster", "--kills", "1"),
    ],
    ids=lambda words: words[0].rpartition(".")[2],
)
def test_a_driver_loses_and_doubles_nothing(words: tuple[str, ...]) -> None:
    """It ends well, and its last line says so in numbers."""
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=CHECKOUT, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    verdict = json.loads(done.stdout.splitlines()[-1])
    assert (verdict["lost"], verdict["doubled"], verdict["failed"], verdict["breaches"]) == (0, 0, 0, [])
    assert verdict["published"] > 0

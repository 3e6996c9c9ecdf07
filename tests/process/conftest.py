"""What the tests of processes share."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.fixtures.eventually import eventually
from tests.process.runs import Run, Start, gone


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Run] = []

    def begin(scenario: str, *prefix: str, environment: dict[str, str] | None = None, **limits: Any) -> Run:
        run = Run(tmp_path, scenario, prefix, limits, environment or {})
        started.append(run)
        return run

    yield begin
    for run in started:
        run.destroy()
    eventually(
        lambda: all(gone(pid) for run in started for pid in run.left_behind()), "all children are gone"
    )

"""Ever more children on real servers, small."""

import pytest

from scripts.load import sweep as sweep_module
from scripts.load.results import Step
from scripts.load.sweep import line, sweep
from scripts.measure import NotReached
from scripts.servers.stack import Stack


@pytest.mark.full
def test_each_step_is_measured_at_work_and_at_rest(stack: Stack) -> None:
    """Every figure is there, and two children are two: on the database, in memory, in what the calls would allow."""
    said: list[str] = []
    steps = sweep(stack, [1, 2], api_s=0.05, size_kb=2.0, seconds=2.0, idle_seconds=0.5, say=said.append)
    assert [step.children for step in steps] == [1, 2]
    assert [step.most_per_s for step in steps] == [20, 40]
    assert [step.connections for step in steps] == [1, 2]
    for step in steps:
        assert 0 < step.processed_per_s < step.most_per_s * 1.05
        assert 0 < step.supervisor_idle_cpu_share < 1
        assert 0 < step.supervisor_cpu_share < 1
        assert step.machine_cpu_share > 0
        assert step.cpu_ms_per_message > 0
    assert steps[1].pss_idle_mb > steps[0].pss_idle_mb
    assert steps[1].pss_busy_mb > steps[0].pss_busy_mb
    assert said == [line(step) for step in steps]


def test_a_queue_that_runs_dry_is_no_measurement(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too little work for the window: said, not measured."""
    monkeypatch.setattr(sweep_module, "SPARE_S", -1.9)
    with pytest.raises(NotReached, match="work for 2 children"):
        sweep(stack, [2], api_s=0.05, size_kb=2.0, seconds=2.0, idle_seconds=0.1, say=lambda _: None)


def test_a_rate_is_a_slope() -> None:
    """Waves of four, two seconds apart, are two a second, however many waves the window held."""
    for waves in (2, 3, 7):
        done = [2.0 * wave for wave in range(waves) for _ in range(4)]
        assert sweep_module._rate(done) == pytest.approx(2.0)
    with pytest.raises(NotReached):
        sweep_module._rate([1.0])


def test_a_step_in_words() -> None:
    """The line that is printed while the next step runs."""
    step = Step(64, 63.2, 64.0, 0.0112, 0.0101, 0.58, 6.04, 477.0, 561.0, 64)
    assert line(step) == (
        " 64 children   63.20 messages/s of 64  supervisor 1.12% of a core, idle 1.01%  machine 58%  "
        "6.0 ms a message  PSS 477 MB idle, 561 busy  64 database sessions"
    )

"""The scenarios are data that can be replayed: the same seed, the same run, whatever the clock."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.clock import Clock
from scripts.load.scenario import SCENARIOS, Scenario, Step, conversation_name
from scripts.servers.memory_modes import Mode


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS)
def test_every_scenario_can_be_played(scenario: Scenario) -> None:
    """Its steps lie in order within its time, the first says how many messages arrive, and the stand-in knows them."""
    minutes = [step.minute for step in scenario.steps]
    assert minutes == sorted(minutes)
    assert minutes[0] == scenario.from_minute < scenario.to_minute > minutes[-1]
    assert scenario.steps[0].per_minute
    assert scenario.steps[0].api
    for step in scenario.steps:
        if behaviour := step.behaviour(0.05, 7):
            assert Mode.parse(behaviour).seed == 7


def test_the_incident_is_the_one_that_happened() -> None:
    """A slow Memory API first, from minute 42 on no answer at all; at last it is well again, to show who comes back."""
    slow, out, well = SCENARIOS["incident"].steps
    assert slow.behaviour(0.05, 0) == {"mode": "incident", "factor": 0.05, "seed": 0}
    assert out.minute == 42
    assert out.behaviour(0.05, 0)["mode"] == "hang"
    assert well.behaviour(0.05, 0)["mode"] == "delay"


def test_times_are_compressed_and_nothing_else() -> None:
    """A delay of 15 s give or take 5 becomes 1.5 and 0.5; a status stays a status."""
    step = Step(0, api={"mode": "delay", "seconds": 15.0, "spread_s": 5.0, "status": 503})
    assert step.behaviour(0.1, 3) == {
        "mode": "delay",
        "seconds": pytest.approx(1.5),
        "spread_s": pytest.approx(0.5),
        "status": 503,
        "seed": 3,
    }
    assert Step(0).behaviour(0.1, 3) == {}


@given(st.sampled_from(list(SCENARIOS.values())), st.integers(0, 1000))
def test_arrivals_repeat_with_their_seed(scenario: Scenario, seed: int) -> None:
    """The same seed gives the same arrivals, in order and within the scenario; another seed gives others."""
    arrivals = scenario.arrivals(seed)
    assert arrivals == scenario.arrivals(seed)
    assert arrivals == sorted(arrivals)
    assert scenario.from_minute < arrivals[0]
    assert arrivals[-1] < scenario.to_minute
    assert arrivals != scenario.arrivals(seed + 1)


def test_each_step_has_its_own_rate() -> None:
    """In a spike of ten times the messages, ten times as many arrive, give or take what chance makes of it."""
    spike = SCENARIOS["spike"]
    arrivals = [minute for seed in range(20) for minute in spike.arrivals(seed)]
    before = sum(minute < 4 for minute in arrivals) / 4
    during = sum(4 <= minute < 7 for minute in arrivals) / 3
    assert during / before == pytest.approx(10, rel=0.2)


def test_poison_is_known_by_its_name() -> None:
    """Every twentieth message of the poison scenario is called so, and no message of another one."""
    names = [conversation_name(SCENARIOS["poison"], number) for number in range(1, 41)]
    assert [name for name in names if name.startswith("poison-")] == ["poison-00020", "poison-00040"]
    assert conversation_name(SCENARIOS["steady"], 20) == "load-00020"


@given(st.floats(0, 1e6), st.floats(0, 600), st.floats(0.001, 1), st.floats(0, 600))
def test_the_clock_goes_both_ways(began: float, from_minute: float, scale: float, minute: float) -> None:
    """The minute of the time of a minute is that minute."""
    clock = Clock(began, from_minute, scale)
    assert clock.minute(clock.at(minute)) == pytest.approx(minute, abs=1e-4)
    assert clock.seconds(scale * 7) == pytest.approx(7)

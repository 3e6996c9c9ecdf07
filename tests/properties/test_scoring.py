"""The score: bounded, additive, and levels that never fall as the total rises."""

import math

from hypothesis import given
from hypothesis import strategies as st

from consumer.scoring import LEVELS, Observations, advance, level, score
from consumer.settings import ScoringSettings
from repository.rows import UserStatus

counts = st.integers(0, 10_000)
emotions = st.sampled_from(["interesting", "boring", "neutral", "angry", "happy", "sad", "nonsense"])
observations = st.builds(Observations, turns=counts, new_facts=counts, questions=counts, emotion=emotions)
totals = st.floats(0, 1e9)


@given(observations)
def test_a_change_is_the_contracts_formula_and_never_negative(seen: Observations) -> None:
    """change = max(0, 0.5 turns + 3 questions + emotion + 5 facts)."""
    emotion = {"interesting": 15.0, "boring": -15.0}.get(seen.emotion, 0.0)
    expected = max(0.0, 0.5 * seen.turns + 3 * seen.questions + emotion + 5 * seen.new_facts)
    result = score(seen, ScoringSettings())
    assert math.isclose(result.change, expected, abs_tol=1e-9)
    assert result.change >= 0


@given(totals, totals)
def test_a_higher_total_is_never_a_lower_level(one: float, other: float) -> None:
    """Levels are ordered as their totals are."""
    low, high = sorted((one, other))
    settings = ScoringSettings()
    assert LEVELS.index(level(low, settings)) <= LEVELS.index(level(high, settings))


@given(totals, st.floats(0, 1e5))
def test_advance_adds_to_the_score_and_names_the_level(total: float, change: float) -> None:
    """The level is that of the new total, whatever the row said."""
    after = advance(UserStatus(total, "nonsense"), change=change, settings=ScoringSettings())
    assert after == UserStatus(total + change, level(total + change, ScoringSettings()))

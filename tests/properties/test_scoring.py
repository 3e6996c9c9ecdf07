"""The score: bounded, additive, and levels that never fall as the total rises."""

import math
from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from consumer.scoring import LEVELS, Observations, advance, level, score
from consumer.settings import ScoringSettings
from repository.rows import UserStatus

NOW = datetime(2026, 1, 1, tzinfo=UTC)
counts = st.integers(0, 10_000)
emotions = st.sampled_from(["interesting", "boring", "neutral", "angry", "happy", "sad", "nonsense"])
observations = st.builds(Observations, turns=counts, new_facts=counts, questions=counts, emotion=emotions)
totals = st.floats(0, 1e9)
json_values = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


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


@given(totals, st.floats(0, 1e5), counts, st.none() | st.text(max_size=10), json_values)
def test_advance_adds_to_the_score_and_to_one_topic_whatever_stood_there(
    total: float, change: float, turns: int, topic: str | None, metrics: object
) -> None:
    """Foreign content of topic_metrics never fails an event, and other topics stay as they are."""
    before = UserStatus(score=total, level="", topic_metrics=metrics)  # type: ignore[arg-type]
    after = advance(before, change=change, turns=turns, topic=topic, now=NOW, settings=ScoringSettings())
    assert after.score == total + change
    known = metrics if isinstance(metrics, dict) else {}
    for name, value in known.items():
        if name != topic:
            assert after.topic_metrics[name] is value
    if topic is not None:
        entry = after.topic_metrics[topic]
        assert entry["score"] >= change
        assert entry["turns"] >= turns
        assert entry["last_date"] == NOW.isoformat()

"""Silence is counted by those who look, and only as long as they look."""

from consumer.silence import LONGEST_STEP_S, Silence


def test_silence_lasts_until_something_moves() -> None:
    """Looks add up; one byte ends it."""
    silence = Silence(moved=7, looked_at=100.0)
    for second in range(1, 5):
        silence = silence.look(7, 100.0 + second)
    assert silence.lasts_s == 4.0
    assert silence.look(8, 105.0).lasts_s == 0.0


def test_whoever_did_not_look_has_heard_no_silence() -> None:
    """A minute in which this process stood still, or was busy, counts as one short step; so does a clock that jumps."""
    silence = Silence(moved=7, looked_at=100.0).look(7, 160.0)
    assert silence.lasts_s == LONGEST_STEP_S
    assert silence.look(7, 150.0).lasts_s == LONGEST_STEP_S

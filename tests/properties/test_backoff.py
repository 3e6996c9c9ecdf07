"""Backoff: bounded at every attempt number, and never shrinking."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from consumer.backoff import PROVEN_MESSAGES, PROVEN_S, RECONNECT_GROWTH, exponential, jittered, proven
from consumer.disposition import HOUR_S, ErrorCode, Failure, retry_delay_s, verdict_on_claim
from consumer.settings import RetrySettings

attempts = st.integers(-5, 10**12)
times = st.floats(0.001, 1e6)


@given(times, attempts, times)
def test_exponential_is_bounded_at_every_attempt(base: float, attempt: int, cap: float) -> None:
    """No attempt number overflows, passes the cap or shortens the wait."""
    wait = exponential(base, attempt, cap)
    assert min(base, cap) <= wait <= cap
    assert exponential(base, attempt + 1, cap) >= wait


@given(times, attempts, times, st.integers())
def test_jitter_keeps_between_half_and_all_of_the_wait(
    base: float, attempt: int, cap: float, seed: int
) -> None:
    """Reconnects spread, and none comes later than the wait without jitter."""
    wait = exponential(base, attempt, cap, RECONNECT_GROWTH)
    assert wait / 2 <= jittered(base, attempt, cap, Random(seed)) <= wait


@given(st.floats(0.05, 0.5), st.integers(1, 200), st.floats(1, 20), st.integers())
def test_a_reconnect_adds_little_to_the_outage(base: float, tries: int, cap: float, seed: int) -> None:
    """Whenever the server comes back, the wait that is left is less than two thirds of the outage and a first wait."""
    rng = Random(seed)
    waits = [jittered(base, attempt, cap, rng) for attempt in range(1, tries + 1)]
    assert waits[-1] <= base + sum(waits[:-1]) * 0.6 * 1.001


@given(st.sampled_from(ErrorCode), st.integers(1, 100), st.none() | st.floats(0, 1e9), st.integers())
def test_a_retry_keeps_to_the_contracts_rule(
    code: ErrorCode, attempt: int, retry_after_s: float | None, seed: int
) -> None:
    """Permanent codes and the last attempt are never retried; others wait base x 2^(n-1) + 0-20 %, capped."""
    settings = RetrySettings()
    delay_s = retry_delay_s(Failure(code, "", retry_after_s), attempt, settings, Random(seed))
    if code.permanent or attempt >= settings.max_attempts:
        assert delay_s is None
        return
    assert delay_s is not None
    cap_s = settings.max_hours * HOUR_S
    base_s = min(settings.base_hours * HOUR_S * 2 ** (attempt - 1), cap_s)
    assert min(base_s, cap_s) <= delay_s <= cap_s
    if not retry_after_s or retry_after_s <= base_s:
        assert delay_s <= base_s * 1.2
    else:
        assert delay_s >= min(retry_after_s, cap_s)


@given(
    st.integers(1, 100), st.integers(0, 10), st.sampled_from(["rss_hard", "deadline", "crashed", "new cause"])
)
def test_an_event_is_settled_by_two_blamed_deaths_or_twenty_five_claims(
    claims: int, deaths: int, cause: str
) -> None:
    """Fewer never settle it, and the code names what killed."""
    verdict = verdict_on_claim(claims, deaths, cause)
    assert (verdict is not None) == (deaths >= 2 or claims > 25)
    if verdict is not None and deaths >= 2:
        expected = {"rss_hard": "MEMORY_BUDGET_EXCEEDED", "deadline": "DEADLINE_EXCEEDED"}
        assert verdict.code == expected.get(cause, "CHILD_CRASHED")


@given(st.floats(0, 100), st.integers(0, 10))
def test_only_what_has_proved_to_work_is_no_failed_try(stood_s: float, acked: int) -> None:
    """Either proof is enough; a first message, whose acknowledgement may be refused, is none."""
    assert proven(stood_s, acked) == (stood_s >= PROVEN_S or acked >= PROVEN_MESSAGES)
    assert not proven(0.0, 1)

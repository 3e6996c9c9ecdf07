"""What became of every message: each has exactly one fate, and none is called lost that is anywhere."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scripts.load.clock import Clock
from scripts.load.ledger import Fate, Ledger, Row
from scripts.load.live import sparkline
from scripts.load.probe import Sessions
from scripts.load.promises import broken
from scripts.load.results import WorkerResult
from scripts.load.sampler import Sample
from scripts.load.summary import Seen, summarise
from scripts.measure import MB
from tests.scripts import replayed

NOBODY = frozenset[str]()
RUN = replayed.run()  # at a time scale of 0.05


def row(
    status: str, *, keeps_log: bool = False, processed_at: float | None = None, score: float = 0.0
) -> Row:
    return Row(status, keeps_log, processed_at, score)


@pytest.mark.parametrize(
    ("found", "waiting", "dead", "fate"),
    [
        (row("PROCESSED"), NOBODY, NOBODY, Fate.PROCESSED),
        (row("PROCESSED"), frozenset({"a"}), NOBODY, Fate.PROCESSED),
        (row("FAILED", keeps_log=True), NOBODY, frozenset({"a"}), Fate.FAILED),
        (row("FAILED"), frozenset({"a"}), NOBODY, Fate.UNFINISHED),
        (row("FAILED"), NOBODY, frozenset({"a"}), Fate.DEAD_LETTERED),
        (row("FAILED"), NOBODY, NOBODY, Fate.LOST),
        (row("SKIPPED"), NOBODY, NOBODY, Fate.SKIPPED),
        (row("PENDING"), frozenset({"a"}), NOBODY, Fate.UNFINISHED),
        (row("PENDING", keeps_log=True), NOBODY, NOBODY, Fate.UNFINISHED),
        (row("PROCESSING"), NOBODY, frozenset({"a"}), Fate.DEAD_LETTERED),
        (row("PROCESSING"), NOBODY, NOBODY, Fate.LOST),
        (None, frozenset({"a"}), NOBODY, Fate.UNFINISHED),
        (None, NOBODY, NOBODY, Fate.LOST),
    ],
)
def test_a_message_has_one_fate(
    found: Row | None, waiting: frozenset[str], dead: frozenset[str], fate: Fate
) -> None:
    """Its row counts before its copies; without either it is lost."""
    assert Ledger({} if found is None else {"a": found}, waiting, dead).fate("a") is fate


names = st.sampled_from("abcdefgh")
rows = st.builds(
    Row,
    st.sampled_from(["PENDING", "PROCESSING", "PROCESSED", "FAILED", "SKIPPED"]),
    st.booleans(),
    st.none() | st.floats(1000, 2000),
    st.floats(0, 100),
)


@given(
    st.dictionaries(names, rows),
    st.frozensets(names),
    st.frozensets(names),
    st.dictionaries(names, st.floats(0, 1000)),
)
def test_the_fates_add_up(
    found: dict[str, Row], waiting: frozenset[str], dead: frozenset[str], published: dict[str, float]
) -> None:
    """Whatever was found: as many fates as messages."""
    assert Ledger(found, waiting, dead).fates(published).total() == len(published)


def test_what_was_scored_twice_is_counted() -> None:
    """A user of one conversation has its score once, or it was doubled."""
    scored = {
        "once": row("PROCESSED", score=7.5),
        "twice": row("PROCESSED", score=15.0),
        "none": row("PENDING"),
    }
    assert Ledger(scored, NOBODY, NOBODY).doubled({"once": 7.5, "twice": 7.5, "none": 7.5}) == 1


def seen(ledger: Ledger, *, deaths: int = 0) -> Seen:
    samples = [Sample(100.0 + n, (200 + n) * MB, (100 + n) * MB, 9, 10.0 + n) for n in range(10)]
    return Seen(
        ledger=ledger,
        published=dict.fromkeys(("a", "b", "c"), 1000.0),
        changes={"a": 5.0, "b": 5.0, "c": 5.0},
        rest=samples[:2],
        samples=samples,
        sessions=Sessions(connections_peak=8, idle_s=0.5, longest_s=0.1),
        redelivered=1,
        api_calls=4,
        api_waited_s=2.0,
        deaths=deaths,
        kills=0,
        ended_at=1100.0,
    )


def test_the_figures_are_the_scenarios() -> None:
    """Times are stretched back to the scenario's; processor time is the clock's, and start-up is left out."""
    ledger = Ledger(
        {
            "a": row("PROCESSED", processed_at=1002.0, score=5.0),
            "b": row("PROCESSED", processed_at=1090.0, score=5.0),
            "c": row("FAILED", keeps_log=True),
        },
        NOBODY,
        NOBODY,
    )
    figures = summarise(seen(ledger), Clock(0.0, 0.0, 0.05), to_minute=1000 / 30)
    assert (figures.published, figures.processed, figures.failed, figures.lost) == (3, 2, 1, 0)
    assert figures.latency is not None
    assert (figures.latency.p50_s, figures.latency.max_s) == (40.0, 1800.0)
    assert figures.processed_at_the_end == 1  # the last quarter of 100 s
    assert figures.cpu_s_per_message == pytest.approx(8 / 3, abs=1e-4)
    assert (figures.pss_rest_mb, figures.pss_peak_mb, figures.rss_peak_mb) == (101, 109, 209)
    assert figures.idle_in_transaction_s == 10.0


def test_only_a_broken_promise_is_named() -> None:
    """Ours that ended once is told; whatever another worker did is not."""
    ledger = Ledger({"a": row("PROCESSED", processed_at=1002.0, score=5.0)}, frozenset({"b", "c"}), NOBODY)
    clock = Clock(0.0, 0.0, 0.05)
    good, bad = (summarise(seen(ledger, deaths=deaths), clock, 10.0) for deaths in (0, 1))
    assert broken(RUN, WorkerResult("supervised", "ours", None, good)) == []
    assert broken(RUN, WorkerResult("supervised", "ours", None, bad)) == ["the supervisor ended 1 times"]
    assert broken(RUN, WorkerResult("threaded", "old", None, bad)) == []


@pytest.mark.parametrize(
    ("longest_s", "all_s", "waited_s", "held"),
    [
        (0.0, 0.0, 1000.0, False),
        (19.0, 10_000.0, 11_000.0, True),  # none for a second on the clock, but through every call
        (1.0, 40.0, 10_000.0, False),  # a busy machine stopped its process now and then
        (1.0, 15.0, 20.0, False),  # hardly anything: less than a second on the clock in all
        (25.0, 25.0, 10_000.0, True),  # once, and over a second on the clock
    ],
)
def test_a_transaction_that_is_held_open_is_seen(
    longest_s: float, all_s: float, waited_s: float, held: bool
) -> None:
    """Whatever the time scale makes of a call; here 0.05. All in the scenario's seconds."""
    ledger = Ledger({"a": row("PROCESSED", processed_at=1002.0, score=5.0)}, frozenset({"b", "c"}), NOBODY)
    figures = replace(
        summarise(seen(ledger), Clock(0.0, 0.0, 0.05), 10.0),
        longest_idle_in_transaction_s=longest_s,
        idle_in_transaction_s=all_s,
        api_waited_s=waited_s,
    )
    said = broken(RUN, WorkerResult("supervised", "ours", None, figures))
    assert bool(said) == held


def test_a_worker_that_stands_still_is_not_praised() -> None:
    """With messages left and nothing settled in the last quarter, a run is broken, however flat its memory."""
    good = replayed.supervised()
    hung = replace(good, progress=tuple(replace(one, statuses={"PROCESSED": 1}) for one in good.progress))
    assert broken(RUN, good) == []
    assert broken(RUN, hung) == ["nothing was settled in the last quarter, with messages left"]


@given(st.lists(st.floats(0, 4000), max_size=300))
def test_a_sparkline_fits(values: list[float]) -> None:
    """One bar for each value while they fit; then the highest of each part, so that a peak is not lost."""
    drawn = sparkline(values, 3000, 40)
    assert len(drawn) == min(len(values), 40)
    if values:
        assert ("█" in drawn) == (round(max(values) / 3000 * 7) >= 7)

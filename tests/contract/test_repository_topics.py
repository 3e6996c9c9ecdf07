"""What a conversation adds to one topic, whatever another program left in that column."""

import re
import tracemalloc
from datetime import datetime, timedelta
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from repository.topics import BYTES_MAX, NAME_MAX, TOPICS_MAX, TopicGain
from tests.contract.events_desk import Desk, adding

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(blacklist_characters="\0", blacklist_categories=["Cs"]), max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["movie", "school", "score", "turns", "last_date"]), inner, max_size=4
        )
    ),
    max_leaves=8,
)


def add(desk: Desk, talk: str, name: str = "movie", score: float = 10.0, turns: int = 3) -> Any:
    """Complete a conversation of its own on a topic; give the topic as it is stored."""
    gain = TopicGain(name, score, turns)
    desk.events.complete(desk.claim(talk), delta=score, details={}, advance=adding(score), topic=gain)
    return desk.user()["topic_metrics"].get(name)


def left(desk: Desk, topics: str) -> None:
    """Have another program leave such topics of the user."""
    desk.run("DELETE FROM friendship_status")
    desk.run("INSERT INTO friendship_status (user_id, topic_metrics) VALUES ('lan', %s::jsonb)", topics)


def left_out(desk: Desk, talk: str) -> str | None:
    found: str | None = desk.row(talk)["score_calculation_details"].get("topic_left_out")
    return found


def test_a_topic_adds_up_and_is_dated_by_the_database(desk: Desk) -> None:
    """Score and turns are sums, and the date is when the last conversation was written, in UTC."""
    assert add(desk, "a")["turns"] == 3
    topic = add(desk, "b", score=0.25, turns=2)
    assert set(topic) == {"score", "turns", "last_date"}
    assert (topic["score"], topic["turns"]) == (10.25, 5)
    (now,) = desk.run("SELECT clock_timestamp() AS now")
    dated = datetime.fromisoformat(topic["last_date"])
    assert dated.utcoffset() == timedelta(0)
    assert timedelta(0) <= now["now"] - dated < timedelta(minutes=1)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}\+00:00", topic["last_date"])


def test_a_whole_score_is_still_written_with_its_point(desk: Desk) -> None:
    """Readers of the older worker's rows know 52.0, not 52."""
    add(desk, "a", score=52.0)
    (text,) = desk.run("SELECT topic_metrics -> 'movie' ->> 'score' AS score FROM friendship_status")
    assert text["score"] == "52.0"


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=60)
@given(json_values)
def test_whatever_another_program_left_the_event_is_scored(desk: Desk, topics: Any) -> None:
    """What is no topic or no number counts as none, and all else stays as it is."""
    desk.run("TRUNCATE score_ledger, conversation_events CASCADE")
    left(desk, orjson.dumps(topics).decode())
    before = desk.user()["topic_metrics"]
    topic = add(desk, "talk")
    assert topic["score"] >= 10.0 or _kept(topics, "score") < 0
    assert topic["turns"] >= 3 or _kept(topics, "turns") < 0
    assert others(desk.user()["topic_metrics"]) == others(before)


def others(topics: Any) -> dict[str, Any]:
    return {name: topics[name] for name in topics if name != "movie"} if isinstance(topics, dict) else {}


def _kept(topics: Any, field: str) -> float:
    topic = topics.get("movie") if isinstance(topics, dict) else None
    value = topic.get(field) if isinstance(topic, dict) else None
    return value if isinstance(value, int | float) else 0.0


@pytest.mark.parametrize(
    ("score", "turns", "expected"),
    [
        ("1e400", "1e400", (10.0, 3)),
        ("-1e400", "-1e30", (10.0, 3)),
        ("1e-400", "2.9", (10.0, 5)),
        ('"7"', '"NaN"', (10.0, 3)),
        ("true", "null", (10.0, 3)),
        ("[" * 3000 + "]" * 3000, "{}", (10.0, 3)),
        ("4.5", "-2", (14.5, 1)),
    ],
)
def test_a_number_of_no_use_counts_as_nothing(
    desk: Desk, score: str, turns: str, expected: tuple[float, int]
) -> None:
    """Out of range, of another type or nested thousands deep: no event fails for it, and other keys stay."""
    left(desk, f'{{"movie": {{"score": {score}, "turns": {turns}, "mark": 1}}}}')
    gain = TopicGain("movie", 10.0, 3)
    desk.events.complete(desk.claim(), delta=10.0, details={}, advance=adding(10.0), topic=gain)
    (row,) = desk.run("SELECT topic_metrics -> 'movie' AS topic FROM friendship_status")
    assert (row["topic"]["score"], row["topic"]["turns"], row["topic"]["mark"]) == (*expected, 1)


def test_a_user_with_half_a_million_topics_still_counts(desk: Desk) -> None:
    """Nothing of it comes into this process; known topics grow, a further one is left out, and the score counts."""
    desk.run(
        "INSERT INTO friendship_status (user_id, topic_metrics) SELECT 'lan',"
        " jsonb_object_agg('topic ' || i, jsonb_build_object('score', i, 'turns', i))"
        " FROM generate_series(1, 500000) AS i"
    )
    tracemalloc.start()
    try:
        for talk, name in (("known", "topic 7"), ("new", "movie")):
            gain = TopicGain(name, 10.0, 3)
            desk.events.complete(desk.claim(talk), delta=10.0, details={}, advance=adding(10.0), topic=gain)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 1_000_000
    (row,) = desk.run(
        "SELECT topic_metrics -> 'topic 7' AS known, topic_metrics ? 'movie' AS added, friendship_score AS score"
        " FROM friendship_status"
    )
    assert (row["known"]["score"], row["known"]["turns"], row["added"], row["score"]) == (
        17.0,
        10,
        False,
        20.0,
    )
    assert left_out(desk, "known") is None
    assert left_out(desk, "new") == f"the user has {TOPICS_MAX} topics already"


def test_a_column_too_large_to_be_written_in_time_is_left_alone(desk: Desk) -> None:
    """No statement's time limit, which would look like a database that is away, and no limit of jsonb is met."""
    left(desk, f'{{"movie": {{"turns": 1}}, "mark": "{"x" * (BYTES_MAX - 10_000)}"}}')
    assert add(desk, "a")["turns"] == 4
    left(desk, f'{{"movie": {{"turns": 1}}, "mark": "{"x" * BYTES_MAX}"}}')
    assert add(desk, "b") == {"turns": 1}
    assert add(desk, "c", "new") is None
    reason = f"the user's topics take more than {BYTES_MAX >> 20} MB"
    assert [left_out(desk, talk) for talk in "abc"] == [None, reason, reason]
    assert desk.user()["friendship_score"] == 20.0


def test_the_last_topic_that_fits_is_added(desk: Desk) -> None:
    """The bound is exact, and a topic that is there grows on at it."""
    topics = {f"topic {number}": {"score": 1.0, "turns": 1} for number in range(TOPICS_MAX - 1)}
    left(desk, orjson.dumps(topics).decode())
    assert add(desk, "a", "last")["turns"] == 3
    assert add(desk, "b", "one too many") is None
    assert add(desk, "c", "last")["turns"] == 6
    assert [left_out(desk, talk) for talk in "abc"] == [
        None,
        f"the user has {TOPICS_MAX} topics already",
        None,
    ]


def test_a_topic_with_an_endless_name_is_left_out(desk: Desk) -> None:
    """Another program's row may have one: it neither fails the event nor grows the user's row."""
    assert add(desk, "a", "x" * (NAME_MAX + 1)) is None
    assert left_out(desk, "a") == f"its name has more than {NAME_MAX} characters"
    assert add(desk, "b", "\N{GRINNING FACE}" * NAME_MAX) is not None
    assert desk.user()["friendship_score"] == 20.0


def test_without_a_topic_the_topics_stay_as_they_are(desk: Desk) -> None:
    """Whatever they are."""
    left(desk, "[1]")
    desk.events.complete(desk.claim(), delta=1.0, details={}, advance=adding(1.0))
    assert desk.user()["topic_metrics"] == [1]


def test_a_topic_is_added_once_however_often_its_event_is_completed(desk: Desk) -> None:
    """The repeat of a `complete` whose reply was lost adds nothing."""
    claim = desk.claim()
    desk.complete(claim)
    desk.complete(claim)
    assert desk.user()["topic_metrics"]["movie"]["turns"] == 1

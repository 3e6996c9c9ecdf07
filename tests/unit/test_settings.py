"""Settings: an option beats its variable, and every problem is found at once."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.options import BY_NAME, OPTIONS
from supervisor.cli.settings import read
from supervisor.errors import InvalidSettings

MB = 2**20


def test_the_defaults_are_the_contracts() -> None:
    """Eight children of 300 MB, 375 hard, and time limits that follow from the Memory API's 60 s."""
    found = read({}, {})
    limits, consumer = found.supervisor, found.consumer
    assert (limits.children, limits.rss_budget_bytes, limits.rss_hard_bytes) == (8, 300 * MB, 375 * MB)
    assert (limits.message_deadline_s, limits.drain_timeout_s, consumer.lease_s) == (90, 95, 150)
    assert consumer.max_message_bytes == 64 * MB
    assert consumer.skip_bot_types == {"NEXT_LESSON"}
    assert consumer.scoring.emotions == {"interesting": 15, "boring": -15}
    assert found.warnings == ()


def test_an_option_beats_its_variable_and_an_empty_variable_is_unset() -> None:
    """So that a deployment can override a line of its environment file."""
    environ = {"FRIENDSHIP_CHILDREN": "3", "RABBITMQ_QUEUE": ""}
    assert read({}, environ).supervisor.children == 3
    assert read({"children": "5"}, environ).supervisor.children == 5
    assert read({}, environ).consumer.broker.queue == "conversation_events_processing"


def test_time_limits_follow_from_each_other() -> None:
    """A longer call lengthens deadline, lease and drain."""
    found = read({"memory_api_timeout_s": "240"}, {})
    assert found.supervisor.message_deadline_s == 270
    assert found.consumer.lease_s == 330
    assert found.supervisor.drain_timeout_s == 275


def test_it_is_known_whether_the_hard_budget_was_given() -> None:
    """A remedy for memory that does not fit has to name what was given; an empty variable gives nothing."""
    assert read({"rss_hard_mb": "400"}, {}).hard_given
    assert read({}, {"FRIENDSHIP_RSS_HARD_MB": "400"}).hard_given
    assert not read({"rss_mb": "200"}, {"FRIENDSHIP_RSS_HARD_MB": ""}).hard_given


def test_every_problem_is_reported_at_once_by_option_and_variable() -> None:
    """Nobody has to start the program five times to find five mistakes."""
    with pytest.raises(InvalidSettings) as refused:
        read(
            {"children": "0", "rss_mb": "lots", "memory_api_url": "ftp://x"},
            {
                "MAX_ATTEMPTS": "-1",
                "LEVEL_THRESHOLDS": "5",
                "SCORE_EMOTION": "happy",
                "FRIENDSHIP_LOG_FORMAT": "xml",
            },
        )
    text = "\n".join(refused.value.problems)
    assert len(refused.value.problems) == 7
    for name in ("--children (FRIENDSHIP_CHILDREN)", "--rss-mb", "--memory-api-url", "MAX_ATTEMPTS", "LEVEL_THRESHOLDS",
                 "SCORE_EMOTION", "--log-format"):  # fmt: skip
        assert name in text
    assert refused.value.exit_code == 2


@pytest.mark.parametrize(
    "given",
    [
        {"message_deadline_s": "70"},
        {"lease_s": "90"},
        {"rss_mb": "300", "rss_hard_mb": "200"},
        {"memory_api_timeout_s": "0"},
        {"memory_api_timeout_s": "nan"},
        {"sample_interval_s": "-1"},
        {"queue": "q" * 300},
    ],
)
def test_limits_that_contradict_each_other_are_refused(given: dict[str, str]) -> None:
    """A claim must outlive its child's deadline, and the deadline what is allowed on one message."""
    with pytest.raises(InvalidSettings):
        read(given, {})


def test_a_short_drain_is_a_warning() -> None:
    """It may kill children at work, but their messages go back to the queue."""
    assert "shorter than the message deadline" in read({"drain_timeout_s": "5"}, {}).warnings[0]


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("rabbitmq_url", "http://user:hunter2@host"),
        ("rabbitmq_url", "amqp://user:hunter2@host:port"),
        ("rabbitmq_url", "amqp://user:hunter2@host/%2F?heartbeat=x"),
        ("database_url", "postgresql://user:hunter2@host:port/db"),
        ("database_url", "postgresql://user:hunter2%ZZ@host/db"),
        ("rabbitmq_url", "amqp://user:hunter2℀@h/"),
        ("memory_api_url", "https://user:hunter2@:99999999"),
        ("memory_api_url", "http://user:hunter2@a..b/"),
        ("memory_api_url", "ftp://user:hunter2@host/"),
    ],
)
def test_a_bad_url_is_named_and_never_quoted(name: str, url: str) -> None:
    """It may hold a password."""
    with pytest.raises(InvalidSettings) as refused:
        read({name: url}, {})
    assert BY_NAME[name].source in str(refused.value)
    assert "hunter2" not in str(refused.value)


def test_settings_never_show_their_urls() -> None:
    """A repr in a traceback or a log is no leak."""
    found = read(
        {"rabbitmq_url": "amqp://u:hunter2@h/%2F", "database_url": "postgresql://u:hunter2@h/d"},
        {"MEMORY_API_URL": "http://u:hunter2@h"},
    )
    assert "hunter2" not in repr(found)


@given(st.dictionaries(st.sampled_from([option.name for option in OPTIONS]), st.text(max_size=20)))
def test_any_text_gives_settings_or_a_list_of_problems(given: dict[str, str]) -> None:
    """No value makes the reading raise anything else."""
    try:
        read(given, {})
    except InvalidSettings as refused:
        assert refused.problems  # noqa: PT017 (both ends are right)


@pytest.mark.parametrize("name", ["rss_mb", "rss_hard_mb", "max_message_mb"])
def test_bytes_given_for_megabytes_are_noticed(name: str) -> None:
    """No machine has so many, and no limit of the kernel takes them."""
    with pytest.raises(InvalidSettings, match="it is in MB"):
        read({name: "1e20"}, {})

"""Settings: an option beats its variable, and every problem is found at once."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.settings import LlmSettings, S3Settings
from supervisor.cli.options import BY_NAME, GROQ_URL, OPTIONS
from supervisor.cli.settings import read
from supervisor.errors import InvalidSettings
from supervisor.limits import Listen

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
    # Its host is another one, and http is not encrypted
    assert [warning.partition(":")[0] for warning in found.warnings] == ["MEMORY_API_URL"]


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
        ("rabbitmq_url", "amqps://user:hunter2@host/?ssl_options={'hunter2':1}"),
        ("rabbitmq_url", "amqps://user:hunter2@host/?ssl_options={'certfile':'hunter2'}"),
        ("children", "amqp://user:hunter2@host/"),
        ("rss_mb", "host=h password=hunter2"),
    ],
)
def test_a_bad_url_is_named_and_never_quoted(name: str, url: str) -> None:
    """It may hold a password."""
    with pytest.raises(InvalidSettings) as refused:
        read({name: url}, {})
    assert BY_NAME[name].source in str(refused.value)
    assert "hunter2" not in str(refused.value)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ("{'cert_reqs':0}", "cert_reqs"),
        ("{'check_hostname':False}", "check_hostname"),
        ("{'protocol':2}", "protocol"),
        ("{'verify_mode':0,'cafile':'/nowhere'}", "verify_mode"),
        ("{'keyfile':'/nowhere'}", "certfile is missing"),
        ("{'cafile':'/nowhere'}", "cafile name cannot be loaded: No such file or directory"),
        ("{'cafile':''}", "cafile is no text"),
        ("{'cadata':'-----'}", "cadata name cannot be loaded"),
        ("{'ciphers':'none such'}", "ciphers name cannot be loaded"),
        ("None", "no dictionary"),
        ("{", "no dictionary"),
        ("", "no dictionary"),
    ],
)
def test_what_would_weaken_tls_to_the_broker_is_refused_by_name(options: str, named: str) -> None:
    """As is what cannot be loaded: nobody believes in a protection that is not there."""
    with pytest.raises(InvalidSettings, match=re.escape(named)):
        read({"rabbitmq_url": f"amqps://host/?ssl_options={options}"}, {})


def test_options_of_tls_are_for_amqps() -> None:
    """With a plain URL they would encrypt, on the port that does not."""
    with pytest.raises(InvalidSettings, match="amqps://"):
        read({"rabbitmq_url": "amqp://host/?ssl_options={'cafile':'/x'}"}, {})


HERE = {
    "rabbitmq_url": "amqp://localhost",
    "memory_api_url": "http://[::1]:1",
    "database_url": "postgresql:///x",
}


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("rabbitmq_url", "amqp://127.0.0.1:5672/%2F"),
        ("rabbitmq_url", "amqps://broker.example"),
        ("memory_api_url", "http://127.8.9.1"),
        ("memory_api_url", "http://[::ffff:127.0.0.1]"),
        ("memory_api_url", "https://api.example"),
        ("database_url", "host=/run/postgresql,localhost dbname=x"),
        ("database_url", "host=name hostaddr=127.0.0.1 dbname=x"),
        ("database_url", "postgresql://db.example/x?sslmode=verify-full"),
        ("database_url", "postgresql://db.example/x?sslrootcert=system"),
    ],
)
def test_a_link_that_is_protected_or_stays_here_is_no_warning(name: str, url: str) -> None:
    """Loopback and sockets in the file system need no TLS."""
    assert read(HERE | {name: url}, {}).warnings == ()


@pytest.mark.parametrize(
    ("name", "url", "environ", "said"),
    [
        ("rabbitmq_url", "amqp://u:hunter2@10.0.0.7", {}, "10.0.0.7 is not encrypted"),
        ("memory_api_url", "http://pika-mem0:6699", {}, "pika-mem0 is not encrypted"),
        ("memory_api_url", "http://localhost.example", {}, "localhost.example is not encrypted"),
        ("database_url", "postgresql://u:hunter2@db.example/x", {}, "only if the server offers it"),
        ("database_url", "postgresql://db.example/x?sslmode=disable", {}, "db.example is not encrypted"),
        ("database_url", "postgresql://db.example/x?sslmode=require", {}, "whoever answers"),
        ("database_url", "host=localhost,db.example dbname=x sslmode=verify-ca", {}, "any host with"),
        ("database_url", "host=localhost hostaddr=10.0.0.7 dbname=x", {}, "10.0.0.7"),
        ("database_url", "service=far", {}, "the host of the service"),
        ("database_url", "dbname=x", {"PGHOST": "db.example"}, "db.example"),
        ("database_url", "postgresql://db.example/x?sslmode=prefer", {"PGSSLMODE": "verify-full"}, "offers"),
    ],
)
def test_a_link_that_is_open_on_its_way_is_a_warning(
    name: str, url: str, environ: dict[str, str], said: str
) -> None:
    """It names the host and what to give instead, and nothing that is secret."""
    (warning,) = read(HERE | {name: url}, environ).warnings
    assert warning.startswith(BY_NAME[name].env)
    assert said in warning
    assert "hunter2" not in warning


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


def test_where_the_status_process_answers() -> None:
    """The default, another address, and nowhere; names that are allowed are compared in lower case."""
    assert str(read({}, {}).supervisor.listen) == "127.0.0.1:9464"
    environ = {"FRIENDSHIP_LISTEN": "0.0.0.0:80", "FRIENDSHIP_ALLOWED_HOSTS": "Status.Example, b.example"}
    assert read({}, environ).supervisor.listen == Listen(
        "0.0.0.0", 80, frozenset({"status.example", "b.example"})
    )
    assert str(read({"listen": "[::1]:9000"}, environ).supervisor.listen) == "[::1]:9000"
    assert read({"listen": ""}, environ).supervisor.listen is None
    assert read({}, {"FRIENDSHIP_LISTEN": ""}).supervisor.listen is None


@pytest.mark.parametrize(
    "text",
    [
        "9464",
        ":9464",
        "127.0.0.1",
        "127.0.0.1:",
        "127.0.0.1:http",
        "127.0.0.1:65536",
        "::1:9464",
        "[::1]",
        "a:-1",
    ],
)
def test_an_address_without_host_or_port_is_refused(text: str) -> None:
    """And the refusal shows one that would do."""
    with pytest.raises(InvalidSettings, match=r"--listen \(FRIENDSHIP_LISTEN\).*127\.0\.0\.1:9464"):
        read({"listen": text}, {})


def test_s3_is_in_use_when_a_bucket_is_named() -> None:
    """A server of one's own has the bucket in its paths, AWS in its host names; the time of a fetch is added."""
    assert (
        read({}, {"S3_ENDPOINT_URL": "http://127.0.0.1:9000", "S3_ALLOWED_BUCKETS": ""}).consumer.s3 is None
    )
    aws = read({}, {"S3_ALLOWED_BUCKETS": "logs, more.logs", "LOG_FETCH_TIMEOUT_SECONDS": "7"})
    assert aws.consumer.s3 == S3Settings(frozenset({"logs", "more.logs"}), 7, None, path_style=False)
    assert (aws.supervisor.message_deadline_s, aws.supervisor.drain_timeout_s) == (97, 102)
    own = {"S3_ALLOWED_BUCKETS": "logs", "S3_ENDPOINT_URL": "http://127.0.0.1:9000"}
    found = read({}, own)
    assert found.consumer.s3 == S3Settings(frozenset({"logs"}), 30, own["S3_ENDPOINT_URL"], path_style=True)
    virtual = read({}, own | {"S3_ADDRESSING_STYLE": "virtual"}).consumer.s3
    assert virtual is not None
    assert not virtual.path_style


def test_the_llm_is_off_unless_it_is_switched_on() -> None:
    """Then its time is added, and Groq wants a key; another server need not."""
    assert read({}, {"GROQ_API_KEY": "key", "LLM_ANALYSIS_ENABLED": ""}).consumer.llm is None
    on = {"LLM_ANALYSIS_ENABLED": "TRUE"}
    found = read({}, on | {"GROQ_API_KEY": "key"})
    assert found.consumer.llm == LlmSettings(GROQ_URL, "llama-3.3-70b-versatile", "key", 20, 12_000)
    assert found.supervisor.message_deadline_s == 110
    with pytest.raises(InvalidSettings, match="GROQ_API_KEY"):
        read({}, on)
    elsewhere = read({}, on | {"GROQ_BASE_URL": "http://127.0.0.1:8000/v1"}).consumer.llm
    assert elsewhere is not None
    assert elsewhere.api_key is None


@pytest.mark.parametrize(
    ("variable", "text"),
    [
        ("S3_ALLOWED_BUCKETS", "logs,../other"),
        ("S3_ALLOWED_BUCKETS", "a..b"),
        ("S3_ALLOWED_BUCKETS", "s3://logs"),
        ("S3_ENDPOINT_URL", "http://key:secret@host"),
        ("S3_ENDPOINT_URL", "http://host/?x=secret"),
        ("S3_ENDPOINT_URL", "minio:9000"),
        ("S3_ADDRESSING_STYLE", "sideways"),
        ("LOG_FETCH_TIMEOUT_SECONDS", "0"),
        ("LLM_ANALYSIS_ENABLED", "maybe"),
        ("GROQ_API_KEY", "gsk secret"),
        ("GROQ_BASE_URL", "api.groq.com"),
        ("GROQ_BASE_URL", "http://host/v1/chat/completions"),
        ("GROQ_MODEL", "a\nb"),
        ("LLM_TIMEOUT_SECONDS", "-1"),
        ("LLM_LOG_CHARS", "0"),
    ],
)
def test_what_cannot_be_used_is_refused_at_the_start(variable: str, text: str) -> None:
    """Not by a child, whose boot would fail again and again; and no secret is shown."""
    with pytest.raises(InvalidSettings) as refused:
        read({}, {variable: text})
    (problem,) = refused.value.problems
    assert problem.startswith(f"{variable}: ")
    assert "secret" not in problem

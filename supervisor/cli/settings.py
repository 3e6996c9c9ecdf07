"""Settings from options and environment: every problem is found at once, and warnings are told apart.

1. An option beats its environment variable, which beats the default. An empty variable counts as unset.
2. Nothing that is reported holds the value of a URL: it may hold a password.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Literal, TypeVar
from urllib.parse import urlsplit

from consumer import amqp, links, tls
from consumer.memory_api import Endpoint
from consumer.settings import (
    MIB,
    BrokerSettings,
    ConsumerSettings,
    LlmSettings,
    MemoryApiSettings,
    RetrySettings,
    S3Settings,
    ScoringSettings,
)
from repository.connection import secrets
from repository.errors import BadDatabaseUrl
from supervisor.breaker import Rules
from supervisor.cli.options import BY_NAME, GROQ_URL
from supervisor.cli.redaction import redacted
from supervisor.errors import InvalidSettings
from supervisor.limits import Listen, SupervisorSettings

T = TypeVar("T")

HARD_FACTOR = 1.25
DEADLINE_MARGIN_S = 30.0
LEASE_MARGIN_S = 60.0
DRAIN_MARGIN_S = 5.0
# What writing an outcome may take: statement and lock time limits of the database sessions, and a reconnect
WRITE_BUDGET_S = 15.0
SCHEMA_WAIT_S = 60.0
MOST_MB = 2**24  # 16 TB: whoever gives more has the unit wrong
EMOTIONS = ("interesting", "boring", "neutral", "angry", "happy", "sad")


@dataclass(frozen=True, slots=True)
class LogSettings:
    """format: text, json, or None for what suits the output."""

    format: Literal["text", "json"] | None
    level: str


@dataclass(frozen=True, slots=True)
class Settings:
    """All settings, checked. warnings: sentences for the person who starts the program.

    hard_given: the hard budget was given, and does not follow from the soft one.
    """

    supervisor: SupervisorSettings
    consumer: ConsumerSettings
    logs: LogSettings
    allow_overcommit: bool
    hard_given: bool
    warnings: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one setting. name: in the table of options; text: without a secret, the setting named.

    remedy: where the text does not give it. keeps_from: other settings that are of no use with it.
    """

    name: str
    section: str
    text: str
    remedy: str = ""
    keeps_from: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return f"{self.text}: {self.remedy}" if self.remedy else self.text


@dataclass(frozen=True, slots=True)
class Examined:
    """All settings, those with a problem replaced by their defaults (a URL by an empty text, never to be used)."""

    settings: Settings
    problems: tuple[Problem, ...]

    def usable(self, *names: str) -> bool:
        """Say whether nothing is wrong with these settings, or keeps us from them."""
        return not any({each.name, *each.keeps_from} & set(names) for each in self.problems)

    def held(self, sections: Sequence[str] = ()) -> Settings:
        """Return the settings. Raises InvalidSettings with every problem of these sections, or of all, at once."""
        problems = [str(each) for each in self.problems if not sections or each.section in sections]
        if problems:
            raise InvalidSettings(problems)
        return self.settings


def read(given: Mapping[str, str], environ: Mapping[str, str], sections: Sequence[str] = ()) -> Settings:
    """Read all settings.

    given: what was said on the command line, by option name (supervisor/cli/options.py). sections: those that matter
    to this command, all when none is named; a bad setting elsewhere is passed over for its default.
    Raises InvalidSettings with every problem at once.
    """
    return examine(given, environ).held(sections)


def examine(given: Mapping[str, str], environ: Mapping[str, str]) -> Examined:
    """Read all settings, with defaults in the place of those that cannot be used; given and environ as in `read`."""
    reader = _Reader(given, environ)
    consumer = _consumer(reader)
    limits = _supervisor(reader, consumer)
    consumer_with_lease = _lease(reader, consumer, limits)
    logs = LogSettings(
        format=reader.read("log_format", _log_format, None),
        level=reader.read("log_level", _log_level, "info"),
    )
    allow_overcommit = reader.read("allow_overcommit", _switch, default=False)
    # A URL that was refused is empty by now: nothing of it may be shown
    reader.warnings.extend(links.exposures(consumer, environ))
    settings = Settings(
        supervisor=limits,
        consumer=consumer_with_lease,
        logs=logs,
        allow_overcommit=allow_overcommit,
        hard_given=bool(reader.text("rss_hard_mb").strip()),
        warnings=tuple(reader.warnings),
    )
    return Examined(settings, tuple(reader.problems))


def _consumer(reader: "_Reader") -> ConsumerSettings:
    broker = BrokerSettings(reader.read("rabbitmq_url", _amqp_url, ""), reader.read("queue", _queue, "queue"))
    return ConsumerSettings(
        broker=broker,
        database_url=reader.read("database_url", _database_url, ""),
        memory_api=MemoryApiSettings(
            reader.read("memory_api_url", _http_url, ""), reader.read("memory_api_timeout_s", _positive, 60.0)
        ),
        max_message_bytes=int(reader.read("max_message_mb", _megabytes, 64.0) * MIB),
        skip_bot_types=reader.read("skip_bot_types", _set, frozenset[str]()),
        scoring=ScoringSettings(
            per_turn=reader.read("score_per_turn", _number, 0.0),
            per_question=reader.read("score_per_question", _number, 0.0),
            per_fact=reader.read("score_per_fact", _number, 0.0),
            emotions=reader.read("score_emotion", _emotions, {}),
            level_thresholds=reader.read("level_thresholds", _thresholds, (100.0, 500.0)),
        ),
        retry=RetrySettings(
            max_attempts=reader.read("max_attempts", _at_least_one, 5),
            base_hours=reader.read("retry_base_hours", _positive, 6.0),
            max_hours=reader.read("retry_max_hours", _positive, 48.0),
        ),
        breaker=reader.read("breaker", _switch, default=True),
        s3=_s3(reader),
        llm=_llm(reader),
    )


def _s3(reader: "_Reader") -> S3Settings | None:
    buckets = reader.read("s3_buckets", _buckets, frozenset[str]())
    endpoint = reader.read("s3_endpoint_url", _endpoint_url, "")
    style = reader.read("s3_addressing_style", _addressing_style, "auto")
    timeout_s = reader.read("log_fetch_timeout_s", _positive, 30.0)
    if not buckets:
        return None
    path_style = bool(endpoint) if style == "auto" else style == "path"
    web_identity = reader.is_set("AWS_WEB_IDENTITY_TOKEN_FILE")
    return S3Settings(buckets, timeout_s, endpoint or None, path_style, web_identity)


def _llm(reader: "_Reader") -> LlmSettings | None:
    wanted = reader.read("llm_analysis", _switch, default=False)
    base_url = reader.read("groq_base_url", _llm_url, "")
    api_key = reader.read("groq_api_key", _token, None)
    found = LlmSettings(
        base_url,
        reader.read("groq_model", _printable, ""),
        api_key,
        reader.read("llm_timeout_s", _positive, 20.0),
        reader.read("llm_log_chars", _at_least_one, 12_000),
    )
    if wanted and base_url.rstrip("/") == GROQ_URL and not reader.text("groq_api_key").strip():
        reader.object("groq_api_key", "is not set, and LLM_ANALYSIS_ENABLED asks for Groq's answers")
    return found if wanted else None


def _supervisor(reader: "_Reader", consumer: ConsumerSettings) -> SupervisorSettings:
    time_limits_s = consumer.time_limits_s
    budget_mb = reader.read("rss_mb", _megabytes, 300.0)
    hard_mb = reader.read("rss_hard_mb", _megabytes, budget_mb * HARD_FACTOR)
    if hard_mb < budget_mb:
        reader.object("rss_hard_mb", f"{hard_mb:g} is below --rss-mb {budget_mb:g}")
    deadline_s = reader.read("message_deadline_s", _positive, time_limits_s + DEADLINE_MARGIN_S)
    if deadline_s < time_limits_s + WRITE_BUDGET_S:
        reader.object(
            "message_deadline_s",
            f"{deadline_s:g} s is too short: the time limits in use "
            f"({time_limits_s:g} s) and {WRITE_BUDGET_S:g} s for writing the outcome must fit into it",
        )
    drain_s = reader.read("drain_timeout_s", _not_negative, deadline_s + DRAIN_MARGIN_S)
    if drain_s < deadline_s:
        reader.warnings.append(
            f"{BY_NAME['drain_timeout_s'].source}: {drain_s:g} s is shorter than the message deadline "
            f"({deadline_s:g} s): a stop may kill children at work; their messages go back to the queue"
        )
    return SupervisorSettings(
        children=reader.read("children", _at_least_one, 8),
        rss_budget_bytes=int(budget_mb * MIB),
        rss_hard_bytes=int(hard_mb * MIB),
        message_deadline_s=deadline_s,
        write_budget_s=WRITE_BUDGET_S,
        drain_timeout_s=drain_s,
        sample_interval_s=reader.read("sample_interval_s", _positive, 0.1),
        max_messages=reader.read("max_messages", _count, 0),
        retry_every_s=reader.read("retry_every_s", _not_negative, 300.0),
        schema_wait_s=SCHEMA_WAIT_S,
        breaker=Rules() if consumer.breaker else None,
        listen=_listening(reader),
    )


def _listening(reader: "_Reader") -> Listen | None:
    hosts = reader.read("allowed_hosts", _set, frozenset[str]())
    listen = reader.read("listen", _address, None)
    return listen and replace(listen, allowed_hosts=frozenset(host.lower() for host in hosts))


def _lease(reader: "_Reader", consumer: ConsumerSettings, limits: SupervisorSettings) -> ConsumerSettings:
    lease_s = reader.read("lease_s", _positive, limits.message_deadline_s + LEASE_MARGIN_S)
    if lease_s <= limits.message_deadline_s:
        reader.object(
            "lease_s",
            f"{lease_s:g} s is not longer than the message deadline "
            f"({limits.message_deadline_s:g} s): a claim would be taken from a child at work",
        )
    return replace(consumer, lease_s=lease_s)


class _Reader:
    """Looks values up by option name, and collects what is wrong with them."""

    def __init__(self, given: Mapping[str, str], environ: Mapping[str, str]) -> None:
        self._given = given
        self._environ = environ
        self.problems: list[Problem] = []
        self.warnings: list[str] = []

    def object(self, name: str, text: str) -> None:
        """Note what is wrong with a setting."""
        option = BY_NAME[name]
        self.problems.append(Problem(name, option.section, f"{option.source}: {text}"))

    def is_set(self, variable: str) -> bool:
        """Say whether a variable that is not ours is set."""
        return bool(self._environ.get(variable))

    def text(self, name: str) -> str:
        option = BY_NAME[name]
        if name in self._given:
            return self._given[name]
        set_to = self._environ.get(option.env)
        if set_to is None or not (set_to or option.may_be_empty):
            return option.default
        return set_to

    def read(self, name: str, parse: Callable[[str], T], default: T) -> T:
        """Parse one value. An unset one without a default of its own, and an unusable one, give `default`."""
        text = self.text(name).strip()
        if not text and not BY_NAME[name].default:
            return default
        try:
            return parse(text)
        except ValueError as error:
            # What is wrong with a URL quotes nothing of it; a URL in another place is quoted like any value
            self.object(name, str(error) if name.endswith("_url") else redacted(str(error)))
            return default


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{text!r} is not a number")
    return number


def _positive(text: str) -> float:
    number = _number(text)
    if number <= 0:
        raise ValueError(f"{text} must be more than 0")
    return number


def _megabytes(text: str) -> float:
    number = _positive(text)
    if number > MOST_MB:
        raise ValueError(f"{text} must be at most {MOST_MB}: it is in MB")
    return number


def _not_negative(text: str) -> float:
    number = _number(text)
    if number < 0:
        raise ValueError(f"{text} must not be negative")
    return number


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise ValueError(f"{text!r} is not a whole number of 0 or more")
    return int(text)


def _at_least_one(text: str) -> int:
    number = _count(text)
    if number < 1:
        raise ValueError("must be at least 1")
    return number


def _switch(text: str) -> bool:
    if text.lower() in {"on", "true", "yes", "1"}:
        return True
    if text.lower() in {"off", "false", "no", "0"}:
        return False
    raise ValueError("must be on or off (true, false)")


def _words(text: str) -> tuple[str, ...]:
    return tuple(word.strip() for word in text.split(",") if word.strip())


def _set(text: str) -> frozenset[str]:
    return frozenset(_words(text))


def _emotions(text: str) -> Mapping[str, float]:
    points = {}
    for word in _words(text):
        name, equals, value = word.partition("=")
        if not equals or name.strip() not in EMOTIONS:
            raise ValueError(f"{word!r} is not emotion=points with an emotion of {', '.join(EMOTIONS)}")
        points[name.strip()] = _number(value)
    return MappingProxyType(points)


def _thresholds(text: str) -> tuple[float, float]:
    numbers = [_number(word) for word in _words(text)]
    if len(numbers) != 2 or not numbers[0] < numbers[1]:
        raise ValueError("must be two rising numbers, such as 100,500")
    return numbers[0], numbers[1]


def _log_format(text: str) -> Literal["text", "json"] | None:
    match text.lower():
        case "text":
            return "text"
        case "json":
            return "json"
    raise ValueError("must be text or json")


def _log_level(text: str) -> str:
    level = text.lower()
    if level not in {"debug", "info", "warning", "error"}:
        raise ValueError("must be debug, info, warning or error")
    return level


def _address(text: str) -> Listen | None:
    """HOST:PORT, an IPv6 address in brackets; empty is none."""
    if not text:
        return None
    host, colon, port = text.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"{text!r} is not HOST:PORT, such as 127.0.0.1:9464 or [::1]:9464, or empty")
    return Listen(host, int(port))


def _queue(text: str) -> str:
    # AMQP's short strings: 255 bytes; ".dead" must fit behind the name
    if not 0 < len(text.encode()) <= 250 or text.startswith("amq."):
        raise ValueError("must have 1 to 250 bytes and not begin with amq., which is the broker's own")
    return text


def _amqp_url(text: str) -> str:
    try:
        known = urlsplit(text).scheme in {"amqp", "amqps"}
        amqp.parameters(BrokerSettings(text, ""), "")
    except tls.NoTls:  # told under the name of what keeps OpenSSL from it
        known = True
    except tls.BadTls as bad:  # names options, never values
        raise ValueError(str(bad)) from None
    except Exception:  # noqa: BLE001 (parsers raise what they meet, and quote it: it may hold the password)
        known = False
    if not known:
        raise ValueError("is no amqp:// or amqps:// URL that can be read")
    return text


def _database_url(text: str) -> str:
    try:
        secrets(text)
    except BadDatabaseUrl as bad:  # repeats nothing of the URL
        raise ValueError(str(bad)) from None
    return text


def _buckets(text: str) -> frozenset[str]:
    names = _set(text)
    for name in sorted(names):
        if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{1,61}[A-Za-z0-9]", name) is None or ".." in name:
            raise ValueError(f"{name!r} is no bucket's name")
    return names


def _addressing_style(text: str) -> str:
    style = text.lower()
    if style not in {"auto", "path", "virtual"}:
        raise ValueError("must be auto, path or virtual")
    return style


def _token(text: str) -> str:
    # It goes into a header; nothing of it may be shown
    if not re.fullmatch(r"[!-~]+", text):
        raise ValueError("holds a character that no header can carry")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("holds a character that cannot be shown")
    return text


def _llm_url(text: str) -> str:
    if text.rstrip("/").endswith("/chat/completions"):
        raise ValueError("give the base, without /chat/completions")
    return _http_url(text)


def _endpoint_url(text: str) -> str:
    # A password would be one that S3 knows nothing of, and keys follow the path
    if any(sign in text for sign in "@?#"):
        raise ValueError("the URL must be http(s)://host[:port][/path], with nothing else")
    return _http_url(text)


def _http_url(text: str) -> str:
    Endpoint.below(text)  # its ValueError repeats nothing of the URL
    return text

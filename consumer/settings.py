"""What a consumer child needs to know, with units. Values only: the command line reads them from options."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True)
class BrokerSettings:
    """Where messages come from. `url` may hold a password: never log it."""

    url: str = field(repr=False)
    queue: str

    @property
    def dead_queue(self) -> str:
        """The queue for what can never be processed."""
        return f"{self.queue}.dead"


@dataclass(frozen=True, slots=True)
class MemoryApiSettings:
    """The Memory API: `timeout_s` bounds one whole call, from connect to the last byte."""

    url: str = field(repr=False)
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Where logs are kept outside: buckets are the only ones that are ever asked.

    timeout_s: of one whole fetch. endpoint: base URL of a server of one's own, None for AWS. path_style: the bucket
    stands in the path, not in the host's name. web_identity: who we are is asked of STS, as for a pod's role.
    """

    buckets: frozenset[str]
    timeout_s: float = 30.0
    endpoint: str | None = field(default=None, repr=False)
    path_style: bool = True
    web_identity: bool = False


@dataclass(frozen=True, slots=True)
class LlmSettings:
    """The optional analysis: `timeout_s` bounds one whole call, `log_chars` what of a conversation is shown.

    api_key: a secret; None where the server wants none.
    """

    base_url: str = field(repr=False)
    model: str
    api_key: str | None = field(default=None, repr=False)
    timeout_s: float = 20.0
    log_chars: int = 12_000


@dataclass(frozen=True, slots=True)
class ScoringSettings:
    """Points of the friendship score (CONTRACT: no unit) and the totals at which a level begins."""

    per_turn: float = 0.5
    per_question: float = 3.0
    per_fact: float = 5.0
    emotions: Mapping[str, float] = field(
        default_factory=lambda: MappingProxyType({"interesting": 15.0, "boring": -15.0})
    )
    level_thresholds: tuple[float, float] = (100.0, 500.0)


@dataclass(frozen=True, slots=True)
class RetrySettings:
    """When a failed event is tried again, and when no more."""

    max_attempts: int = 5
    base_hours: float = 6.0
    max_hours: float = 48.0


@dataclass(frozen=True, slots=True)
class ConsumerSettings:
    """All that one child needs. breaker: whether a child stands aside while its calls fail.

    s3, llm: None where they are not in use.
    """

    broker: BrokerSettings
    database_url: str = field(repr=False)
    memory_api: MemoryApiSettings
    lease_s: float = 150.0
    max_message_bytes: int = 64 * MIB
    skip_bot_types: frozenset[str] = frozenset({"NEXT_LESSON"})
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    breaker: bool = True
    s3: S3Settings | None = None
    llm: LlmSettings | None = None

    @property
    def time_limits_s(self) -> float:
        """The sum of the time limits in use on one message."""
        log_s = self.s3.timeout_s if self.s3 else 0.0
        analysis_s = self.llm.timeout_s if self.llm else 0.0
        return log_s + analysis_s + self.memory_api.timeout_s

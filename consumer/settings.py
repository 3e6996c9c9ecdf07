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
    """All that one child needs. breaker: whether a child stands aside while its calls fail."""

    broker: BrokerSettings
    database_url: str = field(repr=False)
    memory_api: MemoryApiSettings
    lease_s: float = 150.0
    max_message_bytes: int = 64 * MIB
    skip_bot_types: frozenset[str] = frozenset({"NEXT_LESSON"})
    scoring: ScoringSettings = field(default_factory=ScoringSettings)
    retry: RetrySettings = field(default_factory=RetrySettings)
    breaker: bool = True

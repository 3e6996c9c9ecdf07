"""What a look found: one line for a person, one object for a script."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from supervisor.logs import printable


class Verdict(StrEnum):
    """How a look ended. Only FAIL makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was looked at, what was seen, and what to do about it. facts: numbers and names in it, for a script."""

    verdict: Verdict
    subject: str
    seen: str
    remedy: str = ""
    facts: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        line = f"{self.verdict:<5}{self.subject:<15}{printable(self.seen)}"
        return f"{line} -> {printable(self.remedy)}" if self.remedy else line

    def object(self) -> dict[str, Any]:
        """Give all of it to a script."""
        told = {"verdict": self.verdict.value.lower(), "subject": self.subject, "seen": self.seen}
        return told | ({"remedy": self.remedy} if self.remedy else {}) | dict(self.facts)


def ok(subject: str, seen: str, **facts: Any) -> Finding:
    """Tell what is as it should be."""
    return Finding(Verdict.OK, subject, seen, facts=facts)


def warn(subject: str, seen: str, remedy: str, **facts: Any) -> Finding:
    """Tell what somebody should know, and nothing stops at."""
    return Finding(Verdict.WARN, subject, seen, remedy, facts)


def fail(subject: str, seen: str, remedy: str, **facts: Any) -> Finding:
    """Tell what keeps the program from its work, or will."""
    return Finding(Verdict.FAIL, subject, seen, remedy, facts)

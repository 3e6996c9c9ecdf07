"""Jobs in a forked process of their own: what touches a database or a socket, so that the parent never does."""

from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """JANITOR writes accounts of the dead; RETRY makes one retry pass; STATUS answers HTTP for as long as it lives."""

    JANITOR = "janitor"
    RETRY = "retry"
    STATUS = "status"


LIMITS_S = {Kind.JANITOR: 3.0, Kind.RETRY: 120.0, Kind.STATUS: 30.0}
"""An errand that began, or said that it is well, longer ago than this is killed; what it left is done by the next."""


@dataclass(frozen=True, slots=True)
class Errand:
    """An errand under way. alive_at: when it last said that it is well. recalled: a SIGKILL is on its way to it."""

    kind: Kind
    pid: int
    started_at: float
    recalled: bool = False
    alive_at: float = 0.0

    def ends_by(self) -> float:
        """Return when it will have had its time."""
        return max(self.started_at, self.alive_at) + LIMITS_S[self.kind]

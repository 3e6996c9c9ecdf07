"""Jobs in a forked process of their own: what touches a database or a socket, so that the parent never does."""

import math
from dataclasses import dataclass
from enum import Enum


class Kind(Enum):
    """JANITOR writes accounts of the dead; RETRY makes one retry pass; STATUS answers HTTP for as long as it lives."""

    JANITOR = "janitor"
    RETRY = "retry"
    STATUS = "status"


LIMITS_S = {Kind.JANITOR: 3.0, Kind.RETRY: 120.0, Kind.STATUS: math.inf}
"""An errand older than this is killed; what it did not finish is done by the next."""


@dataclass(frozen=True, slots=True)
class Errand:
    """An errand under way. recalled: a SIGKILL is on its way to it."""

    kind: Kind
    pid: int
    started_at: float
    recalled: bool = False

    def ends_by(self) -> float:
        """Return when it will have had its time."""
        return self.started_at + LIMITS_S[self.kind]

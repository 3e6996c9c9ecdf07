"""Whether to open a message that somebody may have died of before it could be claimed.

Theory of operation. A message that kills its parser leaves no claim, so no event's row tells of it; its supervisor
writes down size and checksum of the body instead. The broker redelivers before that is written, so:
1. Two deaths that count against a body set it aside unopened.
2. A body whose last holder got as far as its event did not kill who opened it: it is opened.
3. Else wait up to a second for an account that was not there at first, then open it.
Only redelivered messages are asked about.
"""

from enum import Enum

from consumer.disposition import BLAMED_DEATHS_MAX
from consumer.takeover import ACCOUNT_WAIT_S
from repository.deaths import History


class Doubt(Enum):
    """What to do with a body that was redelivered."""

    OPEN = "open"
    WAIT = "wait"  # for an account, a moment longer
    SET_ASIDE = "set aside"


def judge(history: History, first_deaths: int, waited_s: float) -> Doubt:
    """Choose, `waited_s` seconds after `first_deaths` were known of."""
    if history.blamed >= BLAMED_DEATHS_MAX:
        return Doubt.SET_ASIDE
    if history.explained or history.deaths > first_deaths or waited_s >= ACCOUNT_WAIT_S:
        return Doubt.OPEN
    return Doubt.WAIT

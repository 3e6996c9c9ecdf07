"""Whether to take an event over from a holder that the broker, or its lease, says is gone.

Theory of operation. A delivery that is redelivered, or a lease that ran out, says that the last holder lost the
event, not why. Its supervisor writes an account of the dead within milliseconds, but a redelivery takes 4 ms and
beats it. So:
1. Wait up to a second for the account of the holder's epoch.
2. With an account, take over; blamed deaths are judged afterwards, like those of any claim.
3. Without one, take over once: the holder's whole host may be gone. It is fenced out by the epoch if it lives.
4. A second takeover in a row without an account is held until an account comes or the lease runs out: else a
   proxy that cuts idle connections makes two children take over from each other for ever. Not so when the holder
   was on this machine and is gone together with its supervisor: nobody will write that account.
"""

from enum import Enum

from repository.rows import Sighting

ACCOUNT_WAIT_S = 1.0


class Step(Enum):
    """What to do about a contended event."""

    WAIT = "wait"  # for the account, a moment longer
    TAKE_OVER = "take over"
    HOLD = "hold"  # the delivery, until an account comes or the lease runs out
    CLAIM_AGAIN = "claim again"  # the holder has ended in the meantime


def next_step(sighting: Sighting, waited_s: float, *, gone: bool) -> Step:
    """Choose, `waited_s` seconds after the event was first seen with another holder. gone: with its supervisor."""
    if sighting.status != "PROCESSING":
        return Step.CLAIM_AGAIN
    if sighting.accounted:
        return Step.TAKE_OVER
    if waited_s < ACCOUNT_WAIT_S:
        return Step.WAIT
    if gone or sighting.unexplained_takeovers == 0 or not sighting.lease_live:
        return Step.TAKE_OVER
    return Step.HOLD

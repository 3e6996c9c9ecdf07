"""Getting hold of a job's event: claiming it, or taking it over from a holder that is gone."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial

from consumer.holder import is_gone
from consumer.job import Job
from consumer.patience import Patience
from consumer.ports import Link, Store
from consumer.runtime import Runtime
from consumer.takeover import Step, next_step
from repository.rows import Claimed, Contended, Refused, Sighting

ACCOUNT_POLL_S = 0.05
HOLD_POLL_S = 1.0


class Claiming:
    """Claims events for one child. The rules of a takeover are in consumer/takeover.py."""

    def __init__(
        self, runtime: Runtime, link: Link, store: Store, patience: Patience, clock: Callable[[], float]
    ) -> None:
        self._runtime = runtime
        self._link = link
        self._store = store
        self._patience = patience
        self._clock = clock

    def claim(self, job: Job) -> Claimed | Refused:
        """Own the job's event, or say why it cannot be had.

        Raises GiveBack when a stop is asked for, or the delivery is lost, meanwhile; BadData and RepositoryError as
        the store does.
        """
        while True:
            answer = self._patience.hold(self._report(job), partial(self._store.claim, job.request))
            if not isinstance(answer, Contended):
                return answer
            claim = self._contend(job, answer.sighting)
            if claim is not None:
                return claim

    def _contend(self, job: Job, sighting: Sighting) -> Claimed | None:
        """Take the event over when its holder is known, or must be taken, to be gone. None: claim again."""
        first_seen = self._clock()
        seen: Sighting | None = sighting
        while seen is not None:
            if seen.epoch != sighting.epoch:
                # The redelivery tells of the last holder; nothing says that this one is gone
                job.request = replace(job.request, redelivered=False)
                return None
            gone = is_gone(seen.claimed_by or "")
            match next_step(seen, self._clock() - first_seen, gone=gone):
                case Step.CLAIM_AGAIN:
                    return None
                case Step.TAKE_OVER:
                    take = partial(self._store.take_over, seen, job.request, accounted=seen.accounted)
                    return self._patience.hold(self._report(job), take)
                case Step.WAIT:
                    self._hold(ACCOUNT_POLL_S)
                case Step.HOLD:
                    self._hold(HOLD_POLL_S)
            seen = self._patience.hold(self._report_hold, partial(self._store.sight, sighting.key))
        return None

    def _report(self, job: Job) -> Callable[[], None]:
        return partial(self._runtime.claiming, job.request.conversation_id, job.request.claimed_by)

    def _report_hold(self) -> None:
        self._runtime.holding("its last holder's fate is not known yet")

    def _hold(self, wait_s: float) -> None:
        self._report_hold()
        self._link.rest(wait_s)
        self._patience.give_back_if_over("holding for the last holder's account")

"""Database work that outlasts an outage: the delivery is held, heartbeats flow, and nothing is marked because of it.

A lock is no outage. Whoever keeps a row locked is in the way of one message, which is put off so that the others go on;
whoever keeps a whole table locked is in the way of all, and is waited for.
"""

from collections.abc import Callable
from functools import partial
from random import Random
from typing import TypeVar

from consumer.backoff import jittered
from consumer.errors import GiveBack, PutOff
from consumer.ports import Link
from consumer.runtime import Runtime
from repository.errors import Busy, DatabaseAway, Locked
from repository.locks import Locks

T = TypeVar("T")

BACKOFF_S = 0.1
BACKOFF_MAX_S = 10.0
LOCKED_TRIES = 2
"""Of what a locked row is in the way of. Each waits for the lock timeout, 3 s."""
LOCKED_PAUSE_S = 1.0


class Patience:
    """Waits for the database on behalf of one child.

    reach: gets any answer from it, or raises DatabaseAway. locks: says likewise who keeps the rows of a conversation
    and a user locked, or whole tables.
    """

    def __init__(
        self,
        runtime: Runtime,
        link: Link,
        reach: Callable[[], object],
        locks: Callable[[str, str], Locks],
        rng: Random,
    ) -> None:
        self._runtime = runtime
        self._link = link
        self._reach = reach
        self._locks = locks
        self._rng = rng
        self._rows = "", ""

    def about(self, conversation_id: str, user_id: str) -> None:
        """Say whose rows are read and written from here on."""
        self._rows = conversation_id, user_id

    def hold(self, report: Callable[[], None], work: Callable[[], T], *, keep: bool = False) -> T:
        """Do `work`, again and again while the database is away, with the delivery held and heartbeats flowing.

        keep: there is a result to write. It is held on to although the broker took the delivery back, and although a
        stop is asked for: whoever asks ends this process when its patience is over.
        Raises GiveBack when, without one, a stop is asked for or the delivery is lost while the database is away;
        PutOff when another session keeps a row locked for longer than LOCKED_TRIES lock timeouts.
        """
        tries = failures = locked = 0
        say = report
        while True:
            say()
            try:
                return work()
            except DatabaseAway as away:
                reason, kind = away.reason, type(away)
            failures += 1
            if issubclass(kind, Locked):
                locked += 1
                found = self._in_the_way()
                reason = reason if found is None else str(found)
                if found is not None and not found.table:
                    # The next try waits for the same: no time of the message's, and an operator sees for whom
                    say = partial(self._runtime.holding, reason)
                    self._await_row(reason, last=locked >= LOCKED_TRIES, keep=keep)
                    continue
            tries = self._wait(reason, tries, busy=issubclass(kind, Busy), keep=keep)
            # A server that answers and does not do this is waited for, too, however long each try takes
            if failures > 1 or issubclass(kind, Locked):
                say = partial(self._runtime.waiting, "database", reason)

    def _in_the_way(self) -> Locks | None:
        """Say who keeps what locked; None when the database is away by now."""
        try:
            return self._locks(*self._rows)
        except DatabaseAway:
            return None

    def _await_row(self, reason: str, *, last: bool, keep: bool) -> None:
        if last:
            raise PutOff(reason)
        self._runtime.holding(reason)
        self._link.rest(LOCKED_PAUSE_S, whole=keep)
        if not keep and (self._runtime.stop_requested() or self._link.broken):
            raise GiveBack(reason)

    def _wait(self, reason: str, tries: int, *, busy: bool, keep: bool) -> int:
        """Wait until the database answers. It is asked while waiting: a hanging one is not the message's fault.

        busy: it does answer, and another session holds what is needed: the next try may take as long as the last.
        """
        if tries == 0 and not busy and (keep or not self._runtime.stop_requested()):
            # A session that died while it rested says nothing of the database: it is asked before anything is said
            self._runtime.waiting("database", "")
            try:
                self._reach()
            except DatabaseAway as away:
                reason = away.reason
            else:
                return 1
        while True:
            tries += 1
            self._runtime.waiting("database", reason)
            self._link.rest(jittered(BACKOFF_S, tries, BACKOFF_MAX_S, self._rng), whole=keep)
            if not keep and (self._runtime.stop_requested() or self._link.broken):
                raise GiveBack(f"the database is away: {reason}")
            try:
                self._reach()
            except DatabaseAway as away:
                reason = away.reason
            else:
                return tries

    def put_off_if_strange(self) -> None:
        """Leave for later what another program keeps locked. Raises PutOff."""
        found = self._in_the_way()
        if found is not None and found.strange:
            raise PutOff(str(found))

    def give_back_if_over(self, why: str) -> None:
        """Raise GiveBack when nothing should be begun any more: all is to end, or the delivery is lost."""
        if self._runtime.hurry_requested():
            raise GiveBack(why)
        if self._link.broken:
            raise GiveBack("the broker took the delivery back")

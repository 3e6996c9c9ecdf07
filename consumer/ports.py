"""What the pipeline asks of the broker, the database and the Memory API, so that it can be run without them."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from consumer.intake import Spool
from repository.deaths import History, Mark
from repository.rows import (
    Bill,
    Claimed,
    ClaimRequest,
    Contended,
    EventKey,
    Refused,
    Sighting,
    StoredLog,
    UserStatus,
)
from repository.topics import TopicGain


@dataclass(slots=True)
class Delivery:
    """One delivery in hand.

    content_encoded: a content_encoding is set, whichever.
    spool: where the body is when it is too large for memory; `body` is empty then.
    """

    tag: int
    redelivered: bool
    body: bytes | bytearray
    message_id: str | None = None
    content_encoded: bool = False
    spool: Spool | None = None

    @property
    def size(self) -> int:
        """Bytes of the body, wherever it is."""
        return len(self.body) if self.spool is None else len(self.spool)


class Link(Protocol):
    """The connection that the delivery came over."""

    @property
    def broken(self) -> bool:
        """Say whether the connection is lost: the delivery has gone back to the broker."""
        ...

    def rest(self, seconds: float, *, whole: bool = False) -> None:
        """Wait with heartbeats flowing; shorter when a stop is asked for or the link breaks. Never raises.

        whole: asked for or not, a stop shortens it at most once.
        """
        ...

    def dead_letter(self, delivery: Delivery, reason: str, details: str) -> None:
        """Copy a body to the dead queue, confirmed. Raises BrokerAway when it is not known to be there."""
        ...

    def send_again(self, delivery: Delivery) -> None:
        """Put a copy at the end of the queue, confirmed. Raises BrokerAway when it is not known to be there."""
        ...


class Past(Protocol):
    """What became of earlier holders of a message: repository.deaths.Past."""

    def history(self, mark: Mark) -> History: ...

    def forgive(self, mark: Mark) -> None: ...


class Store(Protocol):
    """The events' state machine: repository.events.Events, with the meaning and errors written there."""

    def claim(self, request: ClaimRequest) -> Claimed | Refused | Contended: ...

    def sight(self, event: EventKey) -> Sighting | None: ...

    def take_over(self, sighting: Sighting, request: ClaimRequest, *, accounted: bool) -> Claimed | None: ...

    def complete(  # noqa: PLR0913 (what an outcome is made of)
        self,
        claim: Claimed,
        *,
        delta: float,
        details: Mapping[str, Any],
        advance: Callable[[UserStatus], UserStatus],
        topic: TopicGain | None = None,
        bill: Bill | None = None,
    ) -> UserStatus: ...

    def fail(  # noqa: PLR0913 (the columns of an outcome)
        self,
        claim: Claimed,
        *,
        code: str,
        details: str,
        delay_s: float | None,
        parked: bytes | None,
        settles: bool = False,
        bill: Bill | None = None,
    ) -> None: ...

    def skip(self, claim: Claimed, *, bill: Bill | None = None) -> None: ...

    def release(self, claim: Claimed) -> None: ...

    def put_off(self, claim: Claimed, *, delay_s: float, parked: bytes | None) -> None: ...

    def restore(self, claim: Claimed) -> None: ...

    def try_user(self, user_id: str) -> None: ...

    def park(self, event: EventKey, parked: bytes) -> None: ...

    def keep_url(self, event: EventKey, url: str) -> None: ...

    def refuse(self, conversation_id: str, code: str, details: str) -> bool: ...

    def stored_log(self, event: EventKey, max_bytes: int) -> StoredLog | None: ...

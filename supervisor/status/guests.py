"""Connections that nobody can hold: uvicorn's protocol with patience for each step, and a seat for whoever comes last.

1. A request that is not complete PATIENCE_S after the connection was made, or after the last answer, ends it.
2. A client that does not read what was sent ends it after PATIENCE_S, too; what is unsent is thrown away.
3. Beyond MOST connections the oldest has to go, of those without a request first, and never the newcomer. Live pages
   may take half of the seats (supervisor/status/app.py), so that they do not come in each other's way.
"""

import asyncio
from collections.abc import Callable
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

PATIENCE_S = 10.0
MOST = 64


class Guest(H11Protocol):
    """One connection. What the base class has no limit for, it has."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._patience: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self.came_at = self.loop.time()
        self._arm()
        if len(self.connections) > MOST:
            others: set[Any] = self.connections - {self}
            oldest = min(others, key=lambda guest: (guest.is_answering, guest.came_at))
            # Counted out now: others may come before the loop gets to hear that it is gone
            self.connections.discard(oldest)
            oldest.transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        self._disarm()
        self._read_again()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.is_answering:
            self._disarm()
        elif self._patience is None:
            self._arm()

    def on_response_complete(self) -> None:
        self._disarm()
        # What was sent behind this request is begun at once
        super().on_response_complete()
        if not self.is_answering:
            self._arm()

    def pause_writing(self) -> None:
        super().pause_writing()
        if self._unread is None:
            self._unread = self._later(PATIENCE_S)

    def resume_writing(self) -> None:
        self._read_again()
        super().resume_writing()

    @property
    def is_answering(self) -> bool:
        """Say whether a request has come that is not answered yet."""
        return self.cycle is not None and not self.cycle.response_complete

    def _arm(self) -> None:
        self._patience = self._later(PATIENCE_S)

    def _disarm(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _read_again(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _later(self, seconds: float) -> asyncio.TimerHandle:
        # Closing would wait for the client to read what is left
        abort: Callable[[], Any] = self.transport.abort
        return self.loop.call_later(seconds, abort)

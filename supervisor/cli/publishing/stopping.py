"""A stop that is asked for while lines are published: at once, but not between a message and its record."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Self

ASKING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stop:
    """The signals that ask for a stop. Each raises KeyboardInterrupt, wherever the program is.

    While a line is `under_way`, the first waits until that is confirmed and recorded; a second does not. Old handlers
    come back at the end of the `with` block. A signal that is ignored (nohup) stays so.
    """

    def __init__(self) -> None:
        self.in_doubt = False
        self._under_way = False
        self._asked = False
        self._old: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Self:
        for number in ASKING:
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._old[number] = signal.signal(number, self._stop)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._old.items():
            # None: it was not set from Python and cannot be put back from here
            signal.signal(number, signal.SIG_DFL if handler is None else handler)

    @contextmanager
    def under_way(self) -> Iterator[None]:
        """Hold the first signal until the block's end. in_doubt: the block was left in its middle."""
        self._under_way = self.in_doubt = True
        try:
            yield
        except BaseException:
            self._under_way = False
            raise
        # One that comes between the two is held, and found below; one that comes later raises by itself
        self.in_doubt = False
        self._under_way = False
        if self._asked:
            raise KeyboardInterrupt

    def _stop(self, _number: int, _frame: FrameType | None) -> None:
        if self._under_way and not self._asked:
            self._asked = True
            return
        raise KeyboardInterrupt

"""A thread of the load test: it works until it is told to end, and whoever waits for it learns of its failure."""

import threading
from abc import ABC, abstractmethod
from typing import Self


class Background(ABC):
    """What runs beside a replay; a context manager. A subclass says in `work` what it does, and obeys `over`."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=type(self).__name__, daemon=True)

    @abstractmethod
    def work(self) -> None:
        """Do it; return when it is done or `over` is set."""

    @property
    def busy(self) -> bool:
        return self._thread.is_alive()

    def check(self) -> None:
        """Raise what it failed with, if it did."""
        if self.failure is not None:
            raise self.failure

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:  # noqa: BLE001 - told by check()
            self.failure = error

"""The shared memory of one supervisor and all that it forks."""

import time

from supervisor.board import Board
from supervisor.bulletin import Bulletin
from supervisor.chronicle import Chronicle
from supervisor.counters import Layout


class Pages:
    """Board, chronicle and bulletin, made and given back together. Make them before the first fork."""

    def __init__(self, capacity: int, layout: Layout) -> None:
        self.board = Board(capacity, layout)
        self.chronicle = Chronicle(capacity)
        self.bulletin = Bulletin(time.monotonic(), capacity)

    def close(self) -> None:
        """Give them back."""
        self.board.close()
        self.chronicle.close()
        self.bulletin.close()

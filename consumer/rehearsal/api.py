"""A Memory API's line: 200, and a count."""

import re

ANSWER = b'{"status":"ok","count":1}'
REPLY = (
    b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b"
    % (
        len(ANSWER),
        ANSWER,
    )
)
LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


class Api:
    """One connection's other end: one request, one answer."""

    def __init__(self) -> None:
        self.over = False
        self._unread = b""

    def receive(self, data: bytes) -> bytes:
        """Take what has come; answer when the request is whole."""
        self._unread += data
        head, blank, body = self._unread.partition(b"\r\n\r\n")
        length = LENGTH.search(head)
        if not blank or len(body) < (int(length[1]) if length else 0):
            return b""
        self.over = True
        return REPLY

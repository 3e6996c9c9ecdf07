"""A database's lines: PostgreSQL's protocol 3, with one row for each statement that is known."""

import struct
from collections.abc import Iterator, Mapping
from typing import Any

SSL_REQUEST, GSS_REQUEST = 80877103, 80877104
TEXT, BINARY = 0, 1
TEXT_OID, TEXT_ARRAY_OID = 25, 1009

Row = Mapping[str, Any]


class Database:
    """One session's other end.

    rows: what a statement that begins like the key returns. Any other statement is carried out, and returns nothing.
    """

    def __init__(self, rows: Mapping[bytes, Row]) -> None:
        self.over = False
        self._rows = rows
        self._unread = b""
        self._started = False
        self._status = b"I"
        self._query = b""
        self._format = TEXT

    def receive(self, data: bytes) -> bytes:
        """Take what has come; give what is to be said to it."""
        self._unread += data
        said = b""
        while not self.over:
            if not self._started:
                heard = self._take(0)
                if heard is None:
                    break
                said += self._start(int.from_bytes(heard[1][:4]))
            else:
                heard = self._take(1)
                if heard is None:
                    break
                said += self._answer(*heard)
        return said

    def _take(self, kinds: int) -> tuple[bytes, bytes] | None:
        """Cut the next message off: its kind, of so many bytes, and what follows its length."""
        head = kinds + 4
        if len(self._unread) < head:
            return None
        end = kinds + int.from_bytes(self._unread[kinds:head])
        if len(self._unread) < end:
            return None
        kind, content, self._unread = self._unread[:kinds], self._unread[head:end], self._unread[end:]
        return kind, content

    def _start(self, code: int) -> bytes:
        if code in {SSL_REQUEST, GSS_REQUEST}:
            return b"N"
        self._started = True
        told = {
            "server_version": "16.0",
            "server_encoding": "UTF8",
            "client_encoding": "UTF8",
            "integer_datetimes": "on",
            "standard_conforming_strings": "on",
            "TimeZone": "UTC",
            "DateStyle": "ISO, MDY",
            "IntervalStyle": "postgres",
        }
        return b"".join(
            [
                _message(b"R", bytes(4)),
                *(_message(b"S", _string(name) + _string(value)) for name, value in told.items()),
                _message(b"K", bytes(8)),
                self._ready(),
            ]
        )

    def _answer(self, kind: bytes, content: bytes) -> bytes:
        said = b""
        match kind:
            case b"Q":
                self._query, self._format = content.rstrip(b"\0"), TEXT
                said = self._described() if self._row() is not None else b""
                said += self._carried_out() + self._ready()
            case b"P":
                _, self._query, _ = content.split(b"\0", 2)
                said = _message(b"1")
            case b"B":
                self._format = _result_format(content)
                said = _message(b"2")
            case b"D":
                said = self._described()
            case b"E":
                said = self._carried_out()
            case b"S":
                said = self._ready()
            case b"X":
                self.over = True
        return said

    def _row(self) -> Row | None:
        return next((row for start, row in self._rows.items() if self._query.startswith(start)), None)

    def _described(self) -> bytes:
        row = self._row()
        if row is None:
            return _message(b"n")
        columns = [
            _string(name) + struct.pack("!ihihih", 0, 0, _oid(value), -1, -1, self._format)
            for name, value in row.items()
        ]
        return _message(b"T", struct.pack("!h", len(columns)) + b"".join(columns))

    def _carried_out(self) -> bytes:
        command = self._query.lstrip().split(None, 1)[0].upper() if self._query.strip() else b""
        match command:
            case b"BEGIN":
                self._status = b"T"
            case b"COMMIT" | b"ROLLBACK":
                self._status = b"I"
        row = self._row()
        told = (
            b"" if row is None else _message(b"D", struct.pack("!h", len(row)) + b"".join(self._values(row)))
        )
        return told + _message(b"C", command + b" 1\0")

    def _values(self, row: Row) -> Iterator[bytes]:
        for value in row.values():
            if value is None:
                yield struct.pack("!i", -1)
            else:
                spelled = _binary(value) if self._format == BINARY else _text(value)
                yield struct.pack("!i", len(spelled)) + spelled

    def _ready(self) -> bytes:
        return _message(b"Z", self._status)


def _message(kind: bytes, content: bytes = b"") -> bytes:
    return kind + struct.pack("!i", len(content) + 4) + content


def _string(text: str) -> bytes:
    return text.encode() + b"\0"


def _result_format(bind: bytes) -> int:
    """Read a Bind message as far as the format that it wants its results in."""
    at = bind.index(b"\0", bind.index(b"\0") + 1) + 1
    at += 2 + 2 * struct.unpack_from("!h", bind, at)[0]
    (parameters,) = struct.unpack_from("!h", bind, at)
    at += 2
    for _ in range(parameters):
        (length,) = struct.unpack_from("!i", bind, at)
        at += 4 + max(0, length)
    formats = struct.unpack_from("!h", bind, at)[0]
    return int(struct.unpack_from("!h", bind, at + 2)[0]) if formats else TEXT


def _oid(value: Any) -> int:
    """Name the type of a column as the catalogue does."""
    match value:
        case bool():
            return 16
        case int():
            return 23
        case float():
            return 701
        case list():
            return TEXT_ARRAY_OID
        case dict():
            return 3802
        case _:
            return TEXT_OID


def _binary(value: Any) -> bytes:
    match value:
        case bool():
            return struct.pack("!?", value)
        case int():
            return struct.pack("!i", value)
        case float():
            return struct.pack("!d", value)
        case list():
            return struct.pack("!iii", 0, 0, TEXT_OID)
        case dict():
            return b"\1{}"
        case _:
            return str(value).encode()


def _text(value: Any) -> bytes:
    match value:
        case bool():
            return b"t" if value else b"f"
        case list() | dict():
            return b"{}"
        case _:
            return str(value).encode()

"""Reads a file's entries, from its beginning or from a place in it.

Lines of JSON, of which one is held at a time, or the items of a JSON text, which is held whole. Gzip is recognised by
its first bytes, whatever the name says.
"""

import gzip
import io
import select
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, Self, TypeVar, cast

from supervisor.cli.publishing import jsontext
from supervisor.cli.publishing.entries import BOM, Broken, Entry
from supervisor.cli.publishing.files import STANDARD_INPUT

GZIP = b"\x1f\x8b"
STEP_BYTES = 256 * 1024
_LINE_END_BYTES = len(b"\r\n")

T = TypeVar("T")


class Reader:
    """A file or a pipe from where it stands, inflated where it is gzip. Closes it at the end of the `with` block."""

    def __init__(self, raw: io.RawIOBase) -> None:
        self._raw = raw
        self._text: BinaryIO | None = None
        self.zipped = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def fileno(self) -> int:
        return self._raw.fileno()

    def consumed_bytes(self, entry: Entry) -> int:
        """Say how much of the file, as it is stored, was read for the entries up to this one."""
        if not self.zipped or self._text is None or not self._raw.seekable():
            return entry.end
        # A text that is held whole was read to its end before its first entry
        return self._raw.tell() * entry.end // max(1, self._text.tell())

    def line(self, limit: int) -> bytes:
        """Read to the end of the line, or `limit` bytes of it. Raises Broken."""
        return self._read(lambda text: text.readline(limit))

    def chunk(self) -> bytes:
        """Read some bytes, as soon as there are any; none at the end. Raises Broken."""
        return self._read(lambda text: cast(io.BufferedIOBase, text).read1(STEP_BYTES))

    def skip(self, count: int) -> bool:
        """Go `count` bytes forward from the beginning; False when the file is shorter. Raises Broken."""
        if not self._opened_zipped() and self._raw.seekable():
            return self._read(lambda text: text.seek(0, io.SEEK_END) >= count and text.seek(count) == count)
        left = count
        while left and (passed := self._read(partial(_read, count=min(left, STEP_BYTES)))):
            left -= passed
        return not left

    def _opened_zipped(self) -> bool:
        self._read(lambda _text: None)
        return self.zipped

    def _read(self, work: Callable[[BinaryIO], T]) -> T:
        problem = ""
        try:
            if self._text is None:
                self._text = self._opened()
            return work(self._text)
        except EOFError:
            problem = "the gzip data ends in the middle"
        except (gzip.BadGzipFile, zlib.error):
            problem = "the gzip data is damaged"
        except OSError as error:
            problem = error.strerror or "it cannot be read"
        raise Broken(problem)

    def _opened(self) -> BinaryIO:
        """Look at the first bytes, which a pipe gives only once."""
        begun = self._raw.tell() if self._raw.seekable() else 0
        head = b""
        while len(head) < len(GZIP) and (more := self._raw.read(len(GZIP) - len(head))):
            head += more
        if self._raw.seekable():
            self._raw.seek(begun)
            raw = self._raw
        else:
            raw = _Begun(head, self._raw)
        plain = io.BufferedReader(raw, STEP_BYTES)
        self.zipped = head == GZIP
        return cast(BinaryIO, gzip.GzipFile(fileobj=plain, mode="rb") if self.zipped else plain)


def _read(text: BinaryIO, count: int) -> int:
    return len(text.read(count))


class _StandardInput(io.RawIOBase):
    """Descriptor 0, which is not ours to close, nor to be made blocking: whoever else has it would find it so.

    Where it does not block (O_NONBLOCK), nothing to read at the moment looks like None, which readers take for the end.
    """

    def __init__(self) -> None:
        self._file = io.FileIO(0, closefd=False)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return self._file.seekable()

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def fileno(self) -> int:
        return self._file.fileno()

    def readinto(self, buffer: Any) -> int:
        while (count := self._file.readinto(buffer)) is None:
            select.select([self._file], [], [])
        return count


class _Begun(io.RawIOBase):
    """A pipe whose first bytes were read already."""

    def __init__(self, head: bytes, rest: io.RawIOBase) -> None:
        self._head = head
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if not self._head:
            return self._rest.readinto(buffer)
        count = min(len(buffer), len(self._head))
        buffer[:count], self._head = self._head[:count], self._head[count:]
        return count


def opened(path: str) -> Reader:
    """Open a file, or standard input. Raises Broken."""
    try:
        return Reader(_StandardInput() if path == STANDARD_INPUT else Path(path).open("rb", buffering=0))
    except OSError as error:
        problem = error.strerror or "it cannot be opened"
    raise Broken(problem)


def lines(reader: Reader, max_bytes: int, start: int = 0, number: int = 1) -> Iterator[Entry]:
    """Give the lines that are not blank, from the one of this number, which begins at `start`. Raises Broken.

    None of a file that is shorter than that.
    """
    if start and not reader.skip(start):
        return
    limit = max_bytes + _LINE_END_BYTES
    while line := reader.line(limit):
        end, size = start + len(line), 0
        if len(line) == limit and not line.endswith(b"\n"):
            # Over the limit whatever follows, unless that is nothing but the line's end
            size = len(line)
            while (more := reader.line(STEP_BYTES)) and not more.endswith(b"\n"):
                size += len(more)
                end += len(more)
            end += len(more)
            size += len(more.rstrip(b"\r\n"))
        body = line.strip() if not size else b""
        if number == 1:
            body = body.removeprefix(BOM)
        if size or body:
            fits = not size and len(body) <= max_bytes
            yield Entry(number, start, end, size or len(body), body if fits else None)
        start, number = end, number + 1


def items(reader: Reader, max_bytes: int, start: int = 0) -> Iterator[Entry]:
    """Give the items of a JSON text, from the one that begins at `start`. The text is held whole. Raises Broken."""
    text = bytearray()
    while chunk := reader.chunk():
        text += chunk
        if len(text) > jsontext.MAX_BYTES:
            raise Broken(
                f"it is larger than {jsontext.MAX_BYTES >> 20} MB, which is the limit of one JSON text: "
                f"{jsontext.remedy(text, zipped=reader.zipped)}"
            )
    found = jsontext.entries(text, max_bytes, zipped=reader.zipped)
    yield from (entry for entry in found if entry.start >= start)

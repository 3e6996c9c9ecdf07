"""Ways to take memory without end, each as fast as it can be done from a Python process, and ways to die of it.

What is taken is kept in a module's list, not in a frame: unwinding gives nothing back, so whoever handles the end of it
has to do so with no memory left. Measured on Linux 6.18, two cores, a file on ext4: objects 1.8 GB/s, bytes 2.3, malloc
2.4, shared 110 (the file's pages are there already, and the kernel only has to map them).
"""

import ctypes
import mmap
import os
import signal
import tempfile
from collections.abc import Callable, Iterator
from enum import StrEnum
from itertools import count
from pathlib import Path
from typing import NoReturn

import psycopg

MB = 1 << 20
PAGE = os.sysconf("SC_PAGE_SIZE")
CAP_BYTES = 4096 * MB
"""Where a runaway that nobody stops stands still, so that a broken wall does not take the machine along."""

PREFIX = "runaway-"

INTEGERS = 250_000  # 32 bytes each, and 8 in their list
BYTES_STEP = 16 * MB
MALLOC_STEP = 8 * MB
JSON_BYTES = 16 * MB
SHARED_FILE_BYTES = 64 * MB
SHARED_STEP = 2 * MB  # what the kernel can map with one entry, where the file's pages lie together

_hoard: list[object] = []
_libc = ctypes.CDLL(None, use_errno=True)
_libc.malloc.restype = ctypes.c_void_p
_libc.malloc.argtypes = [ctypes.c_size_t]
_libc.memset.restype = ctypes.c_void_p
_libc.memset.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_size_t]


class Kind(StrEnum):
    """What a conversation does to the child that reads it."""

    OBJECTS = "objects"
    BYTES = "bytes"
    MALLOC = "malloc"  # in C, which raises MemoryError when malloc returns NULL
    SHARED = "shared"  # the same file mapped again and again: resident, and yet nobody's memory
    MEMORY_ERROR = "memory_error"  # raised at once, with memory left
    DECODER = (
        "decoder"  # what reads the database's JSON, of a text that is four times as large once it is a str
    )
    SEGFAULT = "segfault"  # as malloc, in C that does not look whether it got any


ENDLESS = (Kind.OBJECTS, Kind.BYTES, Kind.MALLOC, Kind.SHARED)


def kind_of(conversation_id: str) -> Kind | None:
    """Read the fault out of an id such as `runaway-bytes-7`; None for an ordinary conversation."""
    if not conversation_id.startswith(PREFIX):
        return None
    return Kind(conversation_id.removeprefix(PREFIX).partition("-")[0])


def conversation_id(kind: Kind, name: str) -> str:
    """Name a conversation that is such a fault."""
    return f"{PREFIX}{kind}-{name}"


def run(kind: Kind, cap_bytes: int = CAP_BYTES) -> NoReturn:
    """Take memory until there is none (MemoryError, OSError, a signal), or stand still at the cap until killed."""
    steps = STEPS[kind]()
    while _resident_bytes() < cap_bytes:
        next(steps)
    while True:
        signal.pause()


def _resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_bytes().split()[1]) * PAGE


def _objects() -> Iterator[None]:
    for number in count(1):
        start = number << 32
        _hoard.append(list(range(start, start + INTEGERS)))
        yield


def _bytes() -> Iterator[None]:
    while True:
        _hoard.append(b"\1" * BYTES_STEP)
        yield


def _malloc() -> Iterator[None]:
    while True:
        address = _libc.malloc(MALLOC_STEP)
        if address is None:
            raise MemoryError
        _libc.memset(address, 1, MALLOC_STEP)
        yield


def _unchecked_malloc() -> Iterator[None]:
    while True:
        _libc.memset(_libc.malloc(MALLOC_STEP), 1, MALLOC_STEP)
        yield


def _decoder() -> Iterator[None]:
    loader = psycopg.adapters.get_loader(psycopg.adapters.types["jsonb"].oid, psycopg.pq.Format.TEXT)
    assert loader is not None
    load = loader(psycopg.adapters.types["jsonb"].oid).load
    text = b'"\xf0\x9f\xa6\x95' + b"x" * JSON_BYTES + b'"'
    while True:
        _hoard.append(load(text))
        yield


def _shared() -> Iterator[None]:
    with tempfile.TemporaryFile() as file:
        # In one call: then the file's pages come in large pieces, which are mapped as such
        os.writev(file.fileno(), [b"\1" * SHARED_STEP] * (SHARED_FILE_BYTES // SHARED_STEP))
        for number in count():
            offset = number * SHARED_STEP % SHARED_FILE_BYTES
            flags = mmap.MAP_SHARED | mmap.MAP_POPULATE
            _hoard.append(mmap.mmap(file.fileno(), SHARED_STEP, flags, mmap.PROT_READ, offset=offset))
            yield


def _memory_error() -> Iterator[None]:
    raise MemoryError
    yield


STEPS: dict[Kind, Callable[[], Iterator[None]]] = {
    Kind.OBJECTS: _objects,
    Kind.BYTES: _bytes,
    Kind.MALLOC: _malloc,
    Kind.SHARED: _shared,
    Kind.MEMORY_ERROR: _memory_error,
    Kind.DECODER: _decoder,
    Kind.SEGFAULT: _unchecked_malloc,
}

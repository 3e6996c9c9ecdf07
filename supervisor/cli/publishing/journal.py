"""Where the places are kept: a small file per published file and target, below the state directory.

A record is one write in place, after each confirm, and no fsync: it outlives any death of this process. After a power
cut it may be older, or torn; then lines come twice, and none is missing.
"""

import contextlib
import errno
import fcntl
import os
import tempfile
from collections.abc import Mapping
from dataclasses import astuple, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Self

import msgspec

from supervisor.cli.publishing.place import HEAD_BYTES, RECORD_BYTES, Identity, Place, decode, encode


class AlreadyUnderWay(Exception):
    """Another process is publishing this file to the same target."""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the messages go, in words without a secret. broker: host:port/vhost. log_to: the door, with its place."""

    queue: str
    broker: str
    log_to: str


def state_directory(environ: Mapping[str, str]) -> Path | None:
    """Give the directory for journals, as the XDG base directory specification has it; None for who has no home."""
    base = Path(environ.get("XDG_STATE_HOME", ""))
    if not base.is_absolute():  # then it is to be ignored
        try:
            base = Path("~/.local/state").expanduser()
        except RuntimeError:
            return None
    return base / "friendship-supervisor" / "publish"


class Journal:
    """The pages of one target. directory: None where there is no place for one."""

    def __init__(self, directory: Path | None, target: Target) -> None:
        self._directory = directory
        self._target = target

    def require(self) -> None:
        """Make sure that places can be recorded there. Raises OSError."""
        with tempfile.TemporaryFile(dir=self._made()) as probe:
            fcntl.flock(probe, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.pwrite(probe.fileno(), bytes(RECORD_BYTES), 0)

    def page(self, real_path: str) -> "Page":
        """Open the page of a file, and hold it against other processes. Raises AlreadyUnderWay, OSError."""
        directory = self._made()
        title = [os.fsencode(real_path).decode(errors="replace"), *astuple(self._target)]
        return Page(self._path(directory, real_path), msgspec.json.encode(title))

    def forget(self, real_path: str) -> None:
        """Remove the page of a file, if there is one. Raises AlreadyUnderWay, OSError."""
        if self._directory is not None and (path := self._path(self._directory, real_path)).exists():
            with Page(path, b"") as page:
                page.remove()

    def _made(self) -> Path:
        if self._directory is None:
            raise OSError(errno.ENOENT, "this user has no home directory")
        with contextlib.suppress(FileExistsError):  # no directory: whoever opens a file in it finds out
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        return self._directory

    def _path(self, directory: Path, real_path: str) -> Path:
        key = msgspec.json.encode([os.fsencode(real_path).hex(), *astuple(self._target)])
        return directory / f"{sha256(key).hexdigest()[:32]}.journal"


class Page:
    """The place in one file. Given back at the end of the `with` block; it stays until it is removed."""

    def __init__(self, path: Path, title: bytes) -> None:
        self._path = path
        self._title = title
        self._identity: Identity | None = None
        self._fd = _held(path)
        self.recorded = decode(os.pread(self._fd, RECORD_BYTES, 0))
        self.is_new = os.fstat(self._fd).st_size == 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    def begin(self, identity: Identity, place: Place) -> None:
        """Say which file the places from now on belong to. Raises OSError."""
        self._identity = identity
        self.note(place)
        # For a person who wonders what this file is
        os.pwrite(self._fd, self._title + b"\n", RECORD_BYTES)

    def note(self, place: Place) -> None:
        """Record a place. Raises OSError."""
        assert self._identity is not None, "begin comes first"
        os.pwrite(self._fd, encode(place, self._identity), 0)

    def remove(self) -> None:
        """Forget the place."""
        with contextlib.suppress(FileNotFoundError):
            self._path.unlink()


def _held(path: Path) -> int:
    """Open and lock a file that is still there once it is locked: who had it before may have removed it."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            with contextlib.suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(fd), path.stat()):
                    return fd
        except BlockingIOError:
            os.close(fd)
            raise AlreadyUnderWay from None
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def identify(fd: int, head_bytes: int | None = None) -> Identity:
    """Look at an open file, whatever its path means by now, and leave it where it stands. Raises OSError.

    head_bytes: how much of its beginning to look at; as much as is remembered, without it.
    """
    stat = os.fstat(fd)
    head = os.pread(fd, min(stat.st_size, HEAD_BYTES) if head_bytes is None else head_bytes, 0)
    return Identity(stat.st_size, stat.st_mtime_ns, stat.st_ino, len(head), sha256(head).hexdigest())

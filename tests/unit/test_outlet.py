"""A reader that does not read must not stop a writer."""

import contextlib
import os
import pty
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from supervisor.outlet import MOST_BYTES, Outlet

LINE = b"x" * 99 + b"\n"
Pipe = tuple[int, int]


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    """Give a pipe: where it is read, and where it is written."""
    ends = os.pipe()
    yield ends
    for end in ends:
        with contextlib.suppress(OSError):
            os.close(end)


def fill(fd: int) -> None:
    """Write until no more fits, through an open file of our own."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_WRONLY | os.O_NONBLOCK)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(own, LINE)
    os.close(own)


def returns(work: Callable[[], bool]) -> bool:
    """Give what the work returns; it must return: a thread that a full pipe holds is left behind."""
    results: list[bool] = []
    thread = threading.Thread(target=lambda: results.append(work()), daemon=True)
    thread.start()
    thread.join(10)
    assert results, "it waits for the reader"
    return results[0]


def test_a_full_pipe_takes_no_line_and_holds_nobody(pipe: Pipe) -> None:
    """False at once; true again when somebody has read. The pipe's own flags are as they were."""
    reader, writer = pipe
    outlet = Outlet(writer)
    assert outlet.write(LINE)
    fill(writer)
    assert not returns(lambda: outlet.write(b"y" * MOST_BYTES))
    os.read(reader, 2**20)
    assert outlet.write(LINE)
    assert os.read(reader, 2**20).endswith(LINE)
    assert os.get_blocking(writer)
    outlet.close()
    assert not outlet.write(LINE)


def test_a_pipe_that_cannot_be_opened_again_is_asked_for_room(
    pipe: Pipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made by root, written to by another user: as in many a container."""
    reader, writer = pipe

    def refuse(*_: object) -> int:
        raise PermissionError

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        outlet = Outlet(writer)
    assert outlet.write(LINE)
    fill(writer)
    assert not returns(lambda: outlet.write(LINE))
    os.read(reader, 2**20)
    assert outlet.write(LINE)


def test_a_full_socket_takes_no_line_and_holds_nobody() -> None:
    """Standard output under systemd."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        outlet = Outlet(ours.fileno())

        def until_full() -> bool:
            while outlet.write(LINE):
                pass
            return True

        assert returns(until_full)
        theirs.recv(2**20)
        assert outlet.write(LINE)
        assert os.get_blocking(ours.fileno())
        outlet.close()


def test_half_a_line_on_a_terminal_is_not_continued_by_the_next() -> None:
    """A terminal takes what fits; the rest is lost, and counts as a lost line."""
    try:
        master, slave = pty.openpty()
    except OSError as none:
        pytest.skip(f"no terminals here, as in a chroot without devpts: {none}")
    os.set_blocking(master, False)
    outlet = Outlet(slave)

    def until_full() -> bool:
        while outlet.write(LINE):
            pass
        return True

    assert returns(until_full)
    screen = b""
    while not outlet.write(b"next\n"):
        screen += os.read(master, 2**16)
    with contextlib.suppress(BlockingIOError):
        while True:
            screen += os.read(master, 2**16)
    assert screen.endswith(b"\nnext\r\n")
    outlet.close()
    os.close(slave)
    os.close(master)


def test_a_file_is_written_where_the_others_write(tmp_path: Path) -> None:
    """Through the descriptor itself: one that was opened again would overwrite from the start."""
    with (tmp_path / "log").open("wb", buffering=0) as file:
        file.write(b"before\n")
        assert Outlet(file.fileno()).write(LINE)
        file.write(b"after\n")
    assert (tmp_path / "log").read_bytes() == b"before\n" + LINE + b"after\n"


def test_a_pipe_without_a_reader_ends_nobody(pipe: Pipe) -> None:
    """Before it is opened again, and after."""
    reader, writer = pipe
    outlet = Outlet(writer)
    os.close(reader)
    assert not outlet.write(LINE)
    assert not Outlet(writer).write(LINE)
    outlet.close()

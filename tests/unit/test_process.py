"""System calls on processes, one by one."""

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from supervisor import process
from supervisor.blame import Exit
from tests.fixtures.eventually import eventually


@dataclass
class Waiting:
    """A forked process that ends with its code when told to."""

    pid: int
    pidfd: int
    go: int

    def end(self) -> Exit:
        os.write(self.go, b"x")
        end = eventually(lambda: process.reap(self.pidfd), "it has ended")
        assert end is not None
        return end


@pytest.fixture
def waiting() -> Iterator[Waiting]:
    go_read, go = os.pipe()

    def body() -> int:
        process.heed({})
        process.unblock()
        os.read(go_read, 1)
        return 7

    pid = process.fork(body)
    forked = Waiting(pid, process.watch(pid), go)
    yield forked
    process.send(forked.pidfd, signal.SIGKILL)
    for fd in (forked.pidfd, go, go_read):
        os.close(fd)


def test_an_exit_code_comes_back_once_it_has_ended(waiting: Waiting) -> None:
    """None before; signals to a reaped process hit nobody."""
    assert process.reap(waiting.pidfd) is None
    assert waiting.end() == Exit(7, None)
    assert process.send(waiting.pidfd, signal.SIGKILL) is False


def test_a_signal_comes_back_as_a_signal(waiting: Waiting) -> None:
    """It ignores SIGTERM and SIGINT, stands still for SIGSTOP, and ends by SIGKILL."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGSTOP):
        assert process.send(waiting.pidfd, number)
    assert eventually(lambda: process.stands_still(waiting.pidfd), "it stands still")
    assert process.reap(waiting.pidfd) is None
    process.send(waiting.pidfd, signal.SIGKILL)
    assert eventually(lambda: process.reap(waiting.pidfd), "it has ended") == Exit(None, signal.SIGKILL)


def test_strangers_are_reaped_and_our_own_left_alone() -> None:
    """Both are zombies; only the one that nobody knows is taken."""
    own = process.fork(lambda: 5)
    own_fd = process.watch(own)
    os.waitid(os.P_PIDFD, own_fd, os.WEXITED | os.WNOWAIT)
    assert process.reap_strangers({own}) == []
    assert process.reap(own_fd) == Exit(5, None)
    os.close(own_fd)
    stranger = process.fork(lambda: 6)
    os.waitid(os.P_PID, stranger, os.WEXITED | os.WNOWAIT)
    assert process.reap_strangers(()) == [stranger]


def test_an_exception_in_a_forked_process_ends_it_and_does_not_unwind(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The frames above belong to the parent."""

    def fails() -> int:
        raise KeyError("x")

    pid = process.fork(fails)
    pidfd = process.watch(pid)
    assert eventually(lambda: process.reap(pidfd), "it has ended") == Exit(1, None)
    os.close(pidfd)
    assert "Traceback" not in capfd.readouterr().err


def test_the_parent_goes_first_but_what_it_forks_does_not() -> None:
    """Real-time where it is allowed; ordinary again afterwards, and from the start in every forked process."""
    before = os.sched_getscheduler(0)
    with process.first_in_line() as first:
        assert (os.sched_getscheduler(0) & ~os.SCHED_RESET_ON_FORK == os.SCHED_RR) == first
        pidfd = process.watch(process.fork(lambda: os.sched_getscheduler(0)))
        assert eventually(lambda: process.reap(pidfd), "it has ended") == Exit(os.SCHED_OTHER, None)
        os.close(pidfd)
    assert os.sched_getscheduler(0) == before

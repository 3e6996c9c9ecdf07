"""Processes, one system call to a function. Known children are waited for by descriptor, never with waitpid(-1)."""

import contextlib
import ctypes
import gc
import logging
import os
import random
import resource
import signal
import sys
from collections.abc import Callable, Container, Iterator, Mapping
from typing import NoReturn

import setproctitle

from supervisor import logs, wall
from supervisor.blame import Exit
from supervisor.lifecycle import EXIT_FAILED, EXIT_MEMORY

PR_SET_PDEATHSIG = 1
HEEDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
)
NICER = 5
"""Added to a child's nice value: the parent that watches its memory gets the processor first."""
OOM_SCORE = 500
"""Added to a child's oom_score_adj: should the kernel have to choose, it takes a child before the parent."""

OURS = frozenset({"supervisor", "consumer", "repository"})
LONGEST_TEXT = 500

log = logging.getLogger("friendship.supervisor")
_libc = ctypes.CDLL(None, use_errno=True)


def fork(body: Callable[[], int]) -> int:
    """Run `body` in a new process and return its pid; the process ends with the exit code that body returns.

    Signals are blocked from before the fork until the child unblocks them (`unblock`): one that arrives in between
    must not run the parent's handlers, or write to its pipe, from inside the child.
    Raises OSError when the system has no process to give.
    """
    parent = os.getpid()
    for stream in (sys.stdout, sys.stderr):
        # What is buffered here would otherwise be written twice.
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    try:
        pid = os.fork()
        if pid == 0:
            _live(parent, body)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    return pid


def _live(parent: int, body: Callable[[], int]) -> NoReturn:
    code = EXIT_FAILED
    try:
        die_with(parent)
        code = body()
    except MemoryError as error:
        wall.relieve()
        code = EXIT_MEMORY
        log.error("out_of_memory", extra={"at": logs.places(error.__traceback__)})  # noqa: TRY400 - as below
    except BaseException as error:  # noqa: BLE001 - nothing may unwind into the parent's frames above
        log.error("process_failed", extra=_told(error))  # noqa: TRY400 - no traceback: see _told
    finally:
        for handler in logging.getLogger().handlers:
            with contextlib.suppress(Exception):
                handler.flush()
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(Exception):
                stream.flush()
        os._exit(code)


def _told(error: BaseException) -> dict[str, str]:
    """Tell an error without secrets: its text only when it is one of ours, which are written to hold none."""
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    kind = type(error)
    text = str(error)[:LONGEST_TEXT] if kind.__module__.partition(".")[0] in OURS else ""
    return {"exception": kind.__name__, "reason": text, "at": logs.places(error.__traceback__)}


def die_with(parent: int) -> None:
    """Ask the kernel to kill this process when its parent dies; end now if that has happened already.

    Compared is the parent of before the fork, not 1: as PID 1 of a container, the parent *is* 1.
    """
    _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(EXIT_FAILED)


@contextlib.contextmanager
def first_in_line() -> Iterator[bool]:
    """Run before every ordinary process, where the system allows it; say whether it does (root, CAP_SYS_NICE).

    Who watches memory must not wait for a processor: with three busy strangers on two cores, waking took up to 30 ms,
    and at most 4 ms so. Forked processes start as ordinary ones. The parent's turns are short, and the kernel keeps a
    share of each processor from real-time processes anyway.
    """
    usual, usual_priority = os.sched_getscheduler(0), os.sched_getparam(0)
    try:
        os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(1))
    except OSError:
        yield False
        return
    try:
        yield True
    finally:
        with contextlib.suppress(OSError):
            os.sched_setscheduler(0, usual, usual_priority)


def settle_in(title: str, *, expendable: bool) -> None:
    """Take the manners of a forked process: title, own random numbers, a collector, no core file.

    expendable: step back behind the parent for the processor, and before it for the OOM killer.
    """
    random.seed()
    gc.enable()
    setproctitle.setproctitle(f"friendship-supervisor: {title}")
    # A core file would hold what children said to a robot.
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    if expendable:
        with contextlib.suppress(OSError, ValueError):
            os.nice(NICER)
        with contextlib.suppress(OSError, ValueError):
            file = os.open("/proc/self/oom_score_adj", os.O_RDWR | os.O_CLOEXEC)
            try:
                score = int(os.read(file, 16)) + OOM_SCORE
                os.pwrite(file, b"%d" % min(1000, score), 0)
            finally:
                os.close(file)


def heed(heeded: Mapping[signal.Signals, Callable[..., None]]) -> None:
    """Choose what a forked process listens to: each signal calls its handler, all others of ours are ignored.

    A terminal sends ^C and its like to the whole group, and the parent decides what that
    means for a child.
    """
    for number in HEEDED:
        signal.signal(number, heeded.get(number, signal.SIG_IGN))


def unblock() -> None:
    """Let signals in; those that came since the fork arrive now."""
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def watch(pid: int) -> int:
    """Return a descriptor of an own child, readable once it has ended. Kills and reaps the child if there is none."""
    try:
        return os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise


def send(pidfd: int, number: signal.Signals) -> bool:
    """Signal the process behind the descriptor, never a later owner of its pid; False when it was reaped already."""
    try:
        signal.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        return False
    return True


def reap(pidfd: int) -> Exit | None:
    """Take the exit status of a child that has ended; None while it runs."""
    info = os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    if info is None:
        return None
    # Its pid is its own until it is reaped; only this call tells the peak, as waitid does not
    _, status, usage = os.wait4(info.si_pid, 0)
    peak = usage.ru_maxrss * 1024
    if os.WIFSIGNALED(status):
        return Exit(code=None, signal=os.WTERMSIG(status), peak_rss_bytes=peak)
    return Exit(code=os.WEXITSTATUS(status), signal=None, peak_rss_bytes=peak)


def stands_still(pidfd: int) -> bool:
    """Say whether a child has stopped since it was last asked: SIGSTOP takes its time."""
    return os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG) is not None


def reap_strangers(known: Container[int]) -> list[int]:
    """Reap what others have left to us (as PID 1 everyone does) and return the pids; our own are left alone.

    WNOWAIT looks without taking. One of our own that has just ended hides the strangers behind it: its descriptor
    makes the loop turn again, and then they are seen.
    """
    reaped: list[int] = []
    while True:
        try:
            info = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return reaped
        if info is None or info.si_pid in known:
            return reaped
        os.waitid(os.P_PID, info.si_pid, os.WEXITED | os.WNOHANG)
        reaped.append(info.si_pid)

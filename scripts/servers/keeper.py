"""Keep one program alive exactly as long as the process that asked for it.

Theory of operation. The starter runs this file as a process of its own (`python -I -S keeper.py`, an
order in JSON on its standard input), which forks and executes the program and then waits for whichever ends first:

- the program: the keeper kills what it left behind and exits with its status;
- the starter, by any signal: the keeper asks the program to go, kills it after a moment with all it
  left behind, and removes the directory, since nobody else is left to do it;
- the keeper itself, by SIGKILL: the kernel kills the program (PR_SET_PDEATHSIG).

The keeper is a subreaper, so a daemon that the program detaches (epmd does) becomes its child and is
found at the end. It runs without the project's packages: only the standard library, and little of it.
"""

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import sys
from pathlib import Path
from typing import Any

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FAREWELL_S = 3.0


def main() -> int:
    order: dict[str, Any] = json.loads(sys.stdin.read())
    starter = _watch(order["starter"])
    if starter is None or os.getppid() != order["starter"]:
        shutil.rmtree(order["remove"], ignore_errors=True)
        return 1
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    keeper = os.getpid()
    pid = os.fork()
    if pid == 0:
        _become(order, libc, keeper)
    sys.stdout.write(f"{pid}\n")
    sys.stdout.flush()
    program = os.pidfd_open(pid)  # valid while we have not reaped it
    signal.signal(signal.SIGCHLD, lambda *_: _reap_others(pid))
    ended = _first_of(starter, program)
    if starter in ended:
        signal.pidfd_send_signal(program, order["farewell"])
        if not _first_of(program, timeout_s=FAREWELL_S):
            signal.pidfd_send_signal(program, signal.SIGKILL)
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    _, status = os.waitpid(pid, 0)
    _kill_what_is_left()
    if starter in ended:
        shutil.rmtree(order["remove"], ignore_errors=True)
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _watch(pid: int) -> int | None:
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def _first_of(*pidfds: int, timeout_s: float | None = None) -> list[int]:
    ready, _, _ = select.select(pidfds, [], [], timeout_s)
    return ready


def _become(order: dict[str, Any], libc: ctypes.CDLL, keeper: int) -> None:
    """Turn this forked process into the program: its user, directory, output and death signal."""
    try:
        os.setsid()
        if order["uid"] is not None:
            os.setgroups([])
            os.setgid(order["gid"])
            os.setuid(order["uid"])
        # After the change of user, which clears it; then look whether the keeper died in between.
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != keeper:
            os._exit(1)
        os.umask(0o077)
        os.chdir(order["cwd"])
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        log = os.open(order["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.dup2(log, 1)
        os.dup2(log, 2)
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # Python ignores it, and exec would hand that on
        os.execve(order["argv"][0], order["argv"], order["env"])
    except OSError as error:
        os.write(2, f"{order['argv'][0]}: {error}\n".encode())
    finally:
        os._exit(127)


def _reap_others(pid: int) -> None:
    """Reap what was reparented to us and has ended, but leave the program itself for later."""
    with contextlib.suppress(ChildProcessError):
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid == pid:
                return
            os.waitpid(ended.si_pid, 0)


def _kill_what_is_left() -> None:
    """SIGKILL every process that was reparented to us, until there is none."""
    # ChildProcessError: there are no more; another error: this kernel does not list children.
    with contextlib.suppress(OSError):
        while True:
            for child in Path(f"/proc/self/task/{os.getpid()}/children").read_text("ascii").split():
                os.kill(int(child), signal.SIGKILL)
            os.waitpid(-1, 0)


if __name__ == "__main__":
    sys.exit(main())

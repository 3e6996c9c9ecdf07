"""A server program as a process: found, started under a keeper, stopped, paused, its log shown."""

import contextlib
import json
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep
from typing import Self

import psutil

KEEPER = Path(__file__).with_name("keeper.py")
# Below Linux's range for outgoing connections (32768 and up), so that a port stays free across a restart.
PORTS = range(20_000, 32_000)


class ServerMissing(Exception):
    """A server program is not installed here."""


class ServerFailed(Exception):
    """A server did not start, or ended; the message ends with the tail of its log."""


@dataclass(frozen=True)
class Account:
    """The unprivileged user that a server runs as; ids are None when we are that user already."""

    name: str
    uid: int | None
    gid: int | None


def account(*preferred: str) -> Account:
    """Choose who runs a server: ourselves, or as root the first of `preferred` that exists, else nobody."""
    if os.geteuid() != 0:
        return account_of_ours()
    for name in (*preferred, "nobody"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return Account(name, entry.pw_uid, entry.pw_gid)
    return Account("nobody", 65534, 65534)


def account_of_ours() -> Account:
    """Return who we are, also where the user database does not know us."""
    try:
        name = pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        name = str(os.geteuid())
    return Account(name, None, None)


def private_directory(parent: Path, name: str, owner: Account) -> Path:
    """Make `parent/name`, which only the owner may enter."""
    path = parent / name
    path.mkdir(mode=0o700, exist_ok=True)
    if owner.uid is not None and owner.gid is not None:
        os.chown(path, owner.uid, owner.gid)
    return path


def program(name: str, package: str, *directories: Path) -> Path:
    """Find an executable in the given directories, else in PATH and the places for administrators.

    Raises ServerMissing, naming the package that holds it.
    """
    places = [*map(str, directories), os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    found = shutil.which(name, path=os.pathsep.join(places))
    if found is None:
        raise ServerMissing(f"{name} was not found; install the package {package}")
    return Path(found)


class Port:
    """A loopback TCP port that no other starter of servers on this machine will choose.

    The claim is an abstract Unix socket named after the port: the kernel drops it with its holder,
    and it covers the time while the server is stopped and about to start on the same port again.
    """

    def __init__(self, number: int, claim: socket.socket) -> None:
        self.number = number
        self._claim = claim

    @classmethod
    def reserve(cls) -> Self:
        chance = random.SystemRandom()
        for _ in range(1000):
            number = chance.choice(PORTS)
            claim = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            try:
                claim.bind(f"\0friendship-supervisor-port-{number}")
                with socket.socket() as trial:
                    trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    trial.bind(("127.0.0.1", number))
            except OSError:
                claim.close()
            else:
                return cls(number, claim)
        raise ServerFailed("no free loopback port")

    def release(self) -> None:
        self._claim.close()


class Program:
    """One running program and its keeper."""

    def __init__(self, keeper: "subprocess.Popen[str]", pid: int, log: Path) -> None:
        self._keeper = keeper
        self.pid = pid
        self.log = log

    @classmethod
    def start(  # noqa: PLR0913 - each is one plain fact about a process
        cls,
        argv: Sequence[str | Path],
        *,
        env: Mapping[str, str],
        cwd: Path,
        log: Path,
        user: Account,
        farewell: signal.Signals,
        remove: Path,
    ) -> Self:
        """Run argv under a keeper.

        log: the file its output is appended to.
        farewell: the signal it gets when this process is gone.
        remove: the directory that is removed then.
        """
        order = {
            "starter": os.getpid(),
            "argv": [str(word) for word in argv],
            "env": dict(env),
            "cwd": str(cwd),
            "log": str(log),
            "uid": user.uid,
            "gid": user.gid,
            "farewell": int(farewell),
            "remove": str(remove),
        }
        keeper = subprocess.Popen(
            [sys.executable, "-I", "-S", str(KEEPER)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,  # ^C at the terminal is for the starter
        )
        assert keeper.stdin is not None
        assert keeper.stdout is not None
        with keeper.stdin as orders:  # not as an argument: everybody may read those, and env may hold secrets
            orders.write(json.dumps(order))
        with keeper.stdout as output:
            line = output.readline()
        if not line:
            raise ServerFailed(f"the keeper of {argv[0]} ended at once with status {keeper.wait()}")
        return cls(keeper, int(line), log)

    @property
    def alive(self) -> bool:
        return self._keeper.poll() is None

    def ended(self, within_s: float) -> bool:
        """Wait until the program and what it left behind are gone; False when the time is up."""
        try:
            self._keeper.wait(within_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self, request: signal.Signals, patience_s: float) -> None:
        """Ask it to end, and kill it when it has not after `patience_s`; gone on return."""
        if self.alive:
            self.resume()  # a stopped process would not hear the request
            self.signal(request)
            if not self.ended(patience_s):
                self.signal(signal.SIGKILL)
        self._keeper.wait()

    def signal(self, number: signal.Signals) -> None:
        # Its pid cannot have been given to another process: the keeper reaps it and ends together with it.
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def pause(self) -> None:
        """Freeze the program and its children; the program first, so that it makes no more of them."""
        for process in self._family():
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()

    def resume(self) -> None:
        for process in reversed(self._family()):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()

    def _family(self) -> list[psutil.Process]:
        try:
            head = psutil.Process(self.pid)
            return [head, *head.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def wait_until(self, ready: Callable[[], bool], what: str, limit_s: float) -> None:
        """Wait for a condition; raises ServerFailed, with the log's tail, when it ends or is slow."""
        end = monotonic() + limit_s
        while not ready():
            if not self.alive:
                raise ServerFailed(f"{what} ended with status {self._keeper.wait()}\n{tail(self.log)}")
            if monotonic() > end:
                raise ServerFailed(f"{what} was not ready after {limit_s:.0f} s\n{tail(self.log)}")
            sleep(0.02)


def run(
    argv: Sequence[str | Path], *, env: Mapping[str, str], cwd: Path, user: Account, limit_s: float
) -> "subprocess.CompletedProcess[str]":
    """Run a short program to its end as that user."""
    return subprocess.run(
        [str(word) for word in argv],
        env=dict(env),
        cwd=cwd,
        user=user.uid,
        group=user.gid,
        extra_groups=None if user.uid is None else [],
        umask=0o077,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        timeout=limit_s,
        check=False,
    )


def plain_environment(home: Path) -> dict[str, str]:
    """Variables for a server: none of the starter's own, so that nothing of it leaks in."""
    return {
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "LC_ALL": "C.UTF-8",
        "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/local/sbin:/usr/sbin:/sbin:" + os.environ.get("PATH", ""),
        "TMPDIR": str(home),
    }


def tail(log: Path, lines: int = 25) -> str:
    """Return the last lines of a log, indented, or say that there is none."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"    (no log: {error})"
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:]) or "    (its log is empty)"


@contextlib.contextmanager
def stopped_at_the_end(stop: Callable[[], None]) -> Iterator[None]:
    """Call stop() when the block raises: a server half started must not stay."""
    try:
        yield
    except BaseException:
        stop()
        raise

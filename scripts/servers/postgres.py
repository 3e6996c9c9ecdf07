"""A private PostgreSQL on a loopback port."""

import re
import signal
from pathlib import Path
from typing import Self

import psycopg

from scripts.servers.process import (
    Account,
    Port,
    Program,
    ServerFailed,
    account,
    plain_environment,
    private_directory,
    program,
    run,
    stopped_at_the_end,
)

PACKAGE = "postgresql"
OWNER = "postgres"
START_LIMIT_S = 60.0


class Postgres:
    """One server, its data and its port; the port and the data stay the same across stop and start_again.

    `fsync` is off: a crash of the machine may lose data, a crash of the server may not. Commits keep their
    meaning, and so do locks, time limits and an immediate shutdown.
    """

    def __init__(self, directory: Path) -> None:
        self._root = directory
        self._account: Account = account("postgres")
        self._home = private_directory(directory, "postgres", self._account)
        self._data = self._home / "data"
        self._log = self._home / "server.log"
        self._bin = binaries()
        self._port = Port.reserve()
        self._program: Program | None = None

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Make a cluster below `directory` (which its user must be able to enter) and start it.

        Raises ServerMissing or ServerFailed.
        """
        server = cls(directory)
        with stopped_at_the_end(server.close):
            server._initialise()
            server.start_again()
        return server

    @property
    def url(self) -> str:
        """Where the maintenance database is."""
        return self.url_of("postgres")

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def pid(self) -> int:
        assert self._program is not None
        return self._program.pid

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.alive

    def url_of(self, database: str) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def create_database(self, name: str, template: str = "template1") -> str:
        """Create a copy of `template`, to which nobody may be connected, and return its URL."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"'.encode())
        return self.url_of(name)

    def drop_database(self, name: str) -> None:
        """Drop a database, ending the sessions in it."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'.encode())

    def start_again(self) -> None:
        """Start the server on its port and data; nothing when it runs."""
        if self.running:
            return
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": "",
            "fsync": "off",
            "max_connections": "200",
            "timezone": "UTC",
            "log_line_prefix": "%m [%p] %a ",
        }
        options = [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        self._program = Program.start(
            [self._bin / "postgres", "-D", self._data, *options],
            env=plain_environment(self._home),
            cwd=self._home,
            log=self._log,
            user=self._account,
            farewell=signal.SIGQUIT,  # its immediate shutdown: also gives back the shared memory
            remove=self._root,
        )
        self._program.wait_until(self._answers, f"PostgreSQL on port {self.port}", START_LIMIT_S)

    def stop(self, mode: str = "fast") -> None:
        """End the server. mode: fast (roll back, disconnect, checkpoint) or immediate (as in a crash)."""
        request = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT}[mode]
        self._end(request)

    def kill(self) -> None:
        """End the server as the kernel's OOM killer does: nothing is written any more, sessions die with it."""
        self._end(signal.SIGKILL)

    def _end(self, request: signal.Signals) -> None:
        if self._program is not None:
            self._program.stop(request, patience_s=30.0)
            self._program = None

    def restart(self, mode: str = "immediate") -> None:
        self.stop(mode)
        self.start_again()

    def pause(self) -> None:
        """Freeze the server and every session: connections stay open and nothing answers."""
        assert self._program is not None
        self._program.pause()

    def resume(self) -> None:
        assert self._program is not None
        self._program.resume()

    def close(self) -> None:
        """Stop the server for good and give up its port; the data stays for whoever owns the directory."""
        self.stop("immediate")
        self._port.release()

    def _initialise(self) -> None:
        made = run(
            [
                self._bin / "initdb",
                "-D",
                self._data,
                "-U",
                OWNER,
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
            ],
            env=plain_environment(self._home),
            cwd=self._home,
            user=self._account,
            limit_s=START_LIMIT_S,
        )
        if made.returncode != 0:
            raise ServerFailed(f"initdb failed with status {made.returncode}\n{made.stdout}{made.stderr}")

    def _answers(self) -> bool:
        try:
            psycopg.connect(self.url, connect_timeout=5).close()
        except psycopg.OperationalError:
            return False
        return True


def binaries() -> Path:
    """Return the directory of the newest PostgreSQL here: Debian keeps one per version outside of PATH.

    Raises ServerMissing.
    """
    versions = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/initdb"),
        key=lambda path: [int(number) for number in re.findall(r"\d+", path.parent.parent.name)],
    )
    return versions[-1].parent if versions else program("initdb", PACKAGE).resolve().parent

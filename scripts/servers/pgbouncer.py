"""A private PgBouncer in transaction mode, before a PostgreSQL."""

import signal
from pathlib import Path
from typing import Self

import psycopg

from scripts.servers.postgres import OWNER, Postgres
from scripts.servers.process import (
    Account,
    Port,
    Program,
    account,
    plain_environment,
    private_directory,
    program,
    stopped_at_the_end,
)

PACKAGE = "pgbouncer"
START_LIMIT_S = 30.0

# A server that was away is asked again at once, and who waits for it is told so soon: the defaults are 15 and 120 s
CONFIGURATION = """\
[databases]
* = host=127.0.0.1 port={server_port} user={owner}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
max_client_conn = 500
default_pool_size = {pool_size}
server_login_retry = 0.1
query_wait_timeout = 3
admin_users = {owner}
"""


class PgBouncer:
    """One pooler on a port of its own. pool_size: sessions of the server for each database and role."""

    def __init__(self, directory: Path, server: Postgres, pool_size: int) -> None:
        self._root = directory
        self._server = server
        self._pool_size = pool_size
        self._account: Account = account("postgres")
        self._port = Port.reserve()
        self._home = private_directory(directory, f"pgbouncer-{self._port.number}", self._account)
        self._path = program("pgbouncer", PACKAGE)
        self._program: Program | None = None

    @classmethod
    def start(cls, directory: Path, server: Postgres, pool_size: int = 20) -> Self:
        """Start a pooler that keeps its files below `directory`. Raises ServerMissing or ServerFailed."""
        pooler = cls(directory, server, pool_size)
        with stopped_at_the_end(pooler.close):
            pooler._start()
        return pooler

    @property
    def port(self) -> int:
        return self._port.number

    def url_of(self, database: str) -> str:
        return f"postgresql://{OWNER}@127.0.0.1:{self.port}/{database}"

    def through(self, url: str) -> str:
        """Lead a URL of the server's through this pooler."""
        return self.url_of(url.rpartition("/")[2])

    def close(self) -> None:
        """Stop the pooler for good and give up its port."""
        if self._program is not None:
            self._program.stop(signal.SIGTERM, patience_s=10.0)
            self._program = None
        self._port.release()

    def _start(self) -> None:
        file = self._home / "pgbouncer.ini"
        file.write_text(
            CONFIGURATION.format(
                server_port=self._server.port, port=self.port, owner=OWNER, pool_size=self._pool_size
            ),
            "utf-8",
        )
        file.chmod(0o644)  # in a directory that only its reader may enter
        self._program = Program.start(
            [self._path, file],
            env=plain_environment(self._home),
            cwd=self._home,
            log=self._home / "server.log",
            user=self._account,
            farewell=signal.SIGKILL,
            remove=self._root,
        )
        self._program.wait_until(self._answers, f"PgBouncer on port {self.port}", START_LIMIT_S)

    def _answers(self) -> bool:
        try:
            # Its own console: whether the server is there is another question
            psycopg.connect(self.url_of("pgbouncer"), connect_timeout=5, autocommit=True).close()
        except psycopg.OperationalError:
            return False
        return True

"""TLS for the private servers: an authority, certificates good and bad, and what makes each server show them.

RabbitMQ gets a listener for each certificate. PostgreSQL shows one at a time, and changes it without a restart. Before
the Memory API stand-in stands a front that ends TLS.
"""

import contextlib
import os
import select
import shutil
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Self

import psycopg

from scripts.servers.postgres import Postgres
from scripts.servers.process import (
    Port,
    ServerFailed,
    account,
    account_of_ours,
    private_directory,
    program,
    run,
)
from scripts.servers.rabbitmq import RabbitMQ

HOST = "127.0.0.1"
DAYS = "2"
LONG_AGO = ("-startdate", "20200101000000Z", "-enddate", "20200102000000Z")
LIMIT_S = 30.0

# openssl x509 cannot make a certificate that is over already; openssl ca can, and wants this file.
AUTHORITY = """\
[ca]
default_ca = us
[us]
database = index
serial = serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
[req]
distinguished_name = name
[name]
[authority]
basicConstraints = critical, CA:TRUE
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
"""
# From Python 3.13 on, clients want what RFC 5280 wants.
STRICT = "subjectKeyIdentifier = hash\nauthorityKeyIdentifier = keyid\n"


class Kind(StrEnum):
    """What is wrong with a server's certificate."""

    GOOD = "good"
    WRONG_HOST = "wrong-host"
    UNTRUSTED = "untrusted"
    EXPIRED = "expired"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate and its key, in PEM files."""

    certificate: Path
    key: Path

    def given_to(self, user: str, directory: Path) -> "Certificate":
        """Copy both below `directory`, for that user alone to read."""
        owner = account(user)
        home = private_directory(directory, f"tls-{user}", owner)
        copies = [Path(shutil.copy(path, home)) for path in (self.certificate, self.key)]
        for copy in copies:
            copy.chmod(0o600)
            if owner.uid is not None and owner.gid is not None:
                os.chown(copy, owner.uid, owner.gid)
        return Certificate(*copies)


class Authority:
    """A certificate authority of our own. `file`: its certificate, for those who are to trust it."""

    def __init__(self, directory: Path) -> None:
        """Make one in an empty directory. Raises ServerMissing where the openssl program is not installed."""
        self._openssl = program("openssl", "openssl")
        self._home = directory
        self._key = directory / "authority.key"
        self.file = directory / "authority.pem"
        (directory / "authority.cnf").write_text(AUTHORITY)
        (directory / "index").touch()
        (directory / "serial").write_text("01\n")
        self._run(
            "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-out", self._key
        )
        self._run(
            *("req", "-x509", "-new", "-key", self._key, "-days", DAYS, "-subj", "/CN=authority of a test"),
            *("-config", "authority.cnf", "-extensions", "authority", "-out", self.file),
        )

    def issue(self, name: str, host: str = HOST, *, expired: bool = False) -> Certificate:
        """Make a certificate for a host name or address."""
        made = Certificate(self._home / f"{name}.pem", self._home / f"{name}.key")
        request, extension = self._home / f"{name}.csr", self._home / f"{name}.ext"
        kind = "IP" if host[0].isdigit() else "DNS"
        extension.write_text(f"subjectAltName = {kind}:{host}\n{STRICT}")
        self._run(
            *("req", "-new", "-config", "authority.cnf", "-subj", f"/CN={host}", "-nodes", "-newkey", "ec"),
            *("-pkeyopt", "ec_paramgen_curve:prime256v1", "-keyout", made.key, "-out", request),
        )
        times = LONG_AGO if expired else ("-days", DAYS)
        signed_by = ("-config", "authority.cnf", "-cert", self.file, "-keyfile", self._key)
        self._run(
            *("ca", "-batch", "-notext", *signed_by, *times),
            *("-in", request, "-extfile", extension, "-out", made.certificate),
        )
        return made

    def _run(self, *words: str | Path) -> None:
        done = run(
            [self._openssl, *words], env=os.environ, cwd=self._home, user=account_of_ours(), limit_s=LIMIT_S
        )
        if done.returncode != 0:
            raise ServerFailed(f"openssl {words[0]} ended with status {done.returncode}\n{done.stderr}")


class Wallet:
    """One certificate of each kind, and the authority that clients trust."""

    def __init__(self, directory: Path) -> None:
        """Make all of them below `directory`. Raises ServerMissing."""
        homes = [directory / name for name in ("trusted", "stranger")]
        for home in homes:
            home.mkdir(mode=0o700)
        trusted, stranger = map(Authority, homes)
        self.directory = directory
        self.authority = trusted.file
        self.stranger = stranger.file
        self.of = {
            Kind.GOOD: trusted.issue("good"),
            Kind.WRONG_HOST: trusted.issue("wrong-host", "elsewhere.test"),
            Kind.UNTRUSTED: stranger.issue("untrusted"),
            Kind.EXPIRED: trusted.issue("expired", expired=True),
        }


class BrokerDoors:
    """A TLS listener of a running broker for each kind of certificate, until the broker ends."""

    def __init__(self, broker: RabbitMQ, wallet: Wallet) -> None:
        self._ports = {kind: Port.reserve() for kind in Kind}
        listeners = []
        for kind, port in self._ports.items():
            shown = wallet.of[kind].given_to("rabbitmq", wallet.directory)
            files = f'[{{certfile, "{shown.certificate}"}}, {{keyfile, "{shown.key}"}}]'
            listeners.append(f'rabbit_networking:start_ssl_listener({{"{HOST}", {port.number}}}, {files}, 2)')
        broker.rabbitmqctl(
            "eval", f"{{ok, _}} = application:ensure_all_started(ssl), {', '.join(listeners)}."
        )

    def port(self, kind: Kind) -> int:
        return self._ports[kind].number

    def url(self, kind: Kind, authority: Path | None = None) -> str:
        """Return the URL of a door; authority: whom to trust instead of the system's."""
        options = f"?ssl_options=%7B'cafile':'{authority}'%7D" if authority else ""
        return f"amqps://guest:guest@{HOST}:{self.port(kind)}/%2F{options}"

    def close(self) -> None:
        """Give up the ports. The listeners go with the broker."""
        for port in self._ports.values():
            port.release()


class DatabaseDoor:
    """A running PostgreSQL with ssl = on, showing one certificate at a time."""

    def __init__(self, server: Postgres, wallet: Wallet) -> None:
        self._server = server
        self._files = {kind: wallet.of[kind].given_to("postgres", wallet.directory) for kind in Kind}

    def show(self, kind: Kind) -> None:
        """Show this certificate to whoever connects from now on."""
        files = self._files[kind]
        settings = {"ssl": "on", "ssl_cert_file": str(files.certificate), "ssl_key_file": str(files.key)}
        self._set(settings)

    def close(self) -> None:
        """Switch TLS off again."""
        self._set(dict.fromkeys(("ssl", "ssl_cert_file", "ssl_key_file")))

    def _set(self, settings: Mapping[str, str | None]) -> None:
        with psycopg.connect(self._server.url, autocommit=True, sslmode="disable") as session:
            for name, value in settings.items():
                change = f"SET {name} = '{value}'" if value else f"RESET {name}"
                session.execute(f"ALTER SYSTEM {change}".encode())
            before = session.execute("SELECT pg_conf_load_time()").fetchone()
            session.execute("SELECT pg_reload_conf()")
        end = monotonic() + LIMIT_S
        while self._loaded_at() == before:
            if monotonic() > end:
                raise ServerFailed(f"PostgreSQL has not read its files again after {LIMIT_S:.0f} s")

    def _loaded_at(self) -> object:
        """Say when the server, as a new session shows it, has last read its files."""
        with psycopg.connect(self._server.url, sslmode="disable") as session:
            return session.execute("SELECT pg_conf_load_time()").fetchone()


class Front:
    """Ends TLS before a plain server on this machine, in threads of this process."""

    def __init__(self, port: int, shown: Certificate) -> None:
        self._behind = port
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._listener = socket.create_server((HOST, 0))
        self._threads: list[threading.Thread] = []
        self.show(shown)
        self._start(self._accept)

    @property
    def url(self) -> str:
        return f"https://{HOST}:{self._listener.getsockname()[1]}"

    def show(self, shown: Certificate) -> None:
        """Show this certificate to whoever connects from now on."""
        self._context.load_cert_chain(shown.certificate, shown.key)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(LIMIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _start(self, target: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self._start(self._serve, self._listener.accept()[0])

    def _serve(self, client: socket.socket) -> None:
        """Carry one call to and fro, until either side ends it."""
        client.settimeout(LIMIT_S)
        with (
            contextlib.suppress(OSError),
            client,
            self._context.wrap_socket(client, server_side=True) as outside,
            socket.create_connection((HOST, self._behind), LIMIT_S) as behind,
        ):
            while True:
                # What TLS has read ahead no poll shows
                ready = (
                    [outside] if outside.pending() else select.select([outside, behind], [], [], LIMIT_S)[0]
                )
                for source in ready:
                    data = source.recv(1 << 16)
                    if not data:
                        return
                    (behind if source is outside else outside).sendall(data)

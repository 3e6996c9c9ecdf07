"""A private RabbitMQ on a loopback port."""

import contextlib
import os
import re
import secrets
import signal
import socket
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pika
from pika.exceptions import AMQPError

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
    tail,
)

PACKAGE = "rabbitmq-server"
# The scripts below these need no root; the wrapper in /usr/sbin insists on root or its own user.
SCRIPTS = (Path("/usr/lib/rabbitmq/bin"), Path("/usr/lib/rabbitmq/sbin"))
START_LIMIT_S = 90.0
COUNTED = re.compile(r"\b(\w+) => (\d+)\b")
GREETING = b"AMQP\x00\x00\x09\x01"

CONFIGURATION = """\
listeners.tcp.1 = 127.0.0.1:{port}
max_message_size = 268435456
vm_memory_high_watermark.relative = 0.6
log.file = {log}
log.file.level = info
log.console = false
"""
# localhost must resolve also where there is no /etc/hosts, as in a fresh root directory.
RESOLVER = '{lookup, [file, native]}.\n{host, {127,0,0,1}, ["localhost"]}.\n'


@dataclass(frozen=True)
class Kinship:
    """What the nodes of one cluster share: a register of their names, kept by the first, and a secret."""

    epmd_port: Port
    cookie: str


class RabbitMQ:
    """One broker with its data and its ports; all stay the same across stop and start_again.

    kinship: of the node whose cluster this one is to join, which is closed last; without it the broker is a first one.
    """

    def __init__(self, directory: Path, name: str = "rabbitmq", kinship: Kinship | None = None) -> None:
        self._root = directory
        self._scripts = program("rabbitmq-server", PACKAGE, *SCRIPTS).resolve().parent
        self._epmd_path = program("epmd", "erlang-base")
        self._account: Account = account("rabbitmq")
        self._home = private_directory(directory, name, self._account)
        self._is_first = kinship is None
        self.kinship = kinship or Kinship(Port.reserve(), secrets.token_hex(20))
        self._port, self._dist_port = Port.reserve(), Port.reserve()
        self._log = self._home / "server.log"
        self._output = self._home / "output.log"
        self._epmd: Program | None = None
        self._program: Program | None = None
        # Unique, because Erlang's names are global to an epmd and show up in logs.
        self.node = f"friendship-{self._port.number}@localhost"

    @classmethod
    def start(cls, directory: Path) -> Self:
        """Start a broker that keeps its data below `directory` (which its user must be able to enter).

        Raises ServerMissing or ServerFailed.
        """
        server = cls(directory)
        with stopped_at_the_end(server.close):
            server._write_files()
            server.start_again()
        return server

    @classmethod
    def start_another(cls, first: "RabbitMQ", directory: Path, name: str) -> "RabbitMQ":
        """Start one more node in the cluster of `first`. name: of its directory. Raises as `start`."""
        server = cls(directory, name, first.kinship)
        with stopped_at_the_end(server.close):
            server._write_files()
            server.start_again()
            for command in (("stop_app",), ("join_cluster", first.node), ("start_app",)):
                server.rabbitmqctl(*command)
        return server

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    @property
    def port(self) -> int:
        return self._port.number

    @property
    def pid(self) -> int:
        """The Erlang machine: the scripts before it have become it."""
        assert self._program is not None
        return self._program.pid

    @property
    def running(self) -> bool:
        return self._program is not None and self._program.alive

    def start_again(self) -> None:
        """Start the broker on its port and data; nothing when it runs."""
        if self.running:
            return
        env = self._environment()
        if self._is_first and (self._epmd is None or not self._epmd.alive):
            self._epmd = Program.start(
                [self._epmd_path, "-port", str(self.kinship.epmd_port.number), "-address", "127.0.0.1"],
                env=env,
                cwd=self._home,
                log=self._output,
                user=self._account,
                farewell=signal.SIGKILL,
                remove=self._root,
            )
            self._epmd.wait_until(lambda: listening(self.kinship.epmd_port.number), "epmd", START_LIMIT_S)
        self._program = Program.start(
            [self._scripts / "rabbitmq-server", "-noinput"],
            env=env,
            cwd=self._home,
            log=self._output,
            user=self._account,
            farewell=signal.SIGKILL,  # its data goes with the starter: nothing to close in order
            remove=self._root,
        )
        try:
            self._program.wait_until(self._greets, f"RabbitMQ on port {self.port}", START_LIMIT_S)
            pika.BlockingConnection(pika.URLParameters(self.url)).close()
        except (ServerFailed, AMQPError) as error:
            raise ServerFailed(f"{error or type(error).__name__}\n{self._tail()}") from None

    def stop(self) -> None:
        """End the broker in order; queues, messages and bindings that are durable stay."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the broker as a crash does.

        RabbitMQ 3.10 loses a quorum queue that was declared less than about a second before.
        """
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        self.stop()
        self.start_again()

    def pause(self) -> None:
        """Freeze the broker: connections stay open and nothing answers."""
        assert self._program is not None
        self._program.pause()

    def resume(self) -> None:
        assert self._program is not None
        self._program.resume()

    def rabbitmqctl(self, *args: str, limit_s: float = 60.0) -> str:
        """Run the broker's own tool on it and return what it prints; raises ServerFailed when it fails."""
        done = run(
            [self._scripts / "rabbitmqctl", "--quiet", *args],
            env=self._environment(),
            cwd=self._home,
            user=self._account,
            limit_s=limit_s,
        )
        if done.returncode != 0:
            raise ServerFailed(
                f"rabbitmqctl {args[0]} ended with status {done.returncode}\n{done.stdout}{done.stderr}"
            )
        return done.stdout

    def counters(self) -> dict[str, int]:
        """Return what the broker has counted since it started, such as messages_redelivered_total.

        Over all queues, summed over protocols and types of queues. Takes about 0.4 s: a tool is started for it.
        """
        overview = self.rabbitmqctl("eval", "rabbit_global_counters:overview().")
        found: Counter[str] = Counter()
        for name, value in COUNTED.findall(overview):
            found[name] += int(value)
        return dict(found)

    def close(self) -> None:
        """Stop the broker for good and give up its ports; the data stays for whoever owns the directory."""
        self.kill()
        if self._epmd is not None:
            self._epmd.stop(signal.SIGKILL, patience_s=0.0)
            self._epmd = None
        if self._is_first:
            self.kinship.epmd_port.release()
        for port in (self._port, self._dist_port):
            port.release()

    def _end(self, request: signal.Signals) -> None:
        if self._program is not None:
            self._program.stop(request, patience_s=30.0)
            self._program = None

    def _write_files(self) -> None:
        self._write("rabbitmq.conf", CONFIGURATION.format(port=self.port, log=self._log))
        self._write("advanced.config", "[].\n")
        self._write("enabled_plugins", "[].\n")
        self._write("rabbitmq-env.conf", "")
        self._write("inetrc", RESOLVER)
        self._write(".erlang.cookie", self.kinship.cookie)

    def _write(self, name: str, text: str) -> None:
        path = self._home / name
        path.write_text(text, "utf-8")
        path.chmod(0o600)
        if self._account.uid is not None and self._account.gid is not None:
            os.chown(path, self._account.uid, self._account.gid)

    def _environment(self) -> dict[str, str]:
        home = self._home
        return plain_environment(home) | {
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.kinship.epmd_port.number),
            "ERL_INETRC": str(home / "inetrc"),
            "ERL_CRASH_DUMP_SECONDS": "0",
            # With input allowed, the script becomes the Erlang machine instead of waiting for it.
            "RABBITMQ_ALLOW_INPUT": "1",
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(home / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "rabbitmq-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_DIST_PORT": str(self._dist_port.number),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_GENERATED_CONFIG_DIR": str(home / "config"),
            "RABBITMQ_LOG_BASE": str(home),
            "RABBITMQ_LOGS": str(self._log),
            "RABBITMQ_MNESIA_BASE": str(home / "mnesia"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_SCHEMA_DIR": str(home / "schema"),
            # No busy waiting: benchmarks run beside it. Distribution on the loopback interface only.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": (
                "+sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
            ),
            "RABBITMQ_CTL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def _greets(self) -> bool:
        """Say whether the broker answers a client's first bytes: before its boot ends it does not listen."""
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self.port), 5.0) as client:
            client.sendall(GREETING)
            return client.recv(1) == b"\x01"  # a method frame: Connection.Start
        return False

    def _tail(self) -> str:
        return tail(self._log)


def listening(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 5.0):
        return True
    return False

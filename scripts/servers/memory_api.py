"""The Memory API stand-in as a server that is started, told how to behave, and asked what it saw."""

import contextlib
import http.client
import json
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from scripts.servers.memory_modes import Behaviour, Mode, facts_for
from scripts.servers.process import Port, Program, account_of_ours, stopped_at_the_end

__all__ = ["Behaviour", "Calls", "ConversationCalls", "MemoryApiStandIn", "Mode", "facts_for"]

CHECKOUT = Path(__file__).resolve().parents[2]
START_LIMIT_S = 30.0


@dataclass(frozen=True)
class ConversationCalls:
    """What the stand-in saw of one conversation. body_bytes, sha256 and fault are of the last call."""

    calls: int
    answered: int
    keys: tuple[str, ...]
    body_bytes: int
    sha256: str | None
    fault: str | None


@dataclass(frozen=True)
class Calls:
    """What the stand-in saw. astray: calls of any other path, as after a redirect."""

    total: int
    in_flight: int
    peak_in_flight: int
    astray: int
    conversations: Mapping[str, ConversationCalls]

    def of(self, conversation_id: str) -> int:
        """Return how often this conversation was sent."""
        entry = self.conversations.get(conversation_id)
        return 0 if entry is None else entry.calls


class MemoryApiStandIn:
    """One stand-in in a process of its own; its port stays the same across stop and start_again."""

    def __init__(self, directory: Path) -> None:
        self._home = directory
        self._port = Port.reserve()
        self._program: Program | None = None
        self._resources = contextlib.ExitStack()

    @classmethod
    def start(cls, directory: Path | None = None) -> Self:
        """Start one that answers at once. directory: for its log; a temporary one when None."""
        with contextlib.ExitStack() as resources:
            if directory is None:
                directory = Path(resources.enter_context(tempfile.TemporaryDirectory(prefix="friendship-")))
            server = cls(directory)
            with stopped_at_the_end(server.close):
                server.start_again()
            server._resources = resources.pop_all()
        return server

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

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

    def start_again(self) -> None:
        """Start it on its port, with nothing remembered; nothing when it runs."""
        if self.running:
            return
        self._program = Program.start(
            [sys.executable, "-m", "scripts.servers.memory_server", "--port", str(self.port)],
            env=dict(os.environ),
            cwd=CHECKOUT,
            log=self._home / "memory_api.log",
            user=account_of_ours(),
            farewell=signal.SIGKILL,
            remove=self._home,
        )
        self._program.wait_until(self._answers, f"the Memory API stand-in on port {self.port}", START_LIMIT_S)

    def stop(self) -> None:
        """End it at once: calls in flight are cut and new ones refused."""
        if self._program is not None:
            self._program.stop(signal.SIGKILL, patience_s=10.0)
            self._program = None

    def pause(self) -> None:
        """Freeze it: connections are still accepted, by the kernel, and nothing answers."""
        assert self._program is not None
        self._program.pause()

    def resume(self) -> None:
        assert self._program is not None
        self._program.resume()

    def close(self) -> None:
        """Stop it for good and give up its port."""
        self.stop()
        self._port.release()
        self._resources.close()

    def set_mode(
        self,
        mode: str | Behaviour,
        *,
        conversation_id: str | None = None,
        calls: int | None = None,
        **details: Any,
    ) -> None:
        """Change how it behaves: a behaviour and the fields of `Mode` that it names.

        conversation_id: for this one only.
        calls: for that many next calls only, then as before.
        """
        values = {"mode": Behaviour(mode).value, **details}
        if conversation_id is not None:
            values["conversation_id"] = conversation_id
        if calls is not None:
            values["calls"] = calls
        self._ask("PUT", "/mode", values)

    def release(self) -> None:
        """Answer all calls that wait now, at once and well; later ones meet the mode that is set."""
        self._ask("PUT", "/release", {})

    def record(self, *, validate: bool = False, digest: bool = False, keep: bool = False) -> None:
        """Look closer, at a price: answer 422 to wrong requests, hash bodies, keep the last one."""
        self._ask("PUT", "/record", {"validate": validate, "digest": digest, "keep": keep})

    def reset(self) -> None:
        """Forget all calls and modes."""
        if self.running:
            self.resume()
            self._ask("DELETE", "/")
        else:
            self.start_again()

    def calls(self) -> Calls:
        """Return what it saw since the start or the last reset."""
        seen = json.loads(self._ask("GET", "/calls"))
        conversations = {
            name: ConversationCalls(**entry | {"keys": tuple(entry["keys"])})
            for name, entry in seen.pop("conversations").items()
        }
        return Calls(**seen, conversations=conversations)

    def last_body(self) -> bytes:
        """Return the last request's body; empty unless record(keep=True) was called before."""
        return self._ask("GET", "/last")

    def _ask(self, method: str, path: str, values: object = None) -> bytes:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10.0)
        with contextlib.closing(connection):
            connection.request(method, path, None if values is None else json.dumps(values))
            response = connection.getresponse()
            body = response.read()
        if response.status != http.client.OK:
            raise ValueError(f"{method} {path}: {body.decode('utf-8', 'replace')}")
        return body

    def _answers(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.calls()
            return True
        return False

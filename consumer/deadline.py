"""One time limit for a whole HTTP call, whatever the other side does.

Theory of operation. A limit per read or write, as HTTP clients have, bounds nothing: a server that sends one
byte a second meets it for ever, in the headers as well as in the body. So httpcore gets its sockets here, and
each thing that can take time on a socket (connect, TLS handshake, send, receive) goes through `_attempt`:

1. The call's one deadline is looked at before every attempt, also when data is always ready.
2. Sockets never block. What cannot be done at once waits in poll(2), until the socket is ready, the deadline
   has come or the next beat is due, whichever is first.
3. While the call lasts, `pump` runs at most `BEAT_S` apart (plus its own time): AMQP heartbeats go out during
   a call of any length, in the same thread.
4. Of a wait from which this process wakes more than GRACE_S late, only what it was meant to take counts: the process
   was stopped, or its whole machine was, and the answer may be there. Nothing that the other side does makes a wait
   late. Waits take LOOK_S at most, so that short stops show, and a machine that is always late ends a call late.

Not bounded: getaddrinfo(3), which has no time limit and no beat. Behind a name server that does not answer
stands the supervisor's message deadline, as behind everything else.
"""

import math
import select
import socket
import ssl
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, TypeVar

import httpcore

from consumer.wording import explain

BEAT_S = 1.0

# Of several addresses of one host, each but the last gets this long to answer: else the first one that
# swallows packets (an IPv6 address without a route) would eat the whole call.
ADDRESS_S = 5.0

LOOK_S = 0.25
"""The longest wait: a stop of LOOK_S + GRACE_S is always seen, and costs the call no more than LOOK_S."""

GRACE_S = 0.5
"""So late is still in time, as it is for the supervisor (supervisor/awake.py): a busy machine excuses no call."""

T = TypeVar("T")
SocketOption = tuple[int, int, int] | tuple[int, int, bytes | bytearray] | tuple[int, int, None, int]


def pause_ms(now: float, *moments: float) -> int:
    """Say how long poll(2) may sleep until the earliest of these moments (monotonic seconds).

    Rounded up, so that a wait of a fraction of a millisecond sleeps instead of spinning; never negative.
    """
    return max(0, math.ceil((min(moments) - now) * 1000))


class Pulse:
    """Runs `pump` once a second for as long as it is asked to, and knows what time does not count.

    `pump` must return quickly, as its time is the call's, and must not raise; if it does, the call is broken
    off, its connection closed, and the exception comes out of the call as it is.
    """

    def __init__(self, pump: Callable[[], None]) -> None:
        self._pump = pump
        self._still_s = 0.0
        self.due = time.monotonic() + BEAT_S

    def now(self) -> float:
        """Return the time: monotonic seconds less those in which this process stood still."""
        return time.monotonic() - self._still_s

    def sleep(self, poll: select.poll, end: float) -> None:
        """Sleep until `poll` has something, the time is `end`, a beat is due, or LOOK_S has passed."""
        began = time.monotonic()
        limit_ms = pause_ms(began, end + self._still_s, self.due, began + LOOK_S)
        poll.poll(limit_ms)
        late_s = time.monotonic() - began - limit_ms / 1000
        if late_s > GRACE_S:
            self._still_s += late_s

    def beat(self) -> None:
        """Run `pump` if it is due."""
        if time.monotonic() >= self.due:
            self._pump()
            self.due = time.monotonic() + BEAT_S


@dataclass(frozen=True, slots=True)
class Deadline:
    """The moment by which one call must have ended (`end`, in the pulse's time), and the pulse until then."""

    end: float
    pulse: Pulse

    @classmethod
    def after(cls, limit_s: float, pump: Callable[[], None]) -> "Deadline":
        """Start the time of a call."""
        pulse = Pulse(pump)
        return cls(pulse.now() + limit_s, pulse)

    def within(self, limit_s: float) -> "Deadline":
        """Return a deadline no later than this one, at most `limit_s` seconds from now."""
        return Deadline(min(self.end, self.pulse.now() + limit_s), self.pulse)

    def passed(self) -> bool:
        """Beat if a beat is due; say whether the moment has come."""
        self.pulse.beat()
        return self.pulse.now() >= self.end

    def wait(self, sock: socket.socket, events: int) -> None:
        """Sleep until the socket has one of these poll events, the moment has come, or a beat is due."""
        poll = select.poll()
        poll.register(sock, events)
        self.pulse.sleep(poll, self.end)


class _Act(NamedTuple):
    """A kind of operation: the poll event that a plain socket waits for, and how it ends badly."""

    ready: int
    late: type[httpcore.TimeoutException]
    broken: type[httpcore.NetworkError]


_CONNECT = _Act(select.POLLOUT, httpcore.ConnectTimeout, httpcore.ConnectError)
_READ = _Act(select.POLLIN, httpcore.ReadTimeout, httpcore.ReadError)
_WRITE = _Act(select.POLLOUT, httpcore.WriteTimeout, httpcore.WriteError)


def _attempt(act: _Act, sock: socket.socket, deadline: Deadline, operation: Callable[[], T]) -> T:
    """Repeat an operation of a non-blocking socket until it is done.

    Raises `act.late` when the deadline comes first, `act.broken` when the operation fails.
    """
    while True:
        if deadline.passed():
            raise act.late("over the total time of the call")
        try:
            return operation()
        # TLS may have to read before it can write, and the reverse.
        except ssl.SSLWantReadError:
            events = select.POLLIN
        except ssl.SSLWantWriteError:
            events = select.POLLOUT
        except BlockingIOError:
            events = act.ready
        except OSError as error:
            raise act.broken(explain(error)) from None
        deadline.wait(sock, events)


class BoundedStream(httpcore.NetworkStream):
    """One connection, every operation of which ends by the deadline; httpcore's own limits are not used."""

    def __init__(self, sock: socket.socket, deadline: Deadline) -> None:
        self._sock = sock
        self._deadline = deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        """Return what has come, b"" at the end of the stream."""
        # TLS may have read ahead: poll does not show that, only the attempt does.
        return _attempt(_READ, self._sock, self._deadline, partial(self._sock.recv, max_bytes))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        """Send all of the buffer, without a copy of what a first send leaves over."""
        left = memoryview(buffer)
        while left:
            sent = _attempt(_WRITE, self._sock, self._deadline, partial(self._sock.send, left))
            left = left[sent:]

    def close(self) -> None:
        """Close the socket at once; nobody waits for the other side's goodbye."""
        with suppress(OSError):
            self._sock.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        """Return the stream in TLS. The plain one is used up, also when this fails."""
        try:
            sock = ssl_context.wrap_socket(
                self._sock, server_hostname=server_hostname, do_handshake_on_connect=False
            )
        except OSError as error:
            self.close()
            raise httpcore.ConnectError(explain(error)) from None
        except ValueError:
            self.close()
            raise httpcore.ConnectError("TLS: no certificate can be for this host name") from None
        try:
            _attempt(_CONNECT, sock, self._deadline, sock.do_handshake)
        except BaseException:
            # Whatever it was, ^C included: what was opened is closed, and it goes on its way
            sock.close()
            raise
        return BoundedStream(sock, self._deadline)

    def get_extra_info(self, info: str) -> Any:
        """Return the TLS object, in which httpcore looks for the protocol agreed on, or None."""
        return self._sock if info == "ssl_object" and isinstance(self._sock, ssl.SSLSocket) else None


class BoundedBackend(httpcore.NetworkBackend):
    """Opens connections that all end by one deadline: one backend for one call."""

    def __init__(self, deadline: Deadline) -> None:
        self._deadline = deadline

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[SocketOption] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect to the first address of the host that answers.

        Raises ConnectTimeout at the deadline, ConnectError with the last address's reason when all fail.
        """
        try:
            addresses = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        except OSError as error:
            raise httpcore.ConnectError(explain(error)) from None
        except ValueError:  # a label too long, a NUL
            raise httpcore.ConnectError("host not found: not a host name") from None
        *others, last = addresses
        for family, kind, protocol, _, address in others:
            with suppress(httpcore.ConnectError, httpcore.ConnectTimeout):
                return self._connect(family, kind, protocol, address, self._deadline.within(ADDRESS_S))
        family, kind, protocol, _, address = last
        return self._connect(family, kind, protocol, address, self._deadline)

    def _connect(
        self, family: int, kind: int, protocol: int, address: Any, deadline: Deadline
    ) -> httpcore.NetworkStream:
        try:
            sock = socket.socket(family, kind | socket.SOCK_NONBLOCK, protocol)
        except OSError as error:
            raise httpcore.ConnectError(explain(error)) from None
        try:
            # Linux answers a repeated connect(2) with EALREADY while it is under way, then with its outcome.
            _attempt(_CONNECT, sock, deadline, partial(sock.connect, address))
            with suppress(OSError):  # a connection that is reset by now says so at its first send
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except BaseException:
            # Whatever it was, ^C included: what was opened is closed, and it goes on its way
            sock.close()
            raise
        return BoundedStream(sock, self._deadline)

"""The process behind a rehearsal's ports: it answers, and ends with its time."""

import selectors
import signal
import socket
from collections.abc import Callable, Mapping
from typing import NoReturn, Protocol

READ_BYTES = 64 * 1024


class Peer(Protocol):
    """One connection's other end, without its socket."""

    over: bool
    """Nothing more is to be said: the connection may be closed."""

    def receive(self, data: bytes) -> bytes:
        """Take what has come; give what is to be said to it."""
        ...


def prompt(peers: Mapping[socket.socket, Callable[[], Peer]], limit_s: float) -> NoReturn:
    """Answer on these listening sockets, each connection by a peer of its own; die after `limit_s` seconds at most.

    The end comes from the kernel, whatever this process is doing by then. All other signals stay as they are.
    """
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    signal.setitimer(signal.ITIMER_REAL, limit_s)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGALRM})
    with selectors.DefaultSelector() as selector:
        for listener, peer in peers.items():
            selector.register(listener, selectors.EVENT_READ, peer)
        open_peers: dict[socket.socket, Peer] = {}
        while True:
            for key, _ in selector.select():
                sock = key.fileobj
                assert isinstance(sock, socket.socket)
                if sock in peers:
                    connection, _address = sock.accept()
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                    open_peers[connection] = peers[sock]()
                    selector.register(connection, selectors.EVENT_READ)
                elif not _converse(sock, open_peers[sock]):
                    selector.unregister(sock)
                    del open_peers[sock]
                    sock.close()


def _converse(connection: socket.socket, peer: Peer) -> bool:
    """Hear and answer once; say whether there is more to come."""
    try:
        heard = connection.recv(READ_BYTES)
        if not heard:
            return False
        connection.sendall(peer.receive(heard))
    except OSError:
        return False
    return not peer.over

"""The balancer of the cluster run: it finds a server that answers, and holds up what it is told to."""

import socket
from collections.abc import Iterator

import pytest

from scripts.faults.cluster_balancer import Balancer


@pytest.fixture
def server() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


def test_it_passes_over_a_server_that_is_gone(server: socket.socket, closed_port: int) -> None:
    """Whichever server's turn it is, both connections end at the one that lives."""
    with Balancer([closed_port, server.getsockname()[1]]) as balancer:
        for text in (b"one", b"two"):
            with socket.create_connection(("127.0.0.1", balancer.port), 10) as client:
                client.sendall(text)
                accepted, _ = server.accept()
                with accepted:
                    assert accepted.recv(10) == text


def test_it_holds_up_an_answer_in_its_middle(server: socket.socket) -> None:
    """So many bytes pass, the rest when it is let go."""
    with (
        Balancer([server.getsockname()[1]]) as balancer,
        socket.create_connection(("127.0.0.1", balancer.port), 10) as client,
    ):
        client.sendall(b"?")
        accepted, _ = server.accept()
        with accepted:
            accepted.recv(1)
            balancer.hold_after(4)
            accepted.sendall(b"12345678")
            assert client.recv(10) == b"1234"
            assert balancer.holding.wait(10)
            balancer.let_go()
            assert client.recv(10) == b"5678"

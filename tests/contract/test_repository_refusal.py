"""What libpq itself refuses of a URL, before any server is asked."""

import pytest

from repository.connection import refusal


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@a.invalid:1/x",
        "postgresql://u:secret@a.invalid:1,b.invalid:2/x",
        "postgresql:///x?host=/run/postgresql&user=u",
        "host=a.invalid hostaddr=192.0.2.1 dbname=x user=u sslmode=verify-full",
    ],
)
def test_libpq_refuses_nothing_that_only_a_server_could(url: str) -> None:
    """No name is looked up and nobody is connected to: several hosts, sockets and addresses pass."""
    assert refusal(url) is None


def test_what_libpq_refuses_is_told_without_the_password() -> None:
    """The word that is wrong may be the one that is secret."""
    reason = refusal("postgresql://u:strict@127.0.0.1:1/x?sslmode=strict")
    assert reason is not None
    assert "sslmode" in reason
    assert "strict" not in reason

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


@pytest.mark.parametrize("word", ["hunter2", "xyz", "p"])
def test_what_libpq_refuses_is_told_without_a_word_of_the_url(word: str) -> None:
    """The word that is wrong may be a password in the wrong place."""
    reason = refusal(f"postgresql://127.0.0.1:1/x?sslmode={word}")
    assert reason is not None
    assert reason.replace('"', "") == "invalid sslmode value: ***"

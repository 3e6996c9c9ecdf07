"""Which names a request may ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.status.hosts import passes

NONE: frozenset[str] = frozenset()


@pytest.mark.parametrize(
    "host",
    [
        None,
        "localhost",
        "LOCALHOST:9464",
        "localhost.",
        "127.0.0.1",
        "10.1.2.3:80",
        "[::1]",
        "[::1]:9464",
        "::1",
    ],
)
def test_we_are_asked_for(host: str | None) -> None:
    """By localhost, by any address, with or without a port; or by no name at all."""
    assert passes(host, NONE)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "evil.example",
        "localhost.evil.example",
        "127.0.0.1.evil.example",
        "127.1",
        "2130706433",
        "[::1",
        "[]",
        "localhost:80:80",
        "user@localhost",
        "localhost:port",
        "[::1]x",
    ],
)
def test_another_is_asked_for(host: str) -> None:
    """Names, and what looks like an address to nobody but a browser."""
    assert not passes(host, NONE)


def test_a_name_that_is_allowed_passes_whatever_its_case_and_port() -> None:
    """And no name below or beside it."""
    allowed = frozenset({"status.example.org"})
    assert passes("Status.Example.org:8080", allowed)
    assert not passes("x.status.example.org", allowed)
    assert not passes("status.example.org.evil.example", allowed)


@given(st.text(max_size=60))
def test_any_text_has_an_answer(text: str) -> None:
    """Whatever a client sends, it is allowed or it is not."""
    assert passes(text, NONE) in {True, False}

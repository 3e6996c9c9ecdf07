"""What libpq itself refuses of a URL, before any server is asked."""

import pytest

from repository.refusals import refusal


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:secret@a.invalid:1/x",
        "postgresql://u:secret@a.invalid:1,b.invalid:2/x",
        "postgresql:///x?host=/run/postgresql&user=u",
        "host=a.invalid hostaddr=192.0.2.1 dbname=x user=u sslmode=verify-full",
        "host=a.invalid,b.invalid hostaddr=192.0.2.1,2001:db8::1 port=1,2 dbname=x user=u",
        "hostaddr=192.0.2.1,fe80::1%lo,127.1 port=1,2,3 user=u",
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


@pytest.mark.parametrize(
    ("url", "variables", "reason"),
    [
        ("user=u", {"PGHOSTADDR": "not.an.addr"}, "is no network address"),
        ("user=u hostaddr=192.0.2.1,no", {}, "is no network address"),
        ("user=u host=a.invalid", {"PGPORT": "1,2"}, "2 port numbers to 1 hosts"),
        ("user=u", {"PGHOST": "a.invalid,b.invalid", "PGPORT": "1,2,3"}, "3 port numbers to 2 hosts"),
        ("user=u host=a.invalid hostaddr=192.0.2.1,192.0.2.2", {}, "1 host names to 2 hostaddr"),
        ("user=u", {"PGHOST": "a.invalid,b.invalid", "PGPORT": "1,2"}, None),
        ("user=u host=a.invalid", {"PGHOSTADDR": "192.0.2.1", "PGPORT": "7"}, None),
    ],
)
def test_addresses_and_ports_are_read_as_libpq_does(
    url: str, variables: dict[str, str], reason: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The URL's own before the variables'; lists must be of one length."""
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    found = refusal(url)
    assert found is None if reason is None else reason in str(found), found

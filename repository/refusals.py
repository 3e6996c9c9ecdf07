"""What libpq refuses before it asks any server: of the URL, its own variables, or who this user is."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from psycopg import pq
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from repository.connection import secrets

NOT_THERE = ("connection to server", "could not connect")
"""How libpq says that nobody answers; before version 14 in other words."""


def refusals(url: str) -> list[tuple[tuple[str, ...], str]]:
    """Give every reason, each with the variables to blame: without one of these libpq says something else, or nothing.

    Where none is to blame it is the URL, or the user. libpq reads the environment of the process: what is left out of
    it for a try is back at the end.
    """
    found = []
    with ExitStack() as left_out:
        while reason := refusal(url):
            blamed = tuple(
                name for name in sorted(os.environ) if name.startswith("PG") and _without(name, url) != reason
            )
            found.append((blamed, reason))
            if not blamed:
                break
            for name in blamed:
                left_out.enter_context(_left_out(name))
    return found


def refusal(url: str) -> str | None:
    """Say the first thing that libpq refuses. Nobody is connected to.

    url: one that `secrets` has taken; nothing of it is quoted.
    """
    given = {name: str(value) for name, value in conninfo_to_dict(url).items() if value}
    usual = {
        option.keyword.decode(): option.val.decode("utf-8", "replace")
        for option in pq.Conninfo.get_defaults()
        if option.val
    }
    hosts, addresses = ((given.get(name) or usual.get(name, "")).split(",") for name in ("host", "hostaddr"))
    if not all(map(_is_address, filter(None, addresses))):
        return "hostaddr is no network address"
    if any(addresses) and any(hosts) and len(hosts) != len(addresses):
        return f"could not match {len(hosts)} host names to {len(addresses)} hostaddr values"
    places = max(len(hosts), len(addresses))
    reason = _tried(make_conninfo(url, host=",".join(["/nowhere"] * places), hostaddr=""))
    if reason is None or ("service" in given and reason.startswith("could not match")):
        # A service that the URL names may give several ports, and their hosts
        return None
    # Whatever the URL says may be the password in the wrong place; short words are all over the text
    said = set(given.values()) | secrets(url)
    for word in sorted(said, key=len, reverse=True):
        reason = reason.replace(word if len(word) > 3 else f'"{word}"', "***")
    return reason


def _tried(conninfo: str) -> str | None:
    connection = pq.PGconn.connect_start(conninfo.encode())
    try:
        reason = connection.error_message.decode("utf-8", "replace").strip()
        failed = connection.status == pq.ConnStatus.BAD
    finally:
        connection.finish()
    return reason if failed and not reason.startswith(NOT_THERE) else None


def _is_address(text: str) -> bool:
    """Ask as libpq does: it takes what getaddrinfo takes, and would connect to try."""
    try:
        socket.getaddrinfo(text, None, flags=socket.AI_NUMERICHOST)
    except (OSError, UnicodeError):
        return False
    return True


def _without(name: str, url: str) -> str | None:
    with _left_out(name):
        return refusal(url)


@contextmanager
def _left_out(name: str) -> Iterator[None]:
    value = os.environ.pop(name)
    try:
        yield
    finally:
        os.environ[name] = value

"""Which Host headers are answered: no page on the internet may read us through a name of its own (DNS rebinding)."""

from collections.abc import Set as AbstractSet
from ipaddress import ip_address


def passes(header: str | None, allowed: AbstractSet[str]) -> bool:
    """Say whether a request for this host is for us: localhost, any literal address, or an allowed name.

    header: the value of Host, with or without a port; None when there is none, which no browser sends. allowed: names
    in lower case.
    """
    if header is None:
        return True
    if _is_literal(header):
        return True
    host = _without_port(header).lower().removesuffix(".")
    return host == "localhost" or host in allowed or _is_literal(host)


def _without_port(text: str) -> str:
    if text.startswith("["):
        inside, bracket, rest = text[1:].partition("]")
        return inside if bracket and (not rest or _is_port(rest)) else ""
    host, colon, port = text.rpartition(":")
    return host if colon and _is_port(f":{port}") else text


def _is_port(text: str) -> bool:
    return text[0] == ":" and (text[1:].isascii() and text[1:].isdigit())


def _is_literal(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True

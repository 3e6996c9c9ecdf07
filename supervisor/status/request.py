"""What a request asks for: method, host, path and formats, whichever of its forms the target has (RFC 9112, 3.2)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

_ABSOLUTE = re.compile(r"(?P<scheme>[a-z][a-z0-9+.-]*)://(?P<authority>[^/?#]*)(?P<path>.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Request:
    """host: whom it is for, with or without a port; None when it does not say. path: decoded. accept: as it came."""

    method: str
    host: str | None
    path: str
    accept: str = ""


def read(scope: Mapping[str, Any]) -> Request:
    """Read an ASGI scope. Of a target in absolute form the authority counts, whatever Host says (3.2.2)."""
    raw_path = scope["raw_path"].decode("latin-1")
    host, path = _header(scope, b"host"), raw_path
    absolute = _ABSOLUTE.fullmatch(raw_path)
    if absolute is not None:
        # Another scheme is served by somebody else: its authority is none of ours
        host = absolute["authority"] if absolute["scheme"].lower() == "http" else ""
        path = absolute["path"] or "/"
    return Request(scope["method"], host, unquote(path), _header(scope, b"accept") or "")


def _header(scope: Mapping[str, Any], wanted: bytes) -> str | None:
    values = [value.decode("latin-1") for name, value in scope["headers"] if name == wanted]
    return ", ".join(values) if values else None

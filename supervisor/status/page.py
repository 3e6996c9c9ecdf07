"""The dashboard as bytes, and the headers that it is to be sent with."""

import re
from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

_SCRIPT = re.compile(rb"<script>(.*?)</script>", re.DOTALL)
_STYLE = re.compile(rb"<style>(.*?)</style>", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Page:
    """An answer to `GET /`. headers: in the form that ASGI asks for; the length is not among them."""

    body: bytes
    headers: tuple[tuple[bytes, bytes], ...]


def load() -> Page:
    """Read the page that lies beside this module. Raises OSError when it is not installed."""
    body = Path(__file__).with_name("page.html").read_bytes()
    return Page(
        body,
        (
            (b"content-type", b"text/html; charset=utf-8"),
            (b"content-security-policy", policy(body)),
            (b"x-content-type-options", b"nosniff"),
            (b"referrer-policy", b"no-referrer"),
            (b"cache-control", b"no-cache"),
        ),
    )


def policy(body: bytes) -> bytes:
    """Return the content security policy that lets this page's own script and style run, and nothing else.

    Trusted types are demanded and none is allowed: a browser that knows them refuses any text as markup.
    """
    return b"; ".join(
        (
            b"default-src 'none'",
            b"script-src " + _hashes(_SCRIPT, body),
            b"style-src " + _hashes(_STYLE, body),
            b"connect-src 'self'",
            b"img-src data:",
            b"base-uri 'none'",
            b"form-action 'none'",
            b"frame-ancestors 'none'",
            b"require-trusted-types-for 'script'",
            b"trusted-types 'none'",
        )
    )


def _hashes(element: re.Pattern[bytes], body: bytes) -> bytes:
    """Return the hashes of what such elements hold, as a browser computes them, or 'none'."""
    found = (b64encode(sha256(text).digest()) for text in element.findall(body))
    return b" ".join(b"'sha256-" + digest + b"'" for digest in found) or b"'none'"

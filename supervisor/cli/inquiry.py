"""Asking a supervisor how it stands, over HTTP: the object of /status, or one line why there is none."""

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

import orjson

Standing = Mapping[str, Any]

TIMEOUT_S = 5.0
MOST_BYTES = 8 * 2**20
PARTS = frozenset({"supervisor", "children", "totals", "as_of"})


class NoAnswer(Exception):
    """Nobody could be asked, or nothing usable came. The text says why and what to do, and holds no password."""


class Inquiry:
    """An HTTP client for `/status`. It minds no proxy of the environment: what it asks is near."""

    def __enter__(self) -> Self:
        import httpx  # noqa: PLC0415 - nobody else pays for it

        self._httpx = httpx
        self._client = httpx.Client(timeout=TIMEOUT_S, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()

    def ask(self, base: str) -> Standing:
        """Return what base/status gives. Raises NoAnswer."""
        parts = urlsplit(base)
        name = f"{parts.hostname}:{parts.port}" if parts.port else f"{parts.hostname}"
        problem = None
        try:
            code, body = self._get(f"{base}/status")
        except self._httpx.ConnectError:
            problem = (
                f"nobody answers on {name}: does the supervisor run? If it listens elsewhere, give --url"
            )
        except self._httpx.TimeoutException:
            problem = (
                f"{name} did not answer within {TIMEOUT_S:g} s: the machine has too much to do; try again"
            )
        except (self._httpx.HTTPError, self._httpx.InvalidURL, UnicodeError) as error:
            problem = f"{name} gave no answer that can be read ({type(error).__name__}): give --url"
        if problem is not None:
            raise NoAnswer(problem)
        match code:
            case 200:
                return _read(name, body)
            case 421:
                raise NoAnswer(f"{name} answers to IP addresses and to its FRIENDSHIP_ALLOWED_HOSTS only")
            case 503:
                raise NoAnswer(f"{name} has nothing to tell yet: the supervisor has just begun; try again")
        raise NoAnswer(f"{name} answered {code}: that is no supervisor's status page; give --url")

    def _get(self, url: str) -> tuple[int, bytes]:
        # Time limits of httpx are for each read
        end = time.monotonic() + TIMEOUT_S
        body = bytearray()
        with self._client.stream("GET", url, headers={"Accept": "application/json"}) as response:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > MOST_BYTES or time.monotonic() > end:
                    raise self._httpx.ReadTimeout("too much, or too slow")
        return response.status_code, bytes(body)


def _read(name: str, body: bytes) -> Standing:
    try:
        standing = orjson.loads(body)
    except orjson.JSONDecodeError:
        standing = None
    if not isinstance(standing, dict) or PARTS - standing.keys():
        raise NoAnswer(f"{name} answers, but not as a supervisor does: give --url")
    return standing

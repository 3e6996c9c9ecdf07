"""Ask the supervisor in this container whether its loop turns; exit 0 when it does, or when nothing was told to listen.

For Docker's HEALTHCHECK. Standard library only, and little of it: it runs beside the children, within their limit.
"""

import http.client
import os
import sys
from collections.abc import Mapping

DEFAULT = "127.0.0.1:9464"
TIMEOUT_S = 4.0
EVERYWHERE = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}  # noqa: S104 - names what others listen on


def address(environ: Mapping[str, str]) -> tuple[str, int] | None:
    """Return where to ask; None when the status server is switched off. Raises ValueError."""
    listen = environ.get("FRIENDSHIP_LISTEN", DEFAULT).strip()
    if not listen:
        return None
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    return EVERYWHERE.get(host, host), int(port)


def main() -> int:
    try:
        place = address(os.environ)
        if place is None:
            return 0
        connection = http.client.HTTPConnection(*place, timeout=TIMEOUT_S)
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        print(answer.read(200).decode("utf-8", "replace").strip())
    except (OSError, ValueError, http.client.HTTPException) as error:
        print(error)
        return 1
    return 0 if answer.status == http.client.OK else 1


if __name__ == "__main__":
    sys.exit(main())

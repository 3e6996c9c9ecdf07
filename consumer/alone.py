"""One at a time on this host: a name in the kernel that goes with the process that holds it.

An abstract socket needs no directory and leaves nothing behind, whatever kills its owner; a session lock of PostgreSQL
would not work behind PgBouncer. "This host" is the network namespace: containers do not see each other, and need not,
as rows are taken by one pass each anyway.
"""

import errno
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256


@contextmanager
def alone(*names: str) -> Iterator[bool]:
    """Hold the names together while the block runs; say whether they were free.

    names: everybody on this host may read what their hash is, and try guesses: no secrets.
    """
    digest = sha256("\0".join(names).encode("utf-8", "surrogateescape")).hexdigest()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as holder:
        yield _bound(holder, f"\0friendship-supervisor-{digest}")


def _bound(holder: socket.socket, name: str) -> bool:
    try:
        holder.bind(name)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True

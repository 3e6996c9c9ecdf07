"""The directory of a set of servers: one that their unprivileged users can reach."""

import contextlib
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from scripts.servers.process import ServerFailed


@contextlib.contextmanager
def temporary_directory() -> Iterator[Path]:
    """Make a directory that every user may pass through, and remove it at the end.

    It is made where TMPDIR says if all users can reach that, else in /tmp, /var/tmp or /dev/shm.
    """
    places = (Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp"), Path("/dev/shm"))
    parent = next((place for place in places if reachable_by_all(place)), None)
    if parent is None:
        raise ServerFailed("no directory for temporary files that all users can enter; set TMPDIR to one")
    path = Path(tempfile.mkdtemp(prefix="friendship-", dir=parent))
    path.chmod(0o711)
    try:
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)


def reachable_by_all(path: Path) -> bool:
    """Say whether every user may enter the directory and all above it."""
    with contextlib.suppress(OSError):
        path = path.resolve(strict=True)
        return all(place.stat().st_mode & 0o001 for place in (path, *path.parents))
    return False

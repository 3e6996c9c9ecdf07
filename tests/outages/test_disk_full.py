"""PostgreSQL has no room on its disk: a tablespace of a few megabytes, filled to its last page."""

import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from scripts.servers.directory import temporary_directory
from scripts.servers.postgres import Postgres
from tests.fixtures.desk import Desk
from tests.outages.operator import disconnect, operate
from tests.outages.scene import Scene

DISK = "size=32m"
SPACE = "outage_space"
NEW = 200
"""Rows of so many conversations do not fit into the pages that the table has."""


@contextmanager
def small_disk(path: Path) -> Iterator[Path]:
    """Mount a small disk for the server's user; where that is not allowed, skip the test."""
    if os.geteuid():
        pytest.skip("only root may mount a disk")
    path.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", DISK, "tmpfs", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no disk can be mounted: {done.stderr.strip()}")
    try:
        yield path
    finally:
        subprocess.run(["umount", path], check=True)


@pytest.fixture
def small_database(postgres: Postgres, migrated_database_url: str) -> Iterator[str]:
    """Move the test's database to a small disk."""
    name = migrated_database_url.rpartition("/")[2]
    with temporary_directory() as directory, small_disk(directory / "disk") as disk:
        space = disk / "space"
        space.mkdir(mode=0o700)
        status = Path(f"/proc/{postgres.pid}").stat()
        os.chown(space, status.st_uid, status.st_gid)
        disk.chmod(0o711)
        operate(
            postgres,
            f"CREATE TABLESPACE {SPACE} LOCATION '{space}'",
            f'ALTER DATABASE "{name}" SET TABLESPACE {SPACE}',
        )
        yield migrated_database_url
        disconnect(postgres)
        operate(
            postgres,
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'",
            f'ALTER DATABASE "{name}" SET TABLESPACE pg_default',
            f"DROP TABLESPACE {SPACE}",
        )


def fill(url: str) -> None:
    """Fill the disk, first in large steps and then in pages."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE filler (bytes text)")
        connection.execute("ALTER TABLE filler ALTER bytes SET STORAGE PLAIN")
        for rows in (500, 1):
            with suppress(psycopg.errors.DiskFull):
                while True:
                    connection.execute(
                        "INSERT INTO filler SELECT repeat('x', 8000) FROM generate_series(1, %s)", [rows]
                    )


@pytest.mark.faults
def test_a_full_disk_is_waited_for(small_database: str, set_scene: Callable[..., Scene], desk: Desk) -> None:
    """Whoever needs a new page waits, with nothing failed and no attempt burnt; all go on when there is room."""
    scene = set_scene()
    fill(small_database)
    desk.publish_many(NEW)
    scene.worker.wait_for("waiting", on="database")
    assert "No space left" in scene.worker.logged("waiting")[0]["reason"]
    with psycopg.connect(small_database, autocommit=True) as connection:
        connection.execute("DROP TABLE filler")
    scene.worker.wait_for("back", on="database")
    scene.ends_well()

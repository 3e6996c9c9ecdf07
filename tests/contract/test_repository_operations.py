"""Every query that docs/operations.md gives an operator runs, and answers what it says."""

import re
import subprocess
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg.rows import dict_row

from repository.rejects import keep, keep_parts
from repository.rows import Bill
from scripts.servers.postgres import binaries
from tests.contract.events_desk import DEATH_RSS, Desk, request

PAGE = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
QUERIES = re.findall(r"^```sql\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
SCRIPTS = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.DOTALL | re.MULTILINE)
MIB = 1 << 20


@pytest.fixture
def busy(desk: Desk) -> Desk:
    """A small, a large and a slow conversation, one that killed a child, one of an older version."""
    desk.complete(desk.claim("small"), bill=Bill(body_bytes=2000, peak_rss_bytes=40 * MIB, processing_ms=30))
    desk.complete(
        desk.claim("large"), bill=Bill(body_bytes=60 * MIB, peak_rss_bytes=210 * MIB, processing_ms=900)
    )
    desk.fail(
        desk.claim("slow", user_id="minh"),
        bill=Bill(body_bytes=3 * MIB, peak_rss_bytes=50 * MIB, processing_ms=60_000),
    )
    desk.account(desk.claim("killer"), blamed=True)
    settler = desk.events.take_over(desk.contended("killer"), request("killer"), accounted=True)
    assert settler is not None
    light = Bill(body_bytes=20 * MIB, peak_rss_bytes=40 * MIB, processing_ms=5)
    desk.fail(settler, code="MEMORY_BUDGET_EXCEEDED", delay_s=None, bill=light)
    desk.complete(desk.claim("unbilled"))
    keep(desk.database, b"refused", "INVALID_MESSAGE: no JSON", "talk")
    keep_parts(desk.database, [b"too ", b"large"], "MESSAGE_TOO_LARGE", None)
    desk.run("INSERT INTO rejected_parts VALUES (gen_random_uuid(), 0, 'left behind')")
    return desk


def answers(url: str) -> list[list[dict[str, Any]]]:
    with psycopg.connect(url, row_factory=dict_row) as connection:
        connection.read_only = True
        return [connection.execute(query.encode()).fetchall() for query in QUERIES]


def test_every_query_answers(busy: Desk, migrated_database_url: str) -> None:
    """In the order of the page."""
    memory, time, users, sizes, deaths, rejects, unfinished = answers(migrated_database_url)
    assert [(row["conversation_id"], row["peak_mb"], row["children_killed"]) for row in memory] == [
        ("killer", DEATH_RSS / MIB, 1),
        ("large", 210, 0),
        ("slow", 50, 0),
        ("small", 40, 0),
    ]
    assert [row["conversation_id"] for row in time] == ["slow", "large", "small", "killer"]
    assert [(row["user_id"], row["conversations"], float(row["busy_s"])) for row in users] == [
        ("minh", 1, 60.0),
        ("lan", 3, 0.9),
    ]
    assert [(row["bodies_to"], row["highest_peak_mb"]) for row in sizes] == [
        ("2000 bytes", 40),
        ("3072 kB", 50),
        ("20 MB", 300),
        ("60 MB", 210),
    ]
    assert [(row["cause"], row["blamed"], row["deaths"], row["highest_rss_mb"]) for row in deaths] == [
        ("rss_hard", True, 1, 300)
    ]
    assert [(row["reason"], row["size"]) for row in rejects] == [
        ("MESSAGE_TOO_LARGE", "9 bytes"),
        ("INVALID_MESSAGE: no JSON", "7 bytes"),
    ]
    assert [(row["parts"], row["size"]) for row in unfinished] == [(1, "11 bytes")]


def test_every_query_stands_an_empty_database(migrated_database_url: str) -> None:
    """Nothing is divided by nothing."""
    assert answers(migrated_database_url) == [[]] * len(QUERIES)


@pytest.mark.parametrize("body", [b"refused", b"too large"])
def test_a_kept_body_comes_out_as_it_went_in(
    busy: Desk, migrated_database_url: str, tmp_path: Path, body: bytes
) -> None:
    """In one piece or in parts, by the page's own commands."""
    (script,) = SCRIPTS
    subprocess.run(
        ["sh", "-ec", script.replace("THE_SHA256", sha256(body).hexdigest())],
        check=True,
        cwd=tmp_path,
        env={"PATH": f"{binaries()}:/usr/bin:/bin", "DATABASE_URL": migrated_database_url},
        stdout=subprocess.DEVNULL,
    )
    assert (tmp_path / "body.json").read_bytes() == body

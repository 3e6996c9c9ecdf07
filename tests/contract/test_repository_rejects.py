"""Refused bodies that could not go to the dead-letter queue."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from repository.connection import Database
from repository.errors import DatabaseAway
from repository.invariants import check
from repository.rejects import keep, keep_parts
from scripts.servers.postgres import Postgres
from tests.contract.conftest import DIRECT
from tests.contract.events_desk import Desk
from tests.fixtures.eventually import eventually

MIB = 1 << 20
WHY = "MESSAGE_TOO_LARGE: 40 MB"


def rejects(desk: Desk) -> list[dict[str, Any]]:
    return desk.run(
        "SELECT body, reason, message_id, bytes, hits, whole IS NOT NULL AS in_parts FROM rejected_messages"
        " ORDER BY bytes"
    )


def wholes(desk: Desk) -> list[bytes]:
    """Put every body together that says it is complete, from the parts alone."""
    found = desk.run(
        "SELECT r.body_sha256, coalesce(string_agg(p.body, ''::bytea ORDER BY p.part), '') AS body"
        " FROM rejected_messages AS r LEFT JOIN rejected_parts AS p USING (whole)"
        " WHERE r.whole IS NOT NULL GROUP BY r.body_sha256 ORDER BY 2"
    )
    assert all(row["body_sha256"] == sha256(row["body"]).digest() for row in found)
    return [row["body"] for row in found]


def parts_kept(desk: Desk) -> int:
    return int(desk.run("SELECT count(*) AS n FROM rejected_parts")[0]["n"])


def made_older(desk: Desk, hours: float) -> None:
    desk.run("UPDATE rejected_parts SET kept_at = kept_at - %s * interval '1 hour'", hours)


def test_a_body_is_kept_once_and_its_hits_are_counted(desk: Desk) -> None:
    """Bytes that are no text, a reason that cannot be stored as it is, a message without an id."""
    keep(desk.database, b"\0\xff", "INVALID_MESSAGE: no \0JSON", None)
    keep(desk.database, b"\0\xff", "INVALID_MESSAGE: again", "talk")
    keep(desk.database, b"", "INVALID_MESSAGE: empty", None)
    rows = desk.run("SELECT body, reason, message_id, bytes, hits FROM rejected_messages ORDER BY bytes")
    assert rows == [
        {"body": b"", "reason": "INVALID_MESSAGE: empty", "message_id": None, "bytes": 0, "hits": 1},
        {"body": b"\0\xff", "reason": "INVALID_MESSAGE: again", "message_id": "talk", "bytes": 2, "hits": 2},
    ]


def test_a_body_in_parts_is_one_body(desk: Desk) -> None:
    """Whatever the size of each part; in their order, byte for byte."""
    parts = [bytes(range(256)) * 5000, b"", b"\0", b"x" * MIB]
    keep_parts(desk.database, iter(parts), "MESSAGE_TOO_LARGE: \0", "talk\0")
    (row,) = rejects(desk)
    assert row == {
        "body": None,
        "reason": "MESSAGE_TOO_LARGE: ",
        "message_id": "talk",
        "bytes": sum(map(len, parts)),
        "hits": 1,
        "in_parts": True,
    }
    assert wholes(desk) == [b"".join(parts)]


def test_a_buffer_may_be_used_for_part_after_part(desk: Desk) -> None:
    """As a file is read into it; and a view of it is as good."""
    buffer = bytearray(3)

    def parts() -> Iterator[bytearray | memoryview]:
        for letter in b"abc":
            buffer[:] = bytes([letter]) * 3
            yield buffer
        yield memoryview(buffer)[:1]

    keep_parts(desk.database, parts(), WHY, None)
    keep(desk.database, bytearray(b"one piece"), WHY, None)
    assert wholes(desk) == [b"aaabbbcccc"]
    assert [row["body"] for row in rejects(desk)] == [b"one piece", None]


def test_a_body_without_parts_is_an_empty_one(desk: Desk) -> None:
    """Nothing is nothing, and it is complete."""
    keep_parts(desk.database, [], WHY, None)
    assert wholes(desk) == [b""]


def test_the_same_body_in_parts_is_kept_once_and_counted(desk: Desk) -> None:
    """However it is cut, and whichever way it came first."""
    keep_parts(desk.database, [b"ab", b"cd"], WHY, None)
    keep_parts(desk.database, [b"abc", b"d"], "again", "talk")
    keep(desk.database, b"abcd", "whole", None)
    keep(desk.database, b"whole", "first", None)
    keep_parts(desk.database, [b"wh", b"ole"], "then in parts", None)
    assert [(row["bytes"], row["hits"], row["reason"], row["message_id"]) for row in rejects(desk)] == [
        (4, 3, "whole", "talk"),
        (5, 2, "then in parts", None),
    ]
    assert wholes(desk) == [b"abcd"]
    assert parts_kept(desk) == 2
    assert check(desk.database) == []


def test_a_call_that_breaks_off_keeps_nothing_that_counts(desk: Desk) -> None:
    """The source of the parts failed; the next call keeps the body, and nobody takes the rest for one."""

    def broken() -> Iterator[bytes]:
        yield b"first"
        raise OSError("the spool is gone")

    with pytest.raises(OSError, match="spool"):
        keep_parts(desk.database, broken(), WHY, None)
    assert (rejects(desk), parts_kept(desk)) == ([], 1)
    keep_parts(desk.database, [b"first", b"second"], WHY, None)
    assert wholes(desk) == [b"firstsecond"]
    assert check(desk.database) == []


def test_what_was_never_finished_goes_and_what_may_be_at_work_stays(desk: Desk) -> None:
    """Hours later, with the next large body."""
    keep_parts(desk.database, [b"complete"], WHY, None)
    desk.run("INSERT INTO rejected_parts VALUES (gen_random_uuid(), 0, 'left behind')")
    made_older(desk, 3)
    desk.run("INSERT INTO rejected_parts VALUES (gen_random_uuid(), 0, 'on its way')")
    keep_parts(desk.database, [b"another"], WHY, None)
    left = desk.run("SELECT body FROM rejected_parts ORDER BY body")
    assert [row["body"] for row in left] == [b"another", b"complete", b"on its way"]


@pytest.mark.parametrize(
    "deed",
    [
        "DELETE FROM rejected_parts WHERE part = 0",
        "UPDATE rejected_parts SET kept_at = now() - interval '61 min'",
    ],
)
def test_parts_that_went_or_may_be_going_are_not_called_a_body(desk: Desk, deed: str) -> None:
    """A failover lost them, or the call took so long that another may remove them: it has to be done again."""

    def parts() -> Iterator[bytes]:
        yield b"first"
        yield b"second"
        desk.run(deed)

    with pytest.raises(DatabaseAway, match="gone again"):
        keep_parts(desk.database, parts(), WHY, None)
    assert rejects(desk) == []


@DIRECT
def test_an_outage_between_two_parts_is_an_outage(postgres: Postgres, desk: Desk) -> None:
    """The caller comes again with all of them."""

    def parts() -> Iterator[bytes]:
        yield b"first"
        if postgres.running:
            postgres.stop("immediate")
        yield b"second"

    with pytest.raises(DatabaseAway):
        keep_parts(desk.database, parts(), WHY, None)
    postgres.start_again()
    keep_parts(desk.database, [b"first", b"second"], WHY, None)
    assert wholes(desk) == [b"firstsecond"]


@DIRECT
def test_no_lock_and_no_transaction_outlives_a_part(desk: Desk, migrated_database_url: str) -> None:
    """While the next part is read, the session is idle, and what is kept so far is there for all to see."""
    seen = []
    state = "SELECT state FROM pg_stat_activity WHERE application_name LIKE '%%keeper'"

    def parts() -> Iterator[bytes]:
        for _ in range(2):
            yield b"part"
            seen.append(parts_kept(desk))
            eventually(lambda: desk.run(state) == [{"state": "idle"}], "the session is idle")

    keeper = Database(migrated_database_url, "friendship-supervisor keeper")
    try:
        keep_parts(keeper, parts(), WHY, None)
    finally:
        keeper.close()
    assert seen == [1, 2]


# Keeps 40 MB in parts of 1 MiB, and prints what its resident size grew by meanwhile, in bytes. With an argument more it
# stops at that part, until it is killed.
KEEPER = """
import json, signal, sys
from pathlib import Path
from repository.connection import Database
from repository.rejects import keep_parts
from repository.statements import Statement

MIB = 1 << 20

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

def parts():
    for number in range(40):
        if len(sys.argv) > 2 and number == int(sys.argv[2]):
            print("here", flush=True)
            signal.pause()
        heights.append(resident())
        yield number.to_bytes(4, "big") * (MIB // 4)

database = Database(sys.argv[1])
keep_parts(database, [b"\\xff" * 1024], "warm", None)
heights = [resident()]
keep_parts(database, parts(), "large", None)
heights.append(resident())
print(json.dumps(max(heights) - heights[0]))
"""


def keeper(url: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", KEEPER, url, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )


def test_a_large_body_goes_through_little_memory(migrated_database_url: str, desk: Desk) -> None:
    """40 MB leave the process less than a fifth of their size larger, at any time."""
    with keeper(migrated_database_url) as process:
        output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert json.loads(output) < 8 * MIB
    assert [row["bytes"] for row in rejects(desk)] == [1024, 40 * MIB]
    assert [len(body) for body in wholes(desk)] == [40 * MIB, 1024]


def test_a_child_killed_between_two_parts_leaves_no_body(migrated_database_url: str, desk: Desk) -> None:
    """What it left is known by the missing end; the next child keeps the body."""
    with keeper(migrated_database_url, "20") as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "here\n"
        process.send_signal(signal.SIGKILL)
    assert [row["bytes"] for row in rejects(desk)] == [1024]
    assert parts_kept(desk) == 1 + 20
    with keeper(migrated_database_url) as process:
        process.communicate(timeout=120)
    assert [row["bytes"] for row in rejects(desk)] == [1024, 40 * MIB]
    assert check(desk.database) == []

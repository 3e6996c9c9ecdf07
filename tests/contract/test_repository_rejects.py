"""Refused bodies that could not go to the dead-letter queue."""

from repository.rejects import keep
from tests.contract.events_desk import Desk


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

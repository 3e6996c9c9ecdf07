"""Messages and answers made to break a parser: each ends by the table, no child dies, and the good message behind it is
processed.
"""

import gzip
from collections.abc import Callable, Iterator

import orjson
import pytest

from consumer.memory_api import ANSWER_MAX_BYTES
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker
from tests.security.scripted_api import Answer, ScriptedApi, answered

Start = Callable[..., Worker]

DEPTH = 100_000
DIGITS = b"9" * 100_000
DEEP = b"[" * DEPTH + b"]" * DEPTH
DEEP_OBJECT = b'{"a":' * DEPTH + b"1" + b"}" * DEPTH
ITEM = b'{"speaker":"user","text":"hello"}'
GRIN = "\N{GRINNING FACE}"


def raw(conversation_id: str, more: bytes = b"", log: bytes = b"[" + ITEM + b"]") -> bytes:
    """Give a message as JSON text: its log, and after that anything."""
    ids = b'{"conversation_id":%b,"user_id":"user-1"' % orjson.dumps(conversation_id)
    return ids + b',"conversation_log":' + log + more + b"}"


# By conversation: these are processed, for what is odd in them is nobody's business
HARMLESS: dict[str, bytes] = {
    "digits": raw("digits", b',"x":' + DIGITS + b',"y":-' + DIGITS + b"." + DIGITS + b"e" + b"9" * 1000),
    "infinite": raw("infinite", b',"x":1e999,"y":-1e999'),
    "digits in an item": raw("digits in an item", log=b'[{"turn_id":' + DIGITS + b"," + ITEM[1:] + b"]"),
    "NUL in a text": raw("NUL in a text", log=rb'[{"speaker":"user","text":"a\u0000b"}]'),
    "half a pair in a text": raw("half a pair in a text", log=rb'[{"speaker":"user","text":"\ud83d"}]'),
    "half a pair in a key": raw("half a pair in a key", rb',"\udc00":1'),
    "a key of a megabyte": raw("a key of a megabyte", b',"' + b"k" * 2**20 + b'":1'),
    "an item's key": raw("an item's key", log=b'[{"' + b"k" * 2**20 + b'":1,' + ITEM[1:] + b"]"),
    "many keys": raw("many keys", b"".join(b',"k%d":%d' % (key, key) for key in range(50_000))),
    "the second": b'{"conversation_id":"the first",' + raw("the second")[1:],
    "a deep item": raw("a deep item", log=b"[" + b"[" * 900 + b"]" * 900 + b"," + ITEM + b"]"),
    "white space": raw("white space", b" " * 1_000_000),
    "empty items": raw("empty items", log=b"[" + b"{}," * 200_000 + ITEM + b"]"),
    GRIN * 255: raw(GRIN * 255),
}  # fmt: skip
# These can never be processed
REFUSED: dict[str, bytes] = {
    "nothing": b"",
    "half a pair in an id": raw("?").replace(b'"?"', rb'"\ud800"', 1),
    "depth": DEEP,
    "depth of objects": DEEP_OBJECT,
    "an open end": b"[" * DEPTH,
    "depth in a key that nobody reads": raw("bad", b',"x":' + DEEP),
    "objects in a key that nobody reads": raw("bad", b',"x":' + DEEP_OBJECT),
    "depth in an item": raw("bad", log=b'[{"speaker":"user","text":' + DEEP + b"}]"),
    "depth of the log": raw("bad", log=DEEP),
    "depth of an id": raw("bad").replace(b'"user-1"', DEEP),
    "not a number": raw("bad", b',"x":NaN'),
    "infinity": raw("bad", b',"x":Infinity'),
    "digits of an id": raw("bad").replace(b'"user-1"', DIGITS),
    "an infinite id": raw("bad").replace(b'"user-1"', b"1e999"),
    "NUL in an id": raw("bad").replace(b'"user-1"', rb'"a\u0000"'),
    "NUL bytes": b"\0" * 100_000,
    "NUL behind": raw("bad") + b"\0",
    "BOM": b"\xef\xbb\xbf" + raw("bad"),
    "UTF-16": raw("bad").decode().encode("utf-16"),
    "over-long UTF-8": raw("bad").replace(b"hello", b"\xc0\xaf"),
    "half a pair as bytes": raw("bad").replace(b"hello", b"\xed\xa0\x80"),
    "half a character": raw("bad").replace(b"hello", b"\xf0\x9f\x98"),
    "256 characters": raw(GRIN * 256),
    "gzip": gzip.compress(raw("bad")),
    "numbers for items": raw("bad", log=b"[" + b"0," * 500_000 + b"0]"),
    "two bodies": raw("bad") + raw("bad"),
    "escapes": b"\\" * 1_000_000,
    "quotes": b'"' * 1_000_001,
}  # fmt: skip

NESTED = b'{"count":' + DEEP + b"}"
WELL: dict[str, Answer] = {
    "answer of 8 MB": answered(b'{"count":1}'.ljust(ANSWER_MAX_BYTES)),
    "answer with a duplicate": answered(b'{"count":"no","count":1}'),
    "answer with depth below": answered(b'{"count":1,"x":' + b"[" * 900 + b"]" * 900 + b"}"),
}
BADLY: dict[str, Answer] = {
    "answer over 8 MB": answered(b'{"count":1}'.ljust(ANSWER_MAX_BYTES + 1)),
    "answer without an end": b"HTTP/1.1 200 OK\r\n\r\n" + b'{"count":1}'.ljust(ANSWER_MAX_BYTES + 1),
    "answer of depth": answered(NESTED),
    "answer of depth elsewhere": answered(b'{"count":1,"x":' + DEEP_OBJECT + b"}"),
    "answer of deep facts": answered(b'{"facts":[' + DEEP + b"]}"),
    "answer of digits": answered(b'{"count":' + DIGITS + b"}"),
    "answer of a fraction": answered(b'{"count":1.5}'),
    "answer of a minus": answered(b'{"count":-0.0}'),
    "answer of infinity": answered(b'{"count":1e999}'),
    "answer of no number": answered(b'{"count":NaN}'),
    "answer of truth": answered(b'{"count":true}'),
    "answer of many facts": answered(b'{"facts":[' + b"0," * 2_000_000 + b"0]}"),
    "answer of BOM": answered(b"\xef\xbb\xbf" + b'{"count":1}'),
    "answer of bytes": answered(b'{"status":"\xff","count":1}'),
    "answer of half a pair": answered(rb'{"status":"\ud800","count":1}'),
    "answer of gzip": answered(gzip.compress(b" " * 50_000_000), "200 OK", "Content-Encoding: gzip"),
    "answer of unannounced gzip": answered(gzip.compress(b" " * 50_000_000)),
}


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(WELL | BADLY) as started:
        yield started


def test_nothing_that_is_sent_or_answered_breaks_a_child(
    start_worker: Start, desk: Desk, api: ScriptedApi
) -> None:
    """All of them at once, a good message behind each kind."""
    worker = start_worker("--max-message-mb=16", MEMORY_API_URL=api.url, FRIENDSHIP_BREAKER="off")
    worker.wait_for("child_ready", times=2)
    answers = [raw(name) for name in (*WELL, *BADLY)]
    for body in (
        *HARMLESS.values(),
        raw("good-1"),
        *REFUSED.values(),
        raw("good-2"),
        *answers,
        raw("good-3"),
    ):
        desk.publish_raw(body)
    worker.wait_for("message_processed", times=len(HARMLESS) + len(WELL) + 3)
    worker.wait_for("message_failed", times=len(BADLY))
    worker.wait_for("message_dead_lettered", times=len(REFUSED))
    found = desk.query(
        "SELECT conversation_id, coalesce(error_code, status) AS outcome FROM conversation_events"
    )
    expected = dict.fromkeys([*HARMLESS, *WELL, "good-1", "good-2", "good-3"], "PROCESSED")
    expected |= dict.fromkeys(BADLY, "MEMORY_API_BAD_RESPONSE")
    # One of the refused shows only when its items are read, after it was claimed: its row waits for a better message
    expected["bad"] = "INVALID_MESSAGE"
    assert {row["conversation_id"]: row["outcome"] for row in found} == expected
    # A broker that does not answer in time has its copy kept in a table: the next message must not wait for it
    dead = [(headers["reason"], body) for headers, body in desk.take_dead()]
    kept = desk.query("SELECT reason, body FROM rejected_messages")
    dead += [(row["reason"].partition(":")[0], bytes(row["body"])) for row in kept]
    assert {reason for reason, _ in dead} == {"INVALID_MESSAGE"}
    missing = set(REFUSED.values()) - {body for _, body in dead}
    assert (len(missing), len(dead)) == (0, len(REFUSED))
    assert worker.logged("child_exited") == []
    assert worker.stop() == 0
    desk.assert_clean_ending(worker)

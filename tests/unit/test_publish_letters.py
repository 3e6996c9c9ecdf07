"""A message whose log goes elsewhere stays what it was, but for the log."""

import gzip
import json

import pytest

from consumer.errors import MalformedMessage, MessageTooLarge
from consumer.message import parse
from supervisor.cli.publishing.doors import MessageDoor, S3Door
from supervisor.cli.publishing.entries import Entry
from supervisor.cli.publishing.letters import letter, without_log

LOG = [{"speaker": "pika", "text": "hi \U0001f995"}]


def entry(body: bytes) -> Entry:
    return Entry(1, 0, len(body), len(body), body)


def test_all_but_the_log_stays_byte_for_byte() -> None:
    """Numbers, escapes, blanks within values, keys that nobody knows, and their order."""
    body = (
        b'{ "z\\u0041": 1.50e1, "conversation_id":"c\\u00e9", "conversation_log": [{"speaker":"user","text":"a"}],'
        b' "user_id": "u", "extra": {"a" : [1, 2]} }'
    )
    read = letter(entry(body), 10**6)
    assert (
        without_log(read)
        == b'{"zA":1.50e1,"conversation_id":"c\\u00e9","user_id":"u","extra":{"a" : [1, 2]}}'
    )
    with_url = without_log(read, 's3://b/a"b')
    assert with_url == without_log(read)[:-1] + b',"conversation_log_url":"s3://b/a\\"b"}'
    assert parse(with_url).conversation_log_url == 's3://b/a"b'


def test_a_url_that_is_null_is_replaced() -> None:
    """It says that there is none."""
    body = json.dumps(
        {"conversation_log_url": None, "conversation_id": "c", "user_id": "u", "conversation_log": LOG}
    ).encode()
    assert json.loads(without_log(letter(entry(body), 10**6), "s3://b/k")) == {
        "conversation_log_url": "s3://b/k",
        "conversation_id": "c",
        "user_id": "u",
    }


def test_half_a_character_is_mended_where_the_log_is_taken_out() -> None:
    """No store takes it; in the message it may stay, and the consumer mends it."""
    log = b'[{"speaker":"user","text":"\\ud83e"}]'
    body = b'{"conversation_id":"c","user_id":"u","bot_name":"\\ud83d","conversation_log":%b}' % log
    read = letter(entry(body), 10**6)
    assert MessageDoor().carry(read) == body
    assert without_log(read) == b'{"conversation_id":"c","user_id":"u","bot_name":"\\ufffd"}'
    assert json.loads(bytes(read.message.log or b"")) == [{"speaker": "user", "text": "\ufffd"}]


def test_an_entry_over_the_limit_is_refused_by_its_size() -> None:
    """In the words of before."""
    with pytest.raises(MessageTooLarge, match=r"^70 bytes, over the limit of 64 \(MAX_MESSAGE_MB\)$"):
        letter(Entry(1, 0, 70, 70, None), 64)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"conversation_log": None},
        {"conversation_log_url": "s3://b/k"},
        {"conversation_log_url": "s3://b/k", "conversation_log": LOG},
    ],
)
def test_a_message_without_a_log_or_with_a_url_passes_as_it_is(more: dict[str, object]) -> None:
    """Nothing is written."""
    body = json.dumps({"conversation_id": "c", "user_id": "u"} | more).encode()
    door = S3Door(lambda *_: pytest.fail("nothing is to be written"), lambda *_: "s3://b/other")
    assert door.carry(letter(entry(body), 10**6)) == body


def test_a_log_becomes_an_object_before_its_message_says_so() -> None:
    """Compressed, and the same bytes each time."""
    written: list[tuple[str, bytes]] = []
    door = S3Door(lambda url, body: written.append((url, body)), lambda each, _: f"s3://b/k/{each}.json.gz")
    body = json.dumps({"conversation_id": "c", "user_id": "u", "conversation_log": LOG}).encode()
    carried = [json.loads(door.carry(letter(entry(body), 10**6))) for _ in range(2)]
    assert (
        carried
        == [{"conversation_id": "c", "user_id": "u", "conversation_log_url": "s3://b/k/c.json.gz"}] * 2
    )
    assert written[0] == written[1]
    assert (written[0][0], json.loads(gzip.decompress(written[0][1]))) == ("s3://b/k/c.json.gz", LOG)


def test_a_key_that_no_server_takes_refuses_the_line() -> None:
    """And not the run: the next try would stop at the same line."""
    door = S3Door(lambda *_: pytest.fail("nothing is to be written"), lambda each, _: f"s3://b/{each * 9}")
    body = json.dumps({"conversation_id": "é" * 255, "user_id": "u", "conversation_log": LOG}).encode()
    with pytest.raises(MalformedMessage, match="longer than 1024 bytes"):
        door.carry(letter(entry(body), 10**6))

"""Messages: what the contract accepts and what it refuses."""

import json
import tracemalloc
from datetime import UTC, datetime

import orjson
import pytest

from consumer.errors import MalformedMessage
from consumer.message import identify, parse


def body(**fields: object) -> bytes:
    return orjson.dumps({"conversation_id": "c-1", "user_id": "u-1"} | fields)


def test_the_smallest_message_has_two_ids() -> None:
    """A message of ids only is what the retry pass publishes."""
    message = parse(body())
    assert (message.conversation_id, message.user_id, message.log) == ("c-1", "u-1", None)


def test_unknown_keys_are_ignored() -> None:
    """A newer publisher may say more than this version reads."""
    assert parse(body(novelty={"deep": [1, 2]}, enqueued_at=17)).user_id == "u-1"


def test_null_means_absent() -> None:
    """A publisher that writes null for what it does not know is understood."""
    message = parse(body(conversation_log=None, conversation_log_url=None, agent_tag=None, start_time=None))
    assert (message.log, message.conversation_log_url, message.agent_tag, message.start_time) == (None,) * 4


def test_times_are_read_as_utc() -> None:
    """An offset is respected, and a time without one is UTC."""
    message = parse(body(start_time="2026-01-01T07:00:00+07:00", end_time="2026-01-01T00:30:00"))
    assert message.start_time == datetime(2026, 1, 1, tzinfo=UTC)
    assert message.end_time == datetime(2026, 1, 1, 0, 30, tzinfo=UTC)


def test_the_log_is_kept_as_it_came() -> None:
    """The log is not parsed before the event is claimed."""
    log = parse(b'{"conversation_id":"c","user_id":"u","conversation_log": [ {"speaker" : 1} ] }').log
    assert log is not None
    assert bytes(log) == b'[ {"speaker" : 1} ]'


@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"hello",
        b"[]",
        b"null",
        b'"text"',
        b"\xff\xfe",
        orjson.dumps({"user_id": "u"}),
        orjson.dumps({"conversation_id": "c"}),
        body(conversation_id=5),
        body(user_id=None),
        body(conversation_id=""),
        body(conversation_id="x" * 256),
        body(user_id="a\0b"),
        body(bot_type=7),
        body(agent_tag="a\0b"),
        body(conversation_log="text"),
        body(conversation_log={"speaker": "pika"}),
        body(conversation_log=5),
        body(conversation_log_url="https://example.org/log"),
        body(conversation_log_url="s3://bucket"),
        body(conversation_log_url="s3:///key"),
        body(start_time=1735689600),
        body(start_time="yesterday"),
    ],
)
def test_what_is_no_message_is_refused(bad: bytes) -> None:
    """Each way to be no message is named, and the reason never quotes the body."""
    with pytest.raises(MalformedMessage) as refused:
        parse(bad)
    assert refused.value.code == "INVALID_MESSAGE"
    assert "hello" not in refused.value.reason


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (rb"cut \ud83d", "cut \ufffd"),
        (rb"\uDC00 first", "\ufffd first"),
        (rb"whole \ud83d\ude00 then \ud83d\ud83d", "whole 😀 then \ufffd\ufffd"),
        (rb"backslash \\ud83d and \ud83d", "backslash \\ud83d and \ufffd"),
    ],
)
def test_half_an_emoji_does_not_cost_a_conversation(sent: bytes, read: str) -> None:
    """Wherever it stands: in a text, or in a key that nobody reads."""
    log = b'[{"speaker":"user","text":"' + sent + b'"}]'
    message = parse(
        b'{"conversation_id":"c","user_id":"u","x":"' + sent + b'","conversation_log":' + log + b"}"
    )
    assert message.log is not None
    assert orjson.loads(bytes(message.log))[0]["text"] == read


@pytest.mark.parametrize("name", ["conversation_id", "user_id"])
def test_an_id_is_never_altered(name: str) -> None:
    """One with half a character is refused; one with U+FFFD, spelled out or escaped, is kept."""
    for half in (r"a\ud83d", r"\uDC00b"):
        sent = json.dumps({"conversation_id": "c", "user_id": "u", name: "?"}).replace("?", half)
        with pytest.raises(MalformedMessage, match="half a character"):
            parse(sent.encode())
        assert identify(sent.encode(), None) is None
    for ascii_only in (True, False):
        sent = json.dumps({"conversation_id": "c", "user_id": "u", name: "a\ufffd"}, ensure_ascii=ascii_only)
        assert getattr(parse(sent.encode()), name) == "a\ufffd"


def test_a_malformed_message_can_still_be_identified() -> None:
    """By its conversation_id when that is readable, else by its AMQP message_id, else not at all."""
    assert identify(body(user_id=5), "other") == "c-1"
    assert identify(b"not json", "from-header") == "from-header"
    assert identify(b"not json", None) is None
    assert identify(b"not json", "a\0b") is None


@pytest.mark.parametrize(
    "name", ["conversation_id", "user_id", "bot_name", "agent_tag", "conversation_log_url"]
)
def test_a_value_of_many_megabytes_is_never_made_a_string(name: str) -> None:
    """Only a log may be long: a str of the rest would take four times its size, in every child that tries."""
    fields = {"conversation_id": "c", "user_id": "u", name: "\N{GRINNING FACE}" * 1_000_000}
    body = orjson.dumps(fields)
    tracemalloc.start()
    try:
        with pytest.raises(MalformedMessage, match=name):
            parse(body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 0.1 * len(body)


@pytest.mark.parametrize(
    ("name", "longest"),
    [(name, 255) for name in ("conversation_id", "user_id", "bot_id", "bot_type", "bot_name", "agent_tag")]
    + [("conversation_log_url", 2048)],
)
def test_what_becomes_part_of_a_row_has_a_longest_length(name: str, longest: int) -> None:
    """In characters, however they are escaped: the longest is kept as it came, one more is refused by its name."""
    fit = "s3://bucket/".ljust(longest, "😀")
    for escaped in (False, True):
        fields = {"conversation_id": "c", "user_id": "u", name: fit}
        assert getattr(parse(json.dumps(fields, ensure_ascii=escaped).encode()), name) == fit
        with pytest.raises(MalformedMessage, match=name):
            parse(json.dumps(fields | {name: fit + "x"}, ensure_ascii=escaped).encode())


def test_mending_and_refusing_take_no_copy() -> None:
    """Neither of a body with half a character in it, nor of one that is no JSON at all."""
    log = b'[{"speaker":"user","text":"' + b"x" * 5_000_000 + rb"\ud83d" + b'"}]'
    whole = bytearray(b'{"conversation_id":"c","user_id":"u","conversation_log":' + log + b"}")
    garbage = bytearray(b"\x01\xd8" * 2_500_000)
    tracemalloc.start()
    try:
        message = parse(whole)
        with pytest.raises(MalformedMessage):
            parse(garbage)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert message.log is not None
    assert bytes(message.log).endswith(rb'x\ufffd"}]')
    assert peak < 1_000_000

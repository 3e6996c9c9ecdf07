"""Any bytes in, a message or MalformedMessage out."""

import contextlib
import json

import orjson
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.conversation import transcribe
from consumer.errors import MalformedMessage
from consumer.message import identify, parse

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=12), inner, max_size=4),
    max_leaves=20,
)
keys = st.sampled_from(
    [
        "conversation_id",
        "user_id",
        "bot_type",
        "agent_tag",
        "start_time",
        "conversation_log",
        "conversation_log_url",
        "unknown",
    ]
)
nearly_messages = st.dictionaries(keys, json_values, max_size=8).map(
    lambda value: json.dumps(value).encode("utf-8", "surrogatepass")
)
nearly_items = st.lists(
    st.dictionaries(
        st.sampled_from(["speaker", "text", "character", "content", "turn_id"]),
        st.sampled_from(["pika", "user", "BOT_X", "USER", "", " ", "bé ơi 😀", "\ud83d", "a\0b"])
        | json_values,
        max_size=4,
    )
    | json_values,
    max_size=6,
).map(lambda value: json.dumps(value).encode())


@given(st.binary(max_size=300) | nearly_messages)
@example(b"[" * 200_000)
@example(b'{"conversation_id":"c","user_id":"u","x":' + b"[" * 100_000 + b"]" * 100_000 + b"}")
@example(b'{"conversation_id":"c","user_id":"u","conversation_log":[' + b"\xff" + b"]}")
@example(b'{"conversation_id":"c","user_id":"u","start_time":"0001-01-01T00:00:00+14:00"}')
@example(b'{"conversation_id":"\\ud800","user_id":"u"}')
@example(b'{"conversation_id":"c","user_id":"u","x":"\\ud800\\\\ud800\\udc00"}')
@example(b"\xef\xbb\xbf{}")
def test_parse_gives_a_message_or_says_that_it_is_malformed(body: bytes) -> None:
    """No body raises anything but MalformedMessage, and a message keeps the promises of its type."""
    message = None
    with contextlib.suppress(MalformedMessage):
        message = parse(body)
    if message is None:
        return
    assert 0 < len(message.conversation_id) <= 255
    assert 0 < len(message.user_id) <= 255
    assert "\0" not in message.conversation_id + message.user_id
    message.conversation_id.encode()


@given(st.binary(max_size=300) | nearly_messages, st.none() | st.text(max_size=300))
def test_identify_gives_a_usable_id_or_none(body: bytes, message_id: str | None) -> None:
    """The id of a malformed message can be looked up, or there is none."""
    found = identify(body, message_id)
    assert found is None or (0 < len(found) <= 255 and "\0" not in found)


@given(st.binary(max_size=200) | nearly_items)
@example(b"[" * 100_000)
@example(b'[{"speaker":"user","text":"\xff"}]')
def test_transcribe_gives_a_request_or_says_that_the_log_is_malformed(log: bytes) -> None:
    """No log raises anything but MalformedMessage, and every request is valid JSON of the declared length."""
    with contextlib.suppress(MalformedMessage):
        transcript = transcribe(log, "u", "c")
        length = transcript.payload.length
        body = b"".join(transcript.payload)
        assert len(body) == length
        assert len(orjson.loads(body)["conversation"]) == transcript.messages
        assert transcript.turns <= transcript.messages // 2

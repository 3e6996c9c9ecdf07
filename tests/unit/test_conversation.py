"""Logs: both item forms become one request, and everything else is counted."""

import tracemalloc

import orjson
import pytest

from consumer import conversation
from consumer.conversation import CHUNK_BYTES, Transcript, transcribe
from consumer.errors import MalformedMessage


@pytest.fixture(autouse=True, params=["at once", "frugally"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every promise holds for small logs and for large ones."""
    if request.param == "frugally":
        monkeypatch.setattr(conversation, "LARGE_BYTES", 0)


def read(items: list[object]) -> tuple[Transcript, list[dict[str, str]]]:
    transcript = transcribe(orjson.dumps(items), "u", "c")
    request = orjson.loads(b"".join(transcript.payload))
    assert (request["user_id"], request["conversation_id"]) == ("u", "c")
    return transcript, request["conversation"]


def test_both_forms_give_the_same_request() -> None:
    """speaker/text and character/content are two ways to say one thing."""
    first, one = read([{"speaker": "pika", "text": "Chào bé! 😀"}, {"speaker": "user", "text": "hi"}])
    second, other = read(
        [
            {"character": "BOT_RESPONSE_CONVERSATION", "content": "Chào bé! 😀"},
            {"character": "USER_X", "content": "hi"},
        ]
    )
    assert (
        one == other == [{"role": "assistant", "content": "Chào bé! 😀"}, {"role": "user", "content": "hi"}]
    )
    assert first.turns == second.turns == 1


def test_empty_texts_are_dropped_and_counted() -> None:
    """Silence is no message, and breaks no turn."""
    transcript, said = read(
        [
            {"speaker": "pika", "text": "a"},
            {"speaker": "user", "text": ""},
            {"speaker": "user", "text": " \n"},
            {"speaker": "user", "text": "b"},
        ]
    )
    assert [item["content"] for item in said] == ["a", "b"]
    assert (transcript.turns, transcript.empty, transcript.unusable) == (1, 2, 0)


def test_unusable_items_are_dropped_and_counted() -> None:
    """Another speaker, another form, or another type: none of them fails the conversation."""
    odd: list[object] = [
        {"speaker": "narrator", "text": "x"},
        {"character": "NARRATOR", "content": "x"},
        {"speaker": "pika"},
        {"speaker": 5, "text": "x"},
        {"speaker": "pika", "text": ["x"]},
        "text",
        7,
        None,
    ]
    transcript, said = read([*odd, {"speaker": "pika", "text": "a", "turn_id": 1, "timestamp": "t"}])
    assert said == [{"role": "assistant", "content": "a"}]
    assert transcript.unusable == len(odd)
    with pytest.raises(MalformedMessage):
        transcribe(orjson.dumps(odd), "u", "c")


def test_a_speaker_of_many_megabytes_is_never_made_a_string() -> None:
    """Nobody is called so: the item cannot be used, and a str of it would take four times its size."""
    long = "BOT" + "\N{GRINNING FACE}" * 500_000
    log = orjson.dumps([{"character": long, "content": "x"}, {"character": "USER", "content": "a"}])
    tracemalloc.start()
    try:
        transcript = transcribe(log, "u", "c")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (transcript.messages, transcript.unusable) == (1, 1)
    assert peak < 1.5 * len(log)


def test_an_empty_log_has_no_messages() -> None:
    """Nothing said is no mistake."""
    assert read([])[0].messages == 0
    assert read([{"speaker": "user", "text": ""}])[0].messages == 0


def test_escapes_and_invalid_bytes() -> None:
    """Escaped text goes through unchanged; a text that is not UTF-8 makes the log malformed."""
    transcript = transcribe(b'[{"speaker":"user","text":"a\\n\\u00e9\\ud83d\\ude00"}]', "u", "c")
    assert orjson.loads(b"".join(transcript.payload))["conversation"][0]["content"] == "a\né😀"
    with pytest.raises(MalformedMessage):
        transcribe(b'[{"speaker":"user","text":"\xff"}]', "u", "c")


def test_a_long_log_is_given_out_in_chunks_that_are_dropped() -> None:
    """No chunk is much larger than a text beyond the chunk size, and none is kept."""
    items = [{"speaker": "pika" if i % 2 else "user", "text": "x" * 1000} for i in range(1000)]
    transcript = transcribe(orjson.dumps(items), "u", "c")
    chunks = list(transcript.payload)
    assert sum(map(len, chunks)) == transcript.payload.length
    assert max(map(len, chunks)) < CHUNK_BYTES + 2000
    assert list(transcript.payload) == []
    assert transcript.turns == 500


def test_one_odd_item_does_not_cost_the_others() -> None:
    """A log that cannot be read at once is read item by item."""
    transcript, said = read([{"speaker": "robot", "text": "x"}, {"speaker": "user", "text": "a"}])
    assert (said, transcript.unusable) == ([{"role": "user", "content": "a"}], 1)


def test_a_request_is_not_held_beside_its_log() -> None:
    """Before it is sent, a request costs a fraction of its size: its texts are still the log's."""
    log = orjson.dumps([{"speaker": "user", "text": "é" * 5000} for _ in range(2000)])
    tracemalloc.start()
    try:
        transcript = transcribe(log, "u", "c")
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert transcript.payload.length > 0.9 * len(log)
    assert held < 0.1 * len(log)
    assert peak < 0.2 * len(log)


@pytest.mark.parametrize("blank", [" ", "\n", "\u00a0", "\u3000", "\u2009\t"])
def test_a_long_text_is_blank_only_as_a_whole(blank: str) -> None:
    """It is told by its beginning where that says something, and else read to its end."""
    long = blank * 6000
    transcript, told = read(
        [
            {"speaker": "user", "text": long},
            {"speaker": "user", "text": long + "hi"},
            {"speaker": "user", "text": blank + "ế" * 6000},
        ]
    )
    assert transcript.empty == 1
    assert [message["content"] for message in told] == [long + "hi", blank + "ế" * 6000]


@pytest.mark.parametrize("cut", range(8))
@pytest.mark.parametrize("blank", [r"\u00a0", r"\u3000", r"\n", "\u3000"])
def test_a_long_blank_text_is_blank_wherever_its_beginning_is_cut(blank: str, cut: int) -> None:
    """Half an escape, or half a character, says nothing."""
    text = " " * cut + blank * 3000
    log = f'[{{"speaker":"user","text":"{text}"}},{{"speaker":"user","text":"hi"}}]'
    assert transcribe(log.encode(), "u", "c").empty == 1


def test_a_long_text_that_begins_like_a_blank_is_not_decoded() -> None:
    """Many Vietnamese words begin with the first byte of a blank, and a str takes up to four times as much."""
    log = orjson.dumps([{"speaker": "user", "text": "ế" + "a" * 8_000_000 + "😀"}])
    tracemalloc.start()
    try:
        transcribe(log, "u", "c")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 3 * len(log), "more than the copies that are joined"

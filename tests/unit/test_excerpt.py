"""What an analysis is shown: both ends of a conversation, in whole turns, and no more in memory than that."""

import tracemalloc

import orjson
import pytest

from consumer import excerpt as module
from consumer.errors import MalformedMessage
from consumer.excerpt import MESSAGE_CHARS, Excerpt, excerpt

MIB = 1024 * 1024
PLENTY = 10_000


@pytest.fixture(autouse=True, params=["at once", "frugally"])
def _way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every promise holds for small logs and for large ones."""
    if request.param == "frugally":
        monkeypatch.setattr(module, "LARGE_BYTES", 0)


def log_of(*texts: str) -> bytes:
    """Make a log of turns: the robot speaks first, then the child."""
    speakers = ("pika", "user")
    items = [{"speaker": speakers[number % 2], "text": text} for number, text in enumerate(texts)]
    return orjson.dumps(items)


def texts(shown: Excerpt) -> list[str]:
    return [text for _, text in shown.said]


def test_a_conversation_within_the_budget_is_shown_whole() -> None:
    """Both forms of items, in order, nothing left out."""
    log = orjson.dumps(
        [
            {"speaker": "pika", "text": "Chào bé! 😀"},
            {"character": "USER_X", "content": "hi"},
            {"character": "BOT_RESPONSE_CONVERSATION", "content": "why?"},
        ]
    )
    assert excerpt(log, PLENTY) == Excerpt(
        (("robot", "Chào bé! 😀"), ("child", "hi"), ("robot", "why?")),
        left_out=0,
        before_gap=3,
    )


def test_the_middle_goes() -> None:
    """Half of the budget is for the beginning, the other for the end; each turn stays or goes as a whole."""
    told = [f"{number:07}" for number in range(20)]
    turn = 2 * (MESSAGE_CHARS + 7)
    shown = excerpt(log_of(*told), 4 * turn)
    assert texts(shown) == told[:4] + told[-4:]
    assert (shown.before_gap, shown.left_out) == (4, 12)
    assert texts(excerpt(log_of(*told), 4 * turn - 1)) == told[:2] + told[-4:]


def test_what_the_beginning_leaves_is_for_the_end() -> None:
    """A first turn beyond half of the budget leaves all of it to the last ones."""
    shown = excerpt(log_of("a" * 60, "b", "c", "d", "e", "f"), 4 * (MESSAGE_CHARS + 1) + 20)
    assert texts(shown) == ["c", "d", "e", "f"]
    assert (shown.before_gap, shown.left_out) == (0, 2)


def test_a_turn_is_never_torn() -> None:
    """An answer without its question would be shown as what the child said of its own accord."""
    assert texts(excerpt(log_of("q" * 50, "yes", "ok", "bye"), 2 * MESSAGE_CHARS + 10)) == ["ok", "bye"]


def test_a_message_in_no_turn_is_a_unit_by_itself() -> None:
    """Who speaks three times in a row is in a turn with the last of them only."""
    log = orjson.dumps([{"speaker": speaker, "text": "x"} for speaker in ("user", "user", "user", "pika")])
    shown = excerpt(log, 3 * (MESSAGE_CHARS + 1))
    assert ([speaker for speaker, _ in shown.said], shown.left_out) == (["child", "child", "robot"], 1)
    assert len(excerpt(log, 3 * (MESSAGE_CHARS + 1) - 1).said) == 1


def test_what_is_no_message_is_neither_shown_nor_counted() -> None:
    """Empty texts, other speakers and other forms, as in the request to the Memory API."""
    items: list[object] = [
        {"speaker": "narrator", "text": "x"},
        {"speaker": "user", "text": " \n"},
        {"speaker": "user", "text": ""},
        {"speaker": "user", "text": "\u3000\u2003"},
        {"speaker": "user", "text": 5},
        {"speaker": "pika"},
        7,
        None,
        {"speaker": "user", "text": " a "},
    ]
    assert excerpt(orjson.dumps(items), PLENTY) == Excerpt((("child", " a "),), 0, 1)


@pytest.mark.parametrize("budget", [-1, 0, 1, MESSAGE_CHARS])
def test_nothing_fits(budget: int) -> None:
    """Without room nothing is shown, and all of it counts as left out."""
    assert excerpt(log_of("a", "b"), budget) == Excerpt((), 2)


def test_nothing_said() -> None:
    """An empty log is no mistake."""
    assert excerpt(b"[]", PLENTY) == Excerpt((), 0)


@pytest.mark.parametrize("log", [b"", b"{}", b"null", b"[", b"[" * 100_000, b'["\xff'])
def test_what_is_no_list(log: bytes) -> None:
    """It is malformed, as for the Memory API."""
    with pytest.raises(MalformedMessage):
        excerpt(log, PLENTY)


@pytest.mark.parametrize("log", [bytes, bytearray])
def test_half_characters(log: type[bytes] | type[bytearray]) -> None:
    """An emoji that was cut in half becomes a replacement character, a whole one stays."""
    given = log(rb'[{"speaker":"user","text":"a\ud83d"},{"speaker":"pika","text":"\ude00\ud83d\ude00"}]')
    assert texts(excerpt(given, PLENTY)) == ["a\ufffd", "\ufffd😀"]


def test_a_text_that_is_not_utf_8() -> None:
    """It does not raise here; the Memory API's request is the place where it is refused."""
    assert texts(excerpt(b'[{"speaker":"user","text":"a\xff\xed\xa0\x80b"}]', PLENTY)) == [
        "a" + "\ufffd" * 4 + "b"
    ]


@pytest.mark.parametrize("escaped", [rb"\ud83d\ude00", "😀".encode(), rb"\u00e9", b"x"])
def test_a_character_counts_once_however_it_is_written(escaped: bytes) -> None:
    """The budget is of characters, not of bytes or escapes."""
    log = b'[{"speaker":"user","text":"%b"}]' % (escaped * 100)
    assert len(excerpt(log, MESSAGE_CHARS + 100).said) == 1
    assert len(excerpt(log, MESSAGE_CHARS + 99).said) == 0


def test_a_long_blank_text_is_none() -> None:
    """As for the score: nothing was said."""
    log = b'[{"speaker":"user","text":"%b"}]' % (b" " * 100_000)
    assert excerpt(log, PLENTY) == Excerpt((), 0)


@pytest.mark.parametrize("letter", ["x", "ế", "\\u00e9", "😀"])
def test_a_text_beyond_the_budget_is_never_decoded(letter: str) -> None:
    """One text of 8 MB costs nothing but a look at its length."""
    log = (
        b'[{"speaker":"user","text":"%b"},{"speaker":"pika","text":"hi"},{"speaker":"user","text":"yes"}]'
        % (letter.encode() * (8 * MIB // len(letter.encode())))
    )
    tracemalloc.start()
    try:
        shown = excerpt(log, 12_000)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert texts(shown) == ["yes"]
    assert peak < MIB


def test_a_long_log_costs_its_index_and_the_budget() -> None:
    """Of 40,000 messages in 20 MB none but the shown ones is ever held as a text."""
    log = orjson.dumps([{"speaker": "user", "text": "é" * 250}] * 40_000)
    tracemalloc.start()
    try:
        shown = excerpt(log, 12_000)
        held, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert shown.left_out == 40_000 - len(shown.said)
    assert held < MIB
    assert peak < 40_000 * 200


def test_an_excerpt_keeps_nothing_of_its_log() -> None:
    """Its texts are copies: a log of 60 MB does not wait for the answer."""
    tracemalloc.start()
    try:
        shown = excerpt(log_of(*["x" * 1000] * 5000), 5000)
        held = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert shown.said
    assert held < MIB / 2

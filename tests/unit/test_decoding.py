"""Whatever a decoder raises for a text means that the text is bad; memory that ran out does not."""

import msgspec
import pytest

from consumer.decoding import PROOF_BYTES, Flaw, Json, Unreadable, is_utf8, reading


class Raising:
    """A decoder of a release that nobody has seen yet."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def decode(self, _text: Json) -> str:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [
        msgspec.DecodeError("x"),
        msgspec.MsgspecError("x"),
        UnicodeDecodeError("utf-8", b"\xff", 0, 1, "x"),
        ValueError("x"),
        OverflowError("x"),
        SystemError("x"),
        Exception("a new one"),
    ],
)
@pytest.mark.parametrize(("text", "flaw"), [(b'"a"', Flaw.NOT_JSON), (b'"\xff"', Flaw.NOT_UTF8)])
def test_any_error_of_a_decoder_is_the_texts_fault(error: Exception, text: bytes, flaw: Flaw) -> None:
    """What is wrong with the text is read from the text, and no other error is kept behind ours."""
    with pytest.raises(Unreadable) as caught:
        reading(Raising(error))(text)
    assert (caught.value.flaw, caught.value.reason) == (flaw, flaw.value)
    assert caught.value.__context__ is None


@pytest.mark.parametrize("error", [MemoryError(), KeyboardInterrupt(), SystemExit()])
def test_what_is_not_the_texts_fault_passes(error: BaseException) -> None:
    """Memory that ran out, and an interruption, blame no message."""
    with pytest.raises(type(error)):
        reading(Raising(error))(b"1")


def test_memory_that_a_decoder_calls_bad_json_is_no_flaw_of_the_text() -> None:
    """orjson says so of a text that is longer than what it may reserve."""
    with pytest.raises(MemoryError):
        reading(Raising(ValueError("Not enough memory to allocate buffer for parsing")))(b"1")


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        (b'"\xff"', Flaw.NOT_UTF8),
        (b"\xff\xfe1\x00", Flaw.NOT_UTF8),
        (b'"a', Flaw.NOT_JSON),
        (b"", Flaw.NOT_JSON),
        (b'"\\ud83e"', Flaw.NOT_JSON),
        (b"1", Flaw.OTHER_TYPE),
    ],
)
def test_a_flaw_has_one_name_in_every_release_of_msgspec(text: bytes, flaw: Flaw) -> None:
    """Releases differ in the exception that they raise for text that is not UTF-8."""
    with pytest.raises(Unreadable) as caught:
        reading(msgspec.json.Decoder(str))(text)
    assert caught.value.flaw is flaw


def test_brackets_nested_too_deeply_have_a_name() -> None:
    """They are no end of this process's stack."""
    with pytest.raises(Unreadable) as caught:
        reading(msgspec.json.Decoder(msgspec.Raw | list[msgspec.Raw]))(b"[" * 200_000)
    assert caught.value.flaw is Flaw.TOO_DEEP


@pytest.mark.parametrize("shift", range(5))
def test_a_character_across_two_pieces_is_utf_8(shift: int) -> None:
    """Wherever the pieces that are proved one by one begin."""
    text = b"a" * (PROOF_BYTES - shift) + "🦕".encode()
    assert is_utf8(text)
    assert not is_utf8(text[:-1])
    assert is_utf8(bytearray(text))
    assert is_utf8(memoryview(text))

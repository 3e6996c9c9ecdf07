"""AMQP frames are found in a stream, however it was cut on its way."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pika import frame
from pika.spec import Basic

from tests.fixtures.amqp_frames import HEAD, BrokenStreamError, Frames

PROTOCOL_HEADER = b"AMQP\0\0\x09\x01"
pieces = st.one_of(
    st.builds(lambda tag: frame.Method(1, Basic.Ack(tag)).marshal(), st.integers(1, 2**63 - 1)),
    st.builds(lambda tag: frame.Method(1, Basic.Nack(tag)).marshal(), st.integers(1, 2**63 - 1)),
    st.just(frame.Heartbeat().marshal()),
    # Bodies may hold anything, the mark of a frame's end included
    st.builds(lambda body: frame.Body(1, body).marshal(), st.binary(max_size=200)),
)


@given(st.lists(pieces, max_size=20), st.booleans(), st.data())
def test_any_split_of_a_stream_gives_the_same_frames(
    frames: list[bytes], from_client: bool, data: st.DataObject
) -> None:
    """What comes out is what went in, frame by frame, wherever the stream was cut."""
    sent = ([PROTOCOL_HEADER] if from_client else []) + frames
    stream = b"".join(sent)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    parser = Frames()
    got = [
        one
        for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)
        for one in parser.feed(stream[start:end])
    ]
    assert [one.data for one in got] == sent


@given(pieces)
def test_acks_and_heartbeats_are_known(piece: bytes) -> None:
    """An acknowledgement is one, and nothing else is: not a refusal, and no body that looks like it."""
    (one,) = Frames().feed(piece)
    _, known = frame.decode_frame(piece)
    assert one.is_ack == (isinstance(known, frame.Method) and isinstance(known.method, Basic.Ack))
    assert one.is_heartbeat == isinstance(known, frame.Heartbeat)


def test_a_frame_without_its_end_is_refused() -> None:
    """A size that is wrong shows at the frame's end."""
    with pytest.raises(BrokenStreamError):
        Frames().feed(HEAD.pack(3, 1, 1) + b"xy")

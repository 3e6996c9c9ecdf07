"""Whether a message may come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.admission import COST, Admission, admit

sizes = st.integers(0, 2**40)


@pytest.mark.parametrize(
    ("size", "room", "fresh_room", "admission"),
    [
        (64, 128, 250, Admission.KEEP),
        (64, 127, 250, Admission.LEAVE),
        (65, 250, 250, Admission.SPOOL),
        (64, 127, 127, Admission.SPOOL),
        (0, 0, 0, Admission.KEEP),
    ],
)
def test_each_rule(size: int, room: int, fresh_room: int, admission: Admission) -> None:
    """Within the limit of 64: kept where there is room, left where only a fresh child has it, else spooled."""
    assert admit(size, limit_bytes=64, room_bytes=room, fresh_room_bytes=fresh_room) is admission


@given(sizes, sizes, sizes, sizes)
def test_nothing_is_kept_that_does_not_fit_and_nothing_circles(
    size: int, limit: int, room: int, fresh_room: int
) -> None:
    """What is kept has room; what one child leaves, a fresh one keeps."""
    admission = admit(size, limit_bytes=limit, room_bytes=room, fresh_room_bytes=fresh_room)
    if admission is Admission.KEEP:
        assert COST * size <= room
    if admission is Admission.LEAVE:
        fresh = admit(size, limit_bytes=limit, room_bytes=fresh_room, fresh_room_bytes=fresh_room)
        assert fresh is Admission.KEEP

"""Whether a message may come in."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.admission import COST, FULL_COST, Admission, admit

sizes = st.integers(0, 2**40)


@pytest.mark.parametrize(
    ("size", "room", "fresh_room", "fresh", "admission"),
    [
        (64, 192, 250, False, Admission.KEEP),
        (64, 191, 250, False, Admission.LEAVE),
        (64, 100, 250, True, Admission.KEEP),
        (65, 250, 250, True, Admission.SPOOL),
        (64, 192, 127, False, Admission.SPOOL),
        (0, 0, 0, False, Admission.KEEP),
    ],
)
def test_each_rule(size: int, room: int, fresh_room: int, fresh: bool, admission: Admission) -> None:
    """Within the limit of 64: kept where there is room, left where only a fresh child has it, else spooled."""
    found = admit(size, limit_bytes=64, room_bytes=room, fresh_room_bytes=fresh_room, fresh=fresh)
    assert found is admission


@given(sizes, sizes, sizes, sizes, sizes)
def test_nothing_is_kept_that_does_not_fit_and_nothing_circles(
    size: int, limit: int, room: int, room_of_another: int, fresh_room: int
) -> None:
    """What is kept has room; what one child leaves a fresh one keeps, however it has changed since it was new."""
    admission = admit(size, limit_bytes=limit, room_bytes=room, fresh_room_bytes=fresh_room, fresh=False)
    if admission is Admission.KEEP:
        assert FULL_COST * size <= room
        assert COST * size <= fresh_room
    if admission is Admission.LEAVE:
        fresh = admit(
            size, limit_bytes=limit, room_bytes=room_of_another, fresh_room_bytes=fresh_room, fresh=True
        )
        assert fresh is Admission.KEEP

"""Any bytes in, a number of facts or MemoryApiBadResponse out."""

import contextlib
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from consumer.memory_api import MemoryApiBadResponse, parse_answer


@pytest.mark.parametrize(
    ("body", "count"),
    [
        (b'{"status":"ok","count":3,"facts":["a"]}', 3),
        (b'{"count":0}', 0),
        (b' {"count" : 10000 , "facts": null}\n', 10_000),
        (b'{"facts":[{"a":1},[],null]}', 3),
        (b'{"status":"ok","facts":[]}', 0),
    ],
)
def test_a_good_answer(body: bytes, count: int) -> None:
    """`count` counts; without it the facts do."""
    assert parse_answer(body) == count


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"null", b"3", b"[]", b"{", b"\xff", b"{}", b'{"status":"ok"}', b'{"count":3}}'),
        *(
            b'{"count":%s}' % c
            for c in (b"true", b"3.0", b"-1", b"10001", b'"3"', b"null", b"1e400", b"9" * 5000)
        ),
        *(b'{"status":%s,"count":3}' % s for s in (b'"error"', b"null", b"200", b'"OK"', b'"\xff"')),
        *(
            b'{"facts":%s}' % f
            for f in (b"3", b"null", b"{}", b'"ab"', b"[" * 500_000, b"[" + b"0," * 10_000 + b"0]")
        ),
        b'{"other":' * 100_000,
    ],
)
def test_a_bad_answer(body: bytes) -> None:
    """Anything else is refused, with a short reason and without another exception on it."""
    with pytest.raises(MemoryApiBadResponse) as caught:
        parse_answer(body)
    assert len(str(caught.value)) < 200
    assert caught.value.__context__ is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner) | st.dictionaries(st.sampled_from(["count", "facts", "status", "x"]), inner)
    ),
)


@given(st.binary() | JSON.map(lambda value: json.dumps(value).encode()))
@example(b'{"status":"\xff","count":1}')
@example(b'{"\xff":1}')
def test_any_bytes_are_an_answer_or_a_bad_answer(body: bytes) -> None:
    """No other exception ever comes out, and no count outside the contract's range."""
    with contextlib.suppress(MemoryApiBadResponse):
        assert 0 <= parse_answer(body) <= 10_000

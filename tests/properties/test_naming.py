"""Whose body it is does not depend on how it is cut or spelled."""

import json
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from consumer.naming import Named, named

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)
MIB = 1024 * 1024


def read(body: bytes, user: str, *, whole_bytes_max: int = MIB) -> Named:
    return named([body], len(body), user, whole_bytes_max)


@given(
    user=IDS,
    ascii_only=st.booleans(),
    broken=st.booleans(),
    large=st.booleans(),
    cuts=st.lists(st.integers(0, 12_000), max_size=8),
)
def test_a_user_is_found_wherever_the_body_is_cut(
    user: str, ascii_only: bool, broken: bool, large: bool, cuts: list[int]
) -> None:
    """Before or behind a long log, escaped or not, in JSON that breaks off and in what is too large to be parsed."""
    before, after = '{"conversation_log": [' + '"x",' * 1000, ', "bot": 1}'
    text = before + '1], "user_id" : ' + json.dumps(user, ensure_ascii=ascii_only) + ("" if broken else after)
    body = text.encode()
    ends = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    parts = [body[start:end] for start, end in pairwise(ends)]
    bound = len(body) - large
    assert named(parts, len(body), user, bound) == Named(wanted=True)
    assert named(parts, len(body), user + "x", bound) == Named(another=True)


@given(user=IDS)
def test_what_a_child_says_names_nobody(user: str) -> None:
    """A quoted key inside a text has its quotes escaped."""
    said = json.dumps({"conversation_log": [{"text": json.dumps({"user_id": user})}]})
    assert read(said.encode(), user) == Named()


@given(owner=IDS, guest=IDS, padding=st.integers(0, 100))
def test_a_body_that_parses_is_its_own_users_alone(owner: str, guest: str, padding: int) -> None:
    """Keys that are not ours may name whom they like."""
    body = {"meta": {"user_id": guest}, "user_id": owner, "log": [{"user_id": guest}], "x": " " * padding}
    for user in (owner, guest):
        assert read(json.dumps(body).encode(), user) == Named(wanted=user == owner, another=user != owner)


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b'{"user_id":"lan2","bot_id":"lan"}', Named(another=True)),
        (b'{"\\u0075ser_id":"lan"}', Named(wanted=True)),
        (b'{"user_id":' + b" " * 100 + b'"lan"}', Named(wanted=True)),
        (b'{"text":"half \\ud83d","user_id":"lan","meta":{"user_id":"minh"}}', Named(wanted=True)),
        (b'{"text":"no UTF-8 \xff","user_id":"lan","meta":{"user_id":"minh"}}', Named(wanted=True)),
        (b'{"user_id":"minh","user_id":"lan"}', Named(wanted=True)),
        (b'{"user_id":"minh","meta":{"user_id":"lan"}', Named(wanted=True, another=True)),
        (b'[{"user_id":"minh"},{"user_id":"lan"}]', Named(wanted=True, another=True)),
        (b'{"data":{"user_id":"lan"}}', Named(wanted=True)),
        (b'{"user_id":7,"data":{"user_id":"lan"}}', Named(wanted=True)),
        (b'{"user_id":"","data":{"user_id":"lan"}}', Named(wanted=True)),
        (b'{"user_id":"' + b"x" * 9000 + b'","data":{"user_id":"lan"}}', Named(another=True)),
        (b'{"a":' + b"[" * 9000 + b'"user_id":"lan"', Named(wanted=True)),
        (b'{"a":' + b"[" * 9000 + b"]" * 9000 + b',"user_id":"lan"}', Named(wanted=True)),
        (b'"user_id": 7, "user_id": "\xff"', Named()),
        (b"", Named()),
    ],
)
def test_whose_a_body_is(body: bytes, expected: Named) -> None:
    """As the worker reads it where it can; else whoever is named anywhere."""
    assert read(body, "lan") == expected


def test_an_id_with_half_a_character_is_nobody_s() -> None:
    """Parsed or not: mended it would be the id of a user who may exist."""
    for body in (b'{"user_id":"\\ud800"}', b'{"user_id":"\\ud800"'):
        assert read(body, "\ufffd") == Named()
        assert read(body, "\ufffd", whole_bytes_max=1) == Named()


def test_a_stranger_who_names_many_takes_no_memory() -> None:
    """A body too large to be parsed costs a few pieces, whatever is in there."""
    count, piece = 20, b"".join(b'"user_id":"%07d"' % number for number in range(MIB // 19))
    tracemalloc.start()
    try:
        assert named((piece for _ in range(count)), count * len(piece), "lan", MIB) == Named(another=True)
        assert tracemalloc.get_traced_memory()[1] < 5 * MIB
    finally:
        tracemalloc.stop()

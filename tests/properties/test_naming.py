"""Whose body it is does not depend on how it is cut or spelled."""

import json
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from consumer.naming import users_named

IDS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=255)


@given(
    user=IDS,
    ascii_only=st.booleans(),
    broken=st.booleans(),
    cuts=st.lists(st.integers(0, 12_000), max_size=8),
)
def test_a_user_is_found_wherever_the_body_is_cut(
    user: str, ascii_only: bool, broken: bool, cuts: list[int]
) -> None:
    """Before or behind a long log, escaped or not, in JSON that breaks off too."""
    before, after = '{"conversation_log": [' + '"x",' * 1000, ', "bot": 1}'
    text = before + '1], "user_id" : ' + json.dumps(user, ensure_ascii=ascii_only) + ("" if broken else after)
    body = text.encode()
    ends = sorted({min(cut, len(body)) for cut in cuts} | {0, len(body)})
    parts = [body[start:end] for start, end in pairwise(ends)]
    assert users_named(parts) == {user}


@given(user=IDS)
def test_what_a_child_says_names_nobody(user: str) -> None:
    """A quoted key inside a text has its quotes escaped."""
    said = json.dumps({"conversation_log": [{"text": json.dumps({"user_id": user})}]})
    assert users_named([said.encode()]) == set()


def test_an_id_that_is_part_of_another_is_another() -> None:
    """lan is not lan2, and a value of another key is no user."""
    assert users_named([b'{"user_id":"lan2","bot_id":"lan"}']) == {"lan2"}
    assert users_named([b'{"user_id": 7, "user_id": "\\ud800"}']) == set()
    assert users_named([]) == set()

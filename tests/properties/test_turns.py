"""Turns: adjacent pairs of different speakers, each message used once, from the start."""

import orjson
from hypothesis import given
from hypothesis import strategies as st

from consumer.conversation import transcribe

speakers = st.lists(st.sampled_from(["pika", "user"]), max_size=60)


def pairs(said: list[str]) -> int:
    """Count as the contract's sentence reads."""
    count = at = 0
    while at + 1 < len(said):
        if said[at] == said[at + 1]:
            at += 1
        else:
            count += 1
            at += 2
    return count


def turns(said: list[str]) -> int:
    log = orjson.dumps([{"speaker": speaker, "text": "x"} for speaker in said])
    return transcribe(log, "u", "c").turns


@given(speakers)
def test_counting_one_by_one_agrees_with_the_definition(said: list[str]) -> None:
    """The streaming count is the count over the whole list."""
    assert turns(said) == pairs(said)


@given(speakers)
def test_a_message_is_in_one_turn_at_most(said: list[str]) -> None:
    """There are never more turns than the rarer speaker spoke."""
    assert turns(said) <= min(said.count("pika"), said.count("user"))

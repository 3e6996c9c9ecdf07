"""Turns: adjacent pairs of different speakers, each message used once, from the start."""

from hypothesis import given
from hypothesis import strategies as st

from consumer.conversation import Speaker, Turns

speakers = st.lists(st.sampled_from(Speaker), max_size=60)


def pairs(said: list[Speaker]) -> int:
    """Count as the contract's sentence reads, with the whole list at hand."""
    count = at = 0
    while at + 1 < len(said):
        if said[at] is said[at + 1]:
            at += 1
        else:
            count += 1
            at += 2
    return count


@given(speakers)
def test_counting_one_by_one_agrees_with_the_definition(said: list[Speaker]) -> None:
    """The streaming count is the count over the whole list."""
    turns = Turns()
    for speaker in said:
        turns.hear(speaker)
    assert turns.count == pairs(said)


@given(speakers)
def test_a_message_is_in_one_turn_at_most(said: list[Speaker]) -> None:
    """There are never more turns than half the messages, nor than the rarer speaker spoke."""
    turns = Turns()
    for speaker in said:
        turns.hear(speaker)
    assert turns.count <= min(said.count(Speaker.ROBOT), said.count(Speaker.CHILD))

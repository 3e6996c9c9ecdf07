"""What is shown of any conversation: a beginning and an end in whole turns, within the budget."""

import json

from hypothesis import given
from hypothesis import strategies as st

from consumer.conversation import transcribe
from consumer.excerpt import MESSAGE_CHARS, Excerpt, excerpt

Message = tuple[str, str]

texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=40).filter(str.strip)
conversations = st.lists(st.tuples(st.sampled_from(["robot", "child"]), texts), max_size=40)
budgets = st.integers(0, 2000)


def log_of(said: list[Message], *, escaped: bool = False) -> bytes:
    names = {"robot": "pika", "child": "user"}
    items = [{"speaker": names[speaker], "text": text} for speaker, text in said]
    return json.dumps(items, ensure_ascii=escaped).encode()


def units(said: list[Message]) -> list[list[Message]]:
    """Cut a conversation into turns and messages in none, as the contract's sentence reads."""
    cut: list[list[Message]] = []
    at = 0
    while at < len(said):
        paired = at + 1 < len(said) and said[at][0] != said[at + 1][0]
        cut.append(said[at : at + 1 + paired])
        at += 1 + paired
    return cut


def cost(said: list[Message]) -> int:
    return sum(MESSAGE_CHARS + len(text) for _, text in said)


def by_definition(said: list[Message], budget: int) -> Excerpt:
    """Choose with everything in hand."""
    cut = units(said)
    head: list[Message] = []
    while cut and cost(head + cut[0]) <= budget // 2:
        head += cut.pop(0)
    tail: list[Message] = []
    while cut and cost(head + cut[-1] + tail) <= budget:
        tail = cut.pop() + tail
    shown = tuple(head + tail)
    return Excerpt(shown, len(said) - len(shown), len(head))  # type: ignore[arg-type]


@given(conversations, budgets, st.booleans())
def test_choosing_on_the_way_through_agrees_with_the_definition(
    said: list[Message], budget: int, escaped: bool
) -> None:
    """One way through, without decoding what goes, chooses the same as a look at the whole."""
    assert excerpt(log_of(said, escaped=escaped), budget) == by_definition(said, budget)


@given(conversations, budgets)
def test_the_budget_holds(said: list[Message], budget: int) -> None:
    """What is shown never costs more, and all is shown when all fits."""
    shown = excerpt(log_of(said), budget)
    assert cost(list(shown.said)) <= budget
    if cost(said) <= budget:
        assert list(shown.said) == said


@given(conversations, budgets)
def test_what_is_shown_are_the_two_ends(said: list[Message], budget: int) -> None:
    """A beginning and an end of the conversation, as it was, with as many messages missing as it says."""
    shown = excerpt(log_of(said), budget)
    head, tail = list(shown.said[: shown.before_gap]), list(shown.said[shown.before_gap :])
    assert said[: len(head)] == head
    assert said[len(said) - len(tail) :] == tail
    assert len(head) + shown.left_out + len(tail) == len(said)


@given(
    st.lists(
        st.fixed_dictionaries(
            {"speaker": st.sampled_from(["pika", "user", "x"]), "text": st.text(max_size=5) | st.none()}
        ),
        min_size=1,
    )
)
def test_it_counts_what_the_memory_api_is_told(items: list[dict[str, str | None]]) -> None:
    """Shown and left out are together the messages of the request."""
    items.append({"speaker": "user", "text": "a"})
    log = json.dumps(items, ensure_ascii=False).encode("utf-8", "replace")
    shown = excerpt(log, 50)
    assert len(shown.said) + shown.left_out == transcribe(log, "u", "c").messages


@given(st.text(st.characters(), min_size=1), budgets)
def test_any_text_can_be_written_down(text: str, budget: int) -> None:
    """Half characters included: what is shown is always proper Unicode."""
    log = json.dumps([{"speaker": "user", "text": text}]).encode()
    for _, shown in excerpt(log, budget).said:
        shown.encode()

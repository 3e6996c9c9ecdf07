"""What `status` draws of what a stranger answers: hostile texts and numbers, and other shapes than ours."""

import copy
import io
import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from supervisor.cli import status
from supervisor.cli.inquiry import NoAnswer
from supervisor.cli.visit import json_line
from tests.fixtures import standings

OURS = re.compile(r"\x1b\[[\d;]*m")
"""How rich styles."""
HOSTILE = st.text(
    st.sampled_from("\x1b\x9b[2J]0;\x07\x08\r\n\t\x7f\x85\u2028\u202e\ufeff\U000e0001漢a👩‍👩 é")
)
TEXTS = HOSTILE | st.text(st.characters(exclude_categories=["Cs"]))
NUMBERS = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**64 - 1)
HOSTILE_NUMBERS = st.sampled_from([0, -1, 1e308, -1e308, 5e-324, 10**18, 2**64 - 1, -(2**63), 253402300800])
ANYTHING = st.recursive(
    st.none() | st.booleans() | NUMBERS | HOSTILE_NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=6,
)
MAKES = [standings.good_day, standings.bad_hour, standings.hostile, lambda: standings.starting(3)]

Path = tuple[str | int, ...]


def places(value: Any, path: Path = ()) -> Iterator[Path]:
    """Give the place of each value within another."""
    if path:
        yield path
    for name in value if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ():
        yield from places(value[name], (*path, name))


def changed(value: Any, texts: Callable[[], str]) -> Any:
    """Put other texts for all texts but names."""
    match value:
        case str():
            return texts()
        case list():
            return [changed(each, texts) for each in value]
        case dict():
            return {name: changed(each, texts) for name, each in value.items()}
    return value


def shown(standing: Any, width: int = 80, height: int | None = None) -> str:
    """Draw it for a terminal with colours. Raises NoAnswer."""
    console = Console(
        width=width, file=io.StringIO(), highlight=False, markup=False, emoji=False,
        force_terminal=True, color_system="standard", legacy_windows=False,
    )  # fmt: skip
    with console.capture() as capture:
        console.print(status._picture(console, orjson.loads(orjson.dumps(standing)), height))
    return capture.get()


def obeyed(text: str) -> set[str]:
    """Give the letters that a terminal would obey, or not show."""
    return {letter for letter in OURS.sub("", text).replace("\n", "") if not letter.isprintable()}


@settings(deadline=None)
@given(data=st.data())
def test_no_text_of_a_stranger_is_obeyed_wherever_it_stands(data: st.DataObject) -> None:
    """It is drawn all the same: for each text, and each count's name."""
    standing = changed(data.draw(st.sampled_from(MAKES))(), lambda: data.draw(TEXTS))
    standing["totals"]["failures"] = {data.draw(TEXTS): 3}
    standing["totals"]["restarts"] = {data.draw(TEXTS): 3}
    standing["events"][-1:] = [
        standings.event(1, data.draw(TEXTS), data.draw(TEXTS), **{f"\x1b{data.draw(TEXTS)}": 1})
    ]
    height = data.draw(st.none() | st.integers(1, 40))
    assert obeyed(shown(standing, data.draw(st.integers(1, 160)), height)) == set()


@settings(deadline=None)
@given(data=st.data())
def test_whatever_comes_is_drawn_or_refused_in_one_line(data: st.DataObject) -> None:
    """Numbers of any size, values of other kinds, parts that are not there."""
    standing: Any = copy.deepcopy(data.draw(st.sampled_from(MAKES))())
    for _ in range(data.draw(st.integers(0, 4))):
        *way, last = data.draw(st.sampled_from(list(places(standing))))
        holder = standing
        for name in way:
            holder = holder[name]
        if isinstance(holder, dict) and len(standing) > 1 and data.draw(st.booleans()):
            del holder[last]
        else:
            holder[last] = data.draw(ANYTHING)
    try:
        text = shown(standing, data.draw(st.integers(1, 160)))
    except NoAnswer as none:
        text = str(none)
        assert "--json shows it" in text
    assert obeyed(text) == set()


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("supervisor", "rss_hard_mb"), 0),
        (("supervisor", "rss_hard_mb"), 5e-324),
        (("supervisor", "uptime_s"), 1e308),
        (("supervisor", "pid"), "\x1b[31m"),
        (("supervisor", "ready"), {"a": 1}),
        (("as_of",), 10**18),
        (("as_of",), -1),
        (("children", 0, "rss_mb"), "x"),
        (("children", 0, "slot"), "\x1b[31m"),
        (("children", 0, "phase"), ["\x1b"]),
        (("children", 0, "last_end"), {"reason": "x", "at": 10**18}),
        (("children", 0, "message_age_s"), None),
        (("queue", "ready"), "\x1b[31m"),
        (("events",), {"a": 1}),
        (("events", 0, "ts"), 1e300),
        (("totals", "restarts"), {"\x1b": "\x1b"}),
    ],
)
def test_a_value_of_another_kind_is_refused(path: Path, value: Any) -> None:
    """In words, never with a traceback, and never drawn as it came."""
    standing: Any = standings.good_day()
    holder = standing
    for name in path[:-1]:
        holder = holder[name]
    holder[path[-1]] = value
    with pytest.raises(NoAnswer, match="of a version that this one cannot draw: --json shows it"):
        shown(standing)


def test_very_much_is_drawn_in_part() -> None:
    """Texts and lists of hundreds of thousands: what is drawn of them is bounded, and so is the time that it takes."""
    standing: Any = standings.bad_hour()
    long = "\x1b漢" * 10**5
    standing["supervisor"] |= {"version": long, "not_ready": long}
    standing["children"][0] |= {"conversation_id": long, "note": long, "state": long}
    standing["totals"]["failures"] = {f"E{number}": 1 for number in range(10**5)}
    fields = {f"f{number}": list(range(1000)) for number in range(100)}
    standing["events"] = [standings.event(1, "warning", long, **fields)] * 3
    text = shown(standing, 20)
    assert len(text) < 200_000
    assert obeyed(text) == set()


@pytest.mark.parametrize("width", [1, 2, 3, 4, 5])
@pytest.mark.parametrize("make", MAKES)
def test_a_terminal_too_narrow_for_anything_is_no_reason_to_go_on_for_ever(make: Any, width: int) -> None:
    """The lines are broken by the terminal, then."""
    assert "READY" in re.sub(r"\s", "", OURS.sub("", shown(make(), width)))


@settings(deadline=None)
@given(value=ANYTHING)
def test_json_obeys_nobody_either(value: Any) -> None:
    """And is the same object still."""
    told = orjson.loads(orjson.dumps({"value": value}))
    with pytest.MonkeyPatch.context() as patch:
        said = io.StringIO()
        patch.setattr("sys.stdout", said)
        json_line(told)
    assert obeyed(said.getvalue()) == set()
    assert json.loads(said.getvalue()) == told

"""Files cut into entries: the same ones however the bytes arrive, from the beginning or from within."""

import gzip
import io
import json
import os
import shlex
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from supervisor.cli.publishing import jsontext
from supervisor.cli.publishing.entries import BOM, Broken, Entry, Spans
from supervisor.cli.publishing.feed import Reader, items, lines

MAX = 1000

# Texts that look like what holds JSON together
TEXT = st.text(st.sampled_from('ab"\\[]{},:\n é🦕\u2028 '), max_size=12)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXT, VALUES, max_size=4)
INDENTS = st.sampled_from([None, 0, 2])


def cut(text: bytes, max_bytes: int = 10**6) -> list[Entry]:
    return list(jsontext.entries(bytearray(text), max_bytes))


BEGINNINGS = st.sampled_from([b"", BOM, b" \n", BOM + b"\r\n\t"])


@given(st.lists(VALUES, max_size=6), INDENTS, st.booleans(), BEGINNINGS)
def test_a_list_is_cut_into_its_elements(
    values: list[Any], indent: int | None, ascii_only: bool, beginning: bytes
) -> None:
    """Each is JSON by itself, what was written, and where it was written."""
    text = beginning + json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode() + b"\r\n"
    found = cut(text)
    assert [json.loads(entry.body or b"") for entry in found] == values
    assert [entry.number for entry in found] == list(range(1, len(values) + 1))
    assert [text[entry.start :][: entry.size] for entry in found] == [entry.body for entry in found]
    assert all(entry.start + entry.size == entry.end < len(text) for entry in found)


def test_every_conversation_of_a_long_list_is_an_entry() -> None:
    """Regular expressions with possessive quantifiers lost one in eighteen on CPython before 3.11.5."""
    values = [
        {
            "conversation_id": f"c-{number}",
            "conversation_log": [{"speaker": "user", "text": f'"{{[\\, é🦕 {number}'}],
        }
        for number in range(1_440)
    ]
    assert [json.loads(entry.body or b"") for entry in cut(json.dumps(values).encode())] == values


@given(OBJECTS, INDENTS, BEGINNINGS)
def test_a_single_object_is_an_entry(value: dict[str, Any], indent: int | None, beginning: bytes) -> None:
    """However many lines it takes."""
    [found] = cut(beginning + json.dumps(value, indent=indent).encode() + b"\n")
    assert (found.number, found.start, json.loads(found.body or b"")) == (1, len(beginning), value)


@given(st.lists(OBJECTS, max_size=5), st.sampled_from([b"\n", b"\r\n", b" \n\n"]), st.booleans(), BEGINNINGS)
def test_lines_of_objects_are_items_too(
    values: list[Any], between: bytes, last: bool, beginning: bytes
) -> None:
    """JSON Lines under another name: blank lines do not count."""
    text = beginning + between.join(json.dumps(value).encode() for value in values) + between * last
    found = cut(text)
    assert [json.loads(entry.body or b"") for entry in found] == values
    assert [entry.number for entry in found] == list(range(1, len(values) + 1))
    assert [text[entry.start : entry.end] for entry in found] == [entry.body for entry in found]


def test_a_line_that_is_wrong_is_no_more_than_that_line() -> None:
    """The first shows that the text is lines."""
    found = [entry.body for entry in cut(b'{"a":"\\ud83e"}\n{"a":\n7\n{"b":1}')]
    assert found == [b'{"a":"\\ud83e"}', b'{"a":', b"7", b'{"b":1}']


def test_half_a_character_breaks_no_list() -> None:
    """It is mended, and the other items stay as they were written."""
    text = rb'[ {"a":"\ud83e"}, {"a" : "\\ud83e \ud83e\udd95"} ]'
    assert [entry.body for entry in cut(text)] == [rb'{"a":"\ufffd"}', rb'{"a" : "\\ud83e \ud83e\udd95"}']


@given(st.binary(max_size=60) | st.text('[]{},"\\ a\n', max_size=40).map(str.encode))
@example(b"[" * 100_000)
@example(b'[{"a":"\xff"}]')
def test_any_bytes_are_entries_or_broken(text: bytes) -> None:
    """Nothing but Broken is raised, and that before the first entry."""
    found: list[Entry] = []
    try:
        found += jsontext.entries(bytearray(text), MAX)
    except Broken:
        assert found == []


@given(st.lists(st.integers(0, 3), max_size=6))
def test_an_item_over_the_limit_is_passed_over_with_its_size(which: list[int]) -> None:
    """And its neighbours are whole."""
    values = [{"text": "x" * (MAX * each)} for each in which]
    found = cut(json.dumps(values).encode(), MAX)
    assert [(entry.size, entry.body is None) for entry in found] == [
        (len(json.dumps(value)), len(json.dumps(value)) > MAX) for value in values
    ]


@pytest.mark.parametrize(("begun", "remedy"), [(BOM + b" [{}", "jq -c '.[]'"), (b"{}", "jq -c .")])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_text_over_the_limit_is_refused_with_what_makes_lines_of_it(
    monkeypatch: pytest.MonkeyPatch, begun: bytes, remedy: str, zipped: bool
) -> None:
    """It is not read to its end; jq does not read gzip."""
    monkeypatch.setattr(jsontext, "MAX_BYTES", 2**20)
    with reader(begun + bytes(2**22), zipped=zipped) as opened:
        with pytest.raises(Broken, match=r"larger than 1 MB") as caught:
            list(items(opened, MAX))
        command = f"zcat FILE | {remedy}" if zipped else f"{remedy} FILE"
        assert str(caught.value).endswith(f": {command} | friendship-supervisor publish -")
        assert os.lseek(opened.fileno(), 0, os.SEEK_CUR) < 2**21


@pytest.mark.parametrize("zipped", [False, True])
def test_a_list_of_more_items_than_memory_holds_is_refused_before_it_is_cut(
    monkeypatch: pytest.MonkeyPatch, zipped: bool
) -> None:
    """Each item takes many times the two bytes that it may have."""
    monkeypatch.setattr(jsontext, "MAX_COMMAS", 10)
    with reader(b"[" + b"0," * 10 + b"0]", zipped=zipped) as opened:
        assert len(list(items(opened, MAX))) == 11
    with reader(b"[" + b"0," * 11 + b"0]", zipped=zipped) as opened:
        with pytest.raises(Broken, match=r"more than 10 commas") as caught:
            list(items(opened, MAX))
        command = "zcat FILE | jq -c '.[]'" if zipped else "jq -c '.[]' FILE"
        assert str(caught.value).endswith(f": {command} | friendship-supervisor publish -")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b'[{"a":1},{"b', "Input data was truncated"),
        (b'[{"a":1},', "Input data was truncated"),
        (b'[{"a":1}', "Input data was truncated"),
        (b'[{"a":1},]', "byte 9"),
        (b'[{"a":x}]', "byte 6"),
        (b"[" * 100_000, "nested too deeply"),
        (b'{"a":1', "Input data was truncated"),
    ],
)
def test_a_text_that_is_cut_off_or_broken_is_not_begun_with(text: bytes, why: str) -> None:
    """Whole, it is published from its start. jq prints nothing of it, so nobody is sent to it."""
    with pytest.raises(Broken, match=r"cut off or broken .*: nothing of it was sent$") as caught:
        cut(text)
    assert why in str(caught.value)
    assert "jq" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "remedy"),
    [
        (b'[{"a":1}] [{"a":1}]', "jq -c '.[]'"),
        (b'{\n"a":1\n}\n{\n"a":2\n}', "jq -c ."),
    ],
)
@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
def test_texts_in_a_row_are_made_lines_by_jq(text: bytes, remedy: str, zipped: bool) -> None:
    """What follows the first text may be more of them: of those jq makes lines."""
    command = f"zcat FILE | {remedy}" if zipped else f"{remedy} FILE"
    with (
        reader(text, zipped=zipped) as opened,
        pytest.raises(Broken, match=r"nothing of it was sent; if .* in a row") as caught,
    ):
        list(items(opened, MAX))
    assert f"{command} | friendship-supervisor publish -" in str(caught.value)
    made = subprocess.run([*shlex.split(remedy)], input=text, capture_output=True, check=True)
    with reader(made.stdout) as opened:
        assert len(list(lines(opened, MAX))) == 2


LINES = st.lists(
    st.binary(max_size=30).map(lambda line: line.replace(b"\n", b"").replace(b"\r", b"")), max_size=8
)


def reader(text: bytes, *, zipped: bool = False) -> Reader:
    return Reader(io.FileIO(_file(gzip.compress(text) if zipped else text)))


def _file(text: bytes) -> int:
    """Give a descriptor of a file without a name that holds this."""
    fd = os.memfd_create("file")
    os.write(fd, text)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd


@given(LINES, st.sampled_from([b"\n", b"\r\n"]), st.booleans(), st.booleans())
def test_lines_are_what_an_editor_shows(found: list[bytes], end: bytes, last: bool, zipped: bool) -> None:
    """Blank ones count, and are left out; the last may lack its end."""
    text = end.join(found) + (end if last and found else b"")
    with reader(text, zipped=zipped) as opened:
        entries = list(lines(opened, 20))
    bare_lines = [line.strip() for line in found]
    bare_lines[:1] = [line.removeprefix(BOM) for line in bare_lines[:1]]
    expected = [(number, bare) for number, bare in enumerate(bare_lines, 1) if bare]
    assert [entry.number for entry in entries] == [number for number, _ in expected]
    for entry, (number, bare) in zip(entries, expected, strict=True):
        if entry.body is None:
            assert len(found[number - 1]) > 20
        else:
            assert entry.body == bare
            assert entry.size == len(bare) <= 20


@given(LINES, st.booleans(), st.data())
def test_lines_go_on_from_any_of_them(found: list[bytes], zipped: bool, data: st.DataObject) -> None:
    """As if all before had just been read."""
    text = b"\n".join(found)
    with reader(text, zipped=zipped) as opened:
        whole = list(lines(opened, 20))
    if whole:
        at = data.draw(st.integers(0, len(whole) - 1))
        with reader(text, zipped=zipped) as opened:
            assert list(lines(opened, 20, whole[at].start, whole[at].number)) == whole[at:]


@given(st.lists(OBJECTS, min_size=1, max_size=6), INDENTS, st.booleans(), st.data())
def test_items_go_on_from_any_of_them(
    values: list[Any], indent: int | None, zipped: bool, data: st.DataObject
) -> None:
    """With their numbers."""
    text = json.dumps(values, indent=indent).encode()
    with reader(text, zipped=zipped) as opened:
        whole = list(items(opened, MAX))
    at = data.draw(st.integers(0, len(whole) - 1))
    with reader(text, zipped=zipped) as opened:
        assert list(items(opened, MAX, whole[at].start)) == whole[at:]


@given(st.sets(st.integers(1, 60)))
def test_spans_name_every_number(numbers: set[int]) -> None:
    """And no other."""
    kept = Spans(len(numbers))
    for number in sorted(numbers):
        kept.add(number)
    told = [span.partition("-") for span in str(kept).split(", ") if span]
    named = [number for first, _, last in told for number in range(int(first), int(last or first) + 1)]
    assert named == sorted(numbers)

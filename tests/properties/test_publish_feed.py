"""Files cut into entries: the same ones however the bytes arrive, from the beginning or from within."""

import gzip
import io
import json
import os
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from supervisor.cli.publishing.entries import BOM, Broken, Entry, spans
from supervisor.cli.publishing.feed import Reader, items, lines
from supervisor.cli.publishing.splitter import SLACK_BYTES, Splitter

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


def chunked(text: bytes, sizes: list[int]) -> list[bytes]:
    chunks: list[bytes] = []
    at = 0
    while at < len(text):
        size = sizes[len(chunks) % len(sizes)] if sizes else len(text)
        chunks.append(text[at : at + size])
        at += size
    return chunks


def cut(text: bytes, sizes: list[int], max_bytes: int = 10**6) -> list[Entry]:
    splitter = Splitter(max_bytes)
    found = [entry for chunk in chunked(text, sizes) for entry in splitter.feed(chunk)]
    return found + list(splitter.finish())


SIZES = st.lists(st.integers(1, 20), max_size=6)


@given(st.lists(VALUES, max_size=6), INDENTS, st.booleans(), SIZES)
def test_a_list_is_cut_into_its_elements(
    values: list[Any], indent: int | None, ascii_only: bool, sizes: list[int]
) -> None:
    """Each is JSON by itself and what was written, wherever the chunks end."""
    text = b" \n" + json.dumps(values, indent=indent, ensure_ascii=ascii_only).encode() + b"\r\n"
    found = cut(text, sizes)
    assert [json.loads(entry.body or b"") for entry in found] == values
    assert [entry.number for entry in found] == list(range(1, len(values) + 1))
    assert [text[entry.start :][: entry.size] for entry in found] == [entry.body for entry in found]
    assert all(entry.start + entry.size < entry.end <= len(text) for entry in found)


@given(st.lists(OBJECTS, max_size=5), INDENTS, SIZES, st.sampled_from([b"", b"\n", b" "]))
def test_objects_in_a_row_are_items_too(
    values: list[Any], indent: int | None, sizes: list[int], between: bytes
) -> None:
    """One object alone, or several: JSON Lines under another name."""
    found = cut(between.join(json.dumps(value, indent=indent).encode() for value in values), sizes)
    assert [json.loads(entry.body or b"") for entry in found] == values


@given(st.binary(max_size=60) | st.text('[]{},"\\ a', max_size=40).map(str.encode), SIZES)
def test_any_bytes_are_cut_the_same_way_in_any_chunks(text: bytes, sizes: list[int]) -> None:
    """Nothing but Broken is raised, and nothing that is no blank gets lost between the items."""

    def outcome(sizes: list[int]) -> tuple[list[Entry], str]:
        splitter, broken = Splitter(MAX), ""
        found: list[Entry] = []
        for chunk in chunked(text, sizes):
            found += splitter.feed(chunk)
        try:
            found += splitter.finish()
        except Broken as cause:
            broken = str(cause)
        return found, broken

    assert outcome(sizes) == outcome([])
    assert outcome([1]) == outcome([])


@given(st.lists(st.integers(0, 3), max_size=6), SIZES)
def test_an_item_over_the_limit_is_passed_over_with_its_size(which: list[int], sizes: list[int]) -> None:
    """And its neighbours are whole."""
    values = [{"text": "x" * (MAX * each)} for each in which]
    found = cut(json.dumps(values).encode(), sizes, MAX)
    assert [(entry.size, entry.body is None) for entry in found] == [
        (len(json.dumps(value)), len(json.dumps(value)) > MAX) for value in values
    ]


def test_what_is_passed_over_is_not_held() -> None:
    """A string of 50 MB in a list costs the limit, not its size."""
    splitter = Splitter(MAX)
    found = list(splitter.feed(b'[{"text":"'))
    for _ in range(50):
        found += splitter.feed(b"x" * 2**20)
        assert len(splitter._held) <= MAX + SLACK_BYTES
    found += splitter.feed(b'"},{}]')
    assert [(entry.number, entry.size, entry.body) for entry in found] == [
        (1, 50 * 2**20 + len('{"text":""}'), None),
        (2, 2, b"{}"),
    ]
    assert list(splitter.finish()) == []


@pytest.mark.parametrize("text", [b'[{"a":1},{"b', b'[{"a":1},', b'[{"a":1}', b'[{"a":1},{"b":"}]'])
def test_a_list_that_is_cut_off_gives_what_is_whole_and_says_so(text: bytes) -> None:
    """The rest is not taken for an item that is wrong."""
    splitter = Splitter(MAX)
    found = list(splitter.feed(text))
    with pytest.raises(Broken, match="ends in the middle, after item 1"):
        found += splitter.finish()
    assert len(found) <= 1


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
    told = [span.partition("-") for span in spans(sorted(numbers), len(numbers)).split(", ") if span]
    named = [number for first, _, last in told for number in range(int(first), int(last or first) + 1)]
    assert named == sorted(numbers)

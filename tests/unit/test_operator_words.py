"""What the operator's commands read and print: ages, tables, sizes."""

import json
from datetime import UTC, datetime

import click
import pytest

from consumer.naming import Named
from supervisor.cli.age import age_s
from supervisor.cli.forget import Whose, whose_is
from supervisor.cli.table import lines, pairs, shown, size
from supervisor.cli.visit import json_line


@pytest.mark.parametrize(
    ("text", "seconds"), [("90d", 7_776_000), ("12h", 43_200), ("1.5m", 90), (" 45S ", 45), ("2w", 1_209_600)]
)
def test_an_age_is_a_number_with_its_unit(text: str, seconds: float) -> None:
    """In seconds."""
    assert age_s(text) == seconds


@pytest.mark.parametrize(
    "text", ["", "90", "d", "-1d", "1y", "1e3s", "nan", "infd", "101w2d", "99999d", "٣d"]
)
def test_what_is_no_age_is_refused(text: str) -> None:
    """A prune of everything must never be a slip."""
    with pytest.raises(click.BadParameter):
        age_s(text)


def test_a_table_is_as_wide_as_its_cells_and_obeys_nobody() -> None:
    """What a stranger wrote into an id moves no cursor and hides no text."""
    rows = [("a\x1b[2J", None), ("long\u202ename", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))]
    assert list(lines(("ID", "WHEN"), rows)) == [
        "ID              WHEN",
        "a\\u001b[2J      -",
        "long\\u202ename  2026-01-02 03:04:05Z",
    ]
    assert list(pairs([("a", 1), ("long", {"x": "\n"})])) == ["a     1", "long  {'x': '\\n'}"]
    assert list(lines(("ID",), [])) == ["ID"]
    assert shown("ä \u3042") == "ä \u3042"


def test_a_line_of_json_is_the_object_and_obeys_nobody(capsys: pytest.CaptureFixture[str]) -> None:
    """JSON itself lets through what begins an escape sequence in one letter, and what turns the direction."""
    odd = {"a\x9b31m": "\x1b[2J\x7f\x85\u2028\u202e é 😀 \U000e0001"}
    json_line(odd)
    line = capsys.readouterr().out
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert "é 😀" in line
    assert json.loads(line) == odd


def test_sizes_are_for_people() -> None:
    """MB are 2^20 bytes."""
    assert [size(count) for count in (0, 1023, 1024, 1536, 2**20, 60 * 2**20)] == [
        "0 B", "1023 B", "1.0 KB", "1.5 KB", "1.0 MB", "60.0 MB",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("named", "message_id", "whose"),
    [
        (Named(wanted=True), None, Whose.THEIRS),
        (Named(wanted=True, another=True), None, Whose.SHARED),
        (Named(wanted=True, another=True), "unknown", Whose.SHARED),
        (Named(wanted=True, another=True), "of lan", Whose.THEIRS),
        (Named(another=True), "of lan", Whose.OTHERS),
        (Named(), "of lan", Whose.THEIRS),
        (Named(), "unknown", Whose.OTHERS),
        (Named(), None, Whose.OTHERS),
    ],
)
def test_a_body_is_theirs_by_its_user_or_else_by_its_id(
    named: Named, message_id: str | None, whose: Whose
) -> None:
    """Another user's body under a conversation of theirs is the other's; where both are named the id decides."""
    assert whose_is(named, message_id, {"of lan"}.__contains__) is whose

"""One event, one line."""

import json
import logging
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, get_args

import pytest

from supervisor import events, logs

Read = Callable[[], str]


@pytest.fixture
def output() -> Iterator[tuple[Any, Read]]:
    """Give a stream for the log, and what was written to it; the root logger's handlers come back."""
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    read_fd, write_fd = os.pipe()
    os.set_blocking(read_fd, False)
    with os.fdopen(write_fd, "w") as stream:
        yield stream, lambda: os.read(read_fd, 65536).decode()
    os.close(read_fd)
    root.handlers[:] = before
    root.setLevel(level)


def test_json_has_time_level_event_and_then_the_fields(output: tuple[Any, Read]) -> None:
    """In this order, in UTC, on one line whatever the text holds."""
    stream, read = output
    logs.configure("json", "info", stream)
    logging.getLogger("friendship.x").info("child_ready", extra={"slot": 3, "note": 'a\n"b" é', "none": None})
    line = read()
    assert line.count("\n") == 1
    event = json.loads(line)
    assert list(event) == ["ts", "level", "event", "slot", "note", "none"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", event.pop("ts"))
    assert event == {"level": "info", "event": "child_ready", "slot": 3, "note": 'a\n"b" é', "none": None}


def test_text_is_for_people_and_still_one_line(output: tuple[Any, Read]) -> None:
    """Plain values plain, others quoted, line breaks escaped."""
    stream, read = output
    logs.configure("text", "warning", stream)
    log = logging.getLogger("friendship.x")
    log.info("too quiet")
    log.warning("a\nb", extra={"slot": 3, "reason": "two words", "empty": "", "none": None, "bad": "x\ny"})
    line = read()
    assert re.fullmatch(
        r'\d\d:\d\d:\d\d warning a\\nb slot=3 reason="two words" empty="" none=- bad="x\\ny"\n', line
    )


def test_an_exception_tells_its_place_and_not_its_words(output: tuple[Any, Read]) -> None:
    """Its text and its locals may hold a password or what a child said."""
    stream, read = output
    logs.configure("json", "info", stream)

    def fails() -> None:
        raise ValueError("postgresql://user:secret@host")

    try:
        fails()
    except ValueError:
        logging.getLogger("friendship.x").exception("broken")
    line = read()
    assert "secret" not in line
    event = json.loads(line)
    assert event["exception"] == "ValueError"
    assert "fails" in event["at"]


def test_a_log_that_nobody_reads_ends_nobody(output: tuple[Any, Read]) -> None:
    """The reader of a pipe may go away before its writer."""
    logs.configure("json", "info", output[0])
    read_fd, write_fd = os.pipe()
    os.close(read_fd)
    with os.fdopen(write_fd, "w") as gone:
        handler = logs.LineHandler(gone)
        handler.setFormatter(logs.JsonFormatter())
        handler.emit(logging.makeLogRecord({"msg": "hello"}))


@pytest.mark.parametrize("kind", get_args(events.Event))
def test_every_event_can_be_logged(kind: Any) -> None:
    """No field has a name that the logging module keeps for itself."""
    names = {field.name for field in fields(kind)}
    assert not names & logs.STANDARD
    logging.getLogger("friendship.test").makeRecord(
        "x", kind.level, "f", 1, logs.name(object.__new__(kind)), (), None, extra=dict.fromkeys(names)
    )


def test_an_event_is_spelled_in_snake_case() -> None:
    """ChildReady is child_ready."""
    assert logs.name(events.ChildReady(0, 1, 2)) == "child_ready"

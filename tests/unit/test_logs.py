"""One event, one line."""

import json
import logging
import os
import re
import select
import threading
from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, Literal, get_args

import pytest

from supervisor import events, logs
from supervisor.events import Cause

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


def test_text_names_what_is_inside_another_value(output: tuple[Any, Read]) -> None:
    """With dots, as supervisor_status has its breaker; JSON keeps the object."""
    stream, read = output
    extra = {"ready": True, "breaker": {"state": "open", "told": {"a": None}}, "empty": {}, "pid": 7}
    logs.configure("text", "info", stream)
    logging.getLogger("friendship.x").info("supervisor_status", extra=extra)
    assert (
        read()
        .split(" ", 2)[2]
        .strip()
        .endswith("supervisor_status ready=True breaker.state=open breaker.told.a=- pid=7")
    )
    logs.configure("json", "info", stream)
    logging.getLogger("friendship.x").info("supervisor_status", extra=extra)
    assert json.loads(read())["breaker"] == extra["breaker"]


def test_a_process_signs_its_lines(output: tuple[Any, Read]) -> None:
    """So that each says which child it is of, whatever code wrote it; what a line says itself stands."""
    stream, read = output
    logs.configure("json", "info", stream)
    log = logging.getLogger("friendship.x")
    try:
        logs.sign(slot=3, pid=77)
        log.info("message_failed", extra={"conversation_id": "c"})
        log.info("account_refused", extra={"pid": 5})
    finally:
        logs.sign()
    log.info("child_ready", extra={"slot": 1})
    failed, refused, ready = (json.loads(line) for line in read().splitlines())
    assert list(failed)[2:] == ["event", "slot", "pid", "conversation_id"]
    assert (failed["slot"], failed["pid"]) == (3, 77)
    assert (refused["slot"], refused["pid"]) == (3, 5)
    assert "pid" not in ready


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_what_a_terminal_or_a_reader_of_lines_might_obey_is_spelled_out(
    output: tuple[Any, Read], log_format: Literal["json", "text"]
) -> None:
    """Every kind of line break, escape sequences of one and of two bytes, marks that turn the direction of writing."""
    stream, read = output
    logs.configure(log_format, "info", stream)
    odd = "a\n\r\x1b[2J\x7f\x85\x9b31m\u2028\u2029\u202e\ufeff\ud800 é 😀"
    logging.getLogger("friendship.x").info("event %s", odd, extra={"conversation_id": odd})
    line = read()
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert line.count("\\u009b31m") == 2
    assert line.count("é 😀") == 2
    if log_format == "json":
        assert json.loads(line)["conversation_id"] == odd


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


def test_lines_that_nobody_reads_are_counted_and_told_once(output: tuple[Any, Read]) -> None:
    """Dropped while there is no room; then one line says how many, before the next."""
    stream, read = output
    logs.configure("json", "info", stream)
    log = logging.getLogger("friendship.x")

    def write_past_the_end() -> None:
        for number in range(2000):
            log.info("chatter", extra={"number": number, "padding": "x" * 100})

    thread = threading.Thread(target=write_past_the_end, daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "it waits for the reader"
    lines = 0
    while chunk := _chunk(read):
        lines += chunk.count("\n")
    log.info("first")
    log.info("second")
    told, first, second = map(json.loads, read().splitlines())
    assert (told["event"], told["level"], told["count"]) == ("log_lines_dropped", "warning", 2000 - lines)
    assert (first["event"], second["event"]) == ("first", "second")


def _chunk(read: Read) -> str:
    try:
        return read()
    except BlockingIOError:
        return ""


def test_a_forked_process_tells_only_of_its_own_lost_lines(output: tuple[Any, Read]) -> None:
    """The parent's are the parent's to tell."""
    stream, read = output
    handler = logs.LineHandler(stream)
    handler.setFormatter(logs.TextFormatter())
    handler._dropped = 7
    pid = os.fork()
    if pid == 0:
        handler.emit(logging.makeLogRecord({"msg": "from the child"}))
        os._exit(0)
    os.waitpid(pid, 0)
    assert read().splitlines()[0].endswith("from the child")
    handler.flush()
    assert "log_lines_dropped" in read()
    handler.flush()
    assert _chunk(read) == ""
    handler.close()


@pytest.mark.parametrize("form", ["json", "text"])
@pytest.mark.parametrize(
    "extra",
    [
        {"slot": 3, "long": "\U0001f600" * 9000, "also": "\x00" * 3000},
        {"slot": 3, "many": ["word"] * 5000},
        {"slot": 3, **{f"field_{number}": number for number in range(900)}},
    ],
)
def test_a_line_is_cut_to_what_a_pipe_takes_whole(
    output: tuple[Any, Read], form: Literal["json", "text"], extra: dict[str, Any]
) -> None:
    """At most PIPE_BUF bytes, the long values shortened first; still one line, still JSON."""
    stream, read = output
    logs.configure(form, "info", stream)
    logging.getLogger("friendship.x").info("long_line", extra=extra)
    line = read()
    assert line.count("\n") == 1
    assert len(line.encode()) <= select.PIPE_BUF
    assert "long_line" in line
    if len(extra) < 9:
        assert len(line.encode()) > select.PIPE_BUF // 4, "not cut more than needed by far"
        assert json.loads(line)["slot"] == 3 if form == "json" else " slot=3 " in line


def test_a_field_does_not_pass_for_the_time_the_level_or_the_event(output: tuple[Any, Read]) -> None:
    """It keeps its value under a name of its own."""
    stream, read = output
    logs.configure("json", "info", stream)
    extra = {"ts": "never", "level": "quiet", "event": "another", "slot": 3}
    logging.getLogger("friendship.x").warning("child_ready", extra=extra)
    event = json.loads(read())
    assert (event["level"], event["event"], event["slot"]) == ("warning", "child_ready", 3)
    assert (event["ts_"], event["level_"], event["event_"]) == ("never", "quiet", "another")
    assert event["ts"].endswith("Z")


@pytest.mark.parametrize("kind", get_args(events.Event))
def test_every_event_can_be_logged(kind: Any) -> None:
    """No field has a name that the logging module keeps for itself."""
    names = {field.name for field in fields(kind)}
    assert not names & logs.STANDARD
    event = kind(**dict.fromkeys(names))
    logging.getLogger("friendship.test").makeRecord(
        "x", event.level, "f", 1, logs.name(event), (), None, extra=dict.fromkeys(names)
    )


@pytest.mark.parametrize("cause", list(Cause))
def test_an_end_that_nobody_asked_for_is_a_warning(cause: Cause) -> None:
    """A crash is told by child_exited alone: whoever reads warnings only must find it."""
    asked_for = cause in {"rss_soft", "max_messages", "reload", "fewer", "shutdown"}
    ended = events.ChildExited(0, 1, cause, 0, None, None, 1.0, 0, None)
    assert ended.level == (logging.INFO if asked_for else logging.WARNING)


def test_an_event_is_spelled_in_snake_case() -> None:
    """ChildReady is child_ready."""
    assert logs.name(events.ChildReady(0, 1, 2)) == "child_ready"

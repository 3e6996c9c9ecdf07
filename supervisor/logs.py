"""One event, one line, one write: JSON for machines, or text for people."""

import json
import logging
import os
import sys
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}


def configure(format: Literal["text", "json"], level: str, stream: TextIO | None = None) -> None:  # noqa: A002
    """Send every logger's events to `stream`, standard output by default. level: a name such as "info"."""
    handler = LineHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class LineHandler(logging.Handler):
    """Writes each line with one system call, so that lines of parent and children do not mix in a pipe."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._fd = stream.fileno()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = self.format(record) + "\n"
            os.write(self._fd, line.encode("utf-8", "replace"))
        except OSError:
            # Nobody reads, or the disk is full. That must not end a supervisor, and there is nowhere to say it.
            return
        except Exception:  # noqa: BLE001 - logging's own contract: never raise into the caller
            self.handleError(record)


class JsonFormatter(logging.Formatter):
    """One JSON object: ts (RFC 3339, UTC), level, event, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        ts = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        line = {"ts": ts, "level": record.levelname.lower(), "event": record.getMessage(), **_fields(record)}
        return json.dumps(line, ensure_ascii=False, separators=(",", ":"), default=str)


class TextFormatter(logging.Formatter):
    """`12:34:56 info event key=value ...`, in local time; values with spaces are quoted, line breaks escaped."""

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        words = [clock, f"{record.levelname.lower():<7}", _escape(record.getMessage())]
        words += [f"{name}={_value(value)}" for name, value in _fields(record).items()]
        return " ".join(words)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = {name: value for name, value in vars(record).items() if name not in STANDARD}
    if record.exc_info and record.exc_info[0] is not None:
        # The places only: an exception's text, or a frame's locals, may hold a password or a child's words.
        fields["exception"] = record.exc_info[0].__name__
        fields["at"] = places(record.exc_info[2])
    return fields


def places(trace: TracebackType | None) -> str:
    """Spell where an exception went through: file, line and function, outermost first."""
    places = []
    while trace is not None:
        code = trace.tb_frame.f_code
        places.append(f"{os.path.basename(code.co_filename)}:{trace.tb_lineno} {code.co_name}")  # noqa: PTH119
        trace = trace.tb_next
    return " > ".join(places)


def _value(value: Any) -> str:
    if value is None:
        return "-"
    text = str(value)
    if not text or any(letter in text for letter in ' "=') or not text.isprintable():
        return json.dumps(text, ensure_ascii=False)
    return text


def _escape(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")


def name(event: object) -> str:
    """Spell an event's class as the log does: ChildReady is child_ready."""
    return "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in type(event).__name__
    ).lstrip("_")

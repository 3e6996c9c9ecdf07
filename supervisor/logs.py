"""One event, one line, one write: JSON for machines, or text for people. No line waits for its reader."""

import json
import logging
import os
import sys
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Literal, TextIO

from supervisor.outlet import MOST_BYTES, Outlet

STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime"}
OURS = frozenset({"ts", "level", "event"})
CUT = "…"
SHORT = 32
"""Characters: a value that is no longer is not what makes a line too long."""

_signature: dict[str, Any] = {}


def configure(format: Literal["text", "json"], level: str, stream: TextIO | None = None) -> None:  # noqa: A002
    """Send every logger's events to `stream`, standard output by default. level: a name such as "info"."""
    handler = LineHandler(stream or sys.stdout)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    for old in root.handlers:
        if isinstance(old, LineHandler):
            old.close()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


def sign(**fields: Any) -> None:
    """Have every line of this process say whose it is, such as slot and pid; a line's own fields come before these."""
    _signature.clear()
    _signature.update(fields)


class LineHandler(logging.Handler):
    """Writes each line with one system call, so that lines of parent and children do not mix in a pipe.

    A line for which there is no room is dropped. The next that finds room is preceded by the count of those.
    """

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._outlet = Outlet(stream.fileno())
        self._dropped = 0
        self._dropped_by = os.getpid()

    def emit(self, record: logging.LogRecord) -> None:
        try:
            line = _encoded(self.format(record))
        except Exception:  # noqa: BLE001 - logging's own contract: never raise into the caller
            self.handleError(record)
            return
        if not self._tell_of_dropped() or not self._outlet.write(line):
            self._dropped += 1

    def flush(self) -> None:
        """Tell of dropped lines while there is still somebody to tell."""
        self._tell_of_dropped()

    def close(self) -> None:
        self._outlet.close()
        super().close()

    def _tell_of_dropped(self) -> bool:
        """Say whether there is room for the line that follows, as far as that is known."""
        if self._dropped_by != os.getpid():
            # Forked since: what the parent dropped is the parent's to tell.
            self._dropped, self._dropped_by = 0, os.getpid()
        if self._dropped == 0:
            return True
        told = {"msg": "log_lines_dropped", "levelno": logging.WARNING, "levelname": "WARNING"}
        record = logging.makeLogRecord({**told, "pid": os.getpid(), "count": self._dropped})
        if self._outlet.write(_encoded(self.format(record))):
            self._dropped = 0
        return self._dropped == 0


class JsonFormatter(logging.Formatter):
    """One JSON object: ts (RFC 3339, UTC), level, event, then the event's fields."""

    def format(self, record: logging.LogRecord) -> str:
        ts = (
            datetime.fromtimestamp(record.created, UTC)
            .isoformat(timespec="milliseconds")
            .replace("+00:00", "Z")
        )
        line = {"ts": ts, "level": record.levelname.lower(), "event": record.getMessage(), **_fields(record)}
        return _fitted(line, _json)


class TextFormatter(logging.Formatter):
    """`12:34:56 info event key=value ...`, in local time; values with spaces are quoted, line breaks escaped.

    What is inside another value has a dotted name: breaker.state=closed.
    """

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        start = f"{clock} {record.levelname.lower():<7}"

        def spell(line: dict[str, Any]) -> str:
            words = [f"{name}={_value(value)}" for name, value in line.items() if name != "event"]
            return " ".join([start, _escape(line["event"]), *words])

        return _fitted({"event": record.getMessage(), **_flat(_fields(record))}, spell)


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields = _signature | {
        f"{name}_" if name in OURS else name: value
        for name, value in vars(record).items()
        if name not in STANDARD
    }
    if record.exc_info and record.exc_info[0] is not None:
        # The places only: an exception's text, or a frame's locals, may hold a password or a child's words.
        fields["exception"] = record.exc_info[0].__name__
        fields["at"] = places(record.exc_info[2])
    return fields


def _flat(fields: Mapping[str, Any], within: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in fields.items():
        flat |= _flat(value, f"{within}{name}.") if isinstance(value, Mapping) else {within + name: value}
    return flat


def _encoded(line: str) -> bytes:
    return f"{line}\n".encode("utf-8", "replace")


def _fitted(line: dict[str, Any], spell: Callable[[dict[str, Any]], str]) -> str:
    """Spell a line in at most MOST_BYTES, its end included: while it is longer, its longest value is halved."""
    spelled = spell(line)
    while len(_encoded(spelled)) > MOST_BYTES:
        name = max(line, key=lambda name: len(str(line[name])))
        text = str(line[name]).removesuffix(CUT)
        if len(text) > SHORT:
            line = {**line, name: text[: len(text) // 2] + CUT}
        else:
            # Not one long value, but very many.
            line = {name: line[name] for name in line if name in OURS}
        spelled = spell(line)
    return spelled


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
        return _json(text)
    return text


def _escape(text: str) -> str:
    return printable(text.replace("\\", "\\\\"))


def _json(value: Any) -> str:
    # JSON itself lets through what ends a line or moves the cursor beyond ASCII, such as U+0085, U+009B and U+202E
    return printable(json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str))


def printable(text: str) -> str:
    """Escape what is not printable, as JSON does."""
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else json.dumps(letter)[1:-1] for letter in text)


def name(event: object) -> str:
    """Spell an event's class as the log does: ChildReady is child_ready."""
    return "".join(
        f"_{letter.lower()}" if letter.isupper() else letter for letter in type(event).__name__
    ).lstrip("_")

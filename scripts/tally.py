"""Count what the parts of a test run came to, and name what failed once more: it scrolls away under the other parts.

The exit status is 0 only when all parts' were, and each has a report.
"""

import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree as ET

ORDER = ("failed", "error", "passed", "skipped")
OUTCOMES = {"failure": "failed", "error": "error", "skipped": "skipped"}
REASON_CHARS_MAX = 120


@dataclass(slots=True)
class Part:
    """One run of pytest. bad: a line for each test that failed. Without a report it died, or was never begun."""

    status: int
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    has_report: bool = True


def read(status: int, report: str | None) -> Part:
    """Read a JUnit report, None for one that was not written."""
    part = Part(status)
    try:
        cases = [] if report is None else list(ET.fromstring(report).iter("testcase"))
    except ET.ParseError:
        report = None
        cases = []
    part.has_report = report is not None
    for case in cases:
        marks = [mark for mark in case if mark.tag in OUTCOMES]
        part.counts.update([OUTCOMES[mark.tag] for mark in marks] or ["passed"])
        for mark in marks:
            if mark.tag != "skipped":
                name = _name(case.get("file"), case.get("classname", ""), case.get("name", ""))
                reason = (mark.get("message") or "").partition("\n")[0][:REASON_CHARS_MAX]
                part.bad.append(f"{OUTCOMES[mark.tag].upper()} {name} - {reason}")
    return part


def _name(file: str | None, classname: str, name: str) -> str:
    """Give the name by which pytest runs that test again. classname: the module's dotted name, then its classes."""
    if file is None:
        return f"{classname}::{name}"
    module = file.removesuffix(".py").replace("/", ".")
    classes = classname.removeprefix(module).split(".")[1:]
    return "::".join([file, *classes, name])


def told(parts: Sequence[Part]) -> Iterable[str]:
    """Give the lines that end a run: what failed in any part, and the counts of all together."""
    for part in parts:
        yield from part.bad
    counts = sum((part.counts for part in parts), Counter[str]())
    line = ", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word]) or "no test was run"
    unreported = sum(not part.has_report for part in parts)
    if unreported:
        line += f"; {unreported} of {len(parts)} parts ended without a report: "
        line += "what had failed there is not counted, and is an F or E in its output above"
    elif any(part.status for part in parts) and not (counts["failed"] or counts["error"]):
        line += f"; exit statuses {', '.join(str(part.status) for part in parts)}"
    yield f"all parts: {line}"


def verdict(parts: Sequence[Part]) -> int:
    """Give the exit status: the first part's that is not 0."""
    return next((part.status for part in parts if part.status), 0) or int(
        not all(part.has_report for part in parts)
    )


def main(words: Sequence[str]) -> int:
    parts = []
    for status, path in zip(words[::2], map(Path, words[1::2]), strict=True):
        parts.append(read(int(status), path.read_text() if path.exists() else None))
    for line in told(parts):
        print(line)
    return verdict(parts)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

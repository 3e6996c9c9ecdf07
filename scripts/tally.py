"""Count what both halves of a test run came to, and name what failed once more: it scrolls away under the other half.

The exit status is 0 only when both halves' were, and each has a report.
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
class Half:
    """One run of pytest. bad: a line for each test that failed. Without a report it died, or was never begun."""

    status: int
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    has_report: bool = True


def read(status: int, report: str | None) -> Half:
    """Read a JUnit report, None for one that was not written."""
    half = Half(status)
    try:
        cases = [] if report is None else list(ET.fromstring(report).iter("testcase"))
    except ET.ParseError:
        report = None
        cases = []
    half.has_report = report is not None
    for case in cases:
        marks = [mark for mark in case if mark.tag in OUTCOMES]
        half.counts.update([OUTCOMES[mark.tag] for mark in marks] or ["passed"])
        for mark in marks:
            if mark.tag != "skipped":
                name = _name(case.get("file"), case.get("classname", ""), case.get("name", ""))
                reason = (mark.get("message") or "").partition("\n")[0][:REASON_CHARS_MAX]
                half.bad.append(f"{OUTCOMES[mark.tag].upper()} {name} - {reason}")
    return half


def _name(file: str | None, classname: str, name: str) -> str:
    """Give the name by which pytest runs that test again. classname: the module's dotted name, then its classes."""
    if file is None:
        return f"{classname}::{name}"
    module = file.removesuffix(".py").replace("/", ".")
    classes = classname.removeprefix(module).split(".")[1:]
    return "::".join([file, *classes, name])


def told(halves: Sequence[Half]) -> Iterable[str]:
    """Give the lines that end a run: what failed in any half, and the counts of all together."""
    for half in halves:
        yield from half.bad
    counts = sum((half.counts for half in halves), Counter[str]())
    line = ", ".join(f"{counts[word]} {word}" for word in ORDER if counts[word]) or "no test was run"
    unreported = sum(not half.has_report for half in halves)
    if unreported:
        line += f"; {unreported} of {len(halves)} halves ended without a report: "
        line += "what had failed there is not counted, and is an F or E in its output above"
    elif any(half.status for half in halves) and not (counts["failed"] or counts["error"]):
        line += f"; exit statuses {', '.join(str(half.status) for half in halves)}"
    yield f"both halves: {line}"


def verdict(halves: Sequence[Half]) -> int:
    """Give the exit status: the first half's that is not 0."""
    return next((half.status for half in halves if half.status), 0) or int(
        not all(half.has_report for half in halves)
    )


def main(words: Sequence[str]) -> int:
    halves = []
    for status, path in zip(words[::2], map(Path, words[1::2]), strict=True):
        halves.append(read(int(status), path.read_text() if path.exists() else None))
    for line in told(halves):
        print(line)
    return verdict(halves)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

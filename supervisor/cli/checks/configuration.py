"""The settings: all that is wrong with them, and what they warn of."""

import re
from collections.abc import Iterator

from supervisor.cli.checks.finding import Finding, fail, ok, warn
from supervisor.cli.settings import Examined

SUBJECT = "configuration"
WHERE = "docs/configuration.md says what it may be"
REMEDY = re.compile(r"(.*)[:;] (give .*)")


def look(examined: Examined) -> Iterator[Finding]:
    """Tell every problem; whoever starts with one gets exit code 2."""
    for problem in examined.problems:
        yield fail(SUBJECT, problem.text, problem.remedy or WHERE, setting=problem.name)
    if not examined.problems:
        yield ok(SUBJECT, f"{examined.settings.supervisor.children} children")
    for warning in examined.settings.warnings:
        told = REMEDY.fullmatch(warning)
        yield warn(SUBJECT, *told.groups()) if told else warn(SUBJECT, warning, WHERE)

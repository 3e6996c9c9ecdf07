"""The memory sums, as `run` does them before it starts."""

from collections.abc import Iterator

from consumer.settings import MIB
from supervisor.cli import arithmetic
from supervisor.cli.checks.finding import Finding, Verdict, fail, ok, warn
from supervisor.cli.settings import Settings

SUBJECT = "memory"
SETTINGS = ("children", "rss_mb", "rss_hard_mb", "max_message_mb", "allow_overcommit")


def look(given: Settings) -> Iterator[Finding]:
    """Do all sums of this configuration on this machine."""
    outlook = arithmetic.examine(given, arithmetic.here())
    for problem in outlook.problems:
        verdict = Verdict.WARN if given.allow_overcommit else Verdict.FAIL
        yield Finding(verdict, SUBJECT, problem.seen, problem.remedy)
    for warning in outlook.warnings:
        yield warn(SUBJECT, warning.seen, warning.remedy)
    if not outlook.problems:
        limits = given.supervisor
        each = f"{limits.rss_budget_bytes / MIB:g} MB each, {limits.rss_hard_bytes / MIB:g} MB hard"
        largest = f"messages of up to {given.consumer.max_message_bytes / MIB:g} MB can be received"
        yield ok(SUBJECT, f"{limits.children} children of {each}; {largest}")
    if outlook.balance.fits:
        yield ok(
            "memory sum",
            outlook.text,
            needed_bytes=outlook.balance.demand.total_bytes,
            limit_bytes=outlook.balance.limit_bytes,
        )


def skipped() -> Finding:
    """Say why nothing was added up."""
    return fail(SUBJECT, "not added up: a setting that it needs cannot be used", "correct the settings above")

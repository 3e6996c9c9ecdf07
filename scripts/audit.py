"""Ask whether a package in requirements.lock is known to be vulnerable, and never take silence for a no.

pip-audit asks a service on the network. It passes over packages of which the service knows nothing and says that all is
well; so its report is judged here.
"""

import json
import sys
from collections.abc import Sequence
from enum import IntEnum
from typing import Any

from scripts.lock import LOCK
from scripts.one_off import ToolMissing, complain, run, tool


class Verdict(IntEnum):
    """The exit status."""

    NOTHING_KNOWN = 0
    VULNERABLE = 1
    NOT_ASKED = 3


def judge(dependencies: Sequence[dict[str, Any]]) -> tuple[Verdict, list[str]]:
    """Judge pip-audit's report: the verdict, and a line for each package that is not proven well."""
    bad = [
        f"{each['name']} {each['version']}: {flaw['id']}, mended in {', '.join(flaw['fix_versions']) or 'no version'}"
        for each in dependencies
        for flaw in each.get("vulns", ())
    ]
    unknown = [f"not audited: {each['skip_reason']}" for each in dependencies if "skip_reason" in each]
    if bad:
        return Verdict.VULNERABLE, bad + unknown
    if unknown or not dependencies:
        return Verdict.NOT_ASKED, unknown
    return Verdict.NOTHING_KNOWN, [f"{len(dependencies)} packages, no known vulnerability"]


def main() -> int:
    try:
        with tool("pip-audit") as pip_audit:
            done = run(
                pip_audit, "--requirement", LOCK, "--require-hashes", "--disable-pip", "--format", "json"
            )
    except ToolMissing as missing:
        return not_asked(str(missing))
    try:
        verdict, lines = judge(json.loads(done.stdout)["dependencies"])
    except (ValueError, KeyError):
        # Its traceback's last line names what failed
        return not_asked((done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1])
    for line in lines:
        print(line)
    if verdict is Verdict.NOT_ASKED:
        return not_asked("the service does not know these packages, or is not the one that should answer")
    return verdict


def not_asked(reason: str) -> Verdict:
    complain("audit", f"NOT AUDITED: {reason}")
    complain("audit", "this says nothing about the packages; run it where the service can be reached")
    return Verdict.NOT_ASKED


if __name__ == "__main__":
    sys.exit(main())

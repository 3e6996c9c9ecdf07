"""The sessions in the database: what operators used to ask pg_stat_activity by hand. Never what they run."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from repository import activity
from repository.activity import Activity, Transaction, Waiting
from repository.connection import APPLICATION_NAME, Database
from supervisor.cli.checks.finding import Finding, fail, ok, warn

OURS_IDLE_S = 1.0
"""Our longest transaction takes milliseconds, and none is open during a call."""
OTHERS_IDLE_S = 60.0
LONG_S = 300.0
WAIT_S = 1.0
SHOWN = 10


def look(database: Database) -> Iterator[Finding]:
    """Look once. Raises DatabaseAway."""
    yield from judged(activity.look(database))


def judged(found: Activity) -> Iterator[Finding]:
    """Tell connections by application, the longest transactions, and who waits for whom."""
    for application, states in _together(found.connections).items():
        yield ok(
            "sessions", f"{application or 'unnamed'}: {_spelled(states)}", application=application, **states
        )
    if found.hidden:
        yield ok(
            "sessions",
            f"of {found.hidden} of other roles nothing more is told to this one (GRANT pg_monitor shows them)",
        )
    yield from _idle([each for each in found.transactions if each.idle])
    yield from _longest(found.transactions)
    yield from _waiting(found.waiting)


def _together(connections: Mapping[str, Counter[str]]) -> dict[str, Counter[str]]:
    """Count our children as one: what numbers them stands at the end of their names."""
    together: dict[str, Counter[str]] = {}
    for application, states in connections.items():
        name = re.sub(r" \d+$", "", application) if application.startswith(APPLICATION_NAME) else application
        together.setdefault(name, Counter()).update(states)
    return together


def _spelled(states: Counter[str]) -> str:
    return ", ".join(f"{count} {state}" for state, count in sorted(states.items()))


def _idle(idle: Sequence[Transaction]) -> Iterator[Finding]:
    subject = "idle in trans."
    if not idle:
        yield ok(subject, "none")
        return
    for each in sorted(idle, key=lambda one: one.idle_s, reverse=True)[:SHOWN]:
        seen = f"pid {each.pid} ({each.application or 'unnamed'}) for {each.idle_s:.1f} s, begun {each.age_s:.1f} s ago"
        remedy = f"SELECT pg_terminate_backend({each.pid})"
        facts = {"pid": each.pid, "application": each.application, "idle_s": each.idle_s, "age_s": each.age_s}
        if each.ours and each.idle_s > OURS_IDLE_S:
            yield fail(subject, seen, remedy, **facts)
        elif each.idle_s > OTHERS_IDLE_S:
            yield warn(subject, f"{seen}: it keeps its locks, and vacuum from cleaning up", remedy, **facts)
        else:
            yield ok(subject, seen, **facts)


def _longest(transactions: Sequence[Transaction]) -> Iterator[Finding]:
    subject = "transactions"
    if not transactions:
        yield ok(subject, "none open")
        return
    first = max(transactions, key=lambda one: one.age_s)
    name = first.application or "unnamed"
    seen = f"{len(transactions)} open; the longest: pid {first.pid} ({name}), {first.age_s:.1f} s"
    facts = {"pid": first.pid, "application": first.application, "age_s": first.age_s}
    if first.age_s > LONG_S:
        yield warn(
            subject,
            f"{seen}: vacuum cannot clean up behind it",
            f"SELECT pg_cancel_backend({first.pid})",
            **facts,
        )
    else:
        yield ok(subject, seen, **facts)


def _waiting(waiting: Sequence[Waiting]) -> Iterator[Finding]:
    subject = "locks"
    if not waiting:
        yield ok(subject, "nobody waits")
        return
    for each in waiting[:SHOWN]:
        by = ", ".join(map(str, each.blocked_by)) or "nobody any more"
        who = f" ({', '.join(name or 'unnamed' for name in each.blockers)})" if each.blockers else ""
        waits_s = each.waits_s or 0.0
        seen = f"pid {each.pid} ({each.application or 'unnamed'}) waits {waits_s:.1f} s for pid {by}{who}"
        facts = {"pid": each.pid, "blocked_by": list(each.blocked_by), "waits_s": waits_s}
        if waits_s > WAIT_S and each.blocked_by:
            yield warn(subject, seen, f"SELECT pg_terminate_backend({each.blocked_by[0]})", **facts)
        else:
            yield ok(subject, seen, **facts)
    if len(waiting) > SHOWN:
        yield ok(subject, f"and {len(waiting) - SHOWN} more")

"""PostgreSQL: is it there, is it ours to write to, and does it keep what it is given?"""

import os
from collections.abc import Callable, Iterator
from functools import partial

from repository import invariants, locks, migrations, server
from repository.connection import Database
from repository.errors import DatabaseAway, Locked, RepositoryError, SchemaOld, ServerTrouble, TurnedAway
from repository.locks import Kind, Locks
from repository.server import OPERATOR, WORKER, Clock, Needs, Numbers, Rights, Seats, Server, Strangers
from supervisor.cli.checks import sessions
from supervisor.cli.checks.finding import Finding, fail, ok, warn

SUBJECT = "database"
STATEMENT_TIMEOUT_S = 10.0
LOCK_TIMEOUT_S = 1.0
INVARIANTS_TIMEOUT_S = 600.0  # they read whole tables
REMEDY = "start PostgreSQL, or correct DATABASE_URL (host, user, password, database)"
GRANTS = "psql -f scripts/role.sql as the owner of the tables, and grant friendship_worker to this user"
CLOCK_TOLERANCE_S = 5.0
LONG_LOCK_S = 3.0
"""The lock timeout of children: what takes longer is in their way."""
NUMBERS_USED = 0.8
SEATS_BESIDE = 3
"""Connections beside those of the children: retry pass, janitor, and somebody who looks."""
SHOWN = 5


def look(url: str, children: int, *, with_sessions: bool, with_invariants: bool) -> Iterator[Finding]:
    """Ask the database, as far as it answers."""
    database = _opened(url, STATEMENT_TIMEOUT_S)
    try:
        try:
            found, clock = server.look(database)
        except RepositoryError as error:
            yield fail(SUBJECT, error.reason, _remedy(error))
            return
        yield from _server(found)
        yield _clock(clock)
        yield from _guarded(SUBJECT, lambda: _schema(database))
        rights = None
        try:
            rights = server.rights(database)
        except RepositoryError as error:
            yield fail("rights", error.reason, _remedy(error))
        if rights is not None:
            yield from _rights(rights, found)
            if not rights.missing(dict.fromkeys(server.TABLES, frozenset({"SELECT"}))) and len(
                rights.present
            ) == len(server.TABLES):
                yield from _guarded("locks", lambda: iter([_locks(locks.look(database))]))
                yield from _guarded("other writers", lambda: _strangers(server.strangers(database)))
            if "conversation_events" in rights.present:
                yield from _guarded("serial numbers", lambda: _numbers(server.numbers(database)))
        seats = partial(_seats, children=children, pooled=found.pooled)
        yield from _guarded("connections", lambda: iter([seats(server.seats(database))]))
        if with_sessions:
            yield from _guarded("sessions", lambda: sessions.look(database))
    finally:
        database.close()
    if with_invariants:
        yield from _guarded("invariants", lambda: _invariants(url))


def _opened(url: str, statement_timeout_s: float) -> Database:
    return Database(
        url,
        application_name="friendship-supervisor check",
        statement_timeout_s=statement_timeout_s,
        lock_timeout_s=LOCK_TIMEOUT_S,
    )


def _guarded(subject: str, look: Callable[[], Iterator[Finding]]) -> Iterator[Finding]:
    """Go on with the next subject when the database gives no answer to this one."""
    try:
        yield from look()
    except SchemaOld as old:
        seen = f"schema version {old.found}, this program needs {old.wanted}"
        yield fail(subject, seen, "run friendship-supervisor migrate")
    except Locked as locked:
        yield fail(subject, locked.reason, "see which session `locks` names, or ask again")
    except ServerTrouble as trouble:
        remedy = (
            GRANTS
            if "[42501]" in trouble.reason
            else "look at the database's own log; nothing passes until then"
        )
        yield fail(subject, trouble.reason, remedy)
    except DatabaseAway as away:
        yield fail(subject, away.reason, _remedy(away))
    except RepositoryError as error:
        yield fail(subject, error.reason, "look at the permissions of this user")


def _remedy(error: RepositoryError) -> str:
    if not isinstance(error, TurnedAway):
        return REMEDY
    given = [name for name in sorted(os.environ) if name.startswith("PG")]
    names = " or ".join(["DATABASE_URL (user, password, database)", *given])
    return f"correct {names}; where it says that it starts or is full, wait"


def _schema(database: Database) -> Iterator[Finding]:
    migrations.require(database)
    version = migrations.schema_version(database)
    yield ok(SUBJECT, f"schema version {version}", schema_version=version)


def _server(found: Server) -> Iterator[Finding]:
    way = "TLS" if found.encrypted else "not encrypted"
    seen = f"PostgreSQL {found.version}, {way}, database {found.database}"
    if found.version_number < server.OLDEST_VERSION:
        yield fail(SUBJECT, seen, "PostgreSQL 14 or newer")
    elif found.in_recovery:
        yield fail(
            SUBJECT,
            f"{seen}: a standby, which takes no writes",
            "name the primary in DATABASE_URL, or all servers with target_session_attrs=read-write",
        )
    elif found.read_only:
        yield fail(
            SUBJECT,
            f"{seen}: sessions are read-only (default_transaction_read_only)",
            "ALTER ROLE or ALTER DATABASE ... SET default_transaction_read_only = off",
        )
    else:
        yield ok(SUBJECT, seen, version=found.version, encrypted=found.encrypted)
    yield from _settings(found)


def _settings(found: Server) -> Iterator[Finding]:
    subject = "db settings"
    lax = [
        f"{name} is off"
        for name, off in (
            ("fsync", not found.fsync),
            ("full_page_writes", not found.full_page_writes),
            ("synchronous_commit", found.synchronous_commit == "off"),
        )
        if off
    ]
    if lax:
        yield warn(
            subject,
            f"{', '.join(lax)}: a crash of the server may take outcomes back whose messages are acknowledged",
            "switch it on; synchronous_commit can be set for one role",
        )
    if found.encoding != "UTF8":
        yield fail(
            subject,
            f"the encoding is {found.encoding}: what people say cannot all be kept",
            "move the data into a database with ENCODING 'UTF8' (pg_dump, CREATE DATABASE, pg_restore)",
        )
    if found.pooled:
        yield ok(subject, "a pooler stands between: each transaction brings its own settings", pooled=True)


def _numbers(found: Numbers | None) -> Iterator[Finding]:
    if found is None or found.used <= NUMBERS_USED:
        return
    remedy = (
        f"ALTER SEQUENCE {found.name} NO MAXVALUE"
        if found.by_hand
        else "ALTER TABLE conversation_events ALTER COLUMN id TYPE bigint, in a quiet hour (it writes the table anew),"
        f" and ALTER SEQUENCE {found.name} AS bigint NO MAXVALUE"
    )
    yield warn(
        "serial numbers",
        f"{found.used:.0%} of the numbers for new events are used up; with the last of them the queue stands still",
        remedy,
        used=round(found.used, 3),
    )


def _locks(found: Locks) -> Finding:
    """Name who keeps messages waiting. A transaction of a second may be one that just takes long."""
    subject = "locks"
    old = [holder for holder in found.holders if (holder.age_s or 0.0) > LONG_LOCK_S]
    ends = " or ".join(
        "ROLLBACK PREPARED" if holder.pid is None else f"SELECT pg_terminate_backend({holder.pid})"
        for holder in found.holders[:SHOWN]
    )
    if found.table:
        return fail(subject, f"{found}: no message can be processed meanwhile", f"wait for it, or {ends}")
    if old and found.kind is Kind.PERHAPS:
        seen = f"{_some([str(holder) for holder in old])} may keep rows locked: messages that need them are put off"
        return warn(subject, seen, f"where the log tells of message_put_off by it: {ends}")
    if old:
        names = _some([str(holder) for holder in old])
        return warn(subject, f"{names} keeps rows locked: messages that need them are put off", ends)
    return ok(subject, "nobody keeps rows or tables of ours locked")


def _clock(clock: Clock) -> Finding:
    ahead_s = round(clock.ahead_s, 3)
    side = "ahead of" if clock.ahead_s >= 0 else "behind"
    seen = (
        f"the database is {abs(clock.ahead_s):.2f} s {side} this machine, give or take {clock.error_s:.2f} s"
    )
    if abs(clock.ahead_s) - clock.error_s > CLOCK_TOLERANCE_S:
        return warn(
            "clock",
            f"{seen}: leases and retries go by its clock, logs by ours",
            "run ntp on both",
            ahead_s=ahead_s,
        )
    return ok("clock", seen, ahead_s=ahead_s)


def _rights(rights: Rights, found: Server) -> Iterator[Finding]:
    subject = "rights"
    if not rights.present:
        return
    lacks = rights.missing(WORKER)
    what = [f"{', '.join(sorted(privileges))} on {table}" for table, privileges in lacks.items()]
    if rights.sequence is not None:
        what.append(f"USAGE on the sequence {rights.sequence}")
    note = " (a superuser: more than it needs)" if found.superuser else ""
    if rights.partly_hidden:
        yield warn(
            subject,
            f"row security hides rows of {', '.join(rights.partly_hidden)} from {found.role}",
            f"ALTER ROLE {found.role} BYPASSRLS, or a policy that shows all rows",
        )
    if not what:
        yield ok(subject, f"{found.role} may do all that run and retry need{note}", superuser=found.superuser)
    elif not rights.missing(OPERATOR):
        yield ok(
            subject, f"{found.role} may do what the operator's commands need, and not what run and retry do"
        )
    else:
        yield fail(subject, f"{found.role} lacks {'; '.join(what)}", GRANTS, missing=_listed(lacks))


def _listed(needs: Needs) -> dict[str, list[str]]:
    return {table: sorted(privileges) for table, privileges in needs.items()}


def _strangers(found: Strangers) -> Iterator[Finding]:
    subject = "other writers"
    findings = []
    if found.scores:
        findings.append(
            warn(
                subject,
                f"{len(found.scores)} users whose friendship_score is not where the ledger left it:"
                f" {_some(found.scores)}",
                "find and stop what else writes to friendship_status",
                users=list(found.scores[:SHOWN]),
            )
        )
    if found.unleased:
        findings.append(
            warn(
                subject,
                f"{found.unleased} events are PROCESSING without a lease, the last since {found.unleased_at}",
                "stop the older worker (docs/cutover.md); the retry pass rescues them after 30 minutes",
                events=found.unleased,
            )
        )
    if found.triggers:
        told = _some([f"{name} on {table}" for name, table in found.triggers])
        findings.append(
            warn(
                subject, f"triggers run in our transactions: {told}", "see that they are quick and never fail"
            )
        )
    if found.writers:
        told = _some([f"{application or 'an unnamed one'} ({count})" for application, count in found.writers])
        findings.append(
            warn(
                subject,
                f"other programs are writing to our tables now: {told}",
                "see that they know of claims (docs/cutover.md)",
            )
        )
    yield from findings or [ok(subject, "none seen")]


def _some(names: tuple[str, ...] | list[str]) -> str:
    return ", ".join(names[:SHOWN]) + (", ..." if len(names) > SHOWN else "")


def _seats(seats: Seats, children: int, *, pooled: bool = False) -> Finding:
    subject = "connections"
    wanted = max(0, children + SEATS_BESIDE - seats.ours)
    seen = (
        f"{seats.taken} of {seats.most} taken, {seats.ours} by this program; {seats.free} free for this role"
    )
    if pooled:
        return ok(subject, f"{seen}; the pooler shares its own among the children", free=seats.free)
    if seats.free < wanted:
        return warn(
            subject,
            f"{seen}: {children} children and {SEATS_BESIDE} beside need {wanted} more; those without one wait",
            "raise max_connections (or the limit of role or database), lower --children, or use PgBouncer",
            free=seats.free,
            wanted=wanted,
        )
    return ok(subject, seen, free=seats.free, wanted=wanted)


def _invariants(url: str) -> Iterator[Finding]:
    database = _opened(url, INVARIANTS_TIMEOUT_S)
    try:
        findings = invariants.check(database)
    finally:
        database.close()
    for found in findings:
        tell = fail if found.severity == "breach" else warn
        yield tell(
            "invariant", f"{found.name}: {found.count} ({found.sample})", found.meaning, invariant=found.name
        )
    if not findings:
        yield ok("invariants", "all hold")

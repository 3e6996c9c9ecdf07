"""`check`: is everything there that the worker needs? One line each, with the remedy."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

import click

from consumer import amqp
from consumer.errors import BrokerAway
from consumer.memory_api import MemoryApi, MemoryApiFailure
from consumer.settings import MIB, BrokerSettings
from repository import invariants, migrations
from repository.connection import Database
from repository.errors import DatabaseAway, RepositoryError, SchemaOld
from supervisor.cli import arithmetic
from supervisor.cli.given import options, settings
from supervisor.cli.help import SectionedCommand
from supervisor.cli.settings import Settings

PROBE_TIMEOUT_S = 5.0
INVARIANTS_TIMEOUT_S = 600.0  # they read whole tables
DATABASE_REMEDY = "start PostgreSQL, or correct DATABASE_URL (host, user, password, database)"


class Verdict(StrEnum):
    """How a check ended. Only FAIL makes the exit status 1."""

    OK = "ok"
    WARN = "warn"
    FAIL = "FAIL"


@dataclass(frozen=True, slots=True)
class Finding:
    """One line: what was looked at, what was seen, and what to do about it."""

    verdict: Verdict
    subject: str
    seen: str
    remedy: str = ""

    def __str__(self) -> str:
        line = f"{self.verdict:<5}{self.subject:<15}{self.seen}"
        return f"{line} -> {self.remedy}" if self.remedy else line


@click.command(cls=SectionedCommand)
@options()
@click.option("--db", "only_database", is_flag=True, help="Look at the database only.")
@click.option(
    "--invariants", "with_invariants", is_flag=True, help="Also prove the rows: promises as queries."
)
@click.option(
    "--memory-api", "with_memory_api", is_flag=True, help="Also ask whether the Memory API answers."
)
@click.pass_context
def check(context: click.Context, only_database: bool, with_invariants: bool, with_memory_api: bool) -> None:
    """Check configuration, memory arithmetic, broker and database: one line each, with the remedy.

    The exit status is 0 when nothing FAILs. Nothing is changed.
    """
    given = settings(context)
    failed = False
    for finding in _findings(given, only_database, with_invariants, with_memory_api):
        click.echo(str(finding))
        failed = failed or finding.verdict is Verdict.FAIL
    sys.exit(1 if failed else 0)


def _findings(
    given: Settings, only_database: bool, with_invariants: bool, with_memory_api: bool
) -> Iterator[Finding]:
    yield Finding(Verdict.OK, "configuration", f"{given.supervisor.children} children")
    for warning in given.warnings:
        yield Finding(Verdict.WARN, "configuration", warning)
    if not only_database:
        yield from _memory(given)
        yield _broker(given.consumer.broker)
    yield from _database(given.consumer.database_url, with_invariants)
    if with_memory_api:
        yield _memory_api(given.consumer.memory_api.url)


def _memory(given: Settings) -> Iterator[Finding]:
    outlook = arithmetic.examine(given, arithmetic.here())
    for problem in outlook.problems:
        verdict = Verdict.WARN if given.allow_overcommit else Verdict.FAIL
        yield Finding(verdict, "memory", problem.seen, problem.remedy)
    for warning in outlook.warnings:
        yield Finding(Verdict.WARN, "memory", warning.seen, warning.remedy)
    if not outlook.problems:
        limits = given.supervisor
        each = f"{limits.rss_budget_bytes / MIB:g} MB each, {limits.rss_hard_bytes / MIB:g} MB hard"
        largest = f"messages of up to {given.consumer.max_message_bytes / MIB:g} MB can be received"
        yield Finding(Verdict.OK, "memory", f"{limits.children} children of {each}; {largest}")
    if outlook.balance.fits:
        yield Finding(Verdict.OK, "memory sum", outlook.text)


def _broker(broker: BrokerSettings) -> Finding:
    try:
        depth = amqp.depth(broker)
    except BrokerAway as away:
        return Finding(
            Verdict.FAIL,
            "broker",
            away.reason,
            "start RabbitMQ, or correct RABBITMQ_URL (host, user, password, vhost)",
        )
    if depth is None:
        return Finding(
            Verdict.OK, "broker", f"queue {broker.queue} is not there yet: the first start declares it"
        )
    return Finding(Verdict.OK, "broker", f"queue {broker.queue}: {depth} messages ready")


def _database(url: str, with_invariants: bool) -> Iterator[Finding]:
    database = Database(
        url, application_name="friendship-supervisor check", statement_timeout_s=INVARIANTS_TIMEOUT_S
    )
    try:
        migrations.require(database)
        yield Finding(Verdict.OK, "database", f"schema version {migrations.schema_version(database)}")
        if with_invariants:
            yield from _invariants(database)
    except SchemaOld as old:
        seen = f"schema version {old.found}, this program needs {old.wanted}"
        yield Finding(Verdict.FAIL, "database", seen, "run friendship-supervisor migrate")
    except DatabaseAway as away:
        yield Finding(Verdict.FAIL, "database", away.reason, DATABASE_REMEDY)
    except RepositoryError as error:
        yield Finding(Verdict.FAIL, "database", str(error), "look at the permissions of this user")
    finally:
        database.close()


def _invariants(database: Database) -> Iterator[Finding]:
    findings = invariants.check(database)
    for found in findings:
        verdict = Verdict.FAIL if found.severity == "breach" else Verdict.WARN
        yield Finding(verdict, "invariant", f"{found.name}: {found.count} ({found.sample})", found.meaning)
    if not findings:
        yield Finding(Verdict.OK, "invariants", "all hold")


def _memory_api(url: str) -> Finding:
    """Ask the way that calls go: the same trust, the same credentials, no proxy."""
    try:
        status = MemoryApi(url, PROBE_TIMEOUT_S, ssl_context=None, pump=lambda: None).probe()
    except MemoryApiFailure as failure:
        return Finding(Verdict.FAIL, "memory API", failure.reason, "start it, or correct MEMORY_API_URL")
    return Finding(Verdict.OK, "memory API", f"answers (HTTP {status} to GET)")

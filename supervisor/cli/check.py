"""`check`: is everything there that the worker needs? One line each, with the remedy."""

import sys
from collections.abc import Iterator
from itertools import chain

import click

from supervisor.cli.checks import api, broker, configuration, contract, database, host, memory
from supervisor.cli.checks.finding import Finding, Verdict, fail
from supervisor.cli.given import examined, options, start_logs
from supervisor.cli.help import SectionedCommand
from supervisor.cli.settings import Examined
from supervisor.cli.visit import as_json, json_line


@click.command(cls=SectionedCommand)
@options()
@click.option("--db", "only_database", is_flag=True, help="Only the database, and who is connected to it.")
@click.option(
    "--invariants", "with_invariants", is_flag=True, help="Also prove the rows: promises as queries."
)
@click.option(
    "--memory-api",
    "with_memory_api",
    is_flag=True,
    help="Also try the Memory API: a right call, the same again, a wrong one. It writes test facts, under ids that"
    f" begin with {contract.PREFIX}.",
)
@as_json
@click.pass_context
def check(
    context: click.Context, only_database: bool, with_invariants: bool, with_memory_api: bool, as_json: bool
) -> None:
    """Check configuration, memory, machine, servers: one line each, with the remedy.

    The exit status is 0 when nothing FAILs. Nothing is changed, but what --memory-api has the Memory API write.
    """
    given = examined(context)
    start_logs(given.settings.logs, sys.stderr)
    failed = False
    subjects = chain(
        configuration.look(given),
        () if only_database else _all_but_database(given),
        _database(given, only_database, with_invariants),
        () if only_database else _memory_api(given),
        () if only_database else _optional(given),
        _contract(given) if with_memory_api else (),
    )
    for finding in subjects:
        if as_json:
            json_line(finding.object())
        else:
            click.echo(str(finding))
        failed = failed or finding.verdict is Verdict.FAIL
    sys.exit(1 if failed else 0)


def _all_but_database(given: Examined) -> Iterator[Finding]:
    settings = given.settings
    yield from memory.look(settings) if given.usable(*memory.SETTINGS) else [memory.skipped()]
    yield from host.look(
        settings.supervisor.children, settings.supervisor.rss_hard_bytes, settings.consumer.max_message_bytes
    )
    if given.usable("rabbitmq_url", "queue"):
        yield from broker.look(settings)
    else:
        yield _skipped(broker.SUBJECT)


def _database(given: Examined, with_sessions: bool, with_invariants: bool) -> Iterator[Finding]:
    if not given.usable("database_url"):
        yield _skipped(database.SUBJECT)
        return
    settings = given.settings
    yield from database.look(
        settings.consumer.database_url,
        settings.supervisor.children,
        with_sessions=with_sessions,
        with_invariants=with_invariants,
    )


def _memory_api(given: Examined) -> Iterator[Finding]:
    if given.usable("memory_api_url"):
        yield api.look(given.settings.consumer.memory_api.url)
    else:
        yield _skipped(api.SUBJECT)


def _optional(given: Examined) -> Iterator[Finding]:
    """Look at what is in use only where it is asked for."""
    consumer = given.settings.consumer
    if consumer.s3 is not None:
        from supervisor.cli.checks import archive  # noqa: PLC0415 (its client is an extra)

        # A refused endpoint reads as none, which is AWS: it would see the account of a server of one's own
        if given.usable("s3_buckets", "s3_endpoint_url", "s3_addressing_style"):
            yield from archive.look(consumer.s3)
        else:
            yield _skipped(archive.SUBJECT)
    if consumer.llm is not None:
        from supervisor.cli.checks import model  # noqa: PLC0415 (its client is loaded where it is in use)

        yield (
            model.look(consumer.llm)
            if given.usable("groq_base_url", "groq_api_key", "groq_model")
            else _skipped(model.SUBJECT)
        )


def _contract(given: Examined) -> Iterator[Finding]:
    if given.usable("memory_api_url", "memory_api_timeout_s"):
        target = given.settings.consumer.memory_api
        yield from contract.look(target.url, target.timeout_s)


def _skipped(subject: str) -> Finding:
    return fail(subject, "not asked: a setting that it needs cannot be used", "correct the settings above")

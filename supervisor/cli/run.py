"""`run`: the supervisor in the foreground."""

import logging
import ssl
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module

import click
from setproctitle import setproctitle

from consumer import memory_api
from consumer.allowance import built_in_cap
from consumer.analysis import RESULTS
from consumer.child import Child
from consumer.depth import Gauge
from consumer.disposition import ErrorCode
from consumer.errors import BrokerAway
from consumer.outcome import Outcome
from consumer.rehearsal.play import rehearse
from consumer.retries import Counts, pass_alone
from consumer.runtime import Runtime
from consumer.settings import MIB, ConsumerSettings
from repository import deaths
from repository.connection import Database
from supervisor import loop, memory, process
from supervisor.cli import arithmetic
from supervisor.cli.checks import host
from supervisor.cli.checks.finding import Verdict
from supervisor.cli.given import options, settings, start_logs
from supervisor.cli.help import SectionedCommand
from supervisor.cli.options import BY_NAME
from supervisor.cli.settings import Settings
from supervisor.counters import Layout
from supervisor.errors import InvalidSettings
from supervisor.events import Death
from supervisor.limits import SupervisorSettings
from supervisor.programs import Depth as QueueDepth

log = logging.getLogger("friendship.cli")


@dataclass(frozen=True, slots=True)
class Programs:
    """What the supervisor's processes do: the callables that its loop forks (supervisor.programs)."""

    settings: ConsumerSettings
    ssl_context: ssl.SSLContext
    children: int

    def child(self, runtime: Runtime) -> int:
        """Live as a consumer child."""
        return Child(self.settings, self.ssl_context).live(runtime)

    def settle(self, dead: Sequence[Death]) -> None:
        """Write the account of the dead. Raises when it is not written."""
        database = self._database("janitor")
        accounts = [
            deaths.Account(
                conversation_id=death.conversation_id,
                event_id=death.event_id,
                epoch=death.epoch,
                claimed_by=death.claimed_by,
                body_bytes=death.body_bytes,
                body_crc32=death.body_crc32,
                claiming=death.claiming,
                cause=death.cause.value,
                blamed=death.blamed,
                died_at=death.died_at,
                host=death.host,
                slot=death.slot,
                pid=death.pid,
                rss_bytes=death.rss_bytes or 0,
            )
            for death in dead
        ]
        try:
            deaths.record(database, accounts)
        finally:
            database.close()

    def retry(self) -> None:
        """Run one retry pass."""
        database = self._database("retry")
        try:
            pass_alone(database, self.settings, Counts(), built_in_cap(self.children))
        finally:
            database.close()

    def depth(self) -> Callable[[], QueueDepth]:
        """Make a gauge of the queue."""
        gauge, queue = Gauge(self.settings.broker), self.settings.broker.queue

        def read() -> QueueDepth:
            try:
                depth = gauge.read()
            except BrokerAway as away:
                return QueueDepth(queue, error=away.reason)
            return QueueDepth(queue, depth.ready, depth.dead, depth.consumers)

        return read

    def _database(self, what: str) -> Database:
        return Database(
            self.settings.database_url,
            application_name=f"friendship-supervisor {what}",
            connect_timeout_s=2.0,
        )


@click.command(cls=SectionedCommand)
@options()
@click.pass_context
def run(context: click.Context) -> None:
    """Run the supervisor in the foreground (what happens without a command)."""
    given = settings(context)
    start_logs(given.logs, sys.stdout)
    for warning in given.warnings:
        log.warning("setting", extra={"text": warning})
    setproctitle(
        f"friendship-supervisor: {given.supervisor.children} children on {given.consumer.broker.queue}"
    )
    _make_room(given.supervisor)
    # Built once, before the fork: every child shares its pages
    programs = Programs(given.consumer, memory_api.prepare(), given.supervisor.children)
    limits = _memory(given)
    steps = _load_optional(given.consumer, programs.ssl_context)
    outcomes = [outcome.value for outcome in Outcome if outcome is not Outcome.RETURNED]
    memory.tune()
    # What running the code writes once is written here, in pages that the children share
    rehearse(process.fork, programs.ssl_context)
    sys.exit(loop.run(limits, programs, Layout(outcomes, [code.value for code in ErrorCode], steps)))


def _load_optional(consumer: ConsumerSettings, ssl_context: ssl.SSLContext) -> Mapping[str, Sequence[str]]:
    """Load what is only there for S3 and the LLM, where they are in use: once, and shared by all children.

    Returns the steps that children count by themselves then, with their results. Raises InvalidSettings.
    """
    steps: dict[str, Sequence[str]] = {}
    problems: list[str] = []
    if consumer.s3 is not None:
        steps["fetch"] = ("read", "failed", "away")
        try:
            s3 = import_module("consumer.s3")
            s3.prepare()
            s3.Archive(consumer.s3, ssl_context=ssl_context, pump=_nothing)
        except ImportError:
            needed = "needs the extra s3, which is not installed: pip install 'friendship-supervisor[s3]'"
            problems.append(f"{BY_NAME['s3_buckets'].source}: {needed}")
        except ValueError as error:
            problems.append(f"{BY_NAME['s3_endpoint_url'].source}: {error}")
    if consumer.llm is not None:
        steps["analysis"] = RESULTS
        try:
            import_module("consumer.llm").Analyst(consumer.llm, ssl_context=ssl_context, pump=_nothing)
        except ValueError as error:
            problems.append(f"{BY_NAME['groq_base_url'].source}: {error}")
    if problems:
        raise InvalidSettings(problems)
    return steps


def _make_room(limits: SupervisorSettings) -> None:
    """See that this process may have what children need. Raises InvalidSettings."""
    found = [host.make_room(limits.children), *host.cramped(limits.rss_hard_bytes)]
    problems = [f"{each.seen}: {each.remedy}" for each in found if each.verdict is Verdict.FAIL]
    if problems:
        raise InvalidSettings(problems)


def _nothing() -> None:
    """Have nothing to do during a call: none is made."""


def _memory(given: Settings) -> SupervisorSettings:
    """Do the memory sums, tell them, and return the limits of the run. Raises InvalidSettings when they say no."""
    outlook = arithmetic.examine(given, arithmetic.here())
    if outlook.problems and not given.allow_overcommit:
        raise InvalidSettings([f"{problem}; or --allow-overcommit" for problem in outlook.problems])
    limits = outlook.bounded(given.supervisor)
    log.info(
        "memory_sum",
        extra={
            "needed_mb": outlook.balance.demand.total_bytes // MIB,
            "limit_mb": limits.container_limit_bytes // MIB or None,
            "children_max": limits.children_max or None,
            "room_for_successor": limits.room_for_successor,
            "text": outlook.text,
        },
    )
    for problem in outlook.problems:
        log.warning("overcommitted", extra={"text": str(problem)})
    for warning in outlook.warnings:
        log.warning("memory_warning", extra={"text": str(warning)})
    return limits

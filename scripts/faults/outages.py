"""PostgreSQL and RabbitMQ killed, restarted and paused under load, as the promises of an outage say.

    python -m scripts.faults.outages --kills 5 --pauses 2

Conversations keep coming until each outage begins, and two seconds of it; then the server is away, and what supervisor
and children use of the processor is measured while nothing can be done. When the server is back, the time is taken
until all that was published is PROCESSED. Exits 1 when a promise is broken, naming it.
"""

import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

import click
import orjson

from scripts.faults.ground import Ground
from scripts.faults.outages_load import Books, Load, Verdict
from scripts.faults.supervised import Supervised
from scripts.measure import NotReached, Tree, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

API_S = 1.0
SPREAD_S = 0.5
PER_S = 6.0
AWAY_S = 10.0
PAUSED_S = 30.0
SETTLE_S = 3.0
"""Calls that were under way end, and their results are held; after that only waiting is left."""
LOADED_S = 3.0
LIMITS = {"MEMORY_API_TIMEOUT_SECONDS": "10", "FRIENDSHIP_LEASE": "60", "FRIENDSHIP_RETRY_EVERY": "5"}
CATCH_UP_S = 30.0 + API_S + SPREAD_S
"""Allowed from the server's return until everything is PROCESSED."""
LOST_MESSAGE_S = 60.0 + 5.0
"""Allowed beyond that where the broker may have lost a message: a lease and a retry pass."""
MOST_CORE_SHARE = 0.10


@dataclass(frozen=True, slots=True)
class Outage:
    """One outage. core_share: of one core, by supervisor and children, over measured_s of waiting."""

    server: str
    how: str
    away_s: float
    measured_s: float
    core_share: float
    caught_up_s: float
    waiting_lines: int
    children_ended: int


class Course:
    """One supervisor on one ground, driven from outage to outage."""

    def __init__(self, stack: Stack, ground: Ground, supervised: Supervised, load: Load) -> None:
        self.stack, self.ground, self.supervised, self.load = stack, ground, supervised, load
        self.books = Books(ground.environment["DATABASE_URL"])
        self.tree = Tree(supervised.pid)

    def go_through(
        self, server: str, how: str, begin: Callable[[], None], end: Callable[[], None], away_s: float
    ) -> Outage:
        self.load.resume()
        sleep(LOADED_S)
        self.books.close()
        self.supervised.look()
        told, ended = self._told(), len(self.supervised.logged("child_exited"))
        begin()
        began = monotonic()
        sleep(2.0)
        self.load.pause()
        sleep(SETTLE_S - 2.0)
        measured, used_s = monotonic(), self.tree.cpu_s()
        sleep(max(0.0, away_s - SETTLE_S))
        used_s, measured_s = self.tree.cpu_s() - used_s, monotonic() - measured
        end()
        away = monotonic() - began
        caught_up_s = self.books.wait_until_done(self.load, CATCH_UP_S + LOST_MESSAGE_S)
        self.supervised.look()
        return Outage(
            server=server,
            how=how,
            away_s=round(away, 1),
            measured_s=round(measured_s, 1),
            core_share=round(used_s / measured_s, 4),
            caught_up_s=caught_up_s,
            waiting_lines=self._told() - told,
            children_ended=len(self.supervised.logged("child_exited")) - ended,
        )

    def _told(self) -> int:
        return len(self.supervised.logged("waiting"))


def travel(
    directory: Path, stack: Stack, children: int, kills: int, pauses: int
) -> tuple[list[Outage], Verdict]:
    """Go through all outages, and judge what became of the conversations."""
    outages: list[Outage] = []
    stack.memory_api.set_mode("delay", seconds=API_S, spread_s=SPREAD_S)
    with Ground(stack, "outages") as ground, Supervised(
        directory, ground.environment | LIMITS, "--children", str(children)
    ) as supervised, Load([stack.rabbitmq.url], ground.broker.queue, per_s=PER_S) as load:  # fmt: skip
        supervised.wait_until(lambda: len(supervised.ready()) == children, "all children are ready")
        course = Course(stack, ground, supervised, load)
        for server, made in (("PostgreSQL", stack.postgres), ("RabbitMQ", stack.rabbitmq)):
            for _ in range(kills):
                outages.append(course.go_through(server, "SIGKILL", made.kill, made.start_again, AWAY_S))
                say(outages[-1])
            for _ in range(pauses):
                outages.append(course.go_through(server, "SIGSTOP", made.pause, made.resume, PAUSED_S))
                say(outages[-1])
        verdict = course.books.verdict(load, stack.memory_api)
        course.books.close()
    return outages, verdict


def say(outage: Outage) -> None:
    print(orjson.dumps(asdict(outage)).decode(), flush=True)


def broken(outages: list[Outage], verdict: Verdict) -> list[str]:
    """Name the promises that were broken."""
    found = [] if verdict.good else [f"lost, doubled or failed: {verdict}"]
    for outage in outages:
        if outage.core_share > MOST_CORE_SHARE:
            found.append(f"{outage.core_share:.0%} of a core while {outage.server} was away ({outage.how})")
        if outage.caught_up_s > CATCH_UP_S:
            found.append(f"{outage.caught_up_s:g} s to catch up after {outage.server} ({outage.how})")
    return found


@click.command(help=(__doc__ or "").partition("\n\n")[0])
@click.option("--children", default=8, show_default=True)
@click.option("--kills", default=5, show_default=True, help="of each server")
@click.option("--pauses", default=2, show_default=True, help=f"of each server, {PAUSED_S:g} s long")
def main(children: int, kills: int, pauses: int) -> None:
    """Run it."""
    print(machine())
    try:
        with temporary_directory() as directory, Stack() as stack:
            outages, verdict = travel(directory, stack, children, kills, pauses)
    except (ServerMissing, ServerFailed, NotReached) as failed:
        sys.exit(str(failed))
    print(orjson.dumps(asdict(verdict)).decode())
    problems = broken(outages, verdict)
    for problem in problems:
        print(f"BROKEN: {problem}")
    sys.exit(1 if problems else 0)


if __name__ == "__main__":
    main()

"""Supervisors that end while others go on: killed again and again, and replaced one by one under load.

    python -m scripts.faults.outages_endings --kills 20 --restarts 10

Two supervisors share a queue. First one of them is killed by SIGKILL, with calls under way, some of its children
stopped by SIGSTOP, and errands out: the time until no process of it is left, and until the other has claimed what was
in its hands. Then a rolling restart: a new supervisor is started and, once it is ready, the older one told to end, so
many times, while conversations keep coming; the broker's count of redeliveries is what it costs. Exits 1 when a message
is lost, counted twice or failed, or a process outlives its supervisor by a second.
"""

import contextlib
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from time import monotonic, sleep

import click
import orjson
import psutil

from scripts.faults.ground import Ground
from scripts.faults.outages_load import Books, Load
from scripts.faults.supervised import Supervised
from scripts.faults.timeline import percentile
from scripts.load.redeliveries import Redeliveries
from scripts.measure import NotReached, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

CHILDREN = 4
API_S = 1.0
PER_S = 5.0
PROCESS_LIMIT_S = 1.0
CLAIM_LIMIT_S = 30.0
CATCH_UP_S = 60.0
LOOK_EVERY_S = 0.002


@dataclass(frozen=True, slots=True)
class Kill:
    """One supervisor killed. processes: those that it had; in_hand: conversations that its children had claimed."""

    processes: int
    stopped: int
    gone_s: float
    in_hand: int
    claimed_s: float


class Field:
    """A ground on which supervisors come and go."""

    def __init__(self, directory: Path, stack: Stack, ground: Ground) -> None:
        self._directory, self._ground, self._number = directory, ground, 0
        self.stack = stack
        self.books = Books(ground.environment["DATABASE_URL"])
        self.limits = {
            "FRIENDSHIP_CHILDREN": str(CHILDREN),
            "MEMORY_API_TIMEOUT_SECONDS": "10",
            "FRIENDSHIP_RETRY_EVERY": "1",
        }

    def start(self, resources: contextlib.ExitStack) -> Supervised:
        """Start one more supervisor, and wait until it is ready."""
        self._number += 1
        own = self._directory / f"supervisor-{self._number}"
        own.mkdir()
        new = resources.enter_context(Supervised(own, self._ground.environment | self.limits))
        new.wait_until(lambda: len(new.ready()) == CHILDREN, "all children are ready")
        return new

    def claims(self, pids: frozenset[int]) -> dict[str, int]:
        """Return the conversations that these processes have claimed, with their epochs."""
        rows = self.books.ask(
            "SELECT conversation_id, claim_epoch, claimed_by FROM conversation_events WHERE status = 'PROCESSING'"
        )
        mine = [row for row in rows if int(str(row[2]).split(":")[1]) in pids]
        return {str(row[0]): int(str(row[1])) for row in mine}

    def taken_over(self, claims: dict[str, int]) -> bool:
        """Say whether each has been claimed again, or is done."""
        rows = self.books.ask("SELECT conversation_id, claim_epoch, status FROM conversation_events")
        now = {str(row[0]): (int(str(row[1])), row[2]) for row in rows}
        return all(now[name][0] > epoch or now[name][1] != "PROCESSING" for name, epoch in claims.items())


def family(pid: int) -> list[psutil.Process]:
    return psutil.Process(pid).children(recursive=True)


def lives(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def until(condition: Callable[[], bool], limit_s: float) -> float:
    """Wait for a condition and return the seconds it took; the limit when it did not come."""
    began = monotonic()
    while not condition() and monotonic() - began < limit_s:
        sleep(LOOK_EVERY_S)
    return round(monotonic() - began, 3)


def kill(field: Field, victim: Supervised) -> Kill:
    """Kill a supervisor at work, every other one of its children stopped before."""
    # The janitor is out too: a child has just died with a message in its hands
    os.kill(family(victim.pid)[0].pid, signal.SIGKILL)
    members = family(victim.pid)
    stopped = members[::2]
    for each in stopped:
        with contextlib.suppress(psutil.NoSuchProcess):
            each.suspend()
    claims = field.claims(frozenset(each.pid for each in members))
    os.kill(victim.pid, signal.SIGKILL)
    gone_s = until(lambda: not any(lives(each) for each in members), 10 * PROCESS_LIMIT_S)
    claimed_s = until(lambda: field.taken_over(claims), CLAIM_LIMIT_S) + gone_s if claims else 0.0
    return Kill(len(members), len(stopped), gone_s, len(claims), round(claimed_s, 3))


@contextlib.contextmanager
def at_work(stack: Stack, directory: Path, name: str) -> Iterator[tuple[Field, Load]]:
    """Give ground with conversations coming."""
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay", seconds=API_S, spread_s=API_S / 2)
    with Ground(stack, name) as ground, Load(
        [stack.rabbitmq.url], ground.broker.queue, per_s=PER_S
    ) as load:  # fmt: skip
        own = directory / name
        own.mkdir()
        field = Field(own, stack, ground)
        yield field, load
        field.books.close()


def killed(stack: Stack, directory: Path, kills: int) -> bool:
    """Kill supervisors, always with another at work; say the figures."""
    with at_work(stack, directory, "killed") as (field, load), contextlib.ExitStack() as resources:
        running = deque([field.start(resources), field.start(resources)])
        load.resume()
        done: list[Kill] = []
        for _ in range(kills):
            sleep(2 * API_S)
            done.append(kill(field, running.popleft()))
            running.append(field.start(resources))
        load.pause()
        field.books.wait_until_done(load, CATCH_UP_S)
        verdict = field.books.verdict(load, stack.memory_api)
    gone, claimed = [one.gone_s for one in done], [one.claimed_s for one in done if one.in_hand]
    say(
        {
            "supervisors_killed": len(done),
            "processes": sum(one.processes for one in done),
            "of_them_stopped": sum(one.stopped for one in done),
            "gone_s_median": percentile(gone, 0.5),
            "gone_s_most": max(gone),
            "in_hand": sum(one.in_hand for one in done),
            "claimed_by_another_s_median": percentile(claimed, 0.5),
            "claimed_by_another_s_most": max(claimed, default=0.0),
        }
        | asdict(verdict)
    )
    return verdict.good and max(gone) < PROCESS_LIMIT_S


def rolling(stack: Stack, directory: Path, restarts: int) -> bool:
    """Replace supervisors one by one; say the figures."""
    with at_work(stack, directory, "rolling") as (field, load), contextlib.ExitStack() as resources:
        counter = Redeliveries(stack.rabbitmq)
        running = deque([field.start(resources), field.start(resources)])
        load.resume()
        sleep(2 * API_S)
        drains = []
        for _ in range(restarts):
            running.append(field.start(resources))
            old = running.popleft()
            began = monotonic()
            os.kill(old.pid, signal.SIGTERM)
            old.wait_until(lambda old=old: bool(old.look() and old.logged("stopped")), "its end")  # type: ignore[misc]
            drains.append(round(monotonic() - began, 2))
        load.pause()
        field.books.wait_until_done(load, CATCH_UP_S)
        verdict = field.books.verdict(load, stack.memory_api)
        say(
            {
                "supervisors_replaced": restarts,
                "redeliveries": counter.total(),
                "drain_s_median": percentile(drains, 0.5),
                "drain_s_most": max(drains),
            }
            | asdict(verdict)
        )
    return verdict.good


def say(what: dict[str, object]) -> None:
    print(orjson.dumps(what).decode(), flush=True)


@click.command(help=(__doc__ or "").partition("\n\n")[0])
@click.option("--kills", default=20, show_default=True)
@click.option("--restarts", default=10, show_default=True)
def main(kills: int, restarts: int) -> None:
    """Run it."""
    print(machine())
    try:
        with temporary_directory() as directory, Stack() as stack:
            good = (not kills or killed(stack, directory, kills)) and (
                not restarts or rolling(stack, directory, restarts)
            )
    except (ServerMissing, ServerFailed, NotReached) as failed:
        sys.exit(str(failed))
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()

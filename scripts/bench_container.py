"""The container benchmark: the whole tree below one memory limit, large messages, and the Memory API of the incident.

    python scripts/bench_container.py

The supervisor and all that it starts run in a control group of their own (where none can be made, a watch reads the
tree's PSS and kills it above the limit); the servers stay outside. The Memory API takes as long as in the incident,
where every tenth call came to no end, times --factor, and so does the time that a call may take. Messages are published
as the queue drains.

Exits 1 when a promise is broken, naming it.
"""

import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from time import monotonic

import click
import orjson

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.conversations import Conversation
from scripts.faults.container import Limit, limited
from scripts.faults.ground import Ground
from scripts.faults.observer import Observer
from scripts.faults.supervised import Supervised
from scripts.measure import MB, copies, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

INCIDENT_TIMEOUT_S = 60.0
BACKLOG = 50
LIMIT_S = 1800.0
BY_CHOICE = frozenset({"rss_soft", "shutdown"})
EXPECTED = frozenset({"PROCESSED", "FAILED MEMORY_API_TIMEOUT"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What the tree is given, and what surrounds it."""

    limit_mb: int
    children: int
    rss_mb: int
    messages: int
    size_bytes: int
    factor: float


@dataclass(frozen=True, slots=True)
class Result:
    """The run. outcomes: events by status and code. ends: children by reason. peak_bytes: of the whole tree."""

    limit: str
    wall_s: float
    outcomes: dict[str, int]
    kills: int
    peak_bytes: int
    child_peak_bytes: int
    ends: dict[str, int]
    breaches: list[str]


@click.command()
@click.option("--limit-mb", default=3000, show_default=True, help="Memory limit of the whole tree.")
@click.option("--children", default=8, show_default=True, help="Children of the supervisor.")
@click.option("--rss-mb", default=300, show_default=True, help="Soft budget; the hard one is 1.25 of it.")
@click.option("--messages", default=1000, show_default=True, help="Conversations.")
@click.option("--size-kb", default=3000, show_default=True, help="Size of one conversation, in 1000 bytes.")
@click.option(
    "--factor", default=0.02, show_default=True, help="The incident's seconds are multiplied by it."
)
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    limit_mb: int,
    children: int,
    rss_mb: int,
    messages: int,
    size_kb: int,
    factor: float,
    json_file: Path | None,
) -> None:
    """Prove that the tree lives within the memory that its container gives it."""
    setting = Setting(limit_mb, children, rss_mb, messages, size_kb * 1000, factor)
    click.echo(
        f"{messages} conversations of {size_kb} kB, {children} children of {rss_mb} MB within {limit_mb} MB, "
        f"the incident's latencies x {factor:g}, {machine()}"
    )
    with Stack() as stack, limited(limit_mb * MB) as limit:
        result = run(stack, limit, setting)
    click.echo(line(result))
    broken = judge(result, setting)
    if json_file:
        report = {"machine": machine(), "setting": setting, "result": result, "broken": broken}
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for promise in broken:
        click.echo(f"BROKEN: {promise}", err=True)
    sys.exit(1 if broken else 0)


def run(stack: Stack, limit: Limit, setting: Setting) -> Result:
    """Let one supervisor inside the limit work through the conversations."""
    stack.memory_api.set_mode("incident", factor=setting.factor)
    with temporary_directory() as directory, Ground(stack, "container") as ground:
        environment = ground.environment | {
            "MEMORY_API_TIMEOUT_SECONDS": str(INCIDENT_TIMEOUT_S * setting.factor),
            "FRIENDSHIP_BREAKER": "off",
        }
        options = (f"--children={setting.children}", f"--rss-mb={setting.rss_mb}")
        with (
            Supervised(directory, environment, *options, inside=limit.inside) as supervised,
            Observer(supervised.pid) as observer,
        ):
            supervised.wait_until(
                lambda: len(supervised.ready()) >= setting.children, "all children are ready"
            )
            limit.enforce_on(supervised.pid)
            began = monotonic()
            publish_as_it_drains(ground, supervised, setting)
            supervised.wait_until(lambda: ground.ended() == setting.messages, "all has ended", every_s=0.1)
            wall_s, seen = monotonic() - began, observer.report()
        rows = ground.query(
            "SELECT concat_ws(' ', status, error_code) AS outcome, count(*) AS n"
            " FROM conversation_events GROUP BY 1"
        )
        return Result(
            limit=limit.name,
            wall_s=round(wall_s, 1),
            outcomes={row["outcome"]: row["n"] for row in rows},
            kills=limit.kills(),
            peak_bytes=limit.peak_bytes(),
            child_peak_bytes=seen.peak_bytes,
            ends=Counter(entry["reason"] for entry in supervised.logged("child_exited")),
            breaches=ground.breaches(),
        )


def publish_as_it_drains(ground: Ground, supervised: Supervised, setting: Setting) -> None:
    """Publish all, with no more than BACKLOG of them in the queue: neither the broker nor we hold gigabytes."""
    end = monotonic() + LIMIT_S
    for one in conversations(setting):
        supervised.wait_until(
            lambda: ground.queued()[0] < BACKLOG, "the queue drains", end - monotonic(), every_s=0.05
        )
        ground.send([one])


def conversations(setting: Setting) -> Iterator[Conversation]:
    """Make conversations of one size that differ in their ids, one at a time."""
    (model,) = copies("big", 1, size_bytes=setting.size_bytes)
    old = model.conversation_id
    for number in range(setting.messages):
        new = f"big-{number:05}"
        yield replace(
            model, conversation_id=new, body=model.body.replace(f'"{old}"'.encode(), f'"{new}"'.encode(), 1)
        )


def judge(result: Result, setting: Setting) -> list[str]:
    """Name the promises that the run broke."""
    others = {reason: count for reason, count in result.ends.items() if reason not in BY_CHOICE}
    checks = {
        f"{result.kills} kills for memory": result.kills > 0,
        f"the tree was at {result.peak_bytes / MB:.0f} MB": result.peak_bytes > setting.limit_mb * MB,
        f"a child was seen at {result.child_peak_bytes / MB:.1f} MB": (
            result.child_peak_bytes > setting.rss_mb * 1.25 * MB
        ),
        f"outcomes are {result.outcomes}": (
            not result.outcomes.keys() <= EXPECTED or sum(result.outcomes.values()) != setting.messages
        ),
        f"children ended otherwise: {others}": bool(others),
        f"invariants: {result.breaches}": bool(result.breaches),
    }
    return [what for what, wrong in checks.items() if wrong]


def line(result: Result) -> str:
    """Spell a run."""
    return (
        f"{result.limit}: peak {result.peak_bytes / MB:.0f} MB, largest child {result.child_peak_bytes / MB:.0f} MB, "
        f"{result.kills} kills for memory, {result.outcomes} in {result.wall_s} s, children ended {result.ends}"
    )


if __name__ == "__main__":
    try:
        main()
    except (ServerMissing, ServerFailed) as error:
        sys.exit(f"bench_container: {error}")

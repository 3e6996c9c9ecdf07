"""The leak benchmark: every conversation leaves 5 MB behind in its child, and nobody is to notice.

    python scripts/bench_leak.py

All children leak alike, so all of them reach their budget at the same time, and they are replaced one after the other
while the rest goes on leaking. Runs with the leak and without it take turns; the throughput, between the first and the
last outcome by the database's clock, is compared pair by pair. Witnesses: the supervisor's log, the queue's count of
its consumers, the rows, and an observer that reads the children's resident size in /proc every 5 ms.

Exits 1 when a promise is broken, naming it.
"""

import statistics
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import click
import orjson

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.faults import timeline
from scripts.faults.ground import Ground
from scripts.faults.injected import LEAK, USE
from scripts.faults.observer import Observer
from scripts.faults.supervised import Supervised
from scripts.measure import MB, copies, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

API_S = 0.2
SIZE_BYTES = 30_000
LEAST_SHARE = 0.95
LIMIT_S = 600.0
BY_CHOICE = frozenset({"rss_soft", "shutdown"})


@dataclass(frozen=True, slots=True)
class Setting:
    """What every run is given. leak_mb: of the runs that leak. use_mb: what the others use instead, and give back."""

    children: int
    rss_mb: int
    hard_mb: int
    leak_mb: float
    use_mb: float
    messages: int


@dataclass(frozen=True, slots=True)
class Result:
    """One run. throughput: messages a second. leave_s: of each recycle, from the word to go to the child's end.

    redelivered: deliveries that the broker called a second one. taken_again: events claimed more than once.
    fewest_ready: children, by the log; fewest_consumers: by the queue, sampled.
    other_ends: children that ended otherwise than by their size or at the stop, by reason.
    """

    leak_mb: float
    throughput: float
    statuses: dict[str, int]
    redelivered: int
    taken_again: int
    fewest_ready: int
    fewest_consumers: int
    peak_bytes: int
    observer_gap_ms: float
    breaches: list[str]
    leave_s: list[float] = field(default_factory=list)
    other_ends: dict[str, int] = field(default_factory=dict)


@click.command()
@click.option("--pairs", default=3, show_default=True, help="Pairs of runs, with the leak and without it.")
@click.option("--messages", default=2000, show_default=True, help="Conversations in one run.")
@click.option("--leak-mb", default=5.0, show_default=True, help="What a conversation leaves behind.")
@click.option(
    "--use-mb", default=0.0, show_default=True, help="What one of the leak-free runs uses and gives back."
)
@click.option("--children", default=8, show_default=True, help="Children of the supervisor.")
@click.option("--rss-mb", default=300, show_default=True, help="Soft budget; the hard one is 1.25 of it.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    pairs: int,
    messages: int,
    leak_mb: float,
    use_mb: float,
    children: int,
    rss_mb: int,
    json_file: Path | None,
) -> None:
    """Prove that children that leak are replaced without a message, a moment or a twentieth of the work lost."""
    setting = Setting(children, rss_mb, rss_mb * 5 // 4, leak_mb, use_mb, messages)
    click.echo(
        f"{messages} conversations of {SIZE_BYTES // 1000} kB, {children} children of {rss_mb} MB, "
        f"{leak_mb:g} MB left behind by each, API {API_S} s, {machine()}"
    )
    rounds: list[dict[str, Result]] = []
    with Stack() as stack:
        stack.memory_api.set_mode("delay", seconds=API_S)
        for number in range(pairs):
            # The one that goes first finds the servers cooler: each goes first in turn
            order = [leak_mb, 0.0] if number % 2 else [0.0, leak_mb]
            pair = {
                leak: run(stack, f"leak_{number}_{leak:g}".replace(".", "_"), setting, leak) for leak in order
            }
            rounds.append({"free": pair[0.0], "leaking": pair[leak_mb]})
            for name, result in rounds[-1].items():
                click.echo(f"{number + 1}. {name:<8}{line(result)}")
    shares = [round(pair["leaking"].throughput / pair["free"].throughput, 4) for pair in rounds]
    click.echo(f"throughput, leaking / free: median {statistics.median(shares)} of {shares}")
    broken = judge(rounds, setting)
    if statistics.median(shares) < LEAST_SHARE:
        broken.append(f"throughput is {statistics.median(shares)} of the leak-free run's")
    if json_file:
        report = {
            "machine": machine(),
            "setting": setting,
            "rounds": rounds,
            "throughput_share": {"pairs": shares, "median": statistics.median(shares)},
            "broken": broken,
        }
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for promise in broken:
        click.echo(f"BROKEN: {promise}", err=True)
    sys.exit(1 if broken else 0)


def run(stack: Stack, name: str, setting: Setting, leak_mb: float) -> Result:
    """Let one supervisor work through the conversations, each of which leaves so much behind."""
    options = (f"--children={setting.children}", f"--rss-mb={setting.rss_mb}", "--allow-overcommit")
    consumers: list[int] = []

    def over() -> bool:
        consumers.append(ground.queued()[1])
        return ground.ended() == setting.messages

    with temporary_directory() as directory, Ground(stack, name) as ground:
        with (
            Supervised(
                directory,
                ground.environment | {LEAK: str(leak_mb), USE: str(setting.use_mb if not leak_mb else 0)},
                *options,
            ) as supervised,
            Observer(supervised.pid) as observer,
        ):
            supervised.wait_until(
                lambda: len(supervised.ready()) >= setting.children, "all children are ready"
            )
            ground.send(copies(name, setting.messages, size_bytes=SIZE_BYTES))
            supervised.wait_until(over, f"all of {name} has ended", LIMIT_S, every_s=0.05)
            seen = observer.report()
        lines = supervised.lines
        statuses = ground.query("SELECT status, count(*) AS n FROM conversation_events GROUP BY status")
        (totals,) = ground.query("""
            SELECT count(*) FILTER (WHERE claim_epoch > 1) AS taken_again,
                   (count(*) - 1) / extract(epoch FROM max(processed_at) - min(processed_at))::float AS throughput
              FROM conversation_events
        """)
        ends = Counter(entry["reason"] for entry in supervised.logged("child_exited"))
        return Result(
            leak_mb=leak_mb,
            throughput=round(totals["throughput"] or 0.0, 2),
            statuses={row["status"]: row["n"] for row in statuses},
            redelivered=len(supervised.logged("redelivered")),
            taken_again=totals["taken_again"],
            fewest_ready=timeline.fewest_ready(lines, setting.children),
            fewest_consumers=min(consumers),
            peak_bytes=seen.peak_bytes,
            observer_gap_ms=seen.largest_gap_ms,
            breaches=ground.breaches(),
            leave_s=[recycle.leave_s for recycle in timeline.recycles(lines, "rss_soft")],
            other_ends={reason: count for reason, count in ends.items() if reason not in BY_CHOICE},
        )


def judge(rounds: list[dict[str, Result]], setting: Setting) -> list[str]:
    """Name the promises that the runs broke, the throughput apart."""
    broken: list[str] = []
    for number, pair in enumerate(rounds, 1):
        for name, result in pair.items():
            least = setting.children - 1
            checks = {
                f"outcomes are {result.statuses}": result.statuses != {"PROCESSED": setting.messages},
                f"{result.redelivered} deliveries came again": result.redelivered > 0,
                f"{result.taken_again} events were claimed more than once": result.taken_again > 0,
                f"{result.fewest_ready} children were ready at one time": result.fewest_ready < least,
                f"the queue had {result.fewest_consumers} consumers": result.fewest_consumers < least,
                f"a child was seen at {result.peak_bytes / MB:.1f} MB": result.peak_bytes
                > setting.hard_mb * MB,
                f"children ended otherwise: {result.other_ends}": bool(result.other_ends),
                f"invariants: {result.breaches}": bool(result.breaches),
                "no child was replaced": name == "leaking" and not result.leave_s,
            }
            broken.extend(f"pair {number}, {name}: {what}" for what, wrong in checks.items() if wrong)
    return broken


def line(result: Result) -> str:
    """Spell a run."""
    leave = result.leave_s
    took = f" in {statistics.median(leave):.2f} s (at most {max(leave):.2f})" if leave else ""
    return (
        f"{result.throughput:6.2f}/s  {len(leave)} recycles{took}, redelivered {result.redelivered}, "
        f"fewest ready {result.fewest_ready} (consumers {result.fewest_consumers}), "
        f"peak {result.peak_bytes / MB:.1f} MB"
    )


if __name__ == "__main__":
    try:
        main()
    except (ServerMissing, ServerFailed) as error:
        sys.exit(f"bench_leak: {error}")

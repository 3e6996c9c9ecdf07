"""The load test: workers doing the same job against the same servers, measured from outside.

    python scripts/load_test.py --compare floor

Each worker starts on an empty queue; when all of its consumers are there, its CPU time is read, the conversations are
published, and when all are PROCESSED it is read again: start-up does not count, the supervisor does. With --compare the
two take turns, five pairs by default, and the ratio is taken pair by pair, so that the machine's own drift cancels out.
"""

import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, sleep

import click
import orjson

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench.contenders import CONTENDERS, Contender
from scripts.measure import MB, Ground, NotReached, Tree, copies, machine, running
from scripts.servers.stack import Stack

LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What every worker is given. delay_s: how long the Memory API takes for each call."""

    messages: int
    size_bytes: int
    children: int
    delay_s: float
    emoji: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One worker's run. Times in seconds, memory in bytes (PSS of the whole tree, sampled)."""

    worker: str
    wall_s: float
    cpu_s_per_message: float
    pss_idle_bytes: int
    pss_peak_bytes: int


@click.command()
@click.option("--messages", default=40, show_default=True, help="Conversations in one run.")
@click.option("--size-kb", default=3000, show_default=True, help="Size of one conversation, in 1000 bytes.")
@click.option("--children", default=2, show_default=True, help="Consumer processes of each worker.")
@click.option("--delay", default=0.0, show_default=True, help="Seconds that the Memory API takes.")
@click.option("--emoji", is_flag=True, help="Half of the texts hold an emoji.")
@click.option(
    "--compare",
    type=click.Choice(list(CONTENDERS)[1:]),
    help="Also run this one, in turns, and print ratios.",
)
@click.option("--pairs", default=5, show_default=True, help="Pairs of runs with --compare.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    messages: int,
    size_kb: int,
    children: int,
    delay: float,
    emoji: bool,
    compare: str | None,
    pairs: int,
    json_file: Path | None,
) -> None:
    """Measure what a conversation costs, on private servers that are started for it."""
    load = Load(messages, size_kb * 1000, children, delay, emoji)
    click.echo(f"{messages} conversations of {size_kb} kB, {children} children, {machine()}")
    names = ["supervised", *([compare] if compare else [])]
    rounds: list[dict[str, Result]] = []
    try:
        with Stack() as stack:
            for number in range(pairs if compare else 1):
                rounds.append(take_turns(stack, names, load, number))
                for name in names:
                    click.echo(f"{number + 1}. {_line(rounds[-1][name])}")
    except NotReached as missed:
        raise SystemExit(str(missed)) from None
    report: dict[str, object] = {"load": load, "machine": machine(), "rounds": rounds}
    if compare:
        ratios = [
            round(pair["supervised"].cpu_s_per_message / pair[compare].cpu_s_per_message, 3)
            for pair in rounds
        ]
        report["cpu_ratio"] = {"pairs": ratios, "median": statistics.median(ratios)}
        click.echo(f"CPU per message, supervised / {compare}: median {statistics.median(ratios)} of {ratios}")
    if json_file:
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")


def take_turns(stack: Stack, names: Sequence[str], load: Load, number: int) -> dict[str, Result]:
    """Run each worker once. The one that goes first finds the servers cooler: each goes first in turn."""
    first = number % len(names)
    order = [*names[first:], *names[:first]]
    return {name: run(stack, CONTENDERS[name], load, number) for name in order}


def run(stack: Stack, worker: Contender, load: Load, number: int) -> Result:
    """Run one worker over the load, and prove that its scores are right. Raises NotReached."""
    name = f"{worker.name}_{number}"
    conversations = copies(name, load.messages, size_bytes=load.size_bytes, emoji=load.emoji)
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay" if load.delay_s else "instant", seconds=load.delay_s)
    with Ground(stack, name, declared=not worker.declares) as ground:
        ground.add(conversations)
        environment = ground.environment | worker.variables(load.children)
        with running(worker.arguments(load.children), environment) as tree:
            tree.until(lambda: ground.consumers() == worker.consumers(load.children), "all consume")
            idle, began, cpu_began = tree.pss_bytes(), monotonic(), tree.cpu_s()
            ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
            peak = _watch(ground, tree, load.messages)
            cpu_s, wall_s = tree.cpu_s() - cpu_began, monotonic() - began
        ground.prove(conversations)
    return Result(worker.name, round(wall_s, 3), round(cpu_s / load.messages, 5), idle, max(peak, idle))


def _watch(ground: Ground, tree: Tree, messages: int) -> int:
    """Wait until all is PROCESSED; return the tree's largest PSS that was seen, in bytes."""
    peak = 0

    def done() -> bool:
        nonlocal peak
        if ground.processed() == messages:
            return True
        peak = max(peak, tree.pss_bytes())
        sleep(0.08)
        return False

    tree.until(done, f"all of {messages} are PROCESSED", LIMIT_S)
    return peak


def _line(result: Result) -> str:
    return (
        f"{result.worker:<11} {result.cpu_s_per_message * 1000:7.1f} ms CPU a message, {result.wall_s:6.1f} s, "
        f"PSS idle {result.pss_idle_bytes / MB:.0f} MB, peak {result.pss_peak_bytes / MB:.0f} MB"
    )


if __name__ == "__main__":
    main()

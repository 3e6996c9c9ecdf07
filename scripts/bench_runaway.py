"""The runaway benchmark: a conversation that takes memory without end, while seven other children work.

    python scripts/bench_runaway.py --runs 10

One supervisor for each kind of runaway lives through all its runs; a child that is killed is replaced meanwhile. A run
is two equal stretches of small conversations that keep every child busy, the second with one runaway among them. It is
judged by an observer that reads the children's resident size in /proc every 5 ms, by the event's row and the accounts
of the dead, and by the time that the other messages took in their children, with the runaway and without.

Exits 1 when a promise is broken, naming it.
"""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import orjson

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.conversations import make
from scripts.faults import runaway
from scripts.faults.ground import Ground
from scripts.faults.observer import Observer
from scripts.faults.runaway import ENDLESS, Kind
from scripts.faults.supervised import Supervised
from scripts.faults.timeline import percentile
from scripts.measure import MB, copies, machine
from scripts.servers.directory import temporary_directory
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

API_S = 0.2
SIZE_BYTES = 30_000
BEFORE = 2  # rounds of messages ahead of the runaway, so that all children are at work when it comes
MOST_DEATHS = 2
MOST_SLOWDOWN = 2.0
VERDICT = ("FAILED", "MEMORY_BUDGET_EXCEEDED")
STRETCH_LIMIT_S = 60.0


@dataclass(frozen=True, slots=True)
class Setting:
    """What every run is given. rounds: messages for each child in one stretch."""

    children: int
    rss_mb: int
    hard_mb: int
    rounds: int


@dataclass(frozen=True, slots=True)
class Run:
    """One runaway. Sizes in bytes, times in ms: those of the other messages, p99.

    deaths: blamed, by cause. others_died: children that ended otherwise than drained with another message in hand.
    """

    kind: Kind
    number: int
    status: str
    error_code: str | None
    deaths: tuple[str, ...]
    others_died: int
    others_unprocessed: int
    peak_bytes: int
    observer_gap_ms: float
    quiet_p99_ms: float
    runaway_p99_ms: float
    settled_ms: float | None


@click.command()
@click.option("--kind", "kinds", multiple=True, type=click.Choice([*ENDLESS]), help="Only these kinds.")
@click.option("--runs", default=10, show_default=True, help="Runs of each kind.")
@click.option("--children", default=8, show_default=True, help="Children of the supervisor.")
@click.option("--rss-mb", default=300, show_default=True, help="Soft budget; the hard one is 1.25 of it.")
@click.option("--rounds", default=16, show_default=True, help="Messages a child in each stretch of a run.")
@click.option("--json", "json_file", type=click.Path(path_type=Path), help="Write the figures there too.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    kinds: Sequence[str], runs: int, children: int, rss_mb: int, rounds: int, json_file: Path | None
) -> None:
    """Prove that a message that takes memory without end takes no child over its budget, and slows no other down."""
    setting = Setting(children, rss_mb, rss_mb * 5 // 4, rounds)
    click.echo(
        f"{children} children, {rss_mb} MB each, hard {setting.hard_mb} MB, API {API_S} s, {machine()}"
    )
    chosen = [Kind(kind) for kind in kinds] or list(ENDLESS)
    results: list[Run] = []
    broken: list[str] = []
    with Stack() as stack:
        stack.memory_api.set_mode("delay", seconds=API_S)
        for kind in chosen:
            done, wrong = of_kind(stack, kind, runs, setting)
            results.extend(done)
            broken.extend(wrong)
    summary = {kind.value: summarise([run for run in results if run.kind is kind]) for kind in chosen}
    for name, figures in summary.items():
        click.echo(f"{name:<8} {figures}")
    if json_file:
        report = {
            "machine": machine(),
            "setting": setting,
            "runs": results,
            "summary": summary,
            "broken": broken,
        }
        json_file.write_bytes(orjson.dumps(report, option=orjson.OPT_INDENT_2) + b"\n")
    for promise in broken:
        click.echo(f"BROKEN: {promise}", err=True)
    sys.exit(1 if broken else 0)


def of_kind(stack: Stack, kind: Kind, runs: int, setting: Setting) -> tuple[list[Run], list[str]]:
    """Run one kind under one supervisor. Returns the runs, and what they broke."""
    options = (f"--children={setting.children}", f"--rss-mb={setting.rss_mb}", "--allow-overcommit")
    done: list[Run] = []
    with (
        temporary_directory() as directory,
        Ground(stack, f"runaway_{kind}") as ground,
        Supervised(directory, ground.environment, *options) as supervised,
        Observer(supervised.pid) as observer,
    ):
        for number in range(runs):
            done.append(one_run(ground, supervised, observer, kind, number, setting))
            click.echo(line(done[-1]))
        breaches = [f"{kind}: invariant {name}" for name in ground.breaches()]
    return done, [wrong for run in done for wrong in judge(run, setting)] + breaches


def one_run(  # noqa: PLR0913, PLR0917 (the parts of one run)
    ground: Ground, supervised: Supervised, observer: Observer, kind: Kind, number: int, setting: Setting
) -> Run:
    """Let a stretch pass without and one with the runaway, and ask all the witnesses."""
    name = f"{kind}-{number}"
    quiet = stretch(ground, supervised, f"{name}-quiet", setting, None)
    observer.report()
    seen_before = len(supervised.lines)
    culprit = runaway.conversation_id(kind, str(number))
    busy = stretch(ground, supervised, f"{name}-busy", setting, culprit)
    seen = observer.report()
    supervised.look()
    lines = supervised.lines[seen_before:]
    event = ground.query(
        "SELECT status, error_code FROM conversation_events WHERE conversation_id = %s", culprit
    )[0]
    deaths = ground.query(
        "SELECT cause FROM child_deaths WHERE conversation_id = %s AND blamed ORDER BY died_at", culprit
    )
    exits = [entry for entry in lines if entry["event"] == "child_exited" and entry["conversation_id"]]
    settled = [entry["ms"] for entry in lines if entry.get("conversation_id") == culprit and "ms" in entry]
    return Run(
        kind=kind,
        number=number,
        status=event["status"],
        error_code=event["error_code"],
        deaths=tuple(death["cause"] for death in deaths),
        others_died=sum(entry["conversation_id"] != culprit for entry in exits),
        others_unprocessed=2 * setting.children * setting.rounds - len(quiet) - len(busy),
        peak_bytes=seen.peak_bytes,
        observer_gap_ms=seen.largest_gap_ms,
        quiet_p99_ms=percentile(quiet, 0.99),
        runaway_p99_ms=percentile(busy, 0.99),
        settled_ms=settled[-1] if settled else None,
    )


def stretch(
    ground: Ground, supervised: Supervised, name: str, setting: Setting, culprit: str | None
) -> list[float]:
    """Keep every child busy for some rounds, and return the milliseconds of each message that was PROCESSED."""
    supervised.wait_until(lambda: len(supervised.ready()) >= setting.children, "all children are ready")
    since = len(supervised.lines)
    messages = copies(name, setting.children * setting.rounds, size_bytes=SIZE_BYTES)
    if culprit is not None:
        messages.insert(setting.children * BEFORE, make(culprit, "user-runaway"))
    ground.send(messages)
    wanted = len(messages) - (culprit is not None)
    supervised.wait_until(
        lambda: ground.ended(name) == wanted and (culprit is None or ground.ended(culprit) == 1),
        f"all of {name} has ended",
        STRETCH_LIMIT_S,
        every_s=0.1,
    )
    rows = ground.query(
        "SELECT conversation_id FROM conversation_events"
        " WHERE starts_with(conversation_id, %s) AND status = 'PROCESSED'",
        name,
    )
    processed = {row["conversation_id"] for row in rows}

    def took_ms() -> dict[str, float]:
        """Read the children's own words for it: from the delivery to the end, whenever it was published."""
        supervised.look()
        told = supervised.lines[since:]
        return {
            entry["conversation_id"]: entry["ms"] for entry in told if entry["event"] == "message_processed"
        }

    supervised.wait_until(lambda: processed <= took_ms().keys(), f"all of {name} is logged")
    return [ms for one, ms in took_ms().items() if one in processed]


def judge(run: Run, setting: Setting) -> list[str]:
    """Name the promises that a run broke."""
    broken = []
    if run.peak_bytes > setting.hard_mb * MB:
        broken.append(f"a child was seen at {run.peak_bytes / MB:.1f} MB, above {setting.hard_mb}")
    if (run.status, run.error_code) != VERDICT:
        broken.append(f"the event ended {run.status} {run.error_code}, not {' '.join(VERDICT)}")
    if not 0 < len(run.deaths) <= MOST_DEATHS:
        broken.append(f"{len(run.deaths)} children died of it")
    if run.others_died:
        broken.append(f"{run.others_died} children died of other messages")
    if run.others_unprocessed:
        broken.append(f"{run.others_unprocessed} other messages were not processed")
    if run.runaway_p99_ms > MOST_SLOWDOWN * run.quiet_p99_ms:
        broken.append(f"p99 of the others {run.runaway_p99_ms:.0f} ms, {run.quiet_p99_ms:.0f} ms without it")
    return [f"{run.kind} {run.number}: {wrong}" for wrong in broken]


def summarise(runs: Sequence[Run]) -> dict[str, float | int]:
    """Give the worst of all runs of a kind."""
    return {
        "runs": len(runs),
        "peak_mb": round(max(run.peak_bytes for run in runs) / MB, 1),
        "most_deaths": max(len(run.deaths) for run in runs),
        "worst_p99_ratio": round(max(run.runaway_p99_ms / run.quiet_p99_ms for run in runs), 2),
        "observer_gap_ms": max(run.observer_gap_ms for run in runs),
    }


def line(run: Run) -> str:
    """Spell a run."""
    return (
        f"{run.kind:<8} {run.number:>2}  peak {run.peak_bytes / MB:6.1f} MB (observer's gap "
        f"{run.observer_gap_ms:4.1f} ms)  {run.status} {run.error_code}, deaths: {' '.join(run.deaths) or 'none'}  "
        f"others p99 {run.runaway_p99_ms:4.0f} ms, without {run.quiet_p99_ms:4.0f}"
    )


if __name__ == "__main__":
    try:
        main()
    except (ServerMissing, ServerFailed) as error:
        sys.exit(f"bench_runaway: {error}")

"""`./scripts/load_test`: workers do the same job through the same hours, one after another, measured from outside."""

import shlex
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click
from rich.console import Console

from scripts.bench.contenders import CONTENDERS, Contender
from scripts.load import compare as comparison
from scripts.load import stored, table
from scripts.load.live import Stage
from scripts.load.promises import OURS, broken
from scripts.load.renderer import NoRenderer
from scripts.load.replay import Setting, replay
from scripts.load.report import report
from scripts.load.results import Run
from scripts.load.scenario import SCENARIOS, Scenario
from scripts.load.sweep import sweep
from scripts.measure import NotReached, machine
from scripts.servers.process import ServerFailed, ServerMissing
from scripts.servers.stack import Stack

SCALING = "scaling"
SCALING_CHILDREN = (1, 2, 4, 8, 16, 32, 64)
SCALING_API_S = 1.0
CLIMB = Scenario(
    SCALING,
    f"Ever more children, kept busy by a Memory API that takes {SCALING_API_S:g} s",
    from_minute=0,
    to_minute=0,
    steps=(),
    size_kb=30.0,
)


def contenders(_context: click.Context, _parameter: click.Parameter, value: str) -> tuple[Contender, ...]:
    """Read a comma list of workers, each once, in the order in which they take their turns."""
    found = []
    for name in dict.fromkeys(part.strip() for part in value.split(",") if part.strip()):
        if name not in CONTENDERS:
            raise click.BadParameter(f"{name}: not among {', '.join(CONTENDERS)}")
        if not CONTENDERS[name].installed:
            raise click.BadParameter(
                f"{CONTENDERS[name].title} is not installed; pip install -r locks/bench.lock for it"
            )
        found.append(CONTENDERS[name])
    if not found:
        raise click.BadParameter("no worker is named")
    return tuple(found)


def counts(_context: click.Context, _parameter: click.Parameter, value: str | None) -> tuple[int, ...] | None:
    """Read a number above 0, or a comma list of such."""
    if value is None:
        return None
    parts = [part.strip() for part in value.split(",")]
    if not all(part.isdecimal() and int(part) for part in parts):
        raise click.BadParameter(f"{value!r} is no number above 0, nor a comma list of them")
    return tuple(int(part) for part in parts)


@click.command()
@click.option(
    "--scenario",
    type=click.Choice([*SCENARIOS, SCALING]),
    default="incident",
    show_default=True,
    help="What is replayed; --list says what each is.",
)
@click.option(
    "--workers",
    callback=contenders,
    metavar="NAME,...",
    default="threaded,supervised",
    show_default=True,
    help=f"Of {', '.join(CONTENDERS)}; each takes its turn.",
)
@click.option(
    "--time-scale",
    type=click.FloatRange(min=0, max=1, min_open=True),
    default=0.05,
    show_default=True,
    help="Seconds on the clock for one of the scenario.",
)
@click.option(
    "--children",
    callback=counts,
    metavar="N[,...]",
    help=f"Consumer processes of each worker.  [default: 8; {SCALING}: {','.join(map(str, SCALING_CHILDREN))}]",
)
@click.option(
    "--limit-mb",
    type=click.IntRange(min=64),
    default=3000,
    show_default=True,
    help="MB (2^20 bytes) for a worker's whole process tree; above it the kernel kills.",
)
@click.option(
    "--size-kb",
    type=click.FloatRange(min=1),
    help="Size of a message, in 1024 bytes.  [default: the scenario's, 3072]",
)
@click.option("--seed", default=0, show_default=True, help="Of all that is drawn by chance.")
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("load-test"),
    show_default=True,
    help="Directory for SCENARIO.json, .html, .svg and .md.",
)
@click.option(
    "--compare",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="An older SCENARIO.json: exit 1 where this run is worse.",
)
@click.option("--list", "list_them", is_flag=True, help="Say what the scenarios are, and end.")
def main(  # noqa: PLR0913, PLR0917 (the options of one command)
    scenario: str,
    workers: tuple[Contender, ...],
    time_scale: float,
    children: tuple[int, ...] | None,
    limit_mb: int,
    size_kb: float | None,
    seed: int,
    output: Path,
    compare: Path | None,
    list_them: bool,
) -> None:
    """Replay hours of work with several workers, measure them from outside, and draw what happened.

    Private servers are started for it. Exits 1 when friendship-supervisor broke a promise, or with --compare got worse.
    """
    console = Console(highlight=False, soft_wrap=True)
    if list_them:
        for one in (*SCENARIOS.values(), CLIMB):
            console.print(f"{one.name:<17}{one.title}", markup=False)
        return
    climbing = scenario == SCALING
    if children and len(children) > 1 and not climbing:
        raise click.BadParameter(f"one number only, but for --scenario {SCALING}", param_hint="--children")
    chosen = CLIMB if climbing else SCENARIOS[scenario]
    setting = Setting(
        scenario=replace(chosen, size_kb=size_kb or chosen.size_kb),
        scale=1.0 if climbing else time_scale,
        seed=seed,
        children=max(children or (SCALING_CHILDREN if climbing else (8,))),
        limit_mb=0 if climbing else limit_mb,
    )
    run = beginning(setting, f"./scripts/load_test {shlex.join(sys.argv[1:])}")
    before = _earlier(compare, run) if compare else None
    output.mkdir(parents=True, exist_ok=True)  # rather now than after three minutes
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    console.print("load_test: starting a private RabbitMQ, PostgreSQL and Memory API stand-in")
    try:
        with Stack() as stack:
            if climbing:
                run, failed = climb(stack, children or SCALING_CHILDREN, run, console)
            else:
                run, failed = play(stack, workers, setting, run, console)
    except (ServerFailed, ServerMissing) as error:
        console.print(f"load_test: {error}", markup=False)
        raise SystemExit(1) from None
    except KeyboardInterrupt:
        console.print("load_test: stopped")
        raise SystemExit(130) from None
    raise SystemExit(conclude(run, before, output, failed, console))


def beginning(setting: Setting, command: str) -> Run:
    """Say what will be run."""
    scenario = setting.scenario
    return Run(
        scenario=scenario.name,
        title=scenario.title,
        from_minute=scenario.from_minute,
        to_minute=scenario.to_minute,
        time_scale=setting.scale,
        seed=setting.seed,
        children=setting.children,
        message_kb=scenario.size_kb,
        limit_mb=setting.limit_mb,
        limit="none",
        machine=machine(),
        command=command,
        started_at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def play(
    stack: Stack, workers: Sequence[Contender], setting: Setting, run: Run, console: Console
) -> tuple[Run, list[str]]:
    """Replay the scenario with each worker in turn; also say which could not be measured, and why."""
    failed: list[str] = []
    with Stage(console, setting, workers).open() as stage:
        for worker in workers:
            try:
                result, limit = replay(stack, worker, setting, stage.show(worker))
            except NotReached as missed:
                failed.append(f"NOT MEASURED: {worker.title}: {missed}")
                continue
            stage.done(result)
            run = replace(run, limit=limit, workers=(*run.workers, result))
    return run, failed


def climb(stack: Stack, children: Sequence[int], run: Run, console: Console) -> tuple[Run, list[str]]:
    """Keep ever more children busy; also say which number could not be measured, and why."""
    for count in children:
        try:
            steps = sweep(stack, [count], api_s=SCALING_API_S, size_kb=run.message_kb, say=console.print)
        except NotReached as missed:
            return run, [f"NOT MEASURED: {count} children: {missed}"]
        run = replace(run, steps=(*run.steps, *steps))
    return run, []


def conclude(run: Run, before: Run | None, output: Path, failed: list[str], console: Console) -> int:
    """Say what was found, write it down, and judge it: 1 when something failed, was broken or became worse."""
    console.print(table.text(run), markup=False)
    for file in write(run, output):
        console.print(f"written: {file}", markup=False)
    failed += [f"BROKEN: {text}" for result in run.workers for text in broken(run, result)]
    if before is not None:
        console.print(comparison.text(run, before), markup=False)
        others = {one.title for one in run.workers if one.name != OURS}
        changes = comparison.regressions(comparison.compare(run, before))
        failed += [f"WORSE: {change.who}, {change.label}" for change in changes if change.who not in others]
    for text in failed:
        console.print(text, style="bold red", markup=False)
    return 1 if failed else 0


def write(run: Run, directory: Path) -> list[Path]:
    """Write the report's files; return where they are."""
    texts = {".json": stored.dump(run), ".md": table.markdown(run).encode()}
    try:
        drawn = report(run)
    except NoRenderer as missing:
        click.echo(f"load_test: no charts: {missing}", err=True)
    else:
        texts |= {".html": drawn.html.encode(), ".svg": drawn.svg.encode()}
    files = [directory / f"{run.scenario}{ending}" for ending in texts]
    for file, text in zip(files, texts.values(), strict=True):
        file.write_bytes(text)
    return files


def _earlier(file: Path, run: Run) -> Run:
    """Read a file to compare with; what cannot be compared is refused before anything starts."""
    try:
        earlier = stored.load(file.read_bytes())
        comparison.compare(run, earlier)
    except (stored.NotARun, comparison.NotComparable) as error:
        raise click.BadParameter(f"{file}: {error}", param_hint="--compare") from None
    return earlier


if __name__ == "__main__":
    main(prog_name="load_test")

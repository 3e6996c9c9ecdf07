"""What the job costs in memory and processor time: this project, a bare loop, and task libraries, side by side.

    python scripts/bench_memory.py --json figures.json --svg figures.svg --markdown figures.md

Every worker does the same job on the same private servers, one after the other; docs/benchmarks.md says what each
figure is and how it is taken. Celery and Dramatiq take part where the extra `bench` is installed.
"""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import click
import orjson

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench import chart, table, trials, verdict
from scripts.bench.contenders import COMPARED, CONTENDERS, Contender
from scripts.bench.cpu import Load
from scripts.bench.cpu import run as run_load
from scripts.bench.figures import QUICK, Figures, Plan, rows
from scripts.bench.kill import kill
from scripts.measure import MB, NotReached, machine
from scripts.servers.stack import Stack

PARTS = ("idle", "waiting", "run", "peak", "kill", "cpu")


Callback = Callable[[click.Context, click.Parameter, str | None], tuple[str, ...] | None]


def names_among(known: Sequence[str]) -> Callback:
    """Read a comma list of names, all of them known."""

    def read(
        _context: click.Context, _parameter: click.Parameter, value: str | None
    ) -> tuple[str, ...] | None:
        if value is None:
            return None
        names = [name.strip() for name in value.split(",")]
        if unknown := [name for name in names if name not in known]:
            raise click.BadParameter(f"{', '.join(unknown)}: not among {', '.join(known)}")
        return tuple(name for name in known if name in names)

    return read


def sizes(
    _context: click.Context, _parameter: click.Parameter, value: str | None
) -> tuple[float, ...] | None:
    """Read a comma list of sizes in MB, each above 0."""
    if value is None:
        return None
    try:
        found = tuple(float(size) for size in value.split(","))
    except ValueError:
        found = ()
    if not found or not min(found) > 0:
        raise click.BadParameter(f"{value!r} is no list of sizes")
    return found


ABOVE_0 = click.IntRange(min=1)
OUTPUT = click.Path(path_type=Path, dir_okay=False)


@click.command()
@click.option(
    "--workers",
    callback=names_among(list(CONTENDERS)),
    help=f"These of {','.join(CONTENDERS)}.  [default: {','.join(COMPARED)}]",
)
@click.option("--only", callback=names_among(PARTS), help=f"Only these parts of {','.join(PARTS)}.")
@click.option("--quick", is_flag=True, help="Fewer children, messages and rounds: 2, 16 and 1; 3 and 30 MB.")
@click.option("--children", type=ABOVE_0, help="Processes of each worker.  [default: 8]")
@click.option("--messages", type=ABOVE_0, help="Messages in the part `run`.  [default: 200]")
@click.option("--message-mb", type=click.FloatRange(min=0, min_open=True), help="MB a message.  [default: 3]")
@click.option("--sizes-mb", callback=sizes, help="MB a message, in the part `peak`.  [default: 3,30,60]")
@click.option("--pairs", type=ABOVE_0, help="Rounds of the part `cpu`.  [default: 5]")
@click.option("--cpu-messages", type=ABOVE_0, help="Messages in each of these.  [default: 40]")
@click.option(
    "--back-limit",
    "back_limit_s",
    type=click.FloatRange(min=0, min_open=True),
    help="Seconds after a kill, in the part `kill`, until a consumer is missed for good.  [default: 15]",
)
@click.option("--json", "json_file", type=OUTPUT, help="Write all that was read there.")
@click.option("--svg", "svg_file", type=OUTPUT, help="Write a picture there.")
@click.option(
    "--markdown", "markdown_file", type=OUTPUT, help="Write the tables of docs/benchmarks.md there."
)
def main(
    workers: tuple[str, ...] | None,
    only: tuple[str, ...] | None,
    quick: bool,
    **given: Any,
) -> None:
    """Measure memory and processor time of workers that do the same job. MB are 2^20 bytes."""
    files = {name: given.pop(name) for name in ("json_file", "svg_file", "markdown_file")}
    chosen = {name: value for name, value in given.items() if value is not None}
    plan = replace(QUICK if quick else Plan(), **chosen)
    wanted = [CONTENDERS[name] for name in workers or COMPARED]
    contenders = [one for one in wanted if one.installed]
    for one in wanted:
        if not one.installed:
            _say(f"{one.title} is not installed; pip install -r locks/bench.lock for it")
    if not contenders:
        raise SystemExit(2)
    versions = {one.title: one.version for one in contenders if one.version}
    where = ", ".join([machine(), *(f"{title} {version}" for title, version in versions.items())])
    _say(where)
    with Stack() as stack:
        bench = Bench(stack, plan)
        figures = [bench.memory(one, only or PARTS) for one in contenders]
        if "cpu" in (only or PARTS):
            figures = bench.cpu(contenders, figures)
    found, names = rows(plan, figures), [one.name for one in contenders]
    judged = verdict.judge(found, names)
    click.echo("\n".join([table.text(found, names), "", *verdict.lines(judged)]))
    for missed in [missed for one in figures for missed in one.missed]:
        click.echo(f"not measured: {missed}")
    report = {
        "machine": where,
        "plan": asdict(plan),
        "rows": found,
        "verdict": {"summary": list(verdict.sentences(judged)), "rows": judged},
        "figures": figures,
    }
    written: dict[str, Callable[[], str]] = {
        "json_file": lambda: orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() + "\n",
        "svg_file": lambda: chart.svg([row for row in found if row.drawn], names, where),
        "markdown_file": lambda: "\n".join(
            [f"{where}.", "", table.markdown(found, names), verdict.markdown(judged)]
        ),
    }
    for name, file in files.items():
        if file is not None:
            file.write_text(written[name](), "utf-8")
    if any(one.missed for one in figures):
        raise SystemExit(1)


@dataclass(frozen=True, slots=True)
class Bench:
    """Takes the parts that are wanted. A part that fails is noted, and the next one taken."""

    stack: Stack
    plan: Plan

    def memory(self, worker: Contender, parts: Sequence[str]) -> Figures:
        """Take all but the processor time of one worker."""
        figures = Figures(worker.name)
        for part in parts:
            try:
                figures = self._part(worker, part, parts, figures)
            except NotReached as missed:
                figures = replace(figures, missed=(*figures.missed, f"{worker.name}, {part}: {missed}"))
        return figures

    def _part(self, worker: Contender, part: str, parts: Sequence[str], figures: Figures) -> Figures:
        match part:
            case "idle" if "waiting" not in parts:
                _say(f"{worker.name}: fresh")
                return replace(figures, idle=trials.idle(self.stack, worker, self.plan))
            case "waiting":
                _say(f"{worker.name}: fresh, waiting")
                idle, waiting = trials.waiting(self.stack, worker, self.plan)
                return replace(figures, idle=idle, waiting=waiting)
            case "run":
                _say(f"{worker.name}: {self.plan.messages} messages")
                busiest, after = trials.run(self.stack, worker, self.plan)
                return replace(figures, busiest_bytes=busiest, after=after)
            case "peak":
                for size_mb in self.plan.sizes_mb:
                    _say(f"{worker.name}: one message of {size_mb:g} MB")
                    height = trials.height(self.stack, worker, size_mb)
                    figures = replace(figures, heights=(*figures.heights, height))
            case "kill":
                _say(f"{worker.name}: one process is killed")
                return replace(figures, kill=kill(self.stack, worker, self.plan))
        return figures

    def cpu(self, workers: Sequence[Contender], figures: Sequence[Figures]) -> list[Figures]:
        """Take the processor time, in rounds: in each, all run once, and another one goes first.

        Who misses a round is out, so that every ratio is of figures from one round.
        """
        load = Load(
            messages=self.plan.cpu_messages,
            size_bytes=int(self.plan.message_mb * MB),
            children=self.plan.cpu_children,
            delay_s=0.0,
            emoji=False,
        )
        by_name = {one.worker: one for one in figures}
        for number in range(self.plan.pairs):
            first = number % len(workers)
            for worker in [*workers[first:], *workers[:first]]:
                one = by_name[worker.name]
                if len(one.cpu_s) < number:
                    continue
                _say(f"{worker.name}: processor time, round {number + 1} of {self.plan.pairs}")
                try:
                    cpu_s = run_load(self.stack, worker, load, number).cpu_s_per_message
                except NotReached as missed:
                    by_name[worker.name] = replace(one, missed=(*one.missed, f"{worker.name}, cpu: {missed}"))
                else:
                    by_name[worker.name] = replace(one, cpu_s=(*one.cpu_s, cpu_s))
        whole = {
            name: one if len(one.cpu_s) == self.plan.pairs else replace(one, cpu_s=())
            for name, one in by_name.items()
        }
        return list(whole.values())


def _say(line: str) -> None:
    click.echo(line, err=True)


if __name__ == "__main__":
    main()

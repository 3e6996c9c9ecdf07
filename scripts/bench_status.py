"""What being watched costs: processor time of an idle supervisor with and without its status process.

    python scripts/bench_status.py --rounds 5

Each round runs the real program three times, in turn: with `--listen ''`, asked for /metrics once a second, and asked
so with a live page open beside. Everything is read from outside: the time of the whole tree, the parent's threads and
sockets, and what the status process holds that no other does. It exits 1 when being asked costs more than 0.5 % of a
core, or the parent has a second thread or a socket. On a machine that does other work besides, believe memory only.
"""

import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from time import monotonic, sleep

import click
import httpx
import orjson
import psutil

if __package__ is None:  # started as a file, not as a module
    sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.bench.contenders import SUPERVISED
from scripts.measure import MB, Ground, NotReached, Tree, machine, running
from scripts.servers.stack import Stack
from supervisor.cli import whereabouts

SETTLE_S = 3.0
MOST_PERCENT = 0.5


@dataclass(frozen=True, slots=True)
class Result:
    """One run. percent_of_core: of the whole tree, while it idles. status_private_mb: 0 without a status process."""

    kind: str
    percent_of_core: float
    parent_percent: float
    status_private_mb: float
    parent_threads: int
    parent_sockets: int


@click.command()
@click.option("--rounds", default=5, show_default=True, type=click.IntRange(min=1))
@click.option("--children", default=8, show_default=True, type=click.IntRange(min=1))
@click.option("--seconds", default=20.0, show_default=True, help="Measured in each run.")
@click.option("--json", "output", type=click.Path(path_type=Path, dir_okay=False))
def main(rounds: int, children: int, seconds: float, output: Path | None) -> None:
    """Measure what the status process costs."""
    results: list[Result] = []
    try:
        with Stack() as stack:
            for number in range(rounds):
                for kind in ("silent", "scraped", "watched"):
                    results.append(_run(stack, kind, f"status_{kind}_{number}", children, seconds))
                    click.echo(orjson.dumps(asdict(results[-1])))
    except NotReached as missed:
        sys.exit(str(missed))
    compared = _compared(results)
    told: dict[str, object] = {**compared} | {"children": children, "rounds": rounds, "machine": machine()}
    click.echo(orjson.dumps(told))
    if output is not None:
        output.write_bytes(orjson.dumps({"runs": [asdict(one) for one in results], **told}))
    broken = [
        name
        for name, holds in {
            "being asked costs too much": compared["scraped_adds_percent"] <= MOST_PERCENT,
            "the parent has a second thread": all(one.parent_threads == 1 for one in results),
            "the parent has a socket": all(one.parent_sockets == 0 for one in results),
        }.items()
        if not holds
    ]
    if broken:
        sys.exit("; ".join(broken))


def _compared(results: list[Result]) -> dict[str, float]:
    """Take the difference round by round, and the middle one of those."""
    by_kind = {
        kind: [one for one in results if one.kind == kind] for kind in ("silent", "scraped", "watched")
    }

    def adds(kind: str) -> float:
        pairs = zip(by_kind[kind], by_kind["silent"], strict=True)
        return round(median(one.percent_of_core - base.percent_of_core for one, base in pairs), 3)

    return {
        "silent_percent": round(median(one.percent_of_core for one in by_kind["silent"]), 3),
        "scraped_adds_percent": adds("scraped"),
        "watched_adds_percent": adds("watched"),
        "status_private_mb": max(one.status_private_mb for one in results),
    }


def _run(stack: Stack, kind: str, name: str, children: int, seconds: float) -> Result:
    with Ground(stack, name) as ground, ExitStack() as resources:
        listen = "" if kind == "silent" else "127.0.0.1:0"
        environment = ground.environment | SUPERVISED.variables(children) | {"FRIENDSHIP_LISTEN": listen}
        tree = resources.enter_context(running(SUPERVISED.arguments(children), environment))
        tree.until(lambda: ground.consumers() == children, "all consume")
        url = "" if kind == "silent" else _address(tree)
        if url:
            resources.enter_context(_asking(url, live=kind == "watched"))
        sleep(SETTLE_S)
        parent = psutil.Process(tree.pid)
        began, whole, own = monotonic(), tree.cpu_s(), _own_s(parent)
        sleep(seconds)
        passed = monotonic() - began
        whole, own = tree.cpu_s() - whole, _own_s(parent) - own
        sockets = [fd for fd in Path(f"/proc/{tree.pid}/fd").iterdir() if "socket:" in str(fd.readlink())]
        return Result(
            kind,
            round(whole / passed * 100, 3),
            round(own / passed * 100, 3),
            _private_mb(tree),
            parent.num_threads(),
            len(sockets),
        )


def _own_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _address(tree: Tree) -> str:
    """Find where it answers as `friendship-supervisor status` does."""
    found: list[str] = []

    def answers() -> bool:
        running = whereabouts.found(whereabouts.processes())
        found[:] = [one.address for one in running if one.pid == tree.pid and one.address is not None]
        return bool(found)

    tree.until(answers, "the status process answers")
    return whereabouts.url(found[0])


def _private_mb(tree: Tree) -> float:
    titles = {one.pid: one.title for one in whereabouts.processes()}
    sizes = [
        one.private_bytes for one in tree.read() if whereabouts.STATUS.fullmatch(titles.get(one.pid, ""))
    ]
    return round(sum(sizes) / MB, 1)


@contextmanager
def _asking(url: str, *, live: bool) -> Iterator[None]:
    """Ask for the metrics once a second, and hold a live page open beside, if wanted."""
    over = threading.Event()

    def ask() -> None:
        with httpx.Client(trust_env=False) as client:
            while not over.wait(1.0):
                client.get(f"{url}/metrics").raise_for_status()

    def watch() -> None:
        with httpx.stream("GET", f"{url}/live", trust_env=False, timeout=30.0) as stream:
            for _line in stream.iter_lines():
                if over.is_set():
                    return

    threads = [threading.Thread(target=work) for work in ((ask, watch) if live else (ask,))]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        over.set()
        for thread in threads:
            thread.join()


if __name__ == "__main__":
    main()

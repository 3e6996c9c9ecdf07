"""From body bytes to request bytes: what each way costs in time and memory.

    python -m scripts.bench.decoding

Each run is a process of its own: it reads the body, makes the request once, and hands its bytes on as a call would.
The time is the processor's, from the body to the last byte handed on; the peak is what the process was resident above
what it was with the body. All run with the allocator's thresholds as our children have them. Half of the texts hold an
emoji.
"""

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import process_time

import click
import msgspec
import orjson

from consumer import conversation, message
from scripts.bench.heights import high_water_bytes
from scripts.measure import MB, ROOT, copies
from supervisor import memory

ROLES = {"pika": "assistant", "user": "user"}
SELF = "self"


def stdlib(body: bytes) -> Iterable[bytes]:
    """Decode and encode all of it with the standard library, as httpx's `json=` encodes."""
    data = json.loads(body)
    items = [{"role": ROLES[item["speaker"]], "content": item["text"]} for item in data["conversation_log"]]
    request = {
        "user_id": data["user_id"],
        "conversation_id": data["conversation_id"],
        "conversation": items,
    }
    return [json.dumps(request, ensure_ascii=False, separators=(",", ":")).encode()]


def whole(body: bytes) -> Iterable[bytes]:
    """Decode and encode all of it with orjson, as the floor does."""
    data = orjson.loads(body)
    items = [{"role": ROLES[item["speaker"]], "content": item["text"]} for item in data["conversation_log"]]
    request = {
        "user_id": data["user_id"],
        "conversation_id": data["conversation_id"],
        "conversation": items,
    }
    return [orjson.dumps(request)]


class Item(msgspec.Struct):
    speaker: str
    text: str


class Body(msgspec.Struct):
    conversation_id: str
    user_id: str
    conversation_log: list[Item]


class Said(msgspec.Struct):
    role: str
    content: str


class Request(msgspec.Struct):
    user_id: str
    conversation_id: str
    conversation: list[Said]


def typed(body: bytes) -> Iterable[bytes]:
    """Decode only the fields that are used, into structs, all at once; msgspec."""
    data = msgspec.json.decode(body, type=Body)
    said = [Said(ROLES[item.speaker], item.text) for item in data.conversation_log]
    return [msgspec.json.encode(Request(data.user_id, data.conversation_id, said))]


def raw(body: bytes) -> Iterable[bytes]:
    """The project's way: an envelope, then one item at a time, its text as the JSON that it came in."""
    envelope = message.parse(body)
    assert envelope.log is not None
    return conversation.transcribe(envelope.log, envelope.user_id, envelope.conversation_id).payload


WAYS: dict[str, tuple[str, Callable[[bytes], Iterable[bytes]]]] = {
    "stdlib": ("`json`, whole", stdlib),
    "orjson": ("orjson, whole (the bare loop)", whole),
    "typed": ("msgspec, whole, the fields that are used", typed),
    "raw": ("this project: item by item, texts as they are", raw),
}


@dataclass(frozen=True, slots=True)
class Cost:
    """The median of several runs: milliseconds, and bytes above a process that holds the body."""

    ms: float
    peak_bytes: int


@click.command()
@click.option("--sizes-mb", default="3,60", show_default=True, help="MB (2^20 bytes) of the bodies.")
@click.option("--runs", default=5, show_default=True, help="Runs of each, the median counts.")
@click.option("--markdown", "as_markdown", is_flag=True, help="Print the table of docs/benchmarks.md.")
@click.option("--run", "one", type=(click.Choice(list(WAYS)), click.Path(path_type=Path)), hidden=True)
def main(sizes_mb: str, runs: int, as_markdown: bool, one: tuple[str, Path] | None) -> None:
    """Measure ways from body bytes to request bytes."""
    if one is not None:
        click.echo(orjson.dumps(measure(*one)))
        return
    sizes = [float(size) for size in sizes_mb.split(",")]
    costs = {(way, size): cost for size in sizes for way, cost in _costs(size, runs)}
    click.echo((markdown if as_markdown else text)(costs, sizes))


def measure(way: str, file: Path) -> tuple[float, int]:
    """Go one way once, in this process: seconds, and bytes above."""
    memory.prepare()
    make = WAYS[way][1]
    body = file.read_bytes()
    # the kernel counts a new height from here
    Path("/proc/self/clear_refs").write_text("5")
    before = memory.own_rss_bytes()
    began = process_time()
    for chunk in make(body):
        assert chunk
    took_s = process_time() - began
    return took_s, max(0, high_water_bytes(SELF) - before)


def text(costs: dict[tuple[str, float], Cost], sizes: Sequence[float]) -> str:
    """Lay the costs out in columns."""
    lines = [" " * 46 + "".join(f"{size:g} MB".rjust(22) for size in sizes)]
    for way, (title, _) in WAYS.items():
        cells = "".join(_words(costs[way, size]).rjust(22) for size in sizes)
        lines.append(f"{title.replace('`', ''):<46}{cells}")
    return "\n".join(lines)


def markdown(costs: dict[tuple[str, float], Cost], sizes: Sequence[float]) -> str:
    """Write the costs as a table."""
    head = " | ".join(f"{size:g} MB: time, peak" for size in sizes)
    lines = [f"| from body bytes to request bytes | {head} |", "|---|" + "---:|" * len(sizes)]
    for way, (title, _) in WAYS.items():
        cells = " | ".join(_words(costs[way, size]) for size in sizes)
        lines.append(f"| {title} | {cells} |")
    return "\n".join(lines)


def _costs(size_mb: float, runs: int) -> Iterator[tuple[str, Cost]]:
    [model] = copies("decoding", 1, size_bytes=int(size_mb * MB), emoji=True)
    with tempfile.NamedTemporaryFile() as file:
        file.write(model.body)
        file.flush()
        for way in WAYS:
            # the first one finds the file's and the libraries' pages not read yet
            found = [_in_a_process(way, file.name) for _ in range(runs + 1)][1:]
            times, peaks = zip(*found, strict=True)
            yield way, Cost(statistics.median(times) * 1000, int(statistics.median(peaks)))


def _in_a_process(way: str, file: str) -> tuple[float, int]:
    command = [sys.executable, "-m", "scripts.bench.decoding", "--run", way, file]
    done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, check=True)
    took_s, peak_bytes = orjson.loads(done.stdout)
    return float(took_s), int(peak_bytes)


def _words(cost: Cost) -> str:
    return f"{cost.ms:.0f} ms, {cost.peak_bytes / MB:.0f} MB"


if __name__ == "__main__":
    main()

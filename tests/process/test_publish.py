"""`publish` as a person or a script runs it: every form of file, every door, and interrupted in every way."""

import contextlib
import gzip
import json
import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path
from time import monotonic
from typing import IO, Any
from urllib.parse import urlsplit

import pika
import psutil
import pytest

from scripts.conversations import make
from scripts.servers.rabbitmq import RabbitMQ
from supervisor.cli.publishing import jsontext
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.proxy import Loss, Proxy
from tests.fixtures.s3 import S3Server
from tests.process.test_cli import PROGRAM, Start

ENOUGH_S = 120
"""For a program that ends by itself; only reached by a failing test."""

Stream = int | IO[bytes]

WEIGH = """
import resource, subprocess, sys
code = subprocess.call(sys.argv[1:])
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
sys.exit(code)
"""
WEIGHED = (sys.executable, "-c", WEIGH)
"""Says at the end, as its last line, how many KB a program took. From here one would see what pytest itself holds."""

MANY = 800
ALL = 10_000
FEW = 30
"""Through a proxy, which passes on 25 confirms a second."""


class Publishing:
    """A `publish` at work, and how it ended."""

    def __init__(
        self,
        arguments: tuple[str, ...],
        environment: dict[str, str],
        *,
        stdin: Stream = subprocess.DEVNULL,
        stderr: Stream = subprocess.PIPE,
        below: tuple[str, ...] = (),
    ) -> None:
        command = [*below, *PROGRAM, "publish", *arguments]
        self.process = subprocess.Popen(
            command, env=os.environ | environment, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
        )

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def ended(self) -> "Ended":
        out, err = self.process.communicate(timeout=ENOUGH_S)
        return Ended(self.process.returncode, out.decode(), (err or b"").decode())

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout, self.process.stderr):
            if stream is not None:
                stream.close()


class Ended:
    """How a call ended."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out, err

    @property
    def accepted(self) -> int:
        found = re.search(r"accepted (\d+)", self.out)
        assert found, self.err
        return int(found[1])


Publish = Callable[..., Publishing]


@pytest.fixture
def publish(environment: dict[str, str], tmp_path: Path) -> Iterator[Publish]:
    """Start `publish` with these arguments; `more` is its environment beside this test's servers."""
    begun: list[Publishing] = []

    def start(*arguments: str | Path, more: dict[str, str] | None = None, **streams: Any) -> Publishing:
        found = environment | {"XDG_STATE_HOME": str(tmp_path / "state")} | (more or {})
        begun.append(Publishing(tuple(map(str, arguments)), found, **streams))
        return begun[-1]

    yield start
    for each in begun:
        each.close()


@pytest.fixture
def proxied(rabbitmq: RabbitMQ) -> Iterator[tuple[Proxy, dict[str, str]]]:
    """Give a proxy in front of the broker, and the variable that points there."""
    parts = urlsplit(rabbitmq.url)
    assert parts.hostname is not None
    assert parts.port is not None
    with Proxy(parts.hostname, parts.port) as proxy:
        url = rabbitmq.url.replace(f":{parts.port}/", f":{proxy.port}/")
        yield proxy, {"RABBITMQ_URL": url}


def bodies(count: int, prefix: str = "c") -> list[bytes]:
    return [make(f"{prefix}-{number:05}", f"user-{number % 10}", messages=3).body for number in range(count)]


def written(path: Path, text: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text)
    return path


def lines_file(path: Path, count: int = MANY) -> Path:
    return written(path, b"\n".join(bodies(count)))


def taken(desk: Desk) -> list[bytes]:
    """Take every message out of the queue, in its order."""
    connection = pika.BlockingConnection(pika.URLParameters(desk.broker.url))
    channel = connection.channel()
    found = []
    while True:
        method, _, body = channel.basic_get(desk.broker.queue, auto_ack=True)
        if method is None:
            break
        found.append(body or b"")
    connection.close()
    return found


def terminal() -> tuple[int, int]:
    try:
        return pty.openpty()
    except OSError as none:
        pytest.skip(f"no terminals here, as in a chroot without devpts: {none}")


def recorded(tmp_path: Path) -> list[Path]:
    return list((tmp_path / "state").rglob("*.journal"))


def number_of(journal: Path) -> int:
    """Say at which line a run stands."""
    found = re.search(rb'"number":(\d+)', journal.read_bytes())
    return int(found[1]) if found else 0


def reached(tmp_path: Path, number: int) -> Callable[[], bool]:
    return lambda: any(number_of(each) >= number for each in recorded(tmp_path))


def depth(desk: Desk) -> int:
    """Count what is in the queue; nothing as long as there is none."""
    with contextlib.suppress(pika.exceptions.ChannelClosedByBroker):
        return desk.depth()
    return 0


def has(desk: Desk, count: int) -> bool:
    return depth(desk) >= count


def test_every_form_of_file_is_read(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """In the order of the names, byte for byte, whatever the name says of compression."""
    made = bodies(9)
    pretty = [json.dumps(json.loads(body), indent=2).encode() for body in made]
    folder = tmp_path / "in"
    written(folder / "1.json", pretty[0])
    written(folder / "2.json", b"[\n" + b",\n".join(pretty[1:3]) + b"\n]\n")
    written(folder / "3.jsonl", made[3] + b"\r\n\r\n" + made[4])
    written(folder / "4.jsonl.gz", gzip.compress(made[5] + b"\n"))
    written(folder / "more" / "5.json.gz", gzip.compress(b"[%b]" % made[6]))
    written(folder / "more" / "6.jsonl", gzip.compress(made[7]))
    written(folder / "notes.txt", b"nonsense")
    ended = publish(folder).ended()
    assert (ended.code, ended.out, ended.err) == (0, "accepted 8, refused 0\n", "")
    # A folder's own files come before those of its folders
    assert taken(desk) == [*pretty[:3], *made[3:8]]
    assert recorded(tmp_path) == []


@pytest.mark.parametrize("zipped", [False, True])
def test_standard_input_may_be_compressed(publish: Publish, desk: Desk, zipped: bool) -> None:
    """It is told by its first bytes, even if they come one by one."""
    made = bodies(3)
    text = b"\n".join(made)
    running = publish("-", stdin=subprocess.PIPE)
    stdin = piped(running)
    sent = gzip.compress(text) if zipped else text
    for part in (sent[:1], sent[1:2], sent[2:]):
        stdin.write(part)
        stdin.flush()
    assert running.ended().accepted == 3
    assert taken(desk) == made


def piped(running: Publishing) -> IO[bytes]:
    assert running.process.stdin is not None
    return running.process.stdin


def test_a_pipe_that_does_not_block_is_read_to_its_end(publish: Publish, desk: Desk) -> None:
    """Node and ssh leave theirs so: nothing there at the moment is not the end."""
    made = bodies(4)
    ours, theirs = os.pipe()
    os.set_blocking(ours, False)
    running = publish("-", stdin=ours)
    with open(theirs, "wb", buffering=0) as pipe:  # noqa: PTH123 (a descriptor)
        for number, body in enumerate(made, 1):
            # Cut in a line: its end is not there yet
            pipe.write(body[:7])
            eventually(partial(is_asleep, running), "it waits for the rest")
            pipe.write(body[7:] + b"\n")
            eventually(partial(has, desk, number), "the line is in the queue")
    assert running.ended().accepted == 4
    assert taken(desk) == made
    assert not os.get_blocking(ours)  # it belongs to whoever gave it, too
    os.close(ours)


def is_asleep(running: Publishing) -> bool:
    return psutil.Process(running.process.pid).status() == psutil.STATUS_SLEEPING


def test_standard_input_is_read_from_where_it_stands(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """Whoever had it before may have taken the first lines: { read -r line; ...; } < file."""
    made = bodies(3)
    with lines_file(tmp_path / "a.jsonl", 3).open("rb", buffering=0) as file:
        file.readline()
        assert publish("-", stdin=file).ended().accepted == 2
    assert taken(desk) == made[1:]


def test_without_standard_error_it_publishes_all_the_same(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """What it would say goes nowhere: into no file that has its number now."""
    file = written(tmp_path / "a.jsonl", b"\n".join([bodies(2)[0], b"nonsense", bodies(2)[1]]))
    ended = publish(file, below=("sh", "-c", 'exec "$@" 2>&-', "sh")).ended()
    assert (ended.code, ended.out, ended.err) == (1, "accepted 2, refused 1\n", "")
    assert taken(desk) == bodies(2)


def test_a_line_from_a_pipe_goes_when_it_comes(publish: Publish, desk: Desk) -> None:
    """Not when the pipe is full or closed: `tail -f` may be at its other end."""
    running = publish("-", stdin=subprocess.PIPE)
    for number, body in enumerate(bodies(2), 1):
        piped(running).write(body + b"\n")
        piped(running).flush()
        eventually(partial(has, desk, number), "the line is in the queue")
    assert running.ended().code == 0


def test_an_item_that_is_no_message_is_named_by_its_number(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """As a line is."""
    good = bodies(2)
    file = written(tmp_path / "a.json", b'[%b, {"x": 1}, 7, %b]' % (good[0], good[1]))
    ended = publish(file).ended()
    assert (ended.code, ended.out) == (1, "accepted 2, refused 2\n")
    for said in ("item 2 is no message: ", "item 3 is no message: "):
        assert f"{file}: {said}" in ended.err
    assert taken(desk) == good
    told = [json.loads(line) for line in publish("--json", "--from-start", file).ended().out.splitlines()]
    assert [each.get("item") for each in told] == [2, 3, None]
    assert told[-1] == {"accepted": 2, "refused": 2}


def test_a_list_that_is_cut_off_sends_nothing_and_says_so(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """Whole, the same command publishes it."""
    good = bodies(2)
    file = written(tmp_path / "a.json", b'[%b, %b, {"cut' % (good[0], good[1]))
    ended = publish(file).ended()
    assert (ended.code, ended.out) == (1, "accepted 0, refused 0\n")
    assert (
        f"{file}: it is cut off or broken (Input data was truncated): nothing of it was sent\n" in ended.err
    )
    assert taken(desk) == []
    written(file, b"[%b, %b]" % (good[0], good[1]))
    assert publish(file).ended().out == "accepted 2, refused 0\n"
    assert taken(desk) == good


@pytest.mark.parametrize("stdin", ["</dev/null", "<&-"])
def test_a_standard_input_without_a_conversation_is_no_success(
    publish: Publish, desk: Desk, stdin: str
) -> None:
    """jq prints nothing of a list that is cut off, and a pipe's status is the last program's. So where it is closed."""
    ended = publish("-", below=("sh", "-c", f'exec "$@" {stdin}', "sh")).ended()
    assert (ended.code, ended.out) == (1, "accepted 0, refused 0\n")
    assert (
        ended.err
        == "friendship-supervisor: <stdin>: it held no conversation: what writes it may have failed\n"
    )
    assert taken(desk) == []


def test_a_list_of_countless_items_does_not_take_the_machines_memory(
    publish: Publish, tmp_path: Path
) -> None:
    """Two bytes are an item, which takes 56: it is refused before it is cut."""
    file = written(tmp_path / "a.json", b"[" + b"0," * (jsontext.MAX_BYTES // 2 - 2) + b"0]")
    ended = publish(file, below=WEIGHED).ended()
    assert (ended.code, ended.out) == (1, "accepted 0, refused 0\n")
    assert f"{file}: it has more than {jsontext.MAX_COMMAS:,} commas" in ended.err
    assert int(ended.err.splitlines()[-1]) < 250 * 1024


def test_what_is_over_the_limit_is_named_and_never_held(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """400 MB that were 400 KB in the file, between two good ones: the program stays small."""
    good = bodies(2)
    file = tmp_path / "a.jsonl.gz"
    with gzip.open(file, "wb", compresslevel=1) as bomb:
        bomb.write(good[0] + b'\n{"text":"')
        for _ in range(400):
            bomb.write(b"x" * 2**20)
        bomb.write(b'"}\n' + good[1])
    ended = publish("--max-message-mb=1", file, below=WEIGHED).ended()
    assert ended.out == "accepted 2, refused 1\n"
    assert (
        f"2 is no message: {400 * 2**20 + 11} bytes, over the limit of 1048576 (MAX_MESSAGE_MB)" in ended.err
    )
    assert int(ended.err.splitlines()[-1]) < 150 * 1024
    assert taken(desk) == good


def test_all_that_is_refused_is_named_however_much(publish: Publish, tmp_path: Path) -> None:
    """The first with their reasons, the others by their numbers."""
    file = written(tmp_path / "a.jsonl", b"nonsense\n" * 30)
    ended = publish(file).ended()
    assert ended.code == 1
    assert len(ended.err.splitlines()) == 21
    assert ended.err.endswith(f"{file}: nor are lines 21-30\n")


def test_a_file_that_is_cut_is_named_and_the_others_are_published(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """Once the rest is there the same command goes on, and what was done stays done."""
    made = bodies(300)
    whole = gzip.compress(b"\n".join(made))
    cut = written(tmp_path / "in" / "a.jsonl.gz", whole[: len(whole) // 2])
    written(tmp_path / "in" / "b.jsonl", bodies(1, "b")[0])
    ended = publish(tmp_path / "in").ended()
    assert ended.code == 1
    assert f"{cut}: the gzip data ends in the middle" in ended.err
    sent = taken(desk)
    assert sent[-1] == bodies(1, "b")[0]
    assert sent[:-1] == made[: len(sent) - 1]
    with cut.open("r+b") as file:
        file.write(whole)
    again = publish(tmp_path / "in").ended()
    assert again.code == 0
    assert "a.jsonl.gz: goes on after line" in again.err
    assert "b.jsonl: it was done" in again.err
    assert sent[:-1] + taken(desk) == made
    assert recorded(tmp_path) == []


def in_rounds(
    publish: Publish,
    tmp_path: Path,
    arguments: tuple[str | Path, ...],
    signals: list[signal.Signals],
    step: int,
) -> list[Ended]:
    """Interrupt a command again and again, each time so many lines further, and then let it come to its end."""
    ends = []
    for number, each in enumerate(signals, 1):
        running = publish(*arguments)
        eventually(reached(tmp_path, number * step), f"line {number * step} is recorded")
        running.signal(each)
        ends.append(running.ended())
    return [*ends, publish(*arguments).ended()]


ASKING = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP]


@pytest.mark.parametrize(
    ("name", "signals"),
    [("a.jsonl", ASKING), ("a.jsonl.gz", [signal.SIGTERM]), ("a.json", [signal.SIGINT])],
)
def test_an_interrupted_run_goes_on_where_it_stood(
    publish: Publish, desk: Desk, tmp_path: Path, name: str, signals: list[signal.Signals]
) -> None:
    """Each conversation once and in order, however often it is stopped, and however it is asked to."""
    made = bodies(MANY)
    text = b"[%b]" % b",\n".join(made) if name == "a.json" else b"\n".join(made)
    file = written(tmp_path / name, gzip.compress(text) if name.endswith(".gz") else text)
    ends = in_rounds(publish, tmp_path, (file,), signals, MANY // 5)
    assert [each.code for each in ends] == [1] * len(signals) + [0]
    assert all("the same command goes on after" in each.err for each in ends[:-1])
    assert all(": goes on after " in each.err for each in ends[1:])
    assert sum(each.accepted for each in ends) == MANY
    assert not any("may have arrived" in each.err for each in ends)
    assert taken(desk) == made
    assert recorded(tmp_path) == []


@pytest.mark.slow
def test_ten_thousand_conversations_are_published_once_each(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """Interrupted nine times on the way."""
    file = lines_file(tmp_path / "a.jsonl", ALL)
    ends = in_rounds(publish, tmp_path, (file,), list(islice(cycle(ASKING), 9)), ALL // 10)
    assert [each.code for each in ends] == [1] * 9 + [0]
    assert taken(desk) == bodies(ALL)


def test_a_killed_run_repeats_one_line_at_most(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """The one under way; none is missing, and the order stays."""
    kills = 2
    file = lines_file(tmp_path / "a.jsonl")
    signals = [signal.SIGKILL] * kills
    for number, each in enumerate(signals, 1):
        running = publish(file)
        eventually(reached(tmp_path, number * (MANY // 5)), "it is further")
        running.signal(each)
        running.process.communicate()
    assert publish(file).ended().code == 0
    sent = taken(desk)
    assert len(sent) - MANY <= kills
    once = [body for body, before in zip(sent, [b"", *sent], strict=False) if body != before]
    assert once == bodies(MANY)


def test_a_lost_broker_is_an_interruption_too(
    publish: Publish, desk: Desk, tmp_path: Path, proxied: tuple[Proxy, dict[str, str]]
) -> None:
    """The same command goes on, and only the line under way may come twice."""
    proxy, away = proxied
    file = lines_file(tmp_path / "a.jsonl", FEW)
    running = publish(file, more=away)
    eventually(reached(tmp_path, FEW // 3), "a third is recorded")
    proxy.cut()
    ended = running.ended()
    assert ended.code == 1
    assert "the broker was lost: " in ended.err
    assert "the same command goes on after line" in ended.err
    # The same broker, as it was given: by another address it would be another
    again = publish(file, more=away).ended()
    assert again.code == 0
    sent = taken(desk)
    assert len(sent) - FEW <= 1
    assert list(dict.fromkeys(sent)) == bodies(FEW)


def stalled(running: Publishing, proxy: Proxy, tmp_path: Path) -> None:
    """Have a line wait for its confirm."""
    eventually(reached(tmp_path, 5), "it is at work")
    proxy.stall()
    process = psutil.Process(running.process.pid)
    stood: list[int] = []

    def stands() -> bool:
        stood.append(sum(map(number_of, recorded(tmp_path))))
        return process.status() == psutil.STATUS_SLEEPING and len(stood) > 20 and len(set(stood[-20:])) == 1

    eventually(stands, "nothing goes on")


@pytest.mark.parametrize(("loss", "times"), [(Loss.REQUEST, 1), (Loss.REPLY, 2)])
def test_a_line_in_doubt_goes_again(
    publish: Publish,
    desk: Desk,
    tmp_path: Path,
    proxied: tuple[Proxy, dict[str, str]],
    *,
    loss: Loss,
    times: int,
) -> None:
    """It never arrived, or its confirm did not: nobody knows, and nothing is recorded before the confirm."""
    proxy, away = proxied
    made = bodies(FEW)
    file = lines_file(tmp_path / "a.jsonl", FEW)
    proxy.arm(b'"c-00010"', loss)
    ended = publish(file, more=away).ended()
    assert (ended.code, ended.accepted) == (1, 10)
    assert "the line under way may have arrived; the same command goes on after line 10 of" in ended.err
    assert publish(file, more=away).ended().code == 0
    assert taken(desk) == made[:10] + made[10:11] * times + made[11:]


def test_the_line_under_way_is_confirmed_before_a_stop(
    publish: Publish, desk: Desk, tmp_path: Path, proxied: tuple[Proxy, dict[str, str]]
) -> None:
    """However long that takes: nothing is in doubt."""
    proxy, away = proxied
    file = lines_file(tmp_path / "a.jsonl", FEW)
    running = publish(file, more=away)
    stalled(running, proxy, tmp_path)
    running.signal(signal.SIGINT)
    proxy.heal()
    ended = running.ended()
    assert ended.code == 1
    assert "friendship-supervisor: interrupted; the same command goes on after line" in ended.err
    assert ended.accepted + publish(file, more=away).ended().accepted == FEW
    assert taken(desk) == bodies(FEW)


def test_a_second_stop_does_not_wait(
    publish: Publish, tmp_path: Path, proxied: tuple[Proxy, dict[str, str]]
) -> None:
    """It says what is in doubt."""
    proxy, away = proxied
    running = publish(lines_file(tmp_path / "a.jsonl", FEW), more=away)
    stalled(running, proxy, tmp_path)
    process = psutil.Process(running.process.pid)
    running.signal(signal.SIGINT)
    eventually(lambda: not pending(process.pid), "the first has arrived")
    assert process.is_running()
    # What is closed now waits for the broker as well, and is not to be waited for either
    while running.process.poll() is None:
        running.signal(signal.SIGINT)
        with contextlib.suppress(subprocess.TimeoutExpired):
            running.process.wait(0.5)
    ended = running.ended()
    assert ended.code == 1
    assert (
        "interrupted; the line under way may have arrived; the same command goes on after line" in ended.err
    )


def pending(pid: int) -> bool:
    """Say whether a signal waits for a process to take it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return any(int(found, 16) for found in re.findall(r"^(?:Sig|Shd)Pnd:\s*(\w+)$", status, re.MULTILINE))


def test_a_slow_pace_is_left_at_once(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """Who waits a quarter of an hour for the next line still hears ^C."""
    running = publish("--rate=0.001", lines_file(tmp_path / "a.jsonl", 3))
    eventually(reached(tmp_path, 1), "the first line is recorded")
    running.signal(signal.SIGINT)
    assert running.ended().accepted == 1
    assert desk.depth() == 1


def test_files_that_are_done_are_not_published_again(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """A folder is interrupted in its second file; the other folder's places are its own."""
    made = bodies(MANY)
    for name, part in (("a", made[:10]), ("b", made[10:-10]), ("c", made[-10:])):
        written(tmp_path / "in" / f"{name}.jsonl", b"\n".join(part))
    ends = in_rounds(publish, tmp_path, (tmp_path / "in",), [signal.SIGINT], MANY // 2)
    assert [each.code for each in ends] == [1, 0]
    assert "a.jsonl: it was done" in ends[1].err
    assert "b.jsonl: goes on after line" in ends[1].err
    assert taken(desk) == made
    assert recorded(tmp_path) == []


def interrupted(publish: Publish, tmp_path: Path, file: Path, *arguments: str) -> Ended:
    """Stop a run after its first lines."""
    running = publish(*arguments, "--rate=20", file)
    eventually(reached(tmp_path, 3), "three lines are recorded")
    running.signal(signal.SIGINT)
    return running.ended()


def test_a_file_that_has_changed_begins_anew_and_says_why(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """A line that comes twice does no harm, one left out does."""
    file = lines_file(tmp_path / "a.jsonl", 50)
    first = interrupted(publish, tmp_path, file)
    file.write_bytes(file.read_bytes().replace(b"c-00000", b"d-00000"))
    ended = publish(file).ended()
    assert (ended.code, ended.accepted) == (0, 50)
    assert "a.jsonl: begins anew: its beginning has changed" in ended.err
    assert desk.depth() == 50 + first.accepted


def test_a_line_that_is_not_where_it_was_begins_anew(publish: Publish, tmp_path: Path) -> None:
    """Beyond the beginning that is compared: the last line that was dealt with is looked at."""
    head = make("long", "u", size_bytes=70_000).body
    made = [head, *bodies(50)]
    file = written(tmp_path / "a.jsonl", b"\n".join(made))
    interrupted(publish, tmp_path, file)
    with file.open("r+b") as out:
        out.seek(len(head) + 1)
        out.write(b"\n".join([*bodies(60, "e")]))
    ended = publish(file).ended()
    assert "begins anew: it has changed before line" in ended.err
    assert ended.accepted == 61


def test_a_file_that_grew_goes_on(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """With what is new, too."""
    made = bodies(60)
    file = written(tmp_path / "a.jsonl", b"\n".join(made[:50]) + b"\n")
    interrupted(publish, tmp_path, file)
    with file.open("ab") as out:
        out.write(b"\n".join(made[50:]))
    ended = publish(file).ended()
    assert "goes on after line" in ended.err
    assert taken(desk) == made


def test_from_start_begins_anew(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """Whatever is recorded."""
    file = lines_file(tmp_path / "a.jsonl", 50)
    first = interrupted(publish, tmp_path, file)
    running = publish("--from-start", "--rate=20", file)
    eventually(partial(has, desk, first.accepted + 3), "it is at work")
    running.signal(signal.SIGINT)
    second = running.ended()
    assert "the same command without --from-start goes on after line" in second.err
    assert publish("--from-start", file).ended().accepted == 50
    assert desk.depth() == 50 + first.accepted + second.accepted
    assert recorded(tmp_path) == []


def test_what_was_refused_before_is_not_forgotten(publish: Publish, tmp_path: Path) -> None:
    """The exit status is the file's, not the run's."""
    file = written(tmp_path / "a.jsonl", b"nonsense\n" + b"\n".join(bodies(50)))
    first = interrupted(publish, tmp_path, file)
    assert "line 1 is no message" in first.err
    ended = publish(file).ended()
    assert ended.code == 1
    assert ended.out == (
        f"accepted {50 - first.accepted}, refused 0; "
        f"before the interruption accepted {first.accepted}, refused 1\n"
    )


def test_a_record_that_cannot_be_read_begins_anew(publish: Publish, tmp_path: Path) -> None:
    """After a power cut, say."""
    file = lines_file(tmp_path / "a.jsonl", 50)
    interrupted(publish, tmp_path, file)
    (journal,) = recorded(tmp_path)
    journal.write_bytes(b"torn")
    ended = publish(file).ended()
    assert "begins anew: the record of where it stood cannot be read" in ended.err
    assert ended.accepted == 50


@pytest.mark.parametrize("door", ["message", "row", "s3"])
def test_a_record_names_its_servers_and_no_secret(
    publish: Publish, tmp_path: Path, desk: Desk, s3: S3Server, environment: dict[str, str], *, door: str
) -> None:
    """What is done for one broker, database or S3 is not for another; their URLs hold passwords."""
    broker, database = urlsplit(environment["RABBITMQ_URL"]), urlsplit(environment["DATABASE_URL"])
    assert broker.password
    url = database._replace(netloc=f"postgres:hunter2@{database.hostname}:{database.port}").geturl()
    more = s3.environment() | {"DATABASE_URL": url}
    file = lines_file(tmp_path / "a.jsonl", 50)
    running = publish(f"--log-to={door}", "--rate=20", file, more=more)
    eventually(reached(tmp_path, 1), "it is at work")
    running.signal(signal.SIGINT)
    assert running.ended().code == 1
    (journal,) = recorded(tmp_path)
    title = json.loads(journal.read_bytes()[1024:])
    assert title == [
        str(file),
        desk.broker.queue,
        f"{broker.hostname}:{broker.port}//",
        {
            "message": "message",
            "row": f"row of {database.hostname}:{database.port}{database.path}",
            "s3": f"s3://logs/conversations at 127.0.0.1:{s3.port}",
        }[door],
    ]
    assert "hunter2" not in journal.read_text()
    assert f":{broker.password}@" not in journal.read_text()


@pytest.mark.parametrize("place", ["/proc/nowhere", "/dev/null"])
def test_without_a_record_it_goes_on_and_says_so(publish: Publish, tmp_path: Path, place: str) -> None:
    """Once, however many files there are. Only of a directory that was asked for it is a mistake."""
    for name in "ab":
        lines_file(tmp_path / "in" / f"{name}.jsonl", 5)
    ended = publish(tmp_path / "in", more={"XDG_STATE_HOME": place}).ended()
    assert (ended.code, ended.accepted) == (0, 10)
    assert len(ended.err.splitlines()) == 1
    assert "after an interruption the same command would begin anew" in ended.err


def test_a_record_that_fails_on_the_way_leaves_no_other_behind(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """A file that was done before would else be passed over by the next run, which is meant to publish it again."""
    first, second = (lines_file(tmp_path / "in" / f"{name}.jsonl", 50) for name in "ab")
    interrupted(publish, tmp_path, second)
    (journal,) = recorded(tmp_path)
    journal.unlink()
    journal.mkdir()
    taken(desk)
    for _ in range(2):
        ended = publish(first.parent).ended()
        assert (ended.code, ended.accepted) == (0, 100)
        assert "cannot be recorded (Is a directory" in ended.err
        assert f"{second}: the record of where it stood cannot be removed" in ended.err


def test_a_file_that_another_is_publishing_is_left_to_it(
    publish: Publish, desk: Desk, tmp_path: Path
) -> None:
    """Both would send everything."""
    file = lines_file(tmp_path / "a.jsonl", 50)
    running = publish("--rate=20", file)
    eventually(reached(tmp_path, 1), "it is at work")
    second = publish(file).ended()
    assert (second.code, second.accepted) == (1, 0)
    assert "another process is publishing it" in second.err
    assert running.ended().accepted == 50
    assert taken(desk) == bodies(50)


def test_standard_input_says_how_far_it_came(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """Nobody can read it again."""
    with lines_file(tmp_path / "a.jsonl", 50).open("rb") as file:
        running = publish("-", "--rate=20", stdin=file)
    eventually(partial(has, desk, 3), "it is at work")
    running.signal(signal.SIGTERM)
    ended = running.ended()
    assert ended.code == 1
    assert re.search(r"interrupted; done up to line \d+ of <stdin>, which is recorded nowhere\n", ended.err)
    assert recorded(tmp_path) == []


def test_a_quiet_pipe_may_outlast_the_brokers_patience(
    publish: Publish, desk: Desk, proxied: tuple[Proxy, dict[str, str]]
) -> None:
    """Who sends no heartbeat is hung up on; the next line gets a connection of its own."""
    proxy, away = proxied
    running = publish(
        "-", more={"RABBITMQ_URL": away["RABBITMQ_URL"] + "?heartbeat=1"}, stdin=subprocess.PIPE
    )
    for number, body in enumerate(bodies(2), 1):
        piped(running).write(body + b"\n")
        piped(running).flush()
        eventually(partial(has, desk, number), "the line is in the queue")
        # Half of a heartbeat's interval is a silence
        eventually(partial(lambda since: monotonic() - since > 1, monotonic()), "it was silent for long")
        proxy.cut()
    ended = running.ended()
    assert (ended.code, ended.accepted, ended.err) == (0, 2, "")


def at_a_terminal(running: Publishing, master: int, slave: int) -> str:
    """Read all that a program shows."""
    os.close(slave)
    shown = bytearray()
    with contextlib.suppress(OSError):  # EIO: nobody has the other end any more
        while part := os.read(master, 65536):
            shown += part
    running.process.communicate(timeout=ENOUGH_S)
    os.close(master)
    return shown.decode()


def test_a_terminal_shows_how_far_it_is(publish: Publish, tmp_path: Path) -> None:
    """With a rate, too; what is refused has a line of its own, and the cursor comes back."""
    file = written(tmp_path / "a.jsonl", b"\n".join([*bodies(10), b"nonsense", *bodies(10, "d")]))
    master, slave = terminal()
    running = publish("--rate=200", file, stderr=slave)
    shown = at_a_terminal(running, master, slave)
    assert running.process.returncode == 1
    assert "100%  accepted 20, refused 1" in shown
    assert f"\r\x1b[K{file}: line 11 is no message: not JSON\r\n" in shown
    assert shown.endswith("\x1b[?25h\r\n")


def test_a_terminal_shows_a_pipe_of_unknown_length(publish: Publish) -> None:
    """By what was accepted."""
    master, slave = terminal()
    running = publish("-", stdin=subprocess.PIPE, stderr=slave)
    piped(running).write(b"\n".join(bodies(10)))
    piped(running).close()
    running.process.stdin = None
    assert "accepted 10, refused 0" in at_a_terminal(running, master, slave)


@pytest.mark.parametrize("columns", [80, 50])
def test_a_bar_fits_its_terminal(publish: Publish, tmp_path: Path, columns: int) -> None:
    """With the time that is left, too; standard output is no terminal. One that wraps scrolls with each update."""
    file = lines_file(tmp_path / "a.jsonl", 40)
    master, slave = terminal()
    termios.tcsetwinsize(slave, (24, columns))
    running = publish("--rate=20", file, stderr=slave)
    shown = at_a_terminal(running, master, slave)
    updates = [re.sub(r"\x1b\[\?25.", "", each) for each in shown.rstrip("\r\n").split("\r")]
    assert len(updates) > 20
    assert max(map(len, updates)) < columns
    assert any(
        re.search(r"#\s*\]  \d+%  (?:\d\d:\d\d:\d\d  )?accepted \d+, refused 0", each) for each in updates
    )


def test_an_interrupted_bar_leaves_the_terminal_as_it_was(publish: Publish, tmp_path: Path) -> None:
    """The cursor comes back."""
    master, slave = terminal()
    running = publish("--rate=20", lines_file(tmp_path / "a.jsonl", 50), stderr=slave)
    eventually(reached(tmp_path, 3), "it is at work")
    running.signal(signal.SIGINT)
    shown = at_a_terminal(running, master, slave)
    assert "\x1b[?25h\r\nfriendship-supervisor: interrupted; the same command goes on after line" in shown


def test_logs_go_into_rows(publish: Publish, desk: Desk, tmp_path: Path) -> None:
    """The message says nothing of a log; a row that is done or another's is left alone, a NUL is refused.

    Where the row names an object, which would be scored before the row's log, the message keeps its own.
    """
    made = [json.loads(body) for body in bodies(5)]
    nul = dict(made[0], conversation_id="nul", conversation_log=[{"speaker": "user", "text": "a\0b"}])
    bare = {"conversation_id": "bare", "user_id": "u", "x": 1}
    file = written(tmp_path / "a.jsonl", b"\n".join(json.dumps(each).encode() for each in [*made, nul, bare]))
    desk.query(
        "INSERT INTO conversation_events (conversation_id, user_id, status, conversation_log_url) VALUES"
        " ('c-00001', 'user-1', 'PROCESSED', NULL), ('c-00002', 'another', 'PENDING', NULL),"
        " ('c-00004', 'user-4', 'FAILED', 's3://logs/old')"
    )
    ended = publish("--log-to=row", file).ended()
    assert (ended.code, ended.out) == (1, "accepted 5, refused 2\n")
    assert f"{file}: line 3 is no message: the conversation is known as another user's" in ended.err
    assert f"{file}: line 6 is no message: the log cannot be kept in a row" in ended.err
    sent = [json.loads(body) for body in taken(desk)]
    expected = [{key: value for key, value in each.items() if key != "conversation_log"} for each in made]
    assert sent == [expected[0], expected[1], expected[3], made[4], bare]
    logs = {
        row["conversation_id"]: row["conversation_log"]
        for row in desk.query("SELECT * FROM conversation_events")
    }
    assert logs == {
        "c-00000": made[0]["conversation_log"],
        "c-00001": None,
        "c-00002": None,
        "c-00003": made[3]["conversation_log"],
        "c-00004": None,
    }


def test_rows_need_a_database(publish: Publish, database_url: str, tmp_path: Path) -> None:
    """Without one nothing is sent; one without our tables is a mistake of the set-up."""
    file = lines_file(tmp_path / "a.jsonl", 2)
    away = publish("--log-to=row", "--database-url=postgresql://u:hunter2@127.0.0.1:1/x", file).ended()
    assert away.code == 1
    assert "the database took no log: " in away.err
    assert "nothing was sent" in away.err
    assert "hunter2" not in away.err + away.out
    old = publish("--log-to=row", file, more={"DATABASE_URL": database_url}).ended()
    assert old.code == 2
    assert "migrate" in old.err


def test_logs_go_into_s3(publish: Publish, desk: Desk, s3: S3Server, tmp_path: Path) -> None:
    """Compressed, under the conversation's id and the log's mark; the message says where."""
    made = [json.loads(body) for body in bodies(3)]
    made[2]["conversation_id"] = "a/../b c"
    file = written(tmp_path / "a.jsonl", b"\n".join(json.dumps(each).encode() for each in made))
    ended = publish("--log-to=s3", "--prefix=/of/today/", file, more=s3.environment()).ended()
    assert (ended.code, ended.out, ended.err) == (0, "accepted 3, refused 0\n", "")
    for body, each, name in zip(taken(desk), made, ["c-00000", "c-00001", "a%2F..%2Fb%20c"], strict=True):
        log = each.pop("conversation_log")
        url = json.loads(body)["conversation_log_url"]
        assert re.fullmatch(rf"s3://logs/of/today/{re.escape(name)}\.[0-9a-f]{{16}}\.json\.gz", url)
        assert json.loads(body) == each | {"conversation_log_url": url}
        assert json.loads(gzip.decompress(s3.get(url.removeprefix("s3://logs/")))) == log


def test_an_s3_that_takes_no_log_is_an_interruption(
    publish: Publish, desk: Desk, s3: S3Server, tmp_path: Path
) -> None:
    """Its message is not sent; the same command goes on when the bucket is there."""
    file = lines_file(tmp_path / "a.jsonl", 3)
    more = s3.environment("logs", "later")
    ended = publish("--log-to=s3", "--bucket=later", file, more=more).ended()
    assert (ended.code, ended.accepted) == (1, 0)
    assert "S3 took no log: " in ended.err
    assert depth(desk) == 0
    s3.make("later")
    assert publish("--log-to=s3", "--bucket=later", file, more=more).ended().accepted == 3
    assert depth(desk) == 3


@pytest.mark.parametrize(
    ("arguments", "buckets", "said"),
    [
        (["--log-to=s3"], "", "S3_ALLOWED_BUCKETS names no bucket"),
        (["--log-to=s3"], "one,two-2", "S3_ALLOWED_BUCKETS"),
        (["--log-to=s3", "--bucket=three"], "one,two-2", "does not name it"),
        (["--log-to=s3", "--prefix=a/../b"], "one", "none of them empty"),
        (["--bucket=one"], "one", "--bucket is for --log-to s3"),
        (["--log-to=row", "--prefix=conversations"], "one", "--prefix is for --log-to s3"),
        (["--journal="], "", "--journal': it is empty"),
        (["--journal=/dev/null"], "", "/dev/null cannot be used: Not a directory"),
        (["--journal=/proc/none"], "", "/proc/none cannot be used: No such file or directory"),
        (["--rate=0"], "", "is not between"),
        (["--rate=nan"], "", "is not between"),
        (["--log-to=nowhere"], "", "nowhere"),
        (["missing.jsonl"], "", "missing.jsonl: No such file or directory"),
    ],
)
def test_what_cannot_be_meant_is_said_before_anything_is_sent(
    publish: Publish, tmp_path: Path, arguments: list[str], buckets: str, said: str
) -> None:
    """Exit status 2, and no broker is asked."""
    file = lines_file(tmp_path / "a.jsonl", 2)
    away = {"S3_ALLOWED_BUCKETS": buckets, "RABBITMQ_URL": "amqp://guest:guest@127.0.0.1:1/%2F"}
    ended = publish(*arguments, file, more=away).ended()
    assert (ended.code, ended.out) == (2, "")
    assert said in " ".join(ended.err.split())


@pytest.mark.parametrize("door", ["message", "row", "s3"])
def test_every_door_leads_to_the_same_score(
    publish: Publish, start_worker: Start, desk: Desk, s3: S3Server, tmp_path: Path, *, door: str
) -> None:
    """Workers find the log where it was put, and count each conversation once."""
    made = [make(f"c-{number:05}", f"user-{number % 3}") for number in range(20)]
    desk.published.update({each.conversation_id: each for each in made})
    file = written(tmp_path / "a.jsonl", b"\n".join(each.body for each in made))
    assert publish(f"--log-to={door}", file, more=s3.environment()).ended().code == 0
    worker = start_worker(**s3.environment())
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == len(made), "all are processed")
    assert worker.stop() == 0
    desk.assert_all_scored()
    desk.assert_clean_ending(worker)

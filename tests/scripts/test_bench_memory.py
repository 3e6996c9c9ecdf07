"""The benchmark itself, small: every part runs, and what it writes can be read."""

import importlib.metadata
import json
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pika
import psutil
import pytest

from scripts.bench import decoding, job
from scripts.bench.contenders import COMPARED, celery_task, dramatiq_message
from scripts.bench.heights import Heights, high_water_bytes
from scripts.conversations import make
from scripts.measure import MB, NotReached, Tree, copies, running
from tests.fixtures.eventually import eventually

CHECKOUT = Path(__file__).resolve().parents[2]


@pytest.mark.full
@pytest.mark.usefixtures("rabbitmq", "postgres")  # only so that it is skipped where these are not installed
def test_a_small_run_gives_every_figure(tmp_path: Path) -> None:
    """With one child and small messages: all figures of ours and the floor's, as table, JSON and picture."""
    small = ("--children=1", "--messages=4", "--message-mb=0.1", "--sizes-mb=0.2", "--pairs=1")
    done = subprocess.run(
        [
            *(sys.executable, "scripts/bench_memory.py", "--workers=supervised,floor", *small),
            *(
                "--cpu-messages=10",
                "--back-limit=0.01",
                f"--json={tmp_path / 'json'}",
                f"--svg={tmp_path / 'svg'}",
            ),
            f"--markdown={tmp_path / 'md'}",
        ],
        cwd=CHECKOUT,
        env=os.environ | {"COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "friendship-supervisor" in done.stdout
    assert max(map(len, done.stdout.splitlines())) <= 100
    report = json.loads((tmp_path / "json").read_bytes())
    for figures in report["figures"]:
        members = 2  # the parent and its child
        assert [len(figures[name]) for name in ("idle", "waiting", "after")] == [members] * 3
        assert figures["busiest_bytes"] >= sum(member["pss_bytes"] for member in figures["after"])
        assert [height["outcome"] for height in figures["heights"]] == ["PROCESSED"]
        assert figures["heights"][0]["rss_bytes"] > 10 * MB
        assert not figures["missed"]
        assert figures["kill"]["processed"] == figures["kill"]["messages"] == 1
    assert [len(row["cells"]) for row in report["rows"]] == [2] * 10
    assert report["verdict"] == {"summary": [], "rows": []}  # no rival took part
    ET.fromstring((tmp_path / "svg").read_text("utf-8"))
    assert (tmp_path / "md").read_text("utf-8").count("|---|") == 4


def test_an_unknown_worker_is_refused_before_anything_starts() -> None:
    """A misspelt name ends with status 2, naming those that there are."""
    done = subprocess.run(
        [sys.executable, "scripts/bench_memory.py", "--workers", "flor"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert "flor: not among supervised, floor, celery, dramatiq" in done.stderr


def test_the_libraries_belong_to_the_extra_only() -> None:
    """Whoever installs the project gets neither library; the benchmark runs without them."""
    needed = importlib.metadata.requires("friendship-supervisor") or []
    libraries = [one for one in needed if one.startswith(("celery", "dramatiq"))]
    assert all("extra ==" in one for one in libraries)
    code = (
        "import sys\n"
        "sys.modules.update(celery=None, dramatiq=None)\n"
        "import scripts.bench_memory, scripts.bench.cpu\n"
        "from supervisor.__main__ import main\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, check=True, timeout=60)


def test_each_library_gets_the_conversation_as_it_is() -> None:
    """The envelopes are valid JSON around the very bytes that the others get."""
    conversation = make("c-1", "u-1", emoji=True)
    body, properties = celery_task(conversation, "queue")
    assert json.loads(body)[0] == [json.loads(conversation.body)]
    assert conversation.body in body
    assert properties.headers["task"] == job.TASK
    body, properties = dramatiq_message(conversation, "queue")
    assert isinstance(properties, pika.BasicProperties)
    assert json.loads(body)["args"] == [json.loads(conversation.body)]
    assert (json.loads(body)["queue_name"], json.loads(body)["actor_name"]) == ("queue", job.TASK)
    assert conversation.body in body


def test_copies_differ_in_their_ids_only() -> None:
    """Each is a whole conversation of its own, with the turns that its log has."""
    first, second = copies("c", 2, size_bytes=10_000, emoji=True)
    assert first.body != second.body
    assert json.loads(first.body) | {"conversation_id": "c-1", "user_id": "user-1"} == json.loads(second.body)
    assert first.turns == job.turns(json.loads(first.body)["conversation_log"])
    assert len(first.body) >= 10_000


def test_all_ways_make_the_same_request() -> None:
    """What is compared is comparable: the same JSON, whichever way it was made."""
    [conversation] = copies("c", 1, size_bytes=400_000, emoji=True)
    requests = {
        way: json.loads(b"".join(make(conversation.body))) for way, (_, make) in decoding.WAYS.items()
    }
    assert len(requests["stdlib"]["conversation"]) > 1000
    assert all(request == requests["stdlib"] for request in requests.values())


def test_a_way_is_measured_in_this_process(tmp_path: Path) -> None:
    """Decoding all of a body with the standard library takes more than the body itself."""
    [conversation] = copies("c", 1, size_bytes=2_000_000, emoji=True)
    (tmp_path / "body").write_bytes(conversation.body)
    code = (
        "from pathlib import Path; from scripts.bench.decoding import measure;"
        f"took_s, peak = measure('stdlib', Path({str(tmp_path / 'body')!r}));"
        "print(took_s > 0 and peak > 2_000_000)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True, check=True
    )
    assert done.stdout == "True\n"


def test_a_peak_between_two_readings_is_seen() -> None:
    """A child that took 64 MB and gave them back at once has been that high, though nobody read it then."""
    code = (
        "import os, signal\n"
        "if os.fork() == 0:\n"
        "    (b'x' * (64 << 20)).count(1)\n"
        "    print(os.getpid(), flush=True)\n"
        "signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as process:
        tree = Tree(process.pid)
        try:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            with Heights(tree) as heights:
                pass
            highest, pid = heights.highest
            assert pid == child
            assert 64 * MB < highest == high_water_bytes(child)
            assert sum(member.rss_bytes for member in tree.read()) < highest
        finally:
            for member in tree.members():
                member.kill()
    eventually(lambda: high_water_bytes(child) == 0, "it is gone")


def test_a_worker_that_ends_is_not_waited_for() -> None:
    """Its last words are in the error, and the process that it left behind is gone."""
    code = (
        "import os, sys, time\n"
        "pid = os.fork()\n"
        "if pid == 0: time.sleep(600)\n"
        "print('no broker', pid, flush=True)\n"
        "sys.exit(1)\n"
    )
    with pytest.raises(NotReached, match="ended before: it consumes\nno broker") as missed:
        wait_in_vain(code)
    left = int(str(missed.value).split()[-1])
    eventually(lambda: not psutil.pid_exists(left) or high_water_bytes(left) == 0, "what it left is gone")


def wait_in_vain(code: str) -> None:
    with running(("-c", code), {}) as tree:
        tree.until(lambda: False, "it consumes", 30.0)


def test_every_contender_is_told_its_children() -> None:
    """The number of processes reaches each that has several, as an argument or a variable."""
    for contender in COMPARED.values():
        told = [*contender.arguments(7), *contender.variables(7).values()]
        assert any("7" in word for word in told), contender.name

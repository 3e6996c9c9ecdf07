"""A whole rehearsal, in an interpreter of its own: what it leaves, what it saves, and how it fails."""

import json
import subprocess
import sys
from typing import Any

import pytest

PROLOGUE = """
import gc, json, logging, os, signal, sys, threading
from consumer import memory_api
from consumer.rehearsal import play
from supervisor import logs, memory, process

logs.configure("json", "debug", sys.stderr)
os.environ |= {"PGHOSTADDR": "192.0.2.1", "PGPASSWORD": "secret", "PGDATABASE": "elsewhere"}

def standing():
    return {
        "fds": sorted(os.listdir("/proc/self/fd")),
        "threads": threading.active_count(),
        "tasks": len(os.listdir("/proc/self/task")),
        "mask": sorted(signal.pthread_sigmask(signal.SIG_BLOCK, ())),
        "handlers": len(logging.getLogger().handlers),
        "timer": signal.getitimer(signal.ITIMER_REAL),
    }

def childless():
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return True
    return False

def rehearse(fork=process.fork):
    before = standing()
    went_well = play.rehearse(fork, memory_api.prepare())
    print(json.dumps({"well": went_well, "before": before, "after": standing(), "childless": childless()}))
"""


def interpret(program: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Run a program, with warnings as errors; return what it printed, and its log lines."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", PROLOGUE + program],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return json.loads(done.stdout), [json.loads(line) for line in done.stderr.splitlines()]


def assert_nothing_left(told: dict[str, Any]) -> None:
    assert told["after"] == told["before"]
    assert told["after"]["threads"] == told["after"]["tasks"] == 1
    assert told["childless"]


def test_a_rehearsal_goes_well_and_leaves_nothing_behind() -> None:
    """No descriptor, thread, process, signal mask, timer or line of its own but one; wherever PGHOSTADDR points."""
    told, lines = interpret("rehearse()")
    assert told["well"], lines
    assert_nothing_left(told)
    assert [line["event"] for line in lines] == ["rehearsed"]
    assert lines[0]["rounds"] >= 1


FAILURES = {
    "no process to give": """
def refused(body):
    raise BlockingIOError(11, "Resource temporarily unavailable")
rehearse(refused)
""",
    "no loopback": """
def refused(*_, **__):
    raise OSError(99, "Cannot assign requested address")
play.socket.create_server = refused
rehearse()
""",
    "a prompter that dies at once": "rehearse(lambda body: process.fork(lambda: 0))",
    "a prompter that dies on its stage": """
def killed(self, data):
    os.kill(os.getpid(), signal.SIGKILL)
play.Api.receive = killed
rehearse()
""",
    "a prompter that hangs": """
def hang(self, data):
    while True:
        pass
play.Broker.receive = hang
rehearse()
""",
    "a statement that nobody knows": "play.script = dict\nrehearse()",
    "a broker that says nonsense": "play.Broker.receive = lambda self, data: bytes(100)\nrehearse()",
}


@pytest.mark.parametrize("program", FAILURES.values(), ids=FAILURES)
def test_a_rehearsal_that_fails_says_so_in_one_line_and_leaves_nothing(program: str) -> None:
    """It raises nothing, so that the start goes on."""
    told, lines = interpret(program)
    assert not told["well"]
    assert_nothing_left(told)
    assert [line["event"] for line in lines] == ["rehearsal_failed"]
    assert lines[0]["reason"]


DIRTIED = """
def private_kb():
    with open("/proc/self/smaps_rollup", "rb") as file:
        return sum(int(line.split()[1]) for line in file if line.startswith(b"Private_Dirty"))

def dirtied_kb():
    memory.prepare()
    ear, mouth = os.pipe()
    def child():
        before = private_kb()
        assert play.rehearse(process.fork, None, rounds=1)
        memory.rest()
        os.write(mouth, b"%d" % (private_kb() - before))
        return 0
    os.waitpid(process.fork(child), 0)
    said = os.read(ear, 100)
    os.close(ear), os.close(mouth)
    return int(said)

unrehearsed = dirtied_kb()
gc.unfreeze()
assert play.rehearse(process.fork, None)
print(json.dumps({"unrehearsed": unrehearsed, "rehearsed": dirtied_kb()}))
"""


def test_a_child_of_a_rehearsed_parent_dirties_fewer_pages() -> None:
    """The same work, one forked before the rehearsal and one after: the second takes about seven tenths of it."""
    kb, _ = interpret(DIRTIED)
    assert kb["rehearsed"] < 0.9 * kb["unrehearsed"]

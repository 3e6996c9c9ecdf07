"""What the system tells of memory."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from supervisor import memory
from supervisor.blame import Exit
from supervisor.memory import OomKills, Resident, own_rss_bytes
from supervisor.process import fork, reap, watch
from tests.fixtures.eventually import eventually


def test_both_ways_of_reading_agree_with_the_process_itself() -> None:
    """psutil, the kept descriptor, and /proc/self."""
    resident = Resident(os.getpid())
    try:
        slow, quick, own = resident.read(10.0), resident.read(10.5), own_rss_bytes()
    finally:
        resident.close()
    assert quick is not None
    assert slow is not None
    assert abs(quick - own) < 2**22
    assert abs(slow - own) < 2**22


@pytest.mark.parametrize("later_s", [0.1, 1.0], ids=["descriptor", "psutil"])
def test_a_zombie_and_a_reaped_process_are_unknown_never_light(later_s: float) -> None:
    """A zombie reads 0 bytes without an error; that is not health."""
    go_read, go = os.pipe()
    pid = fork(lambda: len(os.read(go_read, 1)))
    pidfd = watch(pid)
    resident = Resident(pid)
    assert (resident.read(10.0) or 0) > 0
    os.write(go, b"x")
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert resident.read(10.0 + later_s) is None
    assert eventually(lambda: reap(pidfd), "the child is reaped") == Exit(1, None)
    assert resident.read(10.0 + 2 * later_s) is None
    resident.close()
    for fd in (go_read, go, pidfd):
        os.close(fd)


@pytest.mark.parametrize(
    ("line", "directory", "file"),
    [
        ("0::/app/unit.scope", "app", "memory.events"),
        ("0::/", "", "memory.events"),
        ("4:memory:/docker/abc", "memory/docker/abc", "memory.oom_control"),
    ],
)
def test_the_oom_counter_is_found_above_us(tmp_path: Path, line: str, directory: str, file: str) -> None:
    """Version 1 and 2; in a container the path that we are told may not be there."""
    cgroup, root = tmp_path / "cgroup", tmp_path / "fs"
    cgroup.write_text(f"9:cpu:/x\n{line}\n")
    (root / directory).mkdir(parents=True, exist_ok=True)
    counter = root / directory / file
    counter.write_text("oom 9\noom_kill 2\n")
    kills = OomKills(cgroup, root)
    assert kills.fresh(10.0) == 0
    counter.write_text("oom 9\noom_kill 4\n")
    assert kills.fresh(10.0) == 2


@pytest.fixture
def counted(tmp_path: Path) -> tuple[OomKills, Callable[[int], None]]:
    """Give a counter at 0, and what sets it."""
    (tmp_path / "cgroup").write_text("0::/\n")

    def set_to(kills: int) -> None:
        (tmp_path / "memory.events").write_text(f"oom_kill {kills}\n")

    set_to(0)
    return OomKills(tmp_path / "cgroup", tmp_path), set_to


def test_a_kill_is_charged_once(counted: tuple[OomKills, Callable[[int], None]]) -> None:
    """Three kills, two deaths so far: one is left for a victim that is not reaped yet."""
    kills, set_to = counted
    set_to(1)
    kills.look(10.0)
    set_to(3)
    assert kills.fresh(10.5) == 3
    kills.charge(2)
    assert kills.fresh(11.0) == 1
    kills.charge(5)
    assert kills.fresh(11.0) == 0


def test_a_strangers_kill_is_not_charged_later(counted: tuple[OomKills, Callable[[int], None]]) -> None:
    """Seen by the clock with no death of ours near it: too old for one that comes a minute after."""
    kills, set_to = counted
    set_to(1)
    kills.look(10.0)
    assert kills.fresh(11.9) == 1
    assert kills.fresh(70.0) == 0


def test_without_a_counter_nothing_is_the_kernels(tmp_path: Path) -> None:
    """No control groups, or none that can be read."""
    assert OomKills(tmp_path / "none", tmp_path).fresh(1.0) == 0


def test_with_no_descriptor_left_to_open_a_child_is_still_read(monkeypatch: pytest.MonkeyPatch) -> None:
    """psutil opens a file each time; the one that is kept needs none."""
    resident = Resident(os.getpid())
    with monkeypatch.context() as patch:
        patch.setattr(resident._process, "memory_info", no_descriptor_left)
        assert (resident.read(10.0) or 0) > 2**20
    resident.close()


def no_descriptor_left(*_: object) -> None:
    raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))


SMAPS = """\
55d0a000-55d0c000 r--p 00000000 fe:00 1234                       /usr/bin/python3
Size:                  8 kB
Rss:                   8 kB
Anonymous:             0 kB
VmFlags: rd mr mw me
55d0c000-55d10000 r-xp 00002000 fe:00 1234                       /usr/lib/libpython with space.so
Size:                 16 kB
Rss:                  16 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
55d10000-55d11000 r--p 00006000 fe:00 1234                       /usr/lib/relocated.so
Size:                  4 kB
Anonymous:             4 kB
55d11000-55d12000 rw-p 00007000 fe:00 1234                       /usr/lib/data.so
Size:                  4 kB
Anonymous:             0 kB
7ffd0000-7ffd2000 r-xp 00000000 00:00 0                          [vdso]
Size:                  8 kB
Anonymous:             0 kB
7ffe0000-7ffe1000 r--s 00000000 fe:00 99                         /shared
Size:                  4 kB
Anonymous:             0 kB
"""


def test_only_what_a_file_still_holds_is_let_go() -> None:
    """Nothing that was written to, nothing writable, nothing shared, nothing without a file."""
    assert memory.clean_mappings(SMAPS) == [(0x55D0A000, 0x2000), (0x55D0C000, 0x4000)]


def test_a_process_goes_on_after_its_file_pages_were_let_go() -> None:
    """Code that runs again comes back; the process is lighter until then."""
    program = (
        "import decimal, json, ssl, sys\n"
        "from supervisor import memory\n"
        "ssl.create_default_context()\n"
        "before = memory.own_rss_bytes()\n"
        "memory.prepare()\n"
        "after = memory.own_rss_bytes()\n"
        "assert json.loads('[1]') == [1] and decimal.Decimal(1) / 3 and ssl.create_default_context()\n"
        "sys.exit(0 if after < 0.9 * before else f'{after} of {before}')\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")

"""What the system tells of memory."""

import os
from pathlib import Path

import pytest

from supervisor.blame import Exit
from supervisor.memory import OomKills, Resident, own_rss_bytes
from supervisor.process import fork, reap, watch
from tests.fixtures.eventually import eventually


def test_both_ways_of_reading_agree_with_the_process_itself() -> None:
    """psutil, the kept descriptor, and /proc/self."""
    resident = Resident(os.getpid())
    try:
        dense, slow, own = resident.read(dense=True), resident.read(dense=False), own_rss_bytes()
    finally:
        resident.close()
    assert dense is not None
    assert slow is not None
    assert abs(dense - own) < 2**22
    assert abs(slow - own) < 2**22


@pytest.mark.parametrize("dense", [True, False])
def test_a_zombie_and_a_reaped_process_are_unknown_never_light(dense: bool) -> None:
    """A zombie reads 0 bytes without an error; that is not health."""
    go_read, go = os.pipe()
    pid = fork(lambda: len(os.read(go_read, 1)))
    pidfd = watch(pid)
    resident = Resident(pid)
    assert (resident.read(dense=dense) or 0) > 0
    os.write(go, b"x")
    os.waitid(os.P_PIDFD, pidfd, os.WEXITED | os.WNOWAIT)
    assert resident.read(dense=dense) is None
    assert eventually(lambda: reap(pidfd), "the child is reaped") == Exit(1, None)
    assert resident.read(dense=dense) is None
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
def test_the_oom_counter_is_found_above_us_and_its_rise_is_told_once(
    tmp_path: Path, line: str, directory: str, file: str
) -> None:
    """Version 1 and 2; in a container the path that we are told may not be there."""
    cgroup, root = tmp_path / "cgroup", tmp_path / "fs"
    cgroup.write_text(f"9:cpu:/x\n{line}\n")
    (root / directory).mkdir(parents=True, exist_ok=True)
    counter = root / directory / file
    counter.write_text("oom 9\noom_kill 2\n")
    kills = OomKills(cgroup, root)
    assert not kills.rose()
    counter.write_text("oom 9\noom_kill 3\n")
    assert kills.rose()
    assert not kills.rose()


def test_without_a_counter_nothing_is_the_kernels(tmp_path: Path) -> None:
    """No control groups, or none that can be read."""
    assert not OomKills(tmp_path / "none", tmp_path).rose()

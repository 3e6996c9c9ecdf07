"""A claim's name tells whether its process has ended, where that can be known."""

import os
import subprocess
import sys

from consumer.holder import is_gone, owner


def test_this_process_is_not_gone() -> None:
    """Its claims are named by it."""
    assert not is_gone(f"{owner(3)}:0123")


def test_a_process_of_this_machine_that_has_ended_with_its_supervisor_is_gone() -> None:
    """Their numbers are free, as they were waited for just now; while its supervisor lives, nothing is concluded."""
    ended = [subprocess.Popen([sys.executable, "-c", ""]) for _ in range(2)]
    for each in ended:
        each.wait()
    supervisor, child = (each.pid for each in ended)
    place = owner(3).rsplit(":", 3)[0]
    assert is_gone(f"{place}:{supervisor}:{child}:3:0123")
    assert not is_gone(f"{place}:{os.getpid()}:{child}:3:0123")
    assert not is_gone(f"{place}:{supervisor}:{os.getpid()}:3:0123")


def test_nothing_is_known_of_other_machines_or_of_other_names() -> None:
    """Another host, an older worker's name, none at all, a number that is no process's."""
    mine = owner(3)
    place = mine.rsplit(":", 3)[0]
    for name in (
        f"x{mine}:0",
        mine.replace(":", "-", 1),
        "other",
        "",
        place,
        f"{place}:{10**30}:{10**30}:0:0",
    ):
        assert not is_gone(name)

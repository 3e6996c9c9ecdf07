"""A claim's name tells whether its process has ended, where that can be known."""

import os
import subprocess
import sys

from consumer.holder import is_gone, owner


def test_this_process_is_not_gone() -> None:
    """Its claims are named by it."""
    assert not is_gone(f"{owner(3)}:0123")


def test_a_process_of_this_machine_that_has_ended_is_gone() -> None:
    """Its number is free: nobody else has it, as it was waited for just now."""
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    name = f"{owner(3)}:0123".replace(f":{os.getpid()}:", f":{ended.pid}:")
    assert is_gone(name)


def test_nothing_is_known_of_other_machines_or_of_other_names() -> None:
    """Another host, an older worker's name, none at all, a number that is no process's."""
    mine = owner(3)
    place = mine.rsplit(":", 2)[0]
    for name in (f"x{mine}:0", mine.replace(":", "-", 1), "other", "", place, f"{place}:{10**30}:0:0"):
        assert not is_gone(name)

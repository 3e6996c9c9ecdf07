"""Looking for processes while they end."""

import os

from tests.fixtures.titles import crash, titled


def test_a_process_that_has_ended_has_no_title() -> None:
    """Between the list of children and the look at one of them, that one may end: it is passed over."""
    dead = os.fork()
    if dead == 0:
        os._exit(0)
    try:
        os.waitid(os.P_PID, dead, os.WEXITED | os.WNOWAIT)  # from here on it is a zombie
        assert dead not in [process.pid for process in titled(os.getpid(), "")]
        crash(os.getpid(), ": child ")
    finally:
        os.waitpid(dead, 0)

"""What is read out of a supervisor's log."""

import math

from scripts.faults import timeline
from scripts.faults.timeline import Line


def line(event: str, pid: int, second: float = 0.0, **fields: object) -> Line:
    """Spell a line about a child; child 1 and all later ones are in slot 0, child 2 is in slot 1."""
    slot = int(pid == 2)
    return {"event": event, "pid": pid, "slot": slot, "ts": f"2026-01-01T00:00:{second:06.3f}Z", **fields}


BOTH = [line("child_ready", 1), line("child_ready", 2)]


READY_3, DRAINING_1, GONE_1 = line("child_ready", 3), line("child_draining", 1), line("child_exited", 1)


def test_a_successor_serves_when_its_predecessor_is_gone() -> None:
    """It is ready before, and yet the slot is not served while the predecessor goes: that is one less, not none."""
    replaced = [*BOTH, READY_3, DRAINING_1, GONE_1]
    assert timeline.fewest_ready(replaced, 2) == 1
    assert timeline.fewest_ready([*replaced, line("child_draining", 2)], 2) == 1
    assert timeline.fewest_ready([*BOTH, READY_3, DRAINING_1, line("child_draining", 2)], 2) == 0
    assert timeline.fewest_ready([*BOTH, READY_3, GONE_1], 2) == 2


def test_a_child_counts_no_more_from_the_word_to_go() -> None:
    """However it leaves, what counts is the first sign of it, once; one that may go on after all counts again."""
    for sign in ("child_draining", "child_frozen", "child_killed", "child_exited"):
        assert timeline.fewest_ready([*BOTH, line(sign, 1), GONE_1, READY_3], 2) == 1
    back = [*BOTH, line("child_frozen", 1), line("child_thawed", 1), line("child_exited", 2)]
    assert timeline.fewest_ready(back, 2) == 1


def test_a_child_without_room_serves_nobody() -> None:
    """It takes no message from then on, told to go or not. The line tells its slot only, not which child of it."""
    full: Line = {"event": "no_room", "slot": 0, "body_bytes": 0}
    assert timeline.fewest_ready([*BOTH, full], 2) == 1
    assert timeline.fewest_ready([*BOTH, full, line("child_draining", 2)], 2) == 0
    replaced = [*BOTH, READY_3, DRAINING_1, full, GONE_1]
    assert timeline.fewest_ready([*replaced, line("child_draining", 2)], 2) == 1


def test_start_and_stop_are_no_gaps() -> None:
    """Children that boot are not missing yet, and those that a stop sends home are not missed."""
    assert timeline.fewest_ready([*BOTH, line("stopping", 9), line("child_draining", 1)], 2) == 2
    assert timeline.fewest_ready([*BOTH], 3) == 0


def test_a_recycle_lasts_from_the_word_to_go_to_the_end() -> None:
    """Only those of the reason asked for, and only those that have come to their end."""
    lines = [
        line("child_draining", 1, 1.0, reason="rss_soft"),
        line("child_draining", 2, 1.5, reason="reload"),
        line("child_exited", 1, 1.25),
        line("child_exited", 2, 2.0),
        line("child_draining", 3, 3.0, reason="rss_soft"),
    ]
    assert timeline.recycles(lines, "rss_soft") == [timeline.Recycle(1, 0.25)]


def test_a_percentile_is_one_of_the_values() -> None:
    """The smallest that the share does not exceed; nothing has none."""
    values = [float(number) for number in range(100, 0, -1)]
    assert timeline.percentile(values, 0.99) == 99.0
    assert timeline.percentile(values, 1.0) == 100.0
    assert timeline.percentile([7.0], 0.5) == 7.0
    assert math.isnan(timeline.percentile([], 0.99))

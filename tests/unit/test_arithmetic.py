"""The sum at start, with the numbers that were promised, and what a person is told of it."""

import re
from pathlib import Path

import pytest

from supervisor.arithmetic import IDLE_CHILD_BYTES, LLM_LOAD, S3_LOAD, SUCCESSORS_BYTES, Balance, Demand
from supervisor.cli.arithmetic import Machine, Outlook, Remark, examine
from supervisor.cli.settings import read
from supervisor.container import Container, Group
from supervisor.limits import MB


def test_eight_children_of_300_mb_fit_3000_mb_and_nine_do_not() -> None:
    """The promise; there is room for successors, and it needs 2990 MB."""
    eight = Balance(Demand(8, 375 * MB), 3000 * MB)
    assert eight.fits
    assert eight.room_for_successor
    assert eight.children_max == eight.most_children == 8
    assert eight.demand.total_bytes == 2990 * MB
    nine = Balance(Demand(9, 375 * MB), 3000 * MB)
    assert not nine.fits
    assert nine.most_children == 8


def test_a_sum_that_fits_but_for_the_successor_starts_without_room_for_one() -> None:
    """Replacement then leaves a gap; one byte less, and nothing starts."""
    demand = Demand(4, 300 * MB)
    tight = Balance(demand, demand.total_bytes - 1)
    assert tight.fits
    assert not tight.room_for_successor
    assert Balance(demand, demand.total_bytes).room_for_successor
    assert Balance(demand, demand.total_bytes - SUCCESSORS_BYTES).fits
    assert not Balance(demand, demand.total_bytes - SUCCESSORS_BYTES - 1).fits


def test_the_sum_is_shown_as_it_is_added() -> None:
    """Whoever reads it can add it up."""
    demand = Demand(8, 375 * MB)
    assert demand.spelled(successor=True) == (
        "parent 52 + 8 x (375 - 24 shared) + successors 22 + status 24 + janitor 8 + retry pass 12 + reserve 64"
    )
    assert "successor" not in demand.spelled(successor=False)
    assert demand.total_bytes / MB == 52 + 8 * (375 - 24) + 22 + 24 + 8 + 12 + 64


def test_where_nothing_fits_no_number_is_named() -> None:
    """100 MB are less than what surrounds the children."""
    balance = Balance(Demand(1, 375 * MB), 100 * MB)
    assert not balance.fits
    assert (balance.most_children, balance.largest_hard_bytes) == (0, 0)


# --- the sentences (supervisor/cli/arithmetic.py)

UNLIMITED = Machine(Container(), 64_000 * MB)


def under(limit_mb: int, throttle_mb: int | None = None) -> Machine:
    group = Group(Path("/sys/fs/cgroup/unit"), 2)
    mark = None if throttle_mb is None else throttle_mb * MB
    return Machine(Container(limit_mb * MB, group, mark), 64_000 * MB)


def outlook(machine: Machine, **options: str) -> Outlook:
    return examine(read(options, {}), machine)


def named(remark: Remark, option: str) -> str:
    """Give the number that a remedy names for an option."""
    found = re.search(rf"{option} (\d+)", remark.remedy)
    assert found, remark
    return found[1]


def test_the_defaults_have_no_problem_and_no_warning_under_3000_mb() -> None:
    """Nor without a limit; the run is told how far it may grow."""
    for machine in (under(3000), UNLIMITED):
        found = outlook(machine)
        assert (found.problems, found.warnings) == ((), ())
    limits = outlook(under(3000)).bounded(read({}, {}).supervisor)
    assert (limits.children_max, limits.room_for_successor, limits.container_limit_bytes) == (
        8,
        True,
        3000 * MB,
    )
    limits = outlook(UNLIMITED).bounded(read({}, {}).supervisor)
    assert (limits.children_max, limits.room_for_successor, limits.container_limit_bytes) == (0, True, 0)


@pytest.mark.parametrize("limit_mb", [700, 1500, 3000, 3300])
@pytest.mark.parametrize("hard", [{}, {"rss_hard_mb": "350"}])
def test_the_numbers_of_a_refusal_are_the_largest_that_start(limit_mb: int, hard: dict[str, str]) -> None:
    """The remedy is tried: as named it starts, with one more it does not."""
    machine = under(limit_mb)
    given = {"children": "20", "max_message_mb": "20"} | hard
    (refused,) = outlook(machine, **given).problems
    assert f"{limit_mb} MB" in refused.seen
    assert "/sys/fs/cgroup/unit" in refused.seen
    most = int(named(refused, "--children"))
    assert outlook(machine, **given | {"children": str(most)}).problems == ()
    assert outlook(machine, **given | {"children": str(most + 1)}).problems != ()


@pytest.mark.parametrize(("option", "hard"), [("rss_mb", {}), ("rss_hard_mb", {"rss_hard_mb": "350"})])
def test_the_budget_that_a_refusal_names_is_the_largest_that_starts(
    option: str, hard: dict[str, str]
) -> None:
    """The hard budget is what is added up: where it was given, it is what the remedy names."""
    machine, given = under(2900), {"children": "9"} | hard
    (refused,) = outlook(machine, **given).problems
    largest = int(named(refused, f"--{option.replace('_', '-')}"))
    assert outlook(machine, **given | {option: str(largest)}).problems == ()
    assert outlook(machine, **given | {option: str(largest + 1)}).problems != ()


def test_no_remedy_is_named_that_would_be_refused_in_its_turn() -> None:
    """30 children under 3000 MB would have 95 MB each: too little for the largest message."""
    (refused,) = outlook(under(3000), children="30").problems
    assert "--rss-mb" not in refused.remedy
    (refused,) = outlook(under(100), children="2").problems
    assert "not even one child fits" in refused.remedy


def test_a_budget_that_an_idle_child_half_fills_is_refused() -> None:
    """The smallest that works is named, and works."""
    (refused,) = outlook(UNLIMITED, rss_mb="60", max_message_mb="4").problems
    smallest = named(refused, "--rss-mb")
    assert outlook(UNLIMITED, rss_mb=smallest, max_message_mb="4").problems == ()
    assert outlook(UNLIMITED, rss_mb=str(int(smallest) - 1), max_message_mb="4").problems != ()


def test_a_message_that_no_child_can_receive_is_refused() -> None:
    """The largest limit that fits is named, and works; with no room at all there is none to name."""
    (refused,) = outlook(UNLIMITED, rss_mb="100").problems
    largest = named(refused, "--max-message-mb")
    assert outlook(UNLIMITED, rss_mb="100", max_message_mb=largest).problems == ()
    assert outlook(UNLIMITED, rss_mb="100", max_message_mb=str(int(largest) + 1)).problems != ()
    assert outlook(UNLIMITED, rss_mb=named(refused, "--rss-mb")).problems == ()
    (refused,) = outlook(UNLIMITED, rss_mb="100", rss_hard_mb="120").problems
    assert outlook(UNLIMITED, rss_mb="100", rss_hard_mb=named(refused, "--rss-hard-mb")).problems == ()
    assert "--max-message-mb" not in outlook(UNLIMITED, rss_mb="30").problems[-1].remedy


def test_all_problems_are_told_at_once() -> None:
    """Too small for an idle child, for the largest message, and too many of them."""
    assert len(outlook(under(200), rss_mb="70").problems) == 3


@pytest.mark.parametrize(
    ("machine", "options", "word"),
    [
        (under(2975), {}, "successor"),
        (under(3000, throttle_mb=2900), {}, "memory.high"),
        (Machine(Container(), 2000 * MB), {}, "whole machine"),
        (Machine(Container(3000 * MB, Group(Path("/x"), 2)), 2000 * MB), {}, "whole machine"),
        (UNLIMITED, {"rss_mb": "300", "rss_hard_mb": "374"}, "--rss-hard-mb"),
    ],
)
def test_what_may_start_and_should_be_known_is_a_warning(
    machine: Machine, options: dict[str, str], word: str
) -> None:
    """One for each, with a remedy, and no refusal."""
    found = outlook(machine, **options)
    assert found.problems == ()
    (warning,) = found.warnings
    assert word in warning.seen
    assert warning.remedy


def test_under_overcommit_no_child_may_be_added_and_none_need_leave() -> None:
    """The bound of TTIN is what was asked for, and never 0, which would be no bound."""
    found = outlook(under(500), children="20")
    limits = found.bounded(read({"children": "20"}, {}).supervisor)
    assert (limits.children_max, limits.room_for_successor) == (20, False)


def test_s3_and_the_llm_still_fit_where_eight_children_did() -> None:
    """What they load is loaded once and shared: the sum of many children does not grow by it, that of one does."""
    plain, both = Demand(8, 375 * MB), Demand(8, 375 * MB, S3_LOAD + LLM_LOAD)
    assert Balance(both, 3000 * MB).room_for_successor
    assert both.total_bytes <= plain.total_bytes
    assert Demand(1, 375 * MB, S3_LOAD).total_bytes > Demand(1, 375 * MB).total_bytes
    assert both.least_own_bytes > IDLE_CHILD_BYTES
    assert "parent 65" in both.spelled(successor=True)

"""The memory sums that are done before anything starts, as sentences for a person who is on call.

Sizes are rounded up where they are needed and down where they are there, so that no sentence promises too much.
"""

import math
from dataclasses import dataclass, replace

import psutil

from consumer.settings import MIB
from supervisor import container
from supervisor.arithmetic import IDLE_RSS_BYTES, LLM_LOAD, NO_LOAD, ROLE_LOAD, S3_LOAD, Balance, Demand, Load
from supervisor.cli.options import BY_NAME
from supervisor.cli.settings import HARD_FACTOR, Settings
from supervisor.container import Container
from supervisor.limits import SupervisorSettings

IDLE_CHILDREN_AT_LEAST = 2
"""A budget that an idle child half fills leaves messages too little, and children are replaced all the time."""

PROVEN_ROOM_BYTES = 75 * MIB
"""What the runs of docs/decisions/0006-freeze-settle-kill.md had between the budgets, 300 and 375 MB. Closer
budgets leave the sampler less time to stop a child (supervisor/budget.py)."""


@dataclass(frozen=True, slots=True)
class Machine:
    """What the sums are held against: the limit around us, and the memory of the whole machine in bytes."""

    container: Container
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Remark:
    """What was found, and what to do about it."""

    seen: str
    remedy: str

    def __str__(self) -> str:
        return f"{self.seen}; {self.remedy}"


@dataclass(frozen=True, slots=True)
class Outlook:
    """The sums of one configuration. problems: it must not start. warnings: it may, and somebody should know."""

    balance: Balance
    text: str
    problems: tuple[Remark, ...]
    warnings: tuple[Remark, ...]

    def bounded(self, limits: SupervisorSettings) -> SupervisorSettings:
        """Return the limits of the run with what the sums say about children to come."""
        return replace(
            limits,
            children_max=self.balance.children_max,
            room_for_successor=self.balance.room_for_successor,
            container_limit_bytes=self.balance.limit_bytes or 0,
        )


def load(given: Settings) -> Load:
    """Say what S3 and the LLM add, where they are in use."""
    s3, llm = given.consumer.s3, given.consumer.llm
    in_use = (
        (S3_LOAD, s3 is not None),
        (ROLE_LOAD, s3 is not None and s3.web_identity),
        (LLM_LOAD, llm is not None),
    )
    return sum((load for load, used in in_use if used), NO_LOAD)


def idle_bytes(given: Settings) -> int:
    """Say what an idle child weighs, shared pages included."""
    return IDLE_RSS_BYTES + load(given).idle_rss_bytes


def lightest_bytes(given: Settings) -> int:
    """Say how small a soft budget may be."""
    return IDLE_CHILDREN_AT_LEAST * idle_bytes(given)


def here() -> Machine:
    """Look where this process runs."""
    return Machine(container.find(), psutil.virtual_memory().total)


def examine(given: Settings, machine: Machine) -> Outlook:
    """Do all sums of this configuration on this machine."""
    limits = given.supervisor
    balance = Balance(
        Demand(limits.children, limits.rss_hard_bytes, load(given)), machine.container.limit_bytes
    )
    problems = (
        _too_small(given),
        _too_large(given, machine, balance),
        _not_receivable(given),
    )
    warnings = (
        _without_successor(balance),
        _beyond(machine, balance),
        _throttled(machine, balance),
        _close(given),
    )
    return Outlook(
        balance,
        _told(machine, balance),
        tuple(problem for problem in problems if problem),
        tuple(warning for warning in warnings if warning),
    )


def _told(machine: Machine, balance: Balance) -> str:
    limit = balance.limit_bytes
    against = (
        f"of {_there(limit)} MB in {machine.container.name}"
        if limit is not None
        else "without a limit around us"
    )
    total = _needed(balance.demand.total_bytes)
    return f"{total} MB needed at the most, {against}: {balance.demand.spelled(successor=True)}"


def _too_small(given: Settings) -> Remark | None:
    budget = given.supervisor.rss_budget_bytes
    if budget >= lightest_bytes(given):
        return None
    return Remark(
        f"{_source('rss_mb')}: {budget / MIB:g} MB leave too little for messages: "
        f"an idle child alone weighs up to {_needed(idle_bytes(given))} MB, and a budget must be at least twice that",
        f"the smallest that works is --rss-mb {_needed(lightest_bytes(given))}",
    )


def _too_large(given: Settings, machine: Machine, balance: Balance) -> Remark | None:
    if balance.fits or balance.limit_bytes is None:
        return None
    children, hard = balance.demand.children, balance.demand.hard_bytes
    least = _needed(balance.demand.least_bytes)
    fewer = f"--children {balance.most_children}" if balance.most_children else ""
    fitting = ", or ".join(each for each in (fewer, _lighter(given, balance)) if each)
    return Remark(
        f"{_source('children')}: {children} of up to {hard / MIB:g} MB may need {least} MB "
        f"with all that is around them ({balance.demand.spelled(successor=False)}), "
        f"and {machine.container.name} allows {_there(balance.limit_bytes)} MB",
        (f"what fits at the most is {fitting}" if fitting else "not even one child fits")
        + f"; else allow it {least} MB",
    )


def _lighter(given: Settings, balance: Balance) -> str:
    """Name the largest budget that fits with these children and can be used; empty when there is none."""
    hard = balance.largest_hard_bytes
    budget = hard if given.hard_given else int(hard / HARD_FACTOR)
    if budget < lightest_bytes(given) or hard < _receiving_bytes(given):
        return ""
    with_these = f"with {balance.demand.children} children"
    if not given.hard_given:
        return f"--rss-mb {_there(budget)} {with_these}"
    if hard >= given.supervisor.rss_budget_bytes:
        return f"--rss-hard-mb {_there(hard)} {with_these}"
    return f"--rss-hard-mb {_there(hard)} and --rss-mb no larger than that {with_these}"


def _not_receivable(given: Settings) -> Remark | None:
    hard = given.supervisor.rss_hard_bytes
    if _receiving_bytes(given) <= hard:
        return None
    largest = _there(max(hard - idle_bytes(given), 0) // 2)
    needed = _receiving_bytes(given)
    wanted = (
        f"--rss-hard-mb {_needed(needed)}"
        if given.hard_given
        else f"--rss-mb {math.ceil(needed / HARD_FACTOR / MIB)}"
    )
    return Remark(
        f"{_source('max_message_mb')}: {given.consumer.max_message_bytes / MIB:g} MB do not fit: "
        f"twice that and an idle child ({_needed(idle_bytes(given))} MB) are over the hard budget of {hard / MIB:g} MB",
        (f"the largest that fits is --max-message-mb {largest}; else " if largest else "") + f"give {wanted}",
    )


def _receiving_bytes(given: Settings) -> int:
    """Return what a child weighs at the peak of the largest message: the body, and as much again made of it."""
    return 2 * given.consumer.max_message_bytes + idle_bytes(given)


def _without_successor(balance: Balance) -> Remark | None:
    if balance.limit_bytes is None or balance.room_for_successor or not balance.fits:
        return None
    missing = _needed(balance.demand.total_bytes - balance.limit_bytes)
    return Remark(
        f"there is no room for a successor beside the child that it replaces ({missing} MB are missing): "
        "each replacement leaves its slot empty until the old child is gone",
        f"allow the container {missing} MB more, or lower --rss-mb or --children",
    )


def _beyond(machine: Machine, balance: Balance) -> Remark | None:
    if balance.demand.total_bytes <= machine.total_bytes or not balance.fits:
        return None
    return Remark(
        f"{_needed(balance.demand.total_bytes)} MB may be needed, "
        f"and the whole machine has {_there(machine.total_bytes)} MB",
        "lower --children or --rss-mb",
    )


def _throttled(machine: Machine, balance: Balance) -> Remark | None:
    mark = machine.container.throttle_bytes
    if mark is None or balance.demand.total_bytes <= mark:
        return None
    return Remark(
        f"the kernel slows everything down from {_there(mark)} MB on (memory.high), "
        f"and {_needed(balance.demand.total_bytes)} MB may be needed",
        "raise memory.high, or lower --children or --rss-mb",
    )


def _close(given: Settings) -> Remark | None:
    limits = given.supervisor
    room = limits.rss_hard_bytes - limits.rss_budget_bytes
    if room >= PROVEN_ROOM_BYTES:
        return None
    return Remark(
        f"{_source('rss_hard_mb')}: only {room / MIB:g} MB above --rss-mb: "
        "a child that grows at full speed may be seen too late, and then the kernel's limit has to stop it",
        f"give --rss-hard-mb {_needed(limits.rss_budget_bytes + PROVEN_ROOM_BYTES)} or more, where it fits",
    )


def _source(name: str) -> str:
    return BY_NAME[name].source


def _needed(size_bytes: int) -> int:
    return math.ceil(size_bytes / MIB)


def _there(size_bytes: int) -> int:
    return size_bytes // MIB

"""Processor time: one worker gets a queue of conversations, and what its tree used for each is read from outside.

The worker starts on an empty queue; when all of its consumers are there, its CPU time is read, the conversations are
published, and when all are PROCESSED it is read again: start-up does not count, the supervisor does. Who compares two
lets them take turns, and takes the ratio round by round, so that the machine's own drift cancels out.
"""

from dataclasses import dataclass
from time import monotonic, sleep

from scripts.bench.contenders import Contender
from scripts.measure import Ground, Tree, copies, running
from scripts.servers.stack import Stack

LIMIT_S = 600.0


@dataclass(frozen=True, slots=True)
class Load:
    """What every worker is given. delay_s: how long the Memory API takes for each call."""

    messages: int
    size_bytes: int
    children: int
    delay_s: float
    emoji: bool


@dataclass(frozen=True, slots=True)
class Result:
    """One worker's run. Times in seconds, memory in bytes (PSS of the whole tree, sampled)."""

    worker: str
    wall_s: float
    cpu_s_per_message: float
    pss_idle_bytes: int
    pss_peak_bytes: int


def run(stack: Stack, worker: Contender, load: Load, number: int) -> Result:
    """Run one worker over the load, and prove that its scores are right. Raises NotReached."""
    name = f"{worker.name}_{number}"
    conversations = copies(name, load.messages, size_bytes=load.size_bytes, emoji=load.emoji)
    stack.memory_api.reset()
    stack.memory_api.set_mode("delay" if load.delay_s else "instant", seconds=load.delay_s)
    with Ground(stack, name, declared=not worker.declares) as ground:
        ground.add(conversations)
        environment = ground.environment | worker.variables(load.children)
        with running(worker.arguments(load.children), environment) as tree:
            tree.until(lambda: ground.consumers() == worker.consumers(load.children), "all consume")
            idle, began, cpu_began = tree.pss_bytes(), monotonic(), tree.cpu_s()
            ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
            peak = _watch(ground, tree, load.messages)
            cpu_s, wall_s = tree.cpu_s() - cpu_began, monotonic() - began
        ground.prove(conversations)
    return Result(worker.name, round(wall_s, 3), round(cpu_s / load.messages, 5), idle, max(peak, idle))


def _watch(ground: Ground, tree: Tree, messages: int) -> int:
    """Wait until all is PROCESSED; return the tree's largest PSS that was seen, in bytes."""
    peak = 0

    def done() -> bool:
        nonlocal peak
        if ground.processed() == messages:
            return True
        peak = max(peak, tree.pss_bytes())
        sleep(0.08)
        return False

    tree.until(done, f"all of {messages} are PROCESSED", LIMIT_S)
    return peak

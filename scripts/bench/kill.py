"""What SIGKILL of one process costs, while it and all others wait for the Memory API with a message each.

Once it is killed, the API answers everything at once: what goes on for longer is the worker's own recovery. All is
counted from outside, the same way for every worker: the broker's counters, the stand-in's calls, the users' scores.
"""

import contextlib
import os
import signal
from time import monotonic, sleep

import psutil

from scripts.bench.contenders import Contender
from scripts.bench.figures import Aftermath, Plan
from scripts.conversations import Conversation, make
from scripts.measure import MB, TOLERANCE, Ground, NotReached, Tree, running
from scripts.servers.memory_modes import facts_for
from scripts.servers.stack import Stack

COUNTER = "messages_redelivered_total"
SETTLE_LIMIT_S = 120.0
LOOK_EVERY_S = 0.005


def kill(stack: Stack, worker: Contender, plan: Plan) -> Aftermath:
    """Kill one process that holds a message, and watch what becomes of all. Raises NotReached.

    When the worker's first process is gone, what is left is killed and the worker started again at once, as a
    container's restart policy would.
    """
    stack.memory_api.reset()
    stack.memory_api.set_mode("hang")
    conversations = [
        # A user for each: what was added twice then shows
        make(f"kill-{number}", f"user-{number}", size_bytes=int(plan.message_mb * MB))
        for number in range(plan.children)
    ]
    with (
        Ground(stack, f"{worker.name}_kill", declared=not worker.declares) as ground,
        contextlib.ExitStack() as started,
    ):
        ground.add(conversations)

        def start() -> Tree:
            environment = ground.environment | worker.variables(plan.children)
            return started.enter_context(running(worker.arguments(plan.children), environment, patience_s=0))

        def whole() -> bool:
            return ground.consumers() == worker.consumers(plan.children)

        tree = start()
        tree.until(whole, "all consume")
        ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
        tree.until(lambda: len(stack.memory_api.calls().conversations) == plan.children, "all wait")
        broker_port, redelivered = stack.rabbitmq.port, stack.rabbitmq.counters()[COUNTER]
        processes, consuming = len(living(tree)), len(connected(tree, broker_port))
        victim = holder(tree, stack.memory_api.port)

        os.kill(victim, signal.SIGKILL)
        killed = monotonic()
        stack.memory_api.set_mode("instant")
        stack.memory_api.release()

        def back() -> bool:
            # The broker may take a moment to miss the dead one: so the connections of the living count too
            return (
                whole()
                and len(living(tree) - {victim}) >= processes
                and len(connected(tree, broker_port) - {victim}) >= consuming
            )

        back_s, deaths = None, 0
        while True:
            if not tree.alive:
                deaths += 1
                started.close()
                tree = start()
            passed_s = monotonic() - killed
            if back_s is None and back():
                back_s = monotonic() - killed
            settled = ground.processed() == len(conversations)
            if (
                settled and (back_s is not None or passed_s > plan.back_limit_s)
            ) or passed_s > SETTLE_LIMIT_S:
                break
            sleep(LOOK_EVERY_S)
        calls = stack.memory_api.calls()
        return Aftermath(
            messages=len(conversations),
            processed=ground.processed(),
            redeliveries=stack.rabbitmq.counters()[COUNTER] - redelivered,
            called_again=calls.total - len(calls.conversations),
            scored_twice=scored_twice(ground, conversations),
            back_s=back_s,
            deaths=deaths,
        )


def living(tree: Tree) -> set[int]:
    """Give the pids of the tree's processes that run."""
    found = set()
    for process in tree.members():
        with contextlib.suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.add(process.pid)
    return found


def connected(tree: Tree, port: int) -> set[int]:
    """Give the pids of the tree's processes that have a connection to this port."""
    return living(tree) & {
        connection.pid
        for connection in psutil.net_connections("tcp4")
        if connection.status == psutil.CONN_ESTABLISHED and connection.raddr and connection.raddr.port == port
    }


def holder(tree: Tree, api_port: int) -> int:
    """Choose a process that waits for the API; the first one of the tree only when it is the only one.

    Raises NotReached when none does.
    """
    holders = connected(tree, api_port)
    if not holders:
        raise NotReached("no process of the worker has a connection to the Memory API")
    root = tree.members()[0].pid
    return min(holders - {root} or holders)


def scored_twice(ground: Ground, conversations: list[Conversation]) -> int:
    """Count the users who got more than their one conversation comes to."""
    scores: dict[str, float] = dict(
        ground.database.execute("SELECT user_id, friendship_score FROM friendship_status").fetchall()
    )
    due = {one.user_id: 0.5 * one.turns + 5 * facts_for(one.conversation_id) for one in conversations}
    return sum(scores.get(user, 0.0) > score + TOLERANCE for user, score in due.items())

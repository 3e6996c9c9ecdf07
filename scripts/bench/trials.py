"""How the figures are taken: one worker at a time, each part on a database and a queue of its own."""

import contextlib
from collections.abc import Iterator

from scripts.bench.contenders import Contender
from scripts.bench.figures import PROCESSED, Height, Plan
from scripts.bench.heights import Heights
from scripts.measure import MB, Ground, Member, NotReached, Tree, copies, pss_bytes, running
from scripts.servers.stack import Stack

RUN_LIMIT_S = 600.0
ONE_LIMIT_S = 150.0
FINAL = (PROCESSED, "FAILED", "SKIPPED")

Members = tuple[Member, ...]


def idle(stack: Stack, worker: Contender, plan: Plan) -> Members:
    """Read the tree when it has just started and every consumer is there."""
    with _ground(stack, worker, "idle") as ground, _started(ground, worker, plan.children) as tree:
        return tree.still("fresh")


def waiting(stack: Stack, worker: Contender, plan: Plan) -> tuple[Members, Members]:
    """Read the tree fresh, and then when each child has sent a message's request to an API that never answers."""
    stack.memory_api.reset()
    stack.memory_api.set_mode("hang")
    conversations = copies("waiting", plan.children, size_bytes=_bytes(plan.message_mb))
    with _ground(stack, worker, "waiting") as ground:
        ground.add(conversations)
        # patience 0: a worker asked to stop would wait for the API
        with _started(ground, worker, plan.children, patience_s=0) as tree:
            fresh = tree.still("fresh")
            ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
            tree.until(lambda: stack.memory_api.calls().in_flight == plan.children, "all wait")
            return fresh, tree.still("waiting")


def run(stack: Stack, worker: Contender, plan: Plan) -> tuple[int, Members]:
    """Let the messages pass; return the tree's highest PSS that was seen, and the tree idle again."""
    stack.memory_api.reset()
    conversations = copies("run", plan.messages, size_bytes=_bytes(plan.message_mb))
    with _ground(stack, worker, "run") as ground:
        ground.add(conversations)
        with _started(ground, worker, plan.children) as tree:
            ground.publish(worker.envelope(one, ground.broker.queue) for one in conversations)
            highest = 0

            def done() -> bool:
                nonlocal highest
                if ground.processed() == plan.messages:
                    return True
                highest = max(highest, tree.pss_bytes())
                return False

            tree.until(done, f"all of {plan.messages} are PROCESSED", RUN_LIMIT_S)
            members = tree.still("idle again")
        ground.prove(conversations)
    return max(highest, pss_bytes(members)), members


def height(stack: Stack, worker: Contender, size_mb: float) -> Height:
    """Give one child one message of this size; return the highest that any process of the tree came."""
    stack.memory_api.reset()
    [conversation] = copies("height", 1, size_bytes=_bytes(size_mb), emoji=True)
    with _ground(stack, worker, "height") as ground:
        ground.add([conversation])
        with _started(ground, worker, 1) as tree:
            parent = tree.members()[0].pid
            with Heights(tree) as heights:
                ground.publish([worker.envelope(conversation, ground.broker.queue)])
                outcome = _outcome(ground, tree, conversation.conversation_id)
        highest, pid = heights.highest
    return Height(size_mb, highest, "parent" if pid == parent else "child", outcome)


def _outcome(ground: Ground, tree: Tree, conversation_id: str) -> str:
    """Wait for an event's end; a worker that died of it, or is at it for ever, is an outcome too."""
    try:
        tree.until(
            lambda: ground.outcome(conversation_id).startswith(FINAL), "the message is settled", ONE_LIMIT_S
        )
    except NotReached as missed:
        return f"{ground.outcome(conversation_id)}: {missed}"
    return ground.outcome(conversation_id)


def _ground(stack: Stack, worker: Contender, part: str) -> Ground:
    return Ground(stack, f"{worker.name}_{part}", declared=not worker.declares)


@contextlib.contextmanager
def _started(ground: Ground, worker: Contender, children: int, patience_s: float = 60.0) -> Iterator[Tree]:
    """Run the worker, and wait until all of its consumers are there."""
    environment = ground.environment | worker.variables(children)
    with running(worker.arguments(children), environment, patience_s) as tree:
        tree.until(lambda: ground.consumers() == worker.consumers(children), "all consume")
        yield tree


def _bytes(size_mb: float) -> int:
    return int(size_mb * MB)

"""Four children, each in another place of its life when a server goes away.

One waits idle, one is in a call that outlasts the outage, one gets its call's answer meanwhile, and one finds a new
message, when a test publishes it.
"""

import signal
from typing import Any

from scripts.conversations import make
from scripts.servers.memory_api import MemoryApiStandIn
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Worker

ANSWER_S = 1.0
"""How long the call takes whose answer is to come during the outage; beginning one takes a tenth of that."""


def shown(worker: Worker, children: int) -> list[dict[str, Any]]:
    """Ask for the status of all children."""
    before = len(worker.logged("child_status"))
    worker.send(signal.SIGUSR1)
    worker.wait_for("child_status", times=before + children)
    return worker.logged("child_status")[before:]


class Scene:
    """The children at their places, and what must be true when the outage is over."""

    def __init__(self, worker: Worker, desk: Desk, memory_api: MemoryApiStandIn, children: int) -> None:
        self.worker, self.desk, self.memory_api, self.children = worker, desk, memory_api, children
        worker.wait_for("child_ready", times=children)
        memory_api.set_mode("hang", conversation_id="calling")
        memory_api.set_mode("delay", conversation_id="answered", seconds=ANSWER_S)
        desk.publish([make("calling", "user-1"), make("answered", "user-1", size_bytes=100_000)])
        worker.wait_until(lambda: memory_api.calls().in_flight == 2, "two calls are under way")
        desk.close()

    def shown(self) -> list[dict[str, Any]]:
        return shown(self.worker, self.children)

    def waits(self, conversation_id: str) -> bool:
        """Say whether a child with this conversation in hand is shown to wait."""
        return any(
            (line["conversation_id"], line["state"]) == (conversation_id, "waiting") for line in self.shown()
        )

    def all_are_idle(self) -> bool:
        return all(line["state"] == "idle" for line in self.shown())

    def publish(self, conversation_id: str) -> None:
        """Let a child that waits idle find a message."""
        self.desk.publish([make(conversation_id, "user-2")])

    def all_are_processed(self, limit_s: float = 60.0) -> None:
        """Let the long call have its answer, and wait until there is nothing left to do."""
        self.memory_api.set_mode("instant", conversation_id="calling")
        self.memory_api.release()
        self.worker.wait_until(
            lambda: self.desk.statuses() == {"PROCESSED": len(self.desk.published)},
            "all are processed",
            limit_s=limit_s,
        )
        # A second copy that is in hand would go back to the queue at a stop
        self.worker.wait_until(self.all_are_idle, "nothing is in hand")

    def ends_well(self, *, calls: int = 1, children_stay: bool = True) -> None:
        """Let all be processed, and hold everything to one score each.

        calls: the most that a conversation may have cost. children_stay: no child may have ended.
        """
        self.all_are_processed()
        seen = self.memory_api.calls()
        assert max(seen.of(name) for name in self.desk.published) <= calls
        attempts = self.desk.query("SELECT DISTINCT attempt_count FROM conversation_events")
        assert attempts == [{"attempt_count": 1}]
        assert self.worker.logged("message_failed") == []
        if children_stay:
            assert self.worker.logged("child_exited") == []
        assert self.worker.stop() == 0
        self.desk.assert_all_scored()
        self.desk.assert_clean_ending(self.worker)

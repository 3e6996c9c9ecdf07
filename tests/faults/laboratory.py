"""Where cells of the fault matrix are run: a queue, a database and a directory of their own."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random
from zlib import crc32

import orjson
import pytest

from scripts.conversations import Conversation, make
from scripts.faults.failpoints import COUNTED_IN, Fault, happened
from scripts.servers.memory_api import MemoryApiStandIn
from scripts.servers.memory_modes import facts_for
from scripts.servers.postgres import Postgres
from scripts.servers.rabbitmq import RabbitMQ
from tests.faults.cells import Cell, Outcome
from tests.fixtures.desk import Desk
from tests.fixtures.failpoints import Stepped
from tests.fixtures.worker import LIMITS, Worker

USERS = 7
SIZE_BYTES = 3_000
NUMBERS = count(1)


class Laboratory:
    """One run's surroundings; what it leaves behind is read at its end."""

    def __init__(
        self,
        rabbitmq: RabbitMQ,
        postgres: Postgres,
        memory_api: MemoryApiStandIn,
        *,
        template: str,
        directory: Path,
        cells: Sequence[Cell],
    ) -> None:
        self.cells = cells
        self.directory = directory
        self.memory_api = memory_api
        self._postgres = postgres
        self._name = f"faults_{next(NUMBERS)}"
        self._workers: list[Worker] = []
        memory_api.reset()
        self.desk = Desk(rabbitmq.url, self._name, postgres.create_database(self._name, template))
        self.environment = LIMITS | {
            "RABBITMQ_URL": rabbitmq.url,
            "RABBITMQ_QUEUE": self._name,
            "DATABASE_URL": self.desk.database_url,
            "MEMORY_API_URL": memory_api.url,
            COUNTED_IN: str(directory),
        }

    def start(self, children: int, **overrides: str) -> Worker:
        """Start a supervisor, and wait until all of its children were ready once."""
        environment = self.environment | {"FRIENDSHIP_CHILDREN": str(children)} | overrides
        worker = Stepped(environment, "--allow-overcommit")
        self._workers.append(worker)
        worker.wait_for("child_ready", times=children)
        return worker

    def publish(self, *names: str) -> None:
        """Publish conversations of these names, each with its log."""
        self.desk.publish(conversation(name) for name in names)

    def user_of(self, name: str) -> str:
        """Say whose conversation it is."""
        return conversation(name).user_id

    def publish_all(self, ordinary: int) -> None:
        """Publish the cells' conversations among ordinary ones, in an order that is the same each time."""
        names = [cell.conversation_id for cell in self.cells]
        names += [f"ordinary-{number}" for number in range(ordinary)]
        Random(1).shuffle(names)
        self.publish(*names)

    def all_ended(self) -> bool:
        """Say whether every published conversation has an outcome, or was set aside, and the queue holds nothing."""
        statuses = self.desk.statuses()
        if statuses["PENDING"] + statuses["PROCESSING"] or self.desk.depth():
            return False
        return sum(statuses.values()) + self.desk.depth(self.desk.broker.dead_queue) >= len(
            self.desk.published
        )

    def outcomes(self, worker: Worker) -> dict[str, Outcome]:
        """Assert the clean ending that all runs share, and give each cell's outcome by its id."""
        dead = Counter(orjson.loads(body).get("conversation_id") for _, body in self.desk.take_dead())
        self.desk.published = {name: c for name, c in self.desk.published.items() if name not in dead}
        self.desk.assert_clean_ending(worker)
        assert self.desk.scores() == pytest.approx(self._expected_scores(), abs=1e-6)
        calls = self.memory_api.calls()
        return {
            cell.id: self._outcome(cell.conversation_id, calls.of(cell.conversation_id), dead)
            for cell in self.cells
        }

    def _expected_scores(self) -> dict[str, float]:
        """Sum up what every processed conversation counts, once."""
        scores: defaultdict[str, float] = defaultdict(float)
        for name, one in self.desk.published.items():
            if self.desk.status(name) == "PROCESSED":
                scores[one.user_id] += 0.5 * one.turns + 5 * facts_for(name)
        return dict(scores)

    def _outcome(self, name: str, calls: int, dead: Counter[str]) -> Outcome:
        row = self.desk.event(name) or {}
        accounts = self.desk.query(
            "SELECT cause, blamed FROM child_deaths WHERE conversation_id = %s ORDER BY claim_epoch", name
        )
        return Outcome(
            status=row.get("status"),
            code=row.get("error_code"),
            attempts=row.get("attempt_count", 0),
            deaths=tuple(one["cause"] + ("!" if one["blamed"] else "") for one in accounts),
            calls=calls,
            parked=row.get("parked_log") is not None,
            dead=dead[name],
            strikes=happened(self.directory, name) if Fault.of(name) else 1,
        )

    def close(self) -> None:
        """End what still runs, and drop the queue and the database."""
        for worker in self._workers:
            worker.destroy()
        self.desk.delete_queue()
        self.desk.close()
        self._postgres.drop_database(self._name)


def conversation(name: str) -> Conversation:
    return make(name, f"user-{crc32(name.encode()) % USERS}", size_bytes=SIZE_BYTES)

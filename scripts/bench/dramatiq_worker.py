"""The job as a Dramatiq actor: `dramatiq scripts.bench.dramatiq_worker --processes N --threads 1`.

With `dramatiq_queue_prefetch=1` in the environment: one message a process, as for all others.
"""

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from scripts.bench import job


class Connections(dramatiq.Middleware):  # type: ignore[misc]  # the checker has no library
    """Opens the job's connections in each worker process."""

    def after_process_boot(self, _broker: Any) -> None:
        job.opened()


broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"])
broker.add_middleware(Connections())
dramatiq.set_broker(broker)


@dramatiq.actor(actor_name=job.TASK, queue_name=os.environ["RABBITMQ_QUEUE"])  # type: ignore[untyped-decorator]
def score_conversation(message: dict[str, Any]) -> None:
    job.opened().score(message)

"""The job as a Dramatiq actor: `dramatiq scripts.bench.dramatiq_worker --processes N --threads 1`.

With `dramatiq_queue_prefetch=1` in the environment: one message a process, as for all others. A failure is tried again
five times, later each time, with jitter; after that the message goes to `<queue>.XQ`. Retries wait in the workers'
memory, each by default up to a thousand of them: `dramatiq_delay_queue_prefetch=4` leaves all but a few to the broker.
"""

import os
from typing import Any

import dramatiq
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from scripts.bench import job

MS = 1000


class Connections(dramatiq.Middleware):  # type: ignore[misc]  # the checker has no library
    """Opens the job's connections in each worker process."""

    def after_process_boot(self, _broker: Any) -> None:
        job.opened()


broker = RabbitmqBroker(url=os.environ["RABBITMQ_URL"], confirm_delivery=True)
broker.add_middleware(Connections())
dramatiq.set_broker(broker)


@dramatiq.actor(  # type: ignore[untyped-decorator]
    actor_name=job.TASK,
    queue_name=os.environ["RABBITMQ_QUEUE"],
    max_retries=job.RETRIES,
    min_backoff=int(job.FIRST_RETRY_S * MS),
    max_backoff=int(job.LONGEST_RETRY_S * MS),
    time_limit=int(job.BACKSTOP_S * MS),
)
def score_conversation(message: dict[str, Any]) -> None:
    job.opened().score(message)

"""The job as a Celery task: `celery -A scripts.bench.celery_worker worker`, prefork.

Settings as its guide has them for tasks that are long and heavy: acknowledged late, also requeued when their process
dies, one prefetched for each process, a process replaced once it has been above 300 MB, no results kept. A failure is
tried again five times, later each time, with jitter; after that the message goes to `<queue>.dead`.
"""

import os
from typing import Any

from celery import Celery, signals

from scripts.bench import job

QUEUE = os.environ["RABBITMQ_QUEUE"]
DEAD = f"{QUEUE}.dead"
HELD = 40

app = Celery("bench", broker=os.environ["RABBITMQ_URL"])
app.conf.update(
    task_default_queue=QUEUE,
    task_queues={
        QUEUE: {"queue_arguments": {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": DEAD}}
    },
    task_acks_late=True,
    # Its process died: back to the queue, at once and however often. (From 5.7 task_retry_on_worker_lost would make it
    # a retry instead: later, as a new message, and counted.)
    task_reject_on_worker_lost=True,
    # Out of retries: reject, which dead-letters. Out of time: requeue.
    task_acks_on_failure_or_timeout=False,
    task_time_limit=job.BACKSTOP_S,
    task_ignore_result=True,
    # A retry is a message of its own, published before the first one is acknowledged.
    broker_transport_options={"confirm_publish": True},
    worker_prefetch_multiplier=1,
    worker_max_memory_per_child=300 * 1024,  # KiB
    # A retry waits in the parent's memory, and each raises the prefetch by one: without a limit, all of a queue would.
    worker_eta_task_limit=HELD,
    broker_connection_retry_on_startup=True,
)


def open_connections(**_: Any) -> None:
    job.opened()


def declare_dead_letters(**_: Any) -> None:
    """Declare the queue that the broker sends to: it declares none itself, and would drop the messages."""
    with app.connection_for_write() as connection:
        connection.default_channel.queue_declare(DEAD, durable=True, auto_delete=False)


def score_conversation(message: dict[str, Any]) -> None:
    job.opened().score(message)


signals.worker_process_init.connect(open_connections)
signals.worker_init.connect(declare_dead_letters)
app.task(
    score_conversation,
    name=job.TASK,
    autoretry_for=(Exception,),
    retry_backoff=job.FIRST_RETRY_S,
    retry_backoff_max=round(job.LONGEST_RETRY_S),
    retry_jitter=True,
    max_retries=job.RETRIES,
)

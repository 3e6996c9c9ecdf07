"""The job as a Celery task: `celery -A scripts.bench.celery_worker worker`, prefork.

Settings as its guide has them for tasks that are long and heavy: acknowledged late, one prefetched for each process, a
process replaced once it has been above 300 MB, no results kept.
"""

import os
from typing import Any

from celery import Celery, signals

from scripts.bench import job

app = Celery("bench", broker=os.environ["RABBITMQ_URL"])
app.conf.update(
    task_default_queue=os.environ["RABBITMQ_QUEUE"],
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=1,
    worker_max_memory_per_child=300 * 1024,  # KiB
    broker_connection_retry_on_startup=True,
)


def open_connections(**_: Any) -> None:
    job.opened()


def score_conversation(message: dict[str, Any]) -> None:
    job.opened().score(message)


signals.worker_process_init.connect(open_connections)
app.task(score_conversation, name=job.TASK)

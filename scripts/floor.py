"""The floor: what a bare pika consumer costs that does the same job, with no supervision, no fencing and no checks.

    RABBITMQ_URL=... DATABASE_URL=... MEMORY_API_URL=... python -m scripts.floor K

A yardstick for CPU per message, kept as plain as such a worker would be written; not a part of the product. K processes
with prefetch 1. A message: orjson.loads; the row to PROCESSING, committed; POST /extract_facts with orjson.dumps of the
conversation; score and PROCESSED in one transaction; ack. The rows must exist.
"""

import os
import sys
from typing import Any

import httpx
import orjson
import pika
import psycopg
from pika.adapters.blocking_connection import BlockingChannel
from pika.spec import Basic, BasicProperties

PROCESSING = """
UPDATE conversation_events SET status = 'PROCESSING', attempt_count = attempt_count + 1, updated_at = now()
 WHERE conversation_id = %s
"""
SCORE = """
INSERT INTO friendship_status (user_id, friendship_score) VALUES (%s, %s) ON CONFLICT (user_id)
DO UPDATE SET friendship_score = friendship_status.friendship_score + excluded.friendship_score
"""
PROCESSED = """
UPDATE conversation_events SET status = 'PROCESSED', processed_at = now(), friendship_score_change = %s
 WHERE conversation_id = %s
"""
ROLES = {"pika": "assistant", "user": "user"}


def turns(log: list[dict[str, Any]]) -> int:
    count = at = 0
    while at < len(log) - 1:
        if {log[at]["speaker"], log[at + 1]["speaker"]} == {"pika", "user"}:
            count += 1
            at += 2
        else:
            at += 1
    return count


def consume() -> None:
    database = psycopg.connect(os.environ["DATABASE_URL"])
    api = httpx.Client(timeout=60)
    url = os.environ["MEMORY_API_URL"] + "/extract_facts"
    queue = os.environ["RABBITMQ_QUEUE"]
    channel = pika.BlockingConnection(pika.URLParameters(os.environ["RABBITMQ_URL"])).channel()
    channel.basic_qos(prefetch_count=1)

    def on_message(
        channel: BlockingChannel, method: Basic.Deliver, _properties: BasicProperties, body: bytes
    ) -> None:
        message = orjson.loads(body)
        conversation_id, log = message["conversation_id"], message["conversation_log"]
        database.execute(PROCESSING, (conversation_id,))
        database.commit()
        request = {
            "user_id": message["user_id"],
            "conversation_id": conversation_id,
            "conversation": [{"role": ROLES[item["speaker"]], "content": item["text"]} for item in log],
        }
        headers = {"Content-Type": "application/json"}
        answer = api.post(url, content=orjson.dumps(request), headers=headers).raise_for_status()
        score = turns(log) * 0.5 + 5 * answer.json()["count"]
        database.execute(SCORE, (message["user_id"], score))
        database.execute(PROCESSED, (score, conversation_id))
        database.commit()
        channel.basic_ack(method.delivery_tag)

    channel.basic_consume(queue, on_message)
    channel.start_consuming()


def main() -> None:
    children = int(sys.argv[1])
    for _ in range(children):
        if os.fork() == 0:
            consume()
    for _ in range(children):
        os.wait()


if __name__ == "__main__":
    main()

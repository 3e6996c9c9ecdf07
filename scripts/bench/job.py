"""The job as the task libraries' workers do it: the floor's SQL, its HTTP call and its score.

The library hands over the decoded message; what the floor does after its `orjson.loads` begins here.
"""

import functools
import os
from typing import Any

import httpx
import orjson
import psycopg

TASK = "score_conversation"

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


class Job:
    """One process's connections, and what it does with a message."""

    def __init__(self) -> None:
        self._database = psycopg.connect(os.environ["DATABASE_URL"])
        self._api = httpx.Client(timeout=float(os.environ.get("MEMORY_API_TIMEOUT_SECONDS", "60")))
        self._url = os.environ["MEMORY_API_URL"] + "/extract_facts"

    def score(self, message: dict[str, Any]) -> None:
        """Claim the event, call the Memory API, write score and outcome in one transaction."""
        conversation_id, log = message["conversation_id"], message["conversation_log"]
        self._database.execute(PROCESSING, (conversation_id,))
        self._database.commit()
        request = {
            "user_id": message["user_id"],
            "conversation_id": conversation_id,
            "conversation": [{"role": ROLES[item["speaker"]], "content": item["text"]} for item in log],
        }
        headers = {"Content-Type": "application/json"}
        answer = self._api.post(self._url, content=orjson.dumps(request), headers=headers).raise_for_status()
        score = turns(log) * 0.5 + 5 * answer.json()["count"]
        self._database.execute(SCORE, (message["user_id"], score))
        self._database.execute(PROCESSED, (score, conversation_id))
        self._database.commit()


@functools.cache
def opened() -> Job:
    """Return this process's job; its connections are opened at the first call, so call it after the fork."""
    return Job()


def turns(log: list[dict[str, Any]]) -> int:
    """Count adjacent pairs of different speakers, each message used once, as the floor does."""
    count = at = 0
    while at < len(log) - 1:
        if {log[at]["speaker"], log[at + 1]["speaker"]} == {"pika", "user"}:
            count += 1
            at += 2
        else:
            at += 1
    return count

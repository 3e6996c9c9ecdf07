"""The job as the task libraries' workers do it: the floor's SQL, its HTTP call and its score.

The library hands over the decoded message; what the floor does after its `orjson.loads` begins here. Beyond the floor,
an event that is PROCESSED is left as it is, for a message may come twice. A failure is written into the event's row and
a lost connection to the database opened again: the library then tries the message again, at the times below.
"""

import contextlib
import functools
import os
from typing import Any

import httpx
import orjson
import psycopg

TASK = "score_conversation"

PROCESSING = """
UPDATE conversation_events SET status = 'PROCESSING', attempt_count = attempt_count + 1, updated_at = now()
 WHERE conversation_id = %s AND status <> 'PROCESSED'
"""
SCORE = """
INSERT INTO friendship_status (user_id, friendship_score) VALUES (%s, %s) ON CONFLICT (user_id)
DO UPDATE SET friendship_score = friendship_status.friendship_score + excluded.friendship_score
"""
PROCESSED = """
UPDATE conversation_events SET status = 'PROCESSED', processed_at = clock_timestamp(), friendship_score_change = %s
 WHERE conversation_id = %s AND status <> 'PROCESSED'
"""
FAILED = """
UPDATE conversation_events SET status = 'FAILED', error_code = %s, updated_at = now()
 WHERE conversation_id = %s AND status <> 'PROCESSED'
"""
ROLES = {"pika": "assistant", "user": "user"}


API_TIMEOUT_S = float(os.environ.get("MEMORY_API_TIMEOUT_SECONDS", "60"))
BACKSTOP_S = API_TIMEOUT_S + 60.0
"""When the library stops a message: httpx's limit is one for each read, so a slow drip passes it."""

_SCALE = float(os.environ.get("BENCH_TIME_SCALE", "1"))
RETRIES = 5
FIRST_RETRY_S = 60.0 * _SCALE
LONGEST_RETRY_S = 900.0 * _SCALE
"""Half of the time after which RabbitMQ closes the channel of a consumer that has not acknowledged a message."""


class Job:
    """One process's connections, and what it does with a message."""

    def __init__(self) -> None:
        self._connection = psycopg.connect(os.environ["DATABASE_URL"])
        self._api = httpx.Client(timeout=API_TIMEOUT_S)
        self._url = os.environ["MEMORY_API_URL"] + "/extract_facts"

    @property
    def _database(self) -> psycopg.Connection:
        if self._connection.closed:
            self._connection = psycopg.connect(os.environ["DATABASE_URL"])
        return self._connection

    def score(self, message: dict[str, Any]) -> None:
        """Do the job; when it fails, the row says so, and the error is the library's to retry."""
        try:
            self._score(message)
        except Exception as error:
            with contextlib.suppress(psycopg.Error):
                self._database.rollback()
                self._database.execute(FAILED, (code(error), message["conversation_id"]))
                self._database.commit()
            raise

    def _score(self, message: dict[str, Any]) -> None:
        """Claim the event, call the Memory API, write score and outcome in one transaction."""
        conversation_id, log = message["conversation_id"], message["conversation_log"]
        claimed = self._database.execute(PROCESSING, (conversation_id,)).rowcount
        self._database.commit()
        if not claimed:
            return
        headers = {"Content-Type": "application/json"}
        asked = request(message)  # kept during the call, as the floor keeps it
        answer = self._api.post(self._url, content=orjson.dumps(asked), headers=headers).raise_for_status()
        score = turns(log) * 0.5 + 5 * answer.json()["count"]
        if self._database.execute(PROCESSED, (score, conversation_id)).rowcount:
            self._database.execute(SCORE, (message["user_id"], score))
        self._database.commit()


@functools.cache
def opened() -> Job:
    """Return this process's job; its connections are opened at the first call, so call it after the fork."""
    return Job()


def code(error: Exception) -> str:
    """Name a failure as the rows name it."""
    match error:
        case httpx.TimeoutException():
            return "MEMORY_API_TIMEOUT"
        case httpx.HTTPError():
            return "MEMORY_API_ERROR"
        case _:
            return "UNEXPECTED_ERROR"


def request(message: dict[str, Any]) -> dict[str, Any]:
    """Make what the Memory API is asked."""
    return {
        "user_id": message["user_id"],
        "conversation_id": message["conversation_id"],
        "conversation": [
            {"role": ROLES[item["speaker"]], "content": item["text"]} for item in message["conversation_log"]
        ],
    }


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

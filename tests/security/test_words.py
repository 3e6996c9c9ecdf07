"""What a child says to a robot is in no log line, no error text, no account of the dead and no header."""

import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from functools import partial

import orjson
import pytest

from tests.fixtures.desk import Desk
from tests.fixtures.titles import crash
from tests.fixtures.worker import Worker
from tests.security.canary import sung
from tests.security.scripted_api import Answer, ScriptedApi, answered

Start = Callable[..., Worker]

WORD = "canaryChild4d2a7"
SENTENCE = f"my friend {WORD} lives behind the mill"
ITEMS = [{"speaker": "pika", "text": f"Hello! {SENTENCE}"}, {"speaker": "user", "text": SENTENCE}]
SAID = SENTENCE.encode()


def message(conversation_id: str, **fields: object) -> bytes:
    return orjson.dumps({"conversation_id": conversation_id, "user_id": "user-1"} | fields)


def echoed(status: str, *headers: str) -> Callable[[bytes], bytes]:
    """Send all that was received back, as the body."""
    return lambda body: answered(body, status, *headers)


ANSWERS: dict[str, Answer] = {
    "facts": answered(orjson.dumps({"status": "ok", "count": 1, "facts": [SENTENCE]})),
    "not-an-answer": echoed("200 OK"),
    "status": answered(orjson.dumps({"status": SENTENCE, "count": 1})),
    "count": answered(orjson.dumps({"status": "ok", "count": SENTENCE})),
    "many": answered(orjson.dumps({"status": "ok", "facts": [SENTENCE] * 10_001})),
    "rejected": echoed(f"422 {SENTENCE}"),
    "broken": echoed(f"500 {SENTENCE}", f"X-Echo: {SENTENCE}"),
    "later": echoed("503 Busy", f"Retry-After: {SENTENCE}"),
    "redirect": echoed("307 There", f"Location: http://{WORD}/{WORD}"),
    "encoding": echoed("200 OK", f"Content-Encoding: {WORD}"),
    "length": b"HTTP/1.1 200 OK\r\nContent-Length: " + SAID + b"\r\n\r\n{}",
    "version": SAID + b"\r\n\r\n",
    "header": b"HTTP/1.1 200 OK\r\n" + SAID + b"\r\n\r\n",
    "chunk": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + SAID + b"\r\n",
    "transfer": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: " + SAID + b"\r\n\r\n",
    "half": b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n" + SAID,
    "poison": None,
}
FAILED = set(ANSWERS) - {"facts", "poison"}
MALFORMED = {
    "plain text": SAID,
    "half of it": message("bad", conversation_log=ITEMS)[:-9],
    "not UTF-8": message("bad", conversation_log=ITEMS).replace(b"mill", b"mil\xff"),
    "id an object": message("bad", user_id={"text": SENTENCE}),
    "id a list": b'{"user_id":"u","conversation_id":["' + SAID + b'"]}',
    "no id": orjson.dumps({"text": SENTENCE, "conversation_log": ITEMS}),
    "a key": orjson.dumps({SENTENCE: 1, "conversation_log": ITEMS}),
    "log a text": message("bad", conversation_log=SENTENCE),
    "log an object": message("bad", conversation_log={SENTENCE: SENTENCE}),
    "speakers": message("bad", conversation_log=[{"speaker": SENTENCE, "text": SENTENCE}]),
    "characters": message("bad", conversation_log=[{"character": SENTENCE, "content": [SENTENCE]}]),
    "unusable items": message("bad", conversation_log=[SENTENCE, [SENTENCE], {SENTENCE: SENTENCE}]),
    "times": message("bad", start_time=SENTENCE, conversation_log=ITEMS),
    "tag": message("bad", agent_tag=[SENTENCE], conversation_log=ITEMS),
    "url": message("bad", conversation_log_url=f"https://{WORD}/{WORD}", conversation_log=ITEMS),
    "NUL": message("bad", bot_name=f"{SENTENCE}\0", conversation_log=ITEMS),
    "too long": message("bad", bot_name=SENTENCE * 40_000, conversation_log=ITEMS),
    "too large": message("bad", conversation_log=[{"speaker": "user", "text": SENTENCE * 30_000}]),
    "another user's": message("facts", user_id="thief", conversation_log=ITEMS),
}


@pytest.fixture
def api() -> Iterator[ScriptedApi]:
    with ScriptedApi(ANSWERS) as started:
        yield started


def shoot(worker: Worker) -> None:
    """Make every child crash."""
    crash(worker.pid, ": child ")


def told(desk: Desk) -> str:
    """Give all that the rows tell of events but the logs themselves, which are the place for what was said."""
    rows = [
        *desk.query(
            "SELECT to_jsonb(e) - 'conversation_log' - 'parked_log' AS row FROM conversation_events AS e"
        ),
        *desk.query("SELECT to_jsonb(d) AS row FROM child_deaths AS d"),
        *desk.query("SELECT to_jsonb(l) AS row FROM score_ledger AS l"),
    ]
    return "\n".join(json.dumps(row["row"]) for row in rows)


LOG_FORMATS = ["text", pytest.param("json", marks=pytest.mark.faults)]


@pytest.fixture(params=LOG_FORMATS)
def worker(request: pytest.FixtureRequest, start_worker: Start, api: ScriptedApi, desk: Desk) -> Worker:
    """Give a worker of the scripted API that logs all it can, in each format."""
    desk.publish([])  # declares the queues
    return start_worker(
        *("--log-level=debug", f"--log-format={request.param}", "--max-message-mb=1"),
        MEMORY_API_URL=api.url,
        FRIENDSHIP_BREAKER="off",
    )


def assert_untold(worker: Worker, desk: Desk, *expected: str) -> None:
    """Stop the worker after its status was asked for; assert that the word is nowhere. expected: what is."""
    os.kill(worker.pid, signal.SIGUSR1)
    assert worker.stop() == 0
    said = "".join(worker.other_lines) + str(worker.events) + told(desk)
    assert "child_status" in said
    for each in expected:
        assert each in said
    assert sung([WORD], said) == []


def test_an_outcome_tells_nothing_of_what_was_said(worker: Worker, desk: Desk) -> None:
    """Processed; failed in each way, by answers that echo it; dead-lettered in each way."""
    for name in ANSWERS.keys() - {"poison"}:
        desk.publish_raw(message(name, conversation_log=ITEMS))
    outcomes = {"PROCESSED": 1, "FAILED": len(FAILED)}
    worker.wait_until(lambda: desk.statuses() == outcomes, "all have an outcome")
    for body in MALFORMED.values():
        desk.publish_raw(body)
    worker.wait_until(lambda: desk.depth(desk.broker.dead_queue) == len(MALFORMED), "all are set aside")
    dead = desk.take_dead()
    assert_untold(
        worker,
        desk,
        *("message_processed", "message_failed", "message_dead_lettered"),
        *("MEMORY_API_BAD_RESPONSE", "MEMORY_API_REJECTED", "MEMORY_API_ERROR"),
    )
    assert sorted(body for _, body in dead) == sorted(MALFORMED.values())
    assert sung([WORD], str([headers for headers, _ in dead])) == []


@pytest.mark.faults
def test_the_death_of_children_tells_nothing_of_what_was_said(worker: Worker, desk: Desk) -> None:
    """A message that is in hand when two children crash: CHILD_CRASHED, and an account of each."""
    desk.publish_raw(message("poison", conversation_log=ITEMS))
    for epoch in (1, 2):
        in_hand = "SELECT 1 AS held FROM conversation_events WHERE status = 'PROCESSING' AND claim_epoch = %s"
        worker.wait_until(partial(desk.query, in_hand, epoch), "the poison is in hand")
        shoot(worker)
    worker.wait_until(lambda: desk.status("poison") == "FAILED", "the poison has an outcome")
    assert_untold(worker, desk, "CHILD_CRASHED", "crashed", "account_written")


FORGED = [
    "a\n12:00:00 error   forged key=value",
    'a\r\n{"ts":"2026-01-01T00:00:00Z","level":"error","event":"forged"}',
    "a\x1b[2J\x1b[31m\x07\x08",
    "a\x9b31m\x85\x7f",
    "a\u2028b\u2029c",
    "a\u202eforged\u2066\ufeff",
    'a" level=error event="forged',
    "a\\nb\ttab",
]


@pytest.mark.faults
@pytest.mark.parametrize("log_format", ["text", "json"])
def test_an_id_forges_no_line_and_moves_no_cursor(start_worker: Start, desk: Desk, log_format: str) -> None:
    """Line breaks of every kind, escape sequences, marks that turn the direction: all are spelled out."""
    worker = start_worker("--log-level=debug", f"--log-format={log_format}")
    desk.publish([])  # declares the queues
    for number, forged in enumerate(FORGED):
        desk.publish_raw(message(forged, conversation_log=ITEMS))
        desk.publish_raw(message(f"{forged}{number}", conversation_log=5), message_id=forged)
    worker.wait_until(lambda: desk.statuses()["PROCESSED"] == len(FORGED), "all are processed")
    worker.wait_until(lambda: desk.depth(desk.broker.dead_queue) == len(FORGED), "all are set aside")
    desk.take_dead()
    assert worker.stop() == 0
    for line in worker.other_lines:
        assert re.match(r"\d\d:\d\d:\d\d (debug|info|warning|error) +[a-z_]+( |$)", line)
        assert line.removesuffix("\n").isprintable()
    for event in worker.events:
        assert event["level"] in {"debug", "info", "warning", "error"}
        assert event["event"] != "forged"
    if log_format == "json":
        assert worker.other_lines == []
        assert {line["conversation_id"] for line in worker.logged("message_processed")} == set(FORGED)

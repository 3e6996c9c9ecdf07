"""The Memory API stand-in: what it answers, and that it can misbehave in every way that tests ask for."""

import contextlib
import gzip
import hashlib
import http.client
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from scripts.servers.memory_api import Behaviour, MemoryApiStandIn, facts_for
from scripts.servers.memory_modes import Mode, incident_latency_s, request_fault, wait_s
from tests.fixtures.eventually import eventually

GOOD = {"user_id": "u", "conversation_id": "c-1", "conversation": [{"role": "user", "content": "xin chào"}]}


@contextlib.contextmanager
def connected(server: MemoryApiStandIn, timeout_s: float = 10.0) -> Iterator[http.client.HTTPConnection]:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=timeout_s)
    with contextlib.closing(connection):
        yield connection


def post(
    connection: http.client.HTTPConnection, body: object = None, key: str = "c-1"
) -> http.client.HTTPResponse:
    data = json.dumps(GOOD if body is None else body).encode()
    connection.request("POST", "/extract_facts", data, {"Idempotency-Key": key})
    return connection.getresponse()


def answer_of(server: MemoryApiStandIn) -> tuple[int, bytes]:
    with connected(server) as connection:
        response = post(connection)
        return response.status, response.read()


def test_a_good_call_finds_the_facts_that_the_id_says(memory_api: MemoryApiStandIn) -> None:
    """The count in the answer is facts_for(conversation_id), and two calls share one connection."""
    with connected(memory_api) as connection:
        for _ in range(2):
            response = post(connection)
            assert json.loads(response.read())["count"] == facts_for("c-1")
    seen = memory_api.calls()
    assert (seen.total, seen.of("c-1"), seen.of("c-2")) == (2, 2, 0)
    assert seen.conversations["c-1"].keys == ("c-1",)
    # Counted once it is sent, which the client may notice first
    eventually(lambda: memory_api.calls().conversations["c-1"].answered == 2, "both answers are counted")


def test_calls_that_wait_can_be_released(memory_api: MemoryApiStandIn) -> None:
    """Those that wait are answered at once, and well; the next one meets the mode that is set."""
    memory_api.set_mode("hang")
    with ThreadPoolExecutor(2) as pool, connected(memory_api, 0.2) as later:
        waiting = [pool.submit(answer_of, memory_api) for _ in range(2)]
        eventually(lambda: memory_api.calls().of("c-1") == 2, "both are read")
        memory_api.release()
        for answer in waiting:
            status, body = answer.result(10.0)
            assert (status, json.loads(body)["count"]) == (200, facts_for("c-1"))
        with pytest.raises(TimeoutError):
            post(later)


def test_facts_differ_between_conversations() -> None:
    """The number of facts is spread over 0 to 6, so that a wrong sum shows."""
    assert {facts_for(f"conversation-{number}") for number in range(200)} == set(range(7))


def test_a_body_is_counted_hashed_and_kept_when_asked(memory_api: MemoryApiStandIn) -> None:
    """The stand-in can prove that the body arrived byte for byte."""
    memory_api.record(digest=True, keep=True, validate=True)
    body = GOOD | {"conversation": [{"role": "assistant", "content": "á" * 2_000_000}]}
    with connected(memory_api) as connection:
        assert post(connection, body).status == 200
    data = json.dumps(body).encode()
    entry = memory_api.calls().conversations["c-1"]
    assert (entry.body_bytes, entry.sha256, entry.fault) == (
        len(data),
        hashlib.sha256(data).hexdigest(),
        None,
    )
    assert memory_api.last_body() == data


def test_a_wrong_request_is_refused_when_asked_to_look(memory_api: MemoryApiStandIn) -> None:
    """With validation on, a key that is not the conversation's id gives 422."""
    memory_api.record(validate=True)
    with connected(memory_api) as connection:
        assert post(connection, key="other").status == 422
    assert "Idempotency-Key" in (memory_api.calls().conversations["c-1"].fault or "")


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b"[]",
        b'{"user_id": "u", "conversation_id": "c", "conversation": [{"role": "robot", "content": "x"}]}',
        b'{"user_id": "u", "conversation_id": "c", "conversation": [{"role": "user", "content": ""}]}',
        b'{"user_id": "u", "conversation_id": "c", "conversation": [], "more": 1}',
    ],
)
def test_faults_of_a_request_are_found(body: bytes) -> None:
    """What breaks the agreement about requests is named."""
    assert request_fault(body, "c") is not None


def test_modes_for_one_conversation_and_for_the_next_calls(memory_api: MemoryApiStandIn) -> None:
    """One conversation's mode goes before the next calls' mode, and that before the general one."""
    memory_api.set_mode("error", status=429, retry_after="7", calls=1)
    memory_api.set_mode("error", status=503, conversation_id="c-1")
    with connected(memory_api) as connection:
        statuses = []
        for name in ("c-1", "c-2", "c-2", "c-1"):
            response = post(connection, GOOD | {"conversation_id": name}, key=name)
            response.read()
            statuses.append((response.status, response.headers["Retry-After"]))
    assert statuses == [(503, None), (429, "7"), (200, None), (503, None)]


@pytest.mark.parametrize("variant", ["negative", "string", "billion", "missing"])
def test_wrong_json_is_json_without_a_good_count(memory_api: MemoryApiStandIn, variant: str) -> None:
    """A wrong answer is well-formed and its count is no small number."""
    memory_api.set_mode("wrong_json", variant=variant)
    status, body = answer_of(memory_api)
    count = json.loads(body).get("count")
    assert status == 200
    assert not (isinstance(count, int) and 0 <= count <= 10_000)


def test_answers_that_are_no_answers(memory_api: MemoryApiStandIn) -> None:
    """Garbage is no JSON, a redirect leads astray and is counted, a reset is a reset."""
    memory_api.set_mode("garbage")
    with pytest.raises(ValueError, match="Expecting value"):
        json.loads(answer_of(memory_api)[1])
    memory_api.set_mode("redirect")
    with connected(memory_api) as connection:
        response = post(connection)
        response.read()
        assert response.status == 307
        connection.request("POST", response.headers["Location"], b"{}")
        assert connection.getresponse().status == 404
    assert memory_api.calls().astray == 1
    memory_api.set_mode("reset")
    with pytest.raises(ConnectionResetError):
        answer_of(memory_api)


def test_big_answers_are_as_big_as_they_say(memory_api: MemoryApiStandIn) -> None:
    """A huge answer and an inflated gzip bomb are both well-formed."""
    memory_api.set_mode("huge", megabytes=3)
    assert len(json.loads(answer_of(memory_api)[1])["facts"][0]) == 3 << 20
    memory_api.set_mode("gzip_bomb", megabytes=3)
    _, packed = answer_of(memory_api)
    assert len(packed) < 10_000
    inflated = gzip.decompress(packed)
    assert len(inflated) > 3 << 20
    assert json.loads(inflated)["count"] == 1


@pytest.mark.parametrize("behaviour", ["hang", "silence_after_headers", "body_drip", "header_drip"])
def test_a_slow_call_is_in_flight_until_the_client_leaves(
    memory_api: MemoryApiStandIn, behaviour: str
) -> None:
    """A call that gets no whole answer counts as in flight, and no more once its client is gone."""
    memory_api.set_mode(behaviour, seconds=0.05)
    with socket.create_connection(("127.0.0.1", memory_api.port)) as client:
        client.sendall(
            b'POST /extract_facts HTTP/1.1\r\nContent-Length: 25\r\n\r\n{"conversation_id": "c-9"}'
        )
        eventually(lambda: memory_api.calls().of("c-9") == 1, "the call is seen")
        assert memory_api.calls().in_flight == 1
    eventually(lambda: memory_api.calls().in_flight == 0, "the call is given up")
    assert memory_api.calls().conversations["c-9"].answered == 0


def test_many_slow_calls_wait_side_by_side(memory_api: MemoryApiStandIn) -> None:
    """Sixty-four delayed calls with 1 MB bodies are all in flight together."""
    memory_api.set_mode("hang")
    body = GOOD | {"conversation": [{"role": "user", "content": "x" * (1 << 20)}]}

    def call(number: int) -> None:
        with (
            connected(memory_api, timeout_s=60.0) as connection,
            contextlib.suppress(http.client.HTTPException, OSError),
        ):
            post(connection, body | {"conversation_id": f"c-{number}"}, key=f"c-{number}")

    with ThreadPoolExecutor(64) as pool:
        futures = [pool.submit(call, number) for number in range(64)]
        try:
            eventually(lambda: memory_api.calls().in_flight == 64, "all calls are in flight")
        finally:
            memory_api.stop()
        for future in futures:
            future.result()
    memory_api.start_again()
    assert memory_api.calls().total == 0


def test_an_unknown_mode_is_refused(memory_api: MemoryApiStandIn) -> None:
    """A misspelt mode or field fails the test that asked for it."""
    with pytest.raises(ValueError, match="retry_affter"):
        memory_api.set_mode("error", retry_affter="1")
    with pytest.raises(ValueError, match="sulk"):
        memory_api.set_mode("sulk")


def test_the_incident_is_the_one_measured() -> None:
    """Half the calls take 19.1 s, three quarters 26.2 s, and a tenth outlasts the caller's 60 s."""
    assert incident_latency_s(0.5) == pytest.approx(19.1)
    assert incident_latency_s(0.75) == pytest.approx(26.2)
    assert incident_latency_s(0.9) is None
    mode = Mode(Behaviour.INCIDENT, factor=0.1)
    waits = [wait_s(mode, f"c-{number}", 1) for number in range(2000)]
    assert sum(wait is None for wait in waits) / 2000 == pytest.approx(0.1, abs=0.03)
    assert sum(wait is not None and wait <= 1.91 for wait in waits) / 2000 == pytest.approx(0.5, abs=0.05)
    assert waits[7] == wait_s(mode, "c-7", 1)
    assert waits[7] != wait_s(mode, "c-7", 2)

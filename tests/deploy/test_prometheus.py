"""Our scrape job, rules and dashboard in a real Prometheus, on a real supervisor."""

import contextlib
import http.client
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import yaml

from scripts.servers.process import Port
from tests.deploy.manifests import DEPLOY, document
from tests.deploy.programs import program
from tests.deploy.test_alerts import ALERTS, expressions
from tests.fixtures.desk import Desk
from tests.fixtures.eventually import eventually
from tests.fixtures.worker import Worker

pytestmark = pytest.mark.full

SETTINGS = DEPLOY / "prometheus/prometheus.yaml"


class Prometheus:
    """A server on a port of its own, asked through its API."""

    def __init__(self, directory: Path, port: int, target: str) -> None:
        settings = document(SETTINGS)
        settings["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
        settings["rule_files"] = [str(SETTINGS.parent / name) for name in settings["rule_files"]]
        (job,) = settings["scrape_configs"]
        job["static_configs"] = [{"targets": [target]}]
        path = directory / "prometheus.yaml"
        path.write_text(yaml.safe_dump(settings))
        self._port = port
        self._log = directory / "prometheus.log"
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    program("prometheus"),
                    f"--config.file={path}",
                    f"--storage.tsdb.path={directory / 'data'}",
                    f"--web.listen-address=127.0.0.1:{port}",
                ],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def get(self, path: str, **values: str) -> Any:
        """Ask the API. Raises AssertionError with what it has against the question."""
        with contextlib.closing(
            http.client.HTTPConnection("127.0.0.1", self._port, timeout=10)
        ) as connection:
            connection.request("GET", f"/api/v1/{path}?{urlencode(values)}")
            answer = json.loads(connection.getresponse().read())
        assert answer["status"] == "success", f"{values}: {answer}"
        return answer["data"]

    def value(self, asked: str) -> float | None:
        """Give the one number that is the answer; None while there is none, or nobody answers."""
        with contextlib.suppress(OSError, ValueError):
            found = self.get("query", query=asked)["result"]
            return float(found[0]["value"][1]) if found else None
        return None

    def close(self) -> None:
        self._process.kill()
        self._process.wait()


@pytest.fixture
def watched(start_worker: Callable[..., Worker]) -> Iterator[tuple[Worker, str]]:
    """Start a supervisor with two children; give it and the address of its metrics."""
    port = Port.reserve()
    address = f"127.0.0.1:{port.number}"
    yield start_worker(FRIENDSHIP_LISTEN=address, FRIENDSHIP_RETRY_EVERY="2"), address
    port.release()


@pytest.fixture
def prometheus(tmp_path: Path, watched: tuple[Worker, str]) -> Iterator[Prometheus]:
    port = Port.reserve()
    server = Prometheus(tmp_path, port.number, watched[1])
    yield server
    server.close()
    port.release()


def test_a_prometheus_reads_our_metrics_and_evaluates_our_rules(
    watched: tuple[Worker, str], prometheus: Prometheus, desk: Desk
) -> None:
    """Counts are those of the run, each question of the dashboard is answered, no rule is at fault, none fires."""
    worker, _ = watched
    worker.wait_for("child_ready", times=2)
    eventually(lambda: prometheus.value("friendship_ready") == 1, "it is scraped, and ready")
    desk.publish_many(30)
    processed = 'friendship_messages_total{outcome="processed"}'
    eventually(lambda: prometheus.value(processed) == len(desk.published), "all are counted")
    assert prometheus.value("friendship_message_seconds_count") == len(desk.published)
    answered = 'friendship_memory_api_calls_total{result="answered"}'
    eventually(lambda: prometheus.value(answered) == len(desk.published), "all calls are counted")
    eventually(lambda: prometheus.value("friendship_queue_ready_messages") == 0, "the queue is empty")
    eventually(
        lambda: prometheus.value("friendship_retry_pass_age_seconds") is not None, "a retry pass succeeded"
    )

    for asked in expressions():
        filled = asked.replace("$__rate_interval", "10s").replace("$job", ".+").replace("$instance", ".+")
        prometheus.get("query", query=filled)

    def evaluated() -> bool:
        rules = [rule for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
        assert {rule["health"] for rule in rules} <= {"ok", "unknown"}, rules
        return len(rules) == len(ALERTS) and all(rule["health"] == "ok" for rule in rules)

    eventually(evaluated, "each rule was evaluated")
    assert prometheus.get("alerts")["alerts"] == []

    assert worker.stop() == 0
    eventually(lambda: prometheus.value("up") == 0, "its absence is seen")
    eventually(
        lambda: (
            "FriendshipSupervisorDown"
            in {each["labels"]["alertname"] for each in prometheus.get("alerts")["alerts"]}
        ),
        "the alert is pending",
    )

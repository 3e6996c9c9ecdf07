"""The connection that publishes, and the silences that it may not survive."""

from typing import Self

import pytest

from consumer.settings import BrokerSettings
from supervisor.cli.publishing import outbox
from supervisor.cli.publishing.outbox import Outbox


class FakePublisher:
    """Says what was done with each connection."""

    said: list[str]

    def __init__(self, _settings: BrokerSettings, _name: str) -> None:
        self.number = sum(each.startswith("open") for each in self.said) + 1

    def __enter__(self) -> Self:
        self.said.append(f"open {self.number}")
        return self

    def __exit__(self, *_: object) -> None:
        self.said.append(f"close {self.number}")

    def publish(self, queue: str, _body: bytes, message_id: str) -> None:
        self.said.append(f"{message_id} to {queue} over {self.number}")


@pytest.mark.parametrize(("query", "silence_s"), [("", 20), ("?heartbeat=8", 4), ("?heartbeat=0", 20)])
def test_a_long_silence_takes_another_connection(
    monkeypatch: pytest.MonkeyPatch, query: str, silence_s: float
) -> None:
    """Before the line goes, and at most half of a heartbeat's interval long; between lines in a row there is none."""
    now = 1000.0
    monkeypatch.setattr(FakePublisher, "said", [], raising=False)
    monkeypatch.setattr(outbox, "Publisher", FakePublisher)
    monkeypatch.setattr("supervisor.cli.publishing.outbox.time.monotonic", lambda: now)
    with Outbox(BrokerSettings(f"amqp://u:p@host/%2F{query}", "q")) as box:
        for name, pause_s in (("a", silence_s), ("b", silence_s + 0.1), ("c", 0)):
            now += pause_s
            box.ready()
            box.publish(b"{}", name)
    assert FakePublisher.said == [
        "open 1", "a to q over 1", "close 1", "open 2", "b to q over 2", "c to q over 2", "close 2",
    ]  # fmt: skip

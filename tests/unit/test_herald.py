"""What is said of the supervisor, and when."""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import orjson
import pytest

from supervisor.bulletin import Bulletin
from supervisor.herald import EVENTS_KEPT, HURRY_S, MANAGER_PAUSE_S, PAUSE_S, Herald
from supervisor.notify import Notifier


class Manager(Notifier):
    """A service manager that writes down what it is told; deaf: it takes nothing."""

    def __init__(self, watchdog_every_s: float | None = None) -> None:
        self.told: list[str] = []
        self.deaf = False
        self.every_s = watchdog_every_s

    @property
    def is_heard(self) -> bool:
        return True

    @property
    def watchdog_every_s(self) -> float | None:
        return self.every_s

    def _tell(self, *words: str) -> bool:
        if not self.deaf:
            self.told.append(words[0])
        return not self.deaf


@pytest.fixture
def bulletin() -> Iterator[Bulletin]:
    with closing(Bulletin(0.0, 4)) as pages:
        yield pages


def standing(*, ready: bool = True, state: str = "ready", processed: int = 0) -> dict[str, Any]:
    whole = {"children_target": 1, "state": state, "ready": ready, "not_ready": None if ready else "not yet"}
    return {
        "supervisor": {**whole, "breaker": {"state": "closed"}},
        "children": [],
        "totals": {"processed": processed, "failed": 0},
    }


def posted(bulletin: Bulletin) -> dict[str, Any]:
    text = bulletin.read()
    assert text is not None
    found: dict[str, Any] = orjson.loads(text)
    return found


def test_a_bulletin_comes_every_second_and_sooner_when_something_happens(bulletin: Bulletin) -> None:
    """At once, after the pause, and not twice within the shortest one."""
    herald = Herald(bulletin, Notifier({}), posts=True, now=10.0)
    assert herald.speak(10.0, standing, well=True) == 10.0 + PAUSE_S
    herald.speak(10.9, standing, well=True)
    assert bulletin.count() == 1
    herald.note({"event": "child_exited"})
    herald.speak(10.9, standing, well=True)
    assert bulletin.count() == 2
    assert posted(bulletin)["events"] == [{"event": "child_exited"}]
    herald.note({"event": "child_exited"})
    assert herald.speak(11.0, standing, well=True) == 10.9 + HURRY_S
    assert bulletin.count() == 2
    herald.speak(10.9 + HURRY_S, standing, well=True)
    assert bulletin.count() == 3


def test_only_the_last_events_are_kept_and_never_too_many_to_post(bulletin: Bulletin) -> None:
    """Fifty of them; fewer where they are so long that they would not fit."""
    herald = Herald(bulletin, Notifier({}), posts=True, now=0.0)
    for number in range(EVENTS_KEPT + 5):
        herald.note({"event": "child_exited", "number": number})
    herald.speak(0.0, standing, well=True)
    assert [event["number"] for event in posted(bulletin)["events"]] == list(range(5, EVENTS_KEPT + 5))
    for _ in range(EVENTS_KEPT):
        herald.note({"event": "waiting", "reason": "x" * 10_000})
    herald.speak(5.0, standing, well=True)
    assert 0 < len(posted(bulletin)["events"]) < EVENTS_KEPT


def test_nobody_is_told_anything_when_nobody_listens(bulletin: Bulletin) -> None:
    """Then the standing is not even put together; the heart beats all the same."""

    def never() -> dict[str, Any]:
        raise AssertionError("asked for")

    herald = Herald(bulletin, Notifier({}), posts=False, now=0.0)
    herald.note({"event": "child_exited"})
    assert herald.speak(7.0, never, well=True) == float("inf")
    assert bulletin.heartbeat() == 7.0


def test_an_unwell_supervisor_neither_beats_nor_feeds_the_watchdog(bulletin: Bulletin) -> None:
    """Both begin again with it."""
    manager = Manager(watchdog_every_s=3.0)
    herald = Herald(bulletin, manager, posts=False, now=0.0)
    assert herald.speak(1.0, standing, well=False) > 1.0, "a loop that is not well rests, too"
    assert (bulletin.heartbeat(), manager.told.count("WATCHDOG=1")) == (0.0, 0)
    herald.speak(2.0, standing, well=True)
    herald.speak(4.9, standing, well=True)
    assert (bulletin.heartbeat(), manager.told.count("WATCHDOG=1")) == (4.9, 1)
    herald.speak(5.0, standing, well=True)
    assert manager.told.count("WATCHDOG=1") == 2
    manager.deaf = True
    assert herald.speak(8.0, standing, well=True) > 8.0, "whoever is not heard tries again soon, not at once"
    manager.deaf = False
    herald.speak(9.0, standing, well=True)
    assert manager.told.count("WATCHDOG=1") == 3


def test_ready_is_said_once_and_again_only_to_a_deaf_manager(bulletin: Bulletin) -> None:
    """Not before every child is; afterwards there are only changes of the line, and the end."""
    manager = Manager()
    herald = Herald(bulletin, manager, posts=False, now=0.0)
    herald.speak(0.0, lambda: standing(ready=False), well=True)
    assert [word.partition("=")[0] for word in manager.told] == ["STATUS"]
    manager.deaf = True
    herald.note({"event": "back"})
    herald.speak(1.0, standing, well=True)
    manager.deaf = False
    herald.speak(1.0 + MANAGER_PAUSE_S, standing, well=True)
    assert manager.told[1:] == ["READY=1"]
    herald.speak(50.0, standing, well=True)
    assert len(manager.told) == 2, "nothing has changed"
    herald.speak(60.0, lambda: standing(processed=1), well=True)
    assert manager.told[2].startswith("STATUS=")
    herald.note({"event": "stopping"})
    herald.speak(60.1, lambda: standing(state="stopping", ready=False), well=True)
    assert manager.told[3:] == ["STOPPING=1"]

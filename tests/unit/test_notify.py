"""What the service manager hears, on real datagram sockets."""

import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from supervisor.notify import Notifier, spell


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[socket.socket, str]]:
    """Give a manager's socket, and its name as NOTIFY_SOCKET spells it."""
    name = f"@friendship-{os.getpid()}" if request.param == "abstract" else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ours:
        ours.bind(f"\0{name[1:]}" if name.startswith("@") else name)
        ours.setblocking(False)
        yield ours, name


@pytest.mark.parametrize(
    ("say", "heard"),
    [
        (lambda notifier: notifier.ready("8 of 8 ready"), "READY=1\nSTATUS=8 of 8 ready"),
        (lambda notifier: notifier.status("a\nREADY=1\tb"), "STATUS=a\\nREADY=1\\tb"),
        (lambda notifier: notifier.stopping("12 Kinder, süß"), "STOPPING=1\nSTATUS=12 Kinder, süß"),
        (lambda notifier: notifier.watchdog(), "WATCHDOG=1"),
    ],
)
def test_each_word_is_one_datagram(
    manager: tuple[socket.socket, str], say: Callable[[Notifier], bool], heard: str
) -> None:
    """At a path and at an abstract name; a line break in a status begins no other assignment."""
    ours, name = manager
    assert say(Notifier({"NOTIFY_SOCKET": name}))
    assert ours.recv(2**16).decode() == heard
    with pytest.raises(BlockingIOError):
        ours.recv(1)


def test_a_full_socket_holds_nobody(manager: tuple[socket.socket, str]) -> None:
    """The word is not taken, and said so; when the manager has read, the next one is."""
    ours, name = manager
    notifier = Notifier({"NOTIFY_SOCKET": name})
    taken = 0
    while notifier.watchdog():
        taken += 1
        assert taken < 100_000, "it never fills"
    assert taken > 0
    ours.recv(2**16)
    assert notifier.ready("")


def test_a_vanished_manager_harms_nobody(tmp_path: Path) -> None:
    """Its socket closed, its path gone, its path a file, its name too long."""
    name = tmp_path / "notify"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as theirs:
        theirs.bind(str(name))
    assert not Notifier({"NOTIFY_SOCKET": str(name)}).ready("")
    name.unlink()
    assert not Notifier({"NOTIFY_SOCKET": str(name)}).status("")
    name.write_text("")
    assert not Notifier({"NOTIFY_SOCKET": str(name)}).watchdog()
    assert not Notifier({"NOTIFY_SOCKET": f"/{'x' * 200}"}).stopping("")
    assert not Notifier({"NOTIFY_SOCKET": "/a\0b"}).stopping("")


@pytest.mark.parametrize(
    "environ", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "@"}, {"NOTIFY_SOCKET": "vsock:2:1"}]
)
def test_with_nobody_to_tell_no_socket_is_made(
    environ: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every word counts as taken, so that nobody says it again; and there is no watchdog."""

    def refuse(*_: object) -> socket.socket:
        raise AssertionError("a socket")

    monkeypatch.setattr(socket, "socket", refuse)
    notifier = Notifier({**environ, "WATCHDOG_USEC": "1000000"})
    assert notifier.ready("")
    assert notifier.status("")
    assert notifier.watchdog()
    assert notifier.stopping("")
    assert notifier.watchdog_every_s is None


def test_no_descriptor_is_left(manager: tuple[socket.socket, str]) -> None:
    """Neither of a word that was taken, nor of one that was not."""
    _, name = manager
    before = set(Path("/proc/self/fd").iterdir())
    Notifier({"NOTIFY_SOCKET": name}).watchdog()
    Notifier({"NOTIFY_SOCKET": "/nowhere"}).watchdog()
    assert set(Path("/proc/self/fd").iterdir()) == before


@pytest.mark.parametrize(
    ("environ", "every_s"),
    [
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": str(os.getpid())}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "-5"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
        ({}, None),
    ],
)
def test_the_watchdog_is_fed_twice_as_often_as_asked_for(
    environ: dict[str, str], every_s: float | None
) -> None:
    """Half of WATCHDOG_USEC, when it is meant for this process."""
    assert Notifier({"NOTIFY_SOCKET": "/run/notify", **environ}).watchdog_every_s == every_s


def status(*states: str, **whole: Any) -> dict[str, Any]:
    return {
        "supervisor": {
            "state": "ready",
            "children_target": 8,
            "breaker": {"state": "closed"},
            "not_ready": None,
            **whole,
        },
        "children": [{"state": state} for state in states],
        "totals": {"processed": 120, "failed": 4},
    }


def test_the_standing_is_one_line() -> None:
    """What `systemctl status` shows: who is ready, what was done, and why not all is well."""
    well = status(*["busy"] * 3, *["idle"] * 5)
    assert spell(well) == "8 of 8 ready, 3 busy, 120 processed, 4 failed; breaker closed"
    away = status(*["waiting"] * 8, state="waiting", not_ready="8 of 8 wait for the database")
    assert spell(away) == (
        "0 of 8 ready, 0 busy, 120 processed, 4 failed; breaker closed; 8 of 8 wait for the database"
    )
    ending = status("busy", "draining", state="stopping", not_ready="stopping")
    assert spell(ending) == "stopping: 1 of 8 ready, 1 busy, 120 processed, 4 failed; breaker closed"

"""The page in a browser, against the real program with a real broker and database."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable

import pytest

from tests.browser.conftest import OpenTab
from tests.fixtures.worker import Worker

pytestmark = pytest.mark.full

READY = "latest.supervisor.ready && latest.children.every(one => one.state === 'idle')"


@pytest.fixture
def address() -> str:
    """Give a local address that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"


def test_a_killed_child_and_a_restart_show(
    start_worker: Callable[..., Worker], open_tab: OpenTab, address: str
) -> None:
    """A child that somebody kills shows as replaced, and the page outlives the supervisor and finds the next one."""
    worker = start_worker(FRIENDSHIP_LISTEN=address)
    worker.wait_for("status_listening")
    tab = open_tab(f"http://{address}/").live()
    tab.wait(READY)
    assert tab.text("#sentence") == "All is well: 2 of 2 children ready."
    assert str(worker.pid) in tab.text("#facts")

    killed = worker.children()[0]
    os.kill(killed, signal.SIGKILL)
    slot = worker.wait_for("child_exited", pid=killed)["slot"]
    tab.wait(f"latest.children[{slot}].restarts === 1 && {READY}")
    row = tab.text(f"#slot-{slot}")
    assert "1 restart, killed" in row
    assert str(killed) not in row
    assert f"Slot {slot}: child {killed} was replaced, killed" in tab.text("#events")
    assert "Restarts 1 killed 1" in tab.text("#tiles")
    assert f"Slot {slot} was replaced at " in tab.text("#verdict")

    tab.expects_outage = True
    assert worker.stop() == 0
    tab.wait("document.body.dataset.link === 'gone'")
    assert tab.text("#sentence").startswith("No connection since ")
    successor = start_worker(FRIENDSHIP_LISTEN=address)
    tab.live()
    tab.wait(f"latest.supervisor.pid === {successor.pid} && {READY}")
    assert tab.text("#restarts") == "No child was replaced."
    assert successor.stop() == 0


def test_the_page_comes_as_its_policy_demands(
    start_worker: Callable[..., Worker], open_tab: OpenTab, address: str
) -> None:
    """A failing message shows with its code, slot and conversation, and at 360 px nothing sticks out."""
    start_worker(FRIENDSHIP_LISTEN=address).wait_for("status_listening")
    tab = open_tab(f"http://{address}/", viewport={"width": 360, "height": 740}, color_scheme="dark").live()
    tab.wait(READY)
    assert tab.overflows_px() <= 0
    headers = tab.ask("fetch('./').then(answer => answer.headers.get('content-security-policy'))")
    assert headers.startswith("default-src 'none'; script-src 'sha256-")

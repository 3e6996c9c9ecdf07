"""The page in a browser, against the real program with a real broker and database."""

from __future__ import annotations

import os
import re
import signal
import socket
from collections.abc import Callable

import pytest

from scripts.conversations import make
from scripts.faults.injected import LEAK, TIME_SCALE
from scripts.servers.memory_api import MemoryApiStandIn
from tests.browser.conftest import OpenTab
from tests.fixtures.desk import Desk
from tests.fixtures.worker import Injected, Worker

pytestmark = pytest.mark.full

PHONE = {"width": 360, "height": 740}
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
    assert "Restarts 1 killed" in tab.text("#tiles")
    assert f"Slot {slot} was replaced at " in tab.text("#verdict")

    tab.expects_outage = True
    assert worker.stop() == 0
    tab.wait("document.body.dataset.link === 'gone'")
    assert tab.text("#sentence").startswith("No connection since ")
    successor = start_worker(FRIENDSHIP_LISTEN=address)
    tab.live()
    tab.wait(f"latest.supervisor.pid === {successor.pid} && {READY}")
    assert "none since the start" in tab.text("#tiles")
    assert successor.stop() == 0


def test_a_leak_is_read_from_the_page(
    start_injected: Callable[..., Injected],
    desk: Desk,
    memory_api: MemoryApiStandIn,
    open_tab: OpenTab,
    address: str,
) -> None:
    """Children that leak: the page names the slots, the reason, and how fast they grow, also on a phone."""
    memory_api.set_mode("delay", seconds=0.1)
    options = ("--rss-mb=100", "--rss-hard-mb=250", "--allow-overcommit")
    worker = start_injected(*options, FRIENDSHIP_LISTEN=address, **{LEAK: "5"})
    worker.wait_for("status_listening")
    tab = open_tab(f"http://{address}/", viewport=PHONE, color_scheme="dark").live()
    desk.publish_many(100, size_bytes=2_000)
    worker.wait_for("child_exited", times=4, reason="rss_soft")
    tab.wait("verdict(latest).marked.size === 2")
    told = tab.text("#verdict")
    assert re.search(
        r"Children keep memory: about 5(\.\d)? MB with each message, in all 2 slots: a leak\.", told
    ), told
    assert "rss_soft" in told
    assert tab.text("#state") == "ready, but see below"
    assert tab.overflows_px() <= 0


def test_an_outage_is_read_from_the_page(
    start_injected: Callable[..., Injected],
    desk: Desk,
    memory_api: MemoryApiStandIn,
    open_tab: OpenTab,
    address: str,
) -> None:
    """The Memory API is away: the page says so first, with the code, and where it was met last."""
    worker = start_injected(FRIENDSHIP_LISTEN=address, **{TIME_SCALE: "0.05"})
    worker.wait_for("status_listening")
    tab = open_tab(f"http://{address}/").live()
    memory_api.stop()
    desk.publish_many(40, size_bytes=2_000)
    worker.wait_for("breaker_opened")
    tab.wait("!document.querySelector('#breaker').hidden && latest.events.some(one => one.code)")
    assert tab.text("#sentence").startswith("The Memory API is down")
    told = tab.text("#verdict")
    assert "MEMORY_API_ERROR" in told
    assert re.search(r"calls fail in (all 2 slots|slot [01]), every conversation since \d\d:", told), told
    assert re.search(r"The last that failed: slot [01], conversation \S+, at ", told), told
    memory_api.start_again()
    tab.wait("document.querySelector('#breaker').hidden")


def test_a_poison_message_is_read_from_the_page(
    start_injected: Callable[..., Injected], desk: Desk, open_tab: OpenTab, address: str
) -> None:
    """One conversation kills two children: the page names it, both slots' reason, and what became of it."""
    worker = start_injected(FRIENDSHIP_LISTEN=address)
    worker.wait_for("status_listening")
    tab = open_tab(f"http://{address}/").live()
    desk.publish([make("poison-7", "user-1")])
    worker.wait_until(lambda: desk.status("poison-7") == "FAILED", "it has failed")
    tab.wait("latest.events.some(one => one.code === 'CHILD_CRASHED')")
    told = tab.text("#verdict")
    assert re.match(r"What is wrong now Conversation poison-7 killed 2 children, in slot [01]", told), told
    assert re.search(r"at \d\d:\d\d:\d\d: a crash in native code, signal \d+ \(crashed\)\.", told), told
    assert re.search(r"Slot [01] recorded it as FAILED CHILD_CRASHED at ", told), told
    assert "friendship-supervisor events show poison-7" in told

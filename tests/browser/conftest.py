"""A Chromium for a module's tests, tabs that must not complain, and servers to look at."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import pytest

from tests.browser import scenes
from tests.browser.standin import StandIn
from tests.browser.tab import Tab

if TYPE_CHECKING:
    from playwright.sync_api import Browser

OpenTab = Callable[..., Tab]
Serve = Callable[..., StandIn]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Start the distribution's Chromium; CHROMIUM names another.

    For a module and not for the session: while it runs this thread has an event loop, and others could not have theirs.
    """
    from playwright.sync_api import sync_playwright  # noqa: PLC0415 - only the extra `full` has it

    program = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    assert program, "no Chromium is installed, and CHROMIUM names none"
    options = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium refuses to run as root otherwise
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=options)
        yield browser
        browser.close()


@pytest.fixture
def open_tab(browser: Browser) -> Iterator[OpenTab]:
    """Open pages: open_tab(url, **options of a browser context). Whatever a test is about, none may complain."""
    tabs: list[Tab] = []

    def open_one(url: str, **options: Any) -> Tab:
        tabs.append(Tab(browser, url, **options))
        return tabs[-1]

    yield open_one
    for tab in tabs:
        tab.close()
    assert [tab.complaints for tab in tabs] == [[] for _ in tabs]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """Start stand-ins: serve(status, port=..., history=...)."""
    started: list[StandIn] = []

    def start(status: Mapping[str, Any], port: int = 0, history: Mapping[str, Any] | None = None) -> StandIn:
        started.append(StandIn(status, history or scenes.history(dict(status)), port))
        return started[-1]

    yield start
    for standin in started:
        standin.stop()

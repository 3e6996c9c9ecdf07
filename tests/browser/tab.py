"""A tab of a headless Chromium, with everything that it complains of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.fixtures.eventually import eventually

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

LIMIT_S = 30.0
VIOLATIONS = """document.addEventListener('securitypolicyviolation',
    event => console.error('violated: ' + event.violatedDirective))"""


class Tab:
    """One page that is open. complaints: errors and warnings of its console, violations of its policy."""

    def __init__(self, browser: Browser, url: str, **options: Any) -> None:
        self.complaints: list[str] = []
        self.expects_outage = False
        """Chromium says itself that a stream ended or was refused; a test in which that happens says so here."""
        options.setdefault("viewport", {"width": 1440, "height": 900})
        self._context = browser.new_context(timezone_id="Europe/London", **options)
        self._context.set_default_timeout(LIMIT_S * 1000)
        self.page: Page = self._context.new_page()
        self.page.add_init_script(VIOLATIONS)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.page.goto(url)

    def _heard(self, message: ConsoleMessage) -> None:
        if message.type not in {"error", "warning"}:
            return
        of_stream = message.location.get("url", "").endswith("/live")
        if not (self.expects_outage and of_stream and message.text.startswith("Failed to load resource")):
            self.complaints.append(message.text)

    def wait(self, expression: str) -> None:
        """Wait until this is true in the page; Playwright's own way of waiting is forbidden by the page's policy."""
        eventually(lambda: self.page.evaluate(f"Boolean({expression})"), expression, limit_s=LIMIT_S)

    def live(self) -> Tab:
        """Wait until the page has heard from its server."""
        self.wait("document.body.dataset.link === 'live' && latest !== null")
        return self

    def ask(self, expression: str, argument: object = None) -> Any:
        """Give the value of an expression, or what a function returns for the argument."""
        return self.page.evaluate(expression, argument)

    def text(self, selector: str) -> str:
        """Give what a reader sees there."""
        return " ".join(self.page.inner_text(selector).split())

    def overflows_px(self) -> int:
        """Say by how much the page is wider than its window."""
        wider: int = self.ask("document.documentElement.scrollWidth - document.documentElement.clientWidth")
        return wider

    def close(self) -> None:
        self._context.close()

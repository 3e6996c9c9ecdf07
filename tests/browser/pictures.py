"""Takes the documentation's three pictures of the dashboard: python -m tests.browser.pictures [DIRECTORY].

The data are those of a scene that the tests use; the fonts are this machine's.
"""

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

from tests.browser import scenes
from tests.browser.standin import StandIn
from tests.browser.tab import Tab

# width, height, pixels a point, scheme: files of less than 300 KB
PICTURES = {
    "dashboard-wide-light": (1440, 1180, 1, "light"),
    "dashboard-wide-dark": (1440, 1180, 1, "dark"),
    "dashboard-phone": (375, 1260, 2, "light"),
}


def main(directory: Path) -> None:
    """Write one file a picture."""
    night = scenes.bad_night()
    standin = StandIn(night, scenes.history(night, {1: "spike", 3: "leak", 5: "spike"}))
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=program, args=["--no-sandbox", "--hide-scrollbars"]
        )
        for name, (width, height, scale, scheme) in PICTURES.items():
            viewport = {"width": width, "height": height}
            look = {"color_scheme": scheme, "device_scale_factor": scale, "reduced_motion": "reduce"}
            tab = Tab(browser, standin.url, viewport=viewport, **look)
            tab.live().page.screenshot(path=directory / f"{name}.png")
            tab.close()
        browser.close()
    standin.stop()


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else "docs/images"))

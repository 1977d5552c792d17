"""A real Chromium for tests of the page `/app`, driven by Playwright; only where one is installed."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, expect, sync_playwright

from tests.support.commands import PATIENCE

PROGRAMS = ("chromium", "google-chrome", "chromium-browser")
NEEDED = "TRIAGE_BROWSER"  # set by .ci/run: there a browser that is missing is a failure
# It connects to nothing but the server of the test.
OPTIONS = (
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
    "--renderer-process-limit=1", "--disable-extensions", "--disable-component-extensions-with-background-pages",
)  # fmt: skip
AXE = files("axe_playwright_python") / "axe.min.js"  # the engine of axe-core alone: an own script may run where
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]  # a policy forbids `eval`


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a browser; the tests are skipped where there is none, unless the environment says that they must run."""
    program = next(filter(None, map(shutil.which, PROGRAMS)), None)
    if program is None:
        reason = f"there is none of {', '.join(PROGRAMS)}: THE PAGE /app WAS TRIED IN NO BROWSER"
        pytest.fail(reason) if os.environ.get(NEEDED) else pytest.skip(reason)
    expect.set_options(timeout=1000 * PATIENCE)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=list(OPTIONS))
        yield browser
        browser.close()


class Visitor:
    """A person at the page, in a browser of their own, with all that the browser asked for and complained about."""

    def __init__(self, browser: Browser, url: str, key: str = "", **settings: Any) -> None:
        self.context: BrowserContext = browser.new_context(**settings)
        self.context.set_default_timeout(1000 * PATIENCE)
        self.url = url
        self.key = key
        self.requested: list[str] = []
        self.complaints: list[str] = []
        self.context.on("request", lambda request: self.requested.append(request.url))
        self.page: Page = self.context.new_page()
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.said = self.page.locator("#said")
        self.title = self.page.locator("article h2")

    def comes(self, place: str = "") -> "Visitor":
        """Open the page and sign in, by the keyboard alone."""
        self.page.goto(f"{self.url}/app{place}")
        self.page.keyboard.insert_text(self.key)
        self.page.keyboard.press("Enter")
        return self

    def presses(self, *keys: str) -> None:
        for key in keys:
            self.page.keyboard.press(key)

    def hears(self, text: str) -> None:
        """Wait until the page says something that has this text."""
        expect(self.said).to_contain_text(text)

    def violations(self) -> list[str]:
        """Return what axe-core finds wrong with what is shown."""
        session = self.context.new_cdp_session(self.page)  # the policy of the page does not bind the protocol
        session.send("Runtime.evaluate", {"expression": AXE.read_text(encoding="utf-8")})
        run = f"axe.run({{runOnly: {RULES}}}).then((found) => JSON.stringify(found.violations.map("
        run += "(each) => `${each.id}: ${each.nodes.map((node) => node.html).join(' | ')}`)))"
        found = session.send("Runtime.evaluate", {"expression": run, "awaitPromise": True, "returnByValue": True})
        session.detach()
        return list(map(str, json.loads(found["result"]["value"])))

    def leaves(self) -> None:
        self.context.close()

"""A real browser against a real daemon: people who sign in and press keys, and accessibility checks with axe."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Literal

from playwright.async_api import Browser, BrowserContext, Page, ViewportSize, async_playwright

ROOT = Path(__file__).parents[2]
AXE = ROOT / "dashboard" / "node_modules" / "axe-core" / "axe.min.js"
NAMES = (
    *("chromium", "chromium-browser", "google-chrome"),
    "/Applications/Google Chrome.app/Contents/MacOS/Google Chrome",
)
SERIOUS = ("serious", "critical")
WIDTHS = (1280, 390)
"""Window widths in pixels."""
Scheme = Literal["light", "dark"]
ALL_RULES: tuple[str, ...] = ()
COLOUR_RULES = ("color-contrast", "link-in-text-block")
"""The axe rules that depend on colours. The others give the same result in every colour scheme."""
SCHEMES: dict[Scheme, tuple[str, ...]] = {"light": ALL_RULES, "dark": COLOUR_RULES}
SCREENSHOTS = "KAIROS_TEST_SCREENSHOTS"
"""Environment variable with the folder for screenshots. Without it none are taken, because they take time."""
END_TRANSITIONS = """async () => {
    const running = () => document.getAnimations().filter((animation) => animation instanceof CSSTransition);
    for (let round = 0; running().length > 0; round += 1) {
        if (round === 50) throw new Error("colours keep changing");
        running().forEach((transition) => transition.finish());
        // Inherited values begin their transition after that of the parent.
        await new Promise((resolve) => setTimeout(resolve, 10));
    }
}"""
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]


def chromium() -> str:
    """Return the browser on PATH; `make browser` installs one. Tests fail without it and are not skipped."""
    found = next((path for name in NAMES if (path := shutil.which(name))), None)
    assert found, "no Chromium on PATH: run `make browser` as root, or install one"
    return found


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            yield browser
        finally:
            await browser.close()


def window(width: int) -> ViewportSize:
    return {"width": width, "height": 860 if width > 600 else 780}


class Visitor:
    """One person with a separate browser profile. Collects the errors and foreign requests of the page."""

    def __init__(self, address: str, context: BrowserContext, page: Page) -> None:
        self.address, self.context, self.page = address, context, page
        self.errors: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._console)
        page.on("request", self._request)
        self.foreign: list[str] = []
        self._rules = ALL_RULES

    def _console(self, message: Any) -> None:
        if message.type == "error" and "status of 4" not in message.text:  # tests provoke these
            self.errors.append(message.text)

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.address, self.address.replace("http", "ws", 1), "data:", "blob:")):
            self.foreign.append(request.url)

    @classmethod
    @asynccontextmanager
    async def in_new_context(cls, browser: Browser, address: str, *, locale: str = "en-GB") -> AsyncIterator[Visitor]:
        context = await browser.new_context(
            viewport=window(WIDTHS[0]),
            color_scheme="light",
            locale=locale,
            reduced_motion="reduce",
        )
        context.set_default_timeout(15_000)
        page = await context.new_page()
        try:
            yield cls(address, context, page)
        finally:
            await context.close()

    async def sign_in(self, email: str, password: str) -> None:
        """Sign in with the form, and wait for the first page."""
        await self.page.goto(f"{self.address}/sign-in")
        await self.page.locator("input[type=email], input[autocomplete=username]").first.fill(email)
        await self.page.locator("input[type=password]").fill(password)
        await self.page.keyboard.press("Enter")
        await self.page.wait_for_selector("nav")

    async def authenticate(self, email: str, password: str) -> None:
        """Sign in without the form, before `open`: loading a page takes most of a short test's time."""
        body = {"email": email, "password": password, "cookie": True}
        answer = await self.context.request.post(f"{self.address}/api/auth/login", data=body)
        assert answer.ok, await answer.text()

    async def open(self, path: str) -> None:
        """Open a page of the dashboard and wait until it has loaded its data."""
        await self.page.goto(f"{self.address}{path}")
        await self.settled()

    async def settled(self) -> None:
        """Wait until the page has loaded its data."""
        await self.page.wait_for_selector("h1")
        # wait_for_function evaluates text, which the page's content security policy forbids; expect() polls only every
        # half second or second.
        await self.page.wait_for_selector(".skeleton, [aria-busy=true]", state="detached")

    async def appearances(self) -> AsyncIterator[str]:
        """Show the open page in both colour schemes at each width; yield a name for the screenshot. Ends in light.

        In the second scheme `faults` applies only the rules that depend on colours.
        """
        for scheme, rules in SCHEMES.items():
            self._rules = rules
            await self._change_colours(scheme)
            for width in WIDTHS:
                await self.page.set_viewport_size(window(width))
                await self.settled()
                yield f"{width}-{scheme}"
        self._rules = ALL_RULES
        await self._change_colours("light")

    async def _change_colours(self, scheme: Scheme) -> None:
        """Change the colour scheme. axe would measure the middle of a transition, so all are ended."""
        await self.page.emulate_media(color_scheme=scheme)
        dark = await self.page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches")
        assert dark == (scheme == "dark")
        await self.page.evaluate(END_TRANSITIONS)

    async def text(self) -> str:
        """Return the HTML of the document, hidden parts included."""
        return await self.page.evaluate("document.documentElement.outerHTML")

    async def faults(self) -> list[str]:
        """Return the violations that axe rates serious or worse."""
        if not await self.page.evaluate("'axe' in window"):
            await self.page.evaluate(AXE.read_text())
        only = {"runOnly": {"type": "rule", "values": self._rules}} if self._rules else {}
        options = {"resultTypes": ["violations"], **only}
        found = await self.page.evaluate("options => axe.run(document, options)", options)
        return [
            f"{violation['id']}: {violation['help']}: {node['html'][:160]} {node.get('failureSummary', '')[:200]}"
            for violation in found["violations"]
            if violation["impact"] in SERIOUS
            for node in violation["nodes"][:3]
        ]

    async def screenshot(self, name: str) -> None:
        """Save a screenshot for a person to look at, if `KAIROS_TEST_SCREENSHOTS` names a folder."""
        if folder := os.environ.get(SCREENSHOTS):
            await self.page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)

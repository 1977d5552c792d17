"""Somebody at the application of `triage review`: keys are pressed, and what the screen shows is text."""

import asyncio
import os
import re
from collections.abc import Awaitable, Callable
from pathlib import Path

from textual.pilot import Pilot

from triage_cli.cli import ReviewApp, ReviewSession, View
from triage_cli.ports import Triage

GOLDEN = Path(__file__).parents[1] / "golden" / "review"
TRIES = 3000  # looks of 10 ms at the screen, until a test that waits gives up
TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d")


class Reviewer:
    """Presses keys; `screen` is the text that is shown."""

    def __init__(self, app: ReviewApp, pilot: Pilot[int]) -> None:
        self.app = app
        self.pilot = pilot

    @property
    def screen(self) -> str:
        """Return what is shown, a line a line of the screen."""
        strips = self.app.screen._compositor.render_strips()
        return "\n".join(strip.text.rstrip() for strip in strips)

    async def press(self, *pressed: str, see: str = "") -> None:
        """Press keys, and wait until the screen shows something."""
        await self.pilot.press(*pressed)
        await self.sees(see)

    async def type(self, text: str) -> None:
        """Type a text into the prompt that is open."""
        await self.pilot.press(*("space" if char == " " else char for char in text))

    async def sees(self, what: str) -> None:
        """Wait until the screen shows something."""
        await self.until(lambda: what in self.screen, what)

    async def until(self, holds: Callable[[], bool], what: str) -> None:
        """Wait until something holds."""
        for _ in range(TRIES):
            if holds():
                return
            await self.pilot.pause(0.01)
        raise AssertionError(f"never saw {what!r} in\n{self.screen}")

    async def is_golden(self, name: str) -> None:
        """Wait until the screen is that of the file of this name; TRIAGE_GOLDEN=write writes it, once it rests."""
        path = GOLDEN / f"{name}.txt"
        if os.environ.get("TRIAGE_GOLDEN") == "write":
            await self.pilot.pause(0.5)
            path.parent.mkdir(exist_ok=True)
            path.write_text(self.shown, encoding="utf-8")
        expected = path.read_text(encoding="utf-8")
        for _ in range(TRIES):
            if self.shown == expected:
                return
            await self.pilot.pause(0.01)
        assert self.shown == expected

    @property
    def shown(self) -> str:
        """Return what is shown, without the times."""
        return TIME.sub("<date and time·>", self.screen) + "\n"


def reviewing(
    triage: Triage,
    script: Callable[[Reviewer], Awaitable[None]],
    view: View | None = None,
    size: tuple[int, int] = (80, 24),
    learn: Callable[[], str] | None = None,
) -> ReviewApp:
    """Run the application over use cases, and return it once the script has ended."""
    app = ReviewApp(ReviewSession(triage, triage.questions(), learn), view or View())

    async def run() -> None:
        async with app.run_test(size=size) as pilot:
            reviewer = Reviewer(app, pilot)
            await reviewer.sees("review")
            await script(reviewer)

    asyncio.run(run())
    return app

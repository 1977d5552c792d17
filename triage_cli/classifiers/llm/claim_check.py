"""Checks before each paid call that the run still holds the ticket; calls that wait together share one check."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.runtime.budget import Budget
from triage_cli.runtime.group_worker import GroupedQuestions
from triage_cli.runtime.stop import StoppingError

T = TypeVar("T")

# Seconds for which a check is valid that found the lease unbroken.
VALID_SECONDS = 0.5
# A clock that also counts while the machine sleeps, if there is one.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ClaimCheck:
    """Makes the calls of one event loop only while their run holds the ticket.

    The lease of a suspended run may have ended, and its tickets may be with another run; after that, every ticket is
    checked.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._valid_until = -math.inf
        self._unbroken = True
        self._checks = GroupedQuestions(self._held)

    async def held(self, ticket_id: str, call: Callable[[], Awaitable[T]]) -> T:
        """Make a call about a ticket if the run still holds it.

        Raises `StoppingError` if another run has the ticket, and `TakenOverError` if this run was ended.
        """
        is_checked = self._budget.hold is None or time.clock_gettime(CLOCK) < self._valid_until
        if not is_checked and not await self._checks.ask(ticket_id):
            raise StoppingError
        return await call()

    def _held(self, ticket_ids: list[str]) -> list[bool]:
        began = time.clock_gettime(CLOCK)
        if self._budget.hold is None:
            return [True] * len(ticket_ids)
        held = self._budget.hold(ticket_ids)
        # After a broken lease other runs may hold any ticket, so a check is not valid for further tickets.
        self._unbroken = self._unbroken and held.unbroken
        self._valid_until = began + VALID_SECONDS if self._unbroken else -math.inf
        return [ticket_id in held.ticket_ids for ticket_id in ticket_ids]

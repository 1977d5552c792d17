"""Checks before each paid call that the run still has its claim; calls that wait together share one check."""

import math
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

from triage_cli.runtime import Budget, GroupedQuestions, StoppingError

CallResult = TypeVar("CallResult")

# Seconds for which a claim check is valid that found the lease unbroken.
VALID_SECONDS = 0.5
# The clock of claim checks: one that also counts while the machine sleeps, if there is one.
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)


class ClaimCheck:
    """Makes the calls of one event loop only while their run has a claim on the ticket.

    The lease of a suspended run may have ended, and another run may have claimed its tickets; after that, the claim on
    every ticket is checked.
    """

    def __init__(self, budget: Budget) -> None:
        self._budget = budget
        self._valid_until = -math.inf
        self._is_lease_unbroken = True
        self._claim_checks = GroupedQuestions(self._check_claims)

    async def call_if_held(self, ticket_id: str, call: Callable[[], Awaitable[CallResult]]) -> CallResult:
        """Make a call about a ticket if the run still has its claim on it.

        Raises `StoppingError` if another run has claimed the ticket, and `TakenOverError` if this run was ended.
        """
        is_claim_checked = self._budget.hold is None or time.clock_gettime(CLOCK) < self._valid_until
        if not is_claim_checked and not await self._claim_checks.ask(ticket_id):
            raise StoppingError
        return await call()

    def _check_claims(self, ticket_ids: list[str]) -> list[bool]:
        check_began = time.clock_gettime(CLOCK)
        if self._budget.hold is None:
            return [True] * len(ticket_ids)
        claims = self._budget.hold(ticket_ids)
        # After a broken lease other runs may hold any ticket, so a check is not valid for further tickets.
        self._is_lease_unbroken = self._is_lease_unbroken and claims.unbroken
        self._valid_until = check_began + VALID_SECONDS if self._is_lease_unbroken else -math.inf
        return [ticket_id in claims.ticket_ids for ticket_id in ticket_ids]

"""The money of runs: bookings of what they spent, by the minute, and reservations of what calls may cost.

A booking counts on the day on which it was made, whenever its run began. A reservation counts while its run lives; that
of a killed run counts for a day after its last lease, because its calls may still be billed.
"""

import time
from collections.abc import Sequence
from typing import Any

from triage_cli.domain import times
from triage_cli.domain.changes import Spent
from triage_cli.domain.runs import Lease, rounded_usd
from triage_cli.runtime.budget import number_that_fits
from triage_cli.stores.database import Tables

DAY = 24 * 3600.0
MINUTE = len("2026-01-01T00:00")  # characters of a time down to its minute

_ADD_TO_BOOKING = "on conflict (minute, run_id) do update set usd = bookings.usd + excluded.usd"
# Books the difference between the spending that a run reports and its row. Other runs have booked what they settled for
# it.
BOOK_SPENT = f"""insert into bookings (minute, run_id, usd) select ?, run_id, ? + settled - spent from runs
    where run_id = ? and ? + settled <> spent {_ADD_TO_BOOKING}"""
PUT_BOOKING = f"insert into bookings (minute, run_id, usd) values (?, ?, ?) {_ADD_TO_BOOKING}"
# `runs.settled`: USD that other runs booked on this run (a batch it paid for was collected later). It is stored apart
# from `spent`, because a run overwrites `spent` with its own running total at every heartbeat.
SPEND_FOR_RUN = "update runs set spent = spent + ?, settled = settled + ? where run_id = ?"
RESERVE_USD = "update runs set reserved = reserved + ? where run_id = ?"
SPENT_OF_DAY = """select (select coalesce(sum(usd), 0) from bookings where minute >= ?)
    + (select coalesce(sum(reserved), 0) from runs where reserved <> 0 and lease_until > ?)"""
# Tickets that wait in batches are reserved at their worst case, but not paid yet.
SPENT_IN_ALL = """select (select coalesce(sum(spent + reserved), 0) from runs)
    - (select coalesce(sum(reserved), 0) from batch_items where state = 'waiting')"""


class MoneyTables(Tables):
    """Books what runs spend, and sets sums aside under the daily budget."""

    def set_aside(self, lease: Lease, amounts: Sequence[float], per_day: float | None) -> int:
        """Set further sums aside, in order, while the budget of the day allows; return how many were set aside."""
        return self.database.write(lambda db: self._set_aside(db, lease, amounts, per_day))

    def _set_aside(self, db: Any, lease: Lease, amounts: Sequence[float], per_day: float | None) -> int:
        self.renew_lease(db, lease)
        reserved_count = len(amounts)
        if per_day is not None:
            reserved_count = number_that_fits(
                amounts, per_day - db.execute(SPENT_OF_DAY, _last_day_values()).fetchone()[0]
            )
        if reserved_count:
            db.execute(RESERVE_USD, (sum(amounts[:reserved_count]), lease.run_id))
        return reserved_count

    def spent_of_day(self) -> float:
        """Return what counts against the budget of a day now, in USD."""
        return float(self.database.read(SPENT_OF_DAY, _last_day_values())[0][0])

    def _book(self, db: Any, run_id: str, spent: float | None) -> None:
        """Book what a run has newly spent. Must come before `spent` is written to the run's row."""
        if spent is not None:
            db.execute(BOOK_SPENT, (_minute_of(times.now()), spent, run_id, spent))

    def _spend(self, db: Any, added_rows: Sequence[object]) -> None:
        """Book `Spent` rows on their runs, and release what was reserved for them."""
        bookings: dict[tuple[str, str], float] = {}
        for row in added_rows:
            if isinstance(row, Spent):
                for booked_at, usd in ((times.now(), row.usd), (row.since, -row.released)):
                    if usd:
                        booking_key = row.run_id, _minute_of(booked_at)
                        bookings[booking_key] = bookings.get(booking_key, 0.0) + usd
        for (run_id, minute), usd in sorted(bookings.items()):
            db.execute(SPEND_FOR_RUN, (usd, usd, run_id))
            db.execute(PUT_BOOKING, (minute, run_id, usd))

    def cost(self) -> float:
        """Return what all runs spent, in USD, including answers that were lost or that a killed run never saved."""
        return rounded_usd(max(0.0, float(self.database.read(SPENT_IN_ALL)[0][0])))


def _last_day_values() -> tuple[str, float]:
    """Return the values for `SPENT_OF_DAY`."""
    return _minute_of(times.ago(DAY)), time.time() - DAY


def _minute_of(booked_at: str) -> str:
    return booked_at[:MINUTE]

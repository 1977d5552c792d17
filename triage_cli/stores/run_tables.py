"""The tables of runs: how a run begins, continues and ends, which runs are alive, and what they reserved and spent."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

from triage_cli.domain import (
    EARLY_END,
    KILLED,
    LEASE_SECONDS,
    Lease,
    LoggedEvent,
    Run,
    Spent,
    Ticket,
    ago,
    compact,
    early_end,
    now,
    rounded_usd,
    times,
)
from triage_cli.runtime import alive, began, number_that_fits, place
from triage_cli.stores.bulk_insert import placeholders
from triage_cli.stores.database import Db, Tables, Values

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


# A killed command is continued by the same command of the same person, which inherits what it had spent. Requests are
# not continued, because all requests to an endpoint have the same command line. The bound, below half a day, keeps a
# job from continuing the one of yesterday, even if it starts twice a day.
CONTINUABLE_SECONDS = 11 * 3600.0
# In these, `{now}` is the clock that leases are measured by: the database's own, or a value. If two runs continue the
# same dead one, only the first inherits what it had spent.
CONTINUE_RUN = """update runs set ended_at = ?, exit_code = 137
    where kind = ? and actor = ? and words = ? and started_at >= ? and served = 0
    and ended_at is null and lease_until <= {now} returning inherited + spent + reserved"""
END_RUN = """update runs set ended_at = ?, counts = ?, exit_code = ?, summary = ?, spent = ? + settled, reserved = 0
    where run_id = ?"""
RUN_COLUMNS = tuple("words" if field == "command_line" else field for field in Run._fields)
BEGIN_RUN = (
    f"insert into runs ({', '.join(RUN_COLUMNS)}, inherited, place, process, lease_until) "
    f"values ({placeholders(RUN_COLUMNS)}, ?, ?, ?, {{now}} + {LEASE_SECONDS})"
)
# The cost of earlier tries of the same request: one may have been killed, or still run elsewhere.
SPENT_ON_PARCEL = """select coalesce(sum(spent + reserved), 0) from runs
    where parcel = ? and parcel <> '' and started_at >= ?"""
# Runs that ended early after a ticket's last event, or began after it and were killed, or wrote it: the latest first.
ENDED_EARLY_RUNS = f"""where kind in (select value from json_each(:kinds))
    and (exit_code is null or exit_code in ({", ".join(str(int(code)) for code in sorted(EARLY_END))}))
    and (run_id = :run or started_at >= :since or ended_at >= :since and exit_code <> {KILLED})"""
HOLDER_OF_TICKET = "where ended_at is null and run_id in (select run_id from claims where ticket_id = :ticket)"


def continued_by(run: Run) -> tuple[str, ...]:
    """Return the values for `CONTINUE_RUN`, all but the clock's, by which a run continues dead ones."""
    return now(), run.kind, run.actor, run.command_line, ago(CONTINUABLE_SECONDS)


class RunTables(MoneyTables):
    """Begins, ends and reads runs."""

    # The statements with the clock of the dialect.
    CONTINUE_RUN: str
    BEGIN_RUN: str

    def _begin_run(self, db: Any, run: Run, *clock: float) -> float:
        """Record a run; return what it had spent before, with what it inherits from dead runs that it continues."""
        continued = db.execute(self.CONTINUE_RUN, (*continued_by(run), *clock)).fetchall()
        inherited = run.spent + sum(row[0] for row in continued) + self._spent_before(db, run)
        db.execute(self.BEGIN_RUN, (*run._replace(spent=0.0), inherited, place(), began(run.pid), *clock))
        return float(inherited)

    def end(self, run: Run) -> None:
        """Record how a run ended, and free its tickets."""

        def end(db: Db) -> None:
            self._book(db, run.run_id, run.spent)
            run_values = (run.ended_at, run.counts, run.exit_code, run.summary, run.spent, run.run_id)
            db.execute(END_RUN, run_values)
            db.execute("delete from claims where run_id = ?", (run.run_id,))

        self.database.write(end)

    def exited(self, run_id: str, code: int) -> None:
        """Record the exit code of a run that has ended."""
        self._write("update runs set exit_code = ? where run_id = ?", (code, run_id))

    def _spent_before(self, db: Any, run: Run) -> float:
        """Return what earlier tries of the request that begins this run have cost, or may still cost."""
        if not run.parcel:
            return 0.0
        return float(db.execute(SPENT_ON_PARCEL, (run.parcel, ago(CONTINUABLE_SECONDS))).fetchone()[0])

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Yield runs, the latest first. A killed run has no end, and the exit code 137."""
        return self._selected_runs("", {}, "" if limit is None else f" limit {int(limit)}")

    def _ended_early(self, ticket: Ticket, events: Sequence[LoggedEvent]) -> Run | None:
        """Return the latest run that should have taken up a ticket since its last event, and ended before."""
        if ticket.status not in early_end.KINDS or not events:
            return None
        last_event, kinds = events[-1], compact(early_end.KINDS[ticket.status])
        run_values = {"kinds": kinds, "run": last_event.run_id or "", "since": last_event.timestamp}
        return next(
            (run for run in self._selected_runs(ENDED_EARLY_RUNS, run_values) if run.exit_code is not None), None
        )

    def _holder(self, ticket_id: str) -> Run | None:
        """Return the live run that holds a ticket."""
        runs = self._selected_runs(HOLDER_OF_TICKET, {"ticket": ticket_id})
        return next((run for run in runs if run.exit_code is None), None)

    def _selected_runs(self, run_condition: str, bound_values: Values, run_limit: str = "") -> Iterator[Run]:
        own_place, clock_now, columns = place(), self.database.clock(), ", ".join(RUN_COLUMNS)
        runs_query = (
            f"select {columns}, lease_until, place, process from runs {run_condition} order by run_id desc{run_limit}"
        )
        for *run_values, lease_until, run_place, process_start in self.database.read(runs_query, bound_values):
            run = Run(*run_values)
            is_alive = (
                alive(run.pid, process_start) and (process_start or lease_until > clock_now)
                if run_place == own_place
                else lease_until > clock_now
            )
            yield run if run.ended_at or is_alive else run._replace(exit_code=KILLED)

"""The tables of runs: how a run begins, goes on and ends, the tickets that it holds, and what it reserved and spent.

A run holds what it claimed while it has not ended and its lease is not over.
"""

import os
import time
from collections.abc import Iterator, Sequence

from triage_cli import domain as dm
from triage_cli.runtime import alive, began, machine, number_that_fits, place
from triage_cli.stores.database import Database, Db, Values, write_one
from triage_cli.stores.dialect import Dialect

# A killed command is continued by the same command of the same person, which inherits what it had spent. Requests are
# not continued, because all requests to an endpoint have the same command line. The bound, below half a day, keeps a
# job from continuing the one of yesterday, even if it starts twice a day.
CONTINUABLE_SECONDS = 11 * 3600.0
# In these, `{now}` is the clock of the dialect. If two runs continue the same dead one, only the first inherits what it
# had spent.
CONTINUE_RUN = """update runs set ended_at = :at, exit_code = 137
    where kind = :kind and actor = :actor and words = :command_line and started_at >= :since and served = 0
    and ended_at is null and lease_until <= {now} returning inherited + spent + reserved"""
END_RUN = """update runs set ended_at = ?, counts = ?, exit_code = ?, summary = ?, spent = ? + settled, reserved = 0
    where run_id = ?"""
_RUN_COLUMNS = tuple("words" if field == "command_line" else field for field in dm.Run._fields)
BEGIN_RUN = (
    f"insert into runs ({', '.join(_RUN_COLUMNS)}, inherited, place, process, lease_until) values "
    f"({', '.join(f':{field}' for field in dm.Run._fields)}, :inherited, :place, :process, "
    f"{{now}} + {dm.LEASE_SECONDS})"
)
# The cost of earlier tries of the same request: one may have been killed, or still run elsewhere.
SPENT_ON_PARCEL = """select coalesce(sum(spent + reserved), 0) from runs
    where parcel = ? and parcel <> '' and started_at >= ?"""
# Runs that ended early after a ticket's last event, or began after it and were killed, or wrote it: the latest first.
ENDED_EARLY_RUNS = f"""where kind in (select value from json_each(:kinds))
    and (exit_code is null or exit_code in ({", ".join(str(int(code)) for code in sorted(dm.EARLY_END))}))
    and (run_id = :run or started_at >= :since or ended_at >= :since and exit_code <> {dm.KILLED})"""
HOLDER_OF_TICKET = "where ended_at is null and run_id in (select run_id from claims where ticket_id = :ticket)"

INSERT_CLAIMS = """with claimed (ticket_id) as (select value from json_each(:ids))
    insert into claims (ticket_id, run_id) select ticket_id, :run from claimed where true
    on conflict (ticket_id) do update set run_id = excluded.run_id"""
DELETE_CLAIMS = "delete from claims where ticket_id in (select value from json_each(?))"
# What a run asks, and what the killed ones asked.
END_ASKING = """delete from being_asked where run_id = :run or not exists (select 1 from runs
    where runs.run_id = being_asked.run_id and ended_at is null and lease_until > {now})"""
RENEW_LEASE = f"""update runs set lease_until = {{now}} + {dm.LEASE_SECONDS}, spent = coalesce(:spent + settled, spent),
    reserved = coalesce(:reserved, reserved) where run_id = :run"""
# A live run whose lease has fewer seconds left than this is suspended or stuck, and cannot renew the lease itself.
SHORT_LEASE = 30.0
RUNS_OF_THIS_MACHINE = "select run_id, pid, process from runs where ended_at is null and place = ? order by run_id"
# The end of the lease stays recorded: what a dead run had reserved counts for a day from then.
END_LEASE = "update runs set lease_until = ? where run_id = ? and lease_until > ?"
# Runs of a server are not extended: one that was never ended would be held for as long as the server lives.
EXTEND_LEASE = f"""update runs set lease_until = :now + {dm.LEASE_SECONDS}
    where run_id = :run and lease_until < :now + {SHORT_LEASE} and served = 0"""
CLAIMS_OF = """select ticket_id, lease_until from claims join runs using (run_id)
    where ticket_id in (select value from json_each(?)) and ended_at is null"""
HELD_CLAIMS = """update claims set run_id = run_id where run_id = :run
    and ticket_id in (select value from json_each(:ids)) returning ticket_id"""

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


class SqlRuns:
    """Implements `ports.Runs` on the connections of a store."""

    def __init__(self, database: Database, dialect: Dialect) -> None:
        self._database = database
        self._dialect = dialect
        self._continue_run, self._begin_run, self._renew_lease, self._end_asking = (
            statement.format(now=dialect.clock) for statement in (CONTINUE_RUN, BEGIN_RUN, RENEW_LEASE, END_ASKING)
        )

    def begin(self, run: dm.Run) -> dm.Run:
        """Record a run and start its lease; free what dead runs of this machine held."""
        run = run._replace(host=machine(), pid=os.getpid())

        def begin(db: Db) -> float:
            self._tend_leases(db, self._database.clock())
            continued_values = run._asdict() | {
                "since": dm.ago(CONTINUABLE_SECONDS),
                "at": dm.now(),
                "now": time.time(),
            }
            continued = db.execute(self._continue_run, continued_values).fetchall()
            inherited = run.spent + sum(row[0] for row in continued) + self._spent_before(db, run)
            beginning = {"inherited": inherited, "place": place(), "process": began(run.pid), "now": time.time()}
            db.execute(self._begin_run, run._replace(spent=0.0)._asdict() | beginning)
            self._dialect.trace(db, "select 1 from runs where run_id = ?", (run.run_id,))
            return float(inherited)

        inherited = self._database.write(begin)
        self._dialect.run_began()
        return run._replace(spent=inherited)

    @staticmethod
    def _spent_before(db: Db, run: dm.Run) -> float:
        """Return what earlier tries of the request that begins this run have cost, or may still cost."""
        if not run.parcel:
            return 0.0
        return float(db.execute(SPENT_ON_PARCEL, (run.parcel, dm.ago(CONTINUABLE_SECONDS))).fetchone()[0])

    def end(self, run: dm.Run) -> None:
        def end(db: Db) -> None:
            _book(db, run.run_id, run.spent)
            db.execute(END_RUN, (run.ended_at, run.counts, run.exit_code, run.summary, run.spent, run.run_id))
            db.execute("delete from claims where run_id = ?", (run.run_id,))
            db.execute(self._end_asking, {"run": run.run_id, "now": time.time()})

        self._database.write(end)
        self._dialect.run_ended()

    def exited(self, run_id: str, code: int) -> None:
        write_one(self._database, "update runs set exit_code = ? where run_id = ?", (code, run_id))

    # -- leases and claims

    def renew(self, lease: dm.Lease) -> None:
        """Renew a run's lease and record what it has spent; then look after the other runs of this machine."""
        self._database.write(lambda db: self.renew_lease(db, lease))
        lease_now = self._database.clock()
        # Its own transaction, so that two runs never wait for each other's locks.
        self._database.write(lambda db: self._tend_leases(db, lease_now))

    def renew_lease(self, db: Db, lease: dm.Lease) -> None:
        """Renew a run's lease and record what it has spent, in an open transaction."""
        _book(db, lease.run_id, lease.spent)
        lease_values = {"spent": lease.spent, "reserved": lease.reserved, "run": lease.run_id, "now": time.time()}
        db.execute(self._renew_lease, lease_values)

    @staticmethod
    def _tend_leases(db: Db, lease_now: float) -> None:
        """End the leases of dead runs of this machine, and extend those of live runs that cannot do so themselves.

        A lease is extended only if the start of the process is known, because process ids are used again.
        """
        for run_id, pid, process_start in db.execute(RUNS_OF_THIS_MACHINE, (place(),)).fetchall():
            if not alive(pid, process_start):
                db.execute(END_LEASE, (lease_now, run_id, lease_now))
            elif process_start and pid != os.getpid():
                db.execute(EXTEND_LEASE, {"run": run_id, "now": lease_now})

    def hold(self, lease: dm.Lease, ticket_ids: Sequence[str]) -> dm.Held:
        """Hold tickets as `ports.Runs.hold` does. Raises `UnavailableError` as `Store.check_room` does."""
        lease_now = self._database.clock()

        def hold(db: Db) -> dm.Held:
            is_unbroken = self.checked(db, lease) > lease_now
            claim_values = {"run": lease.run_id, "ids": dm.compact(list(ticket_ids))}
            return dm.Held(frozenset(row[0] for row in db.execute(HELD_CLAIMS, claim_values).fetchall()), is_unbroken)

        held = self._database.write(hold)
        self._dialect.check_room()
        return held

    def checked(self, db: Db, lease: dm.Lease) -> float:
        """Renew a run's lease; return when it ended before. Raises `TakenOverError` if another run has ended this one.

        A transaction is open.
        """
        run_row = db.execute("select ended_at, lease_until from runs where run_id = ?", (lease.run_id,)).fetchone()
        if run_row is not None and run_row[0] is not None:
            raise dm.TakenOverError(
                "this run was out of touch for longer than its lease, and another one has taken over its work",
                hint="nothing is lost: the other run does the rest, and so does the same command",
            )
        self.renew_lease(db, lease)
        return float(run_row[1]) if run_row else 0.0

    def claim(self, selection: dm.Selection, lease: dm.Lease, limit: int) -> list[dm.Ticket]:
        """Claim up to `limit` tickets that no live run holds, urgent first, then oldest.

        Without ids, at most about `chunks.BYTES` of text are claimed.
        """

        def claim(db: Db) -> list[dm.Ticket]:
            self.checked(db, lease)
            return self._dialect.claim(db, selection, lease, limit)

        return self._database.write(claim)

    def claimed(self, ticket_ids: Sequence[str]) -> frozenset[str]:
        claims = self._database.read(CLAIMS_OF, (dm.compact(list(ticket_ids)),))
        lease_now = self._database.clock() if claims else 0.0
        return frozenset(ticket_id for ticket_id, lease_until in claims if lease_until > lease_now)

    @staticmethod
    def pass_claims(db: Db, changes: Sequence[dm.Change]) -> None:
        """Free the tickets of changes that their run lets go, and claim the new ones for the run that holds them."""
        freed = [c.ticket.ticket_id for c in changes if c.ticket and c.expected_revision and not c.ticket.run_id]
        if freed:
            db.execute(DELETE_CLAIMS, (dm.compact(freed),))
        held = [c.ticket for c in changes if c.ticket and not c.expected_revision and c.ticket.run_id]
        for run_id in {ticket.run_id for ticket in held}:
            claimed_ids = [ticket.ticket_id for ticket in held if ticket.run_id == run_id]
            db.execute(INSERT_CLAIMS, {"run": run_id, "ids": dm.compact(claimed_ids)})

    # -- money

    def set_aside(self, lease: dm.Lease, amounts: Sequence[float], per_day: float | None) -> int:
        def set_aside(db: Db) -> int:
            if per_day is not None:
                self._dialect.lock_budget(db)
            self.renew_lease(db, lease)
            count = len(amounts)
            if per_day is not None:
                spent_of_day = db.execute(SPENT_OF_DAY, _last_day_values()).fetchone()[0]
                count = number_that_fits(amounts, per_day - spent_of_day)
            if count:
                db.execute(RESERVE_USD, (sum(amounts[:count]), lease.run_id))
            return count

        return self._database.write(set_aside)

    def spent_of_day(self) -> float:
        return float(self._database.read(SPENT_OF_DAY, _last_day_values())[0][0])

    @staticmethod
    def spend(db: Db, all_spent: Sequence[dm.Spent]) -> None:
        """Book sums on their runs, and release what was reserved for them."""
        bookings: dict[tuple[str, str], float] = {}
        for spent in all_spent:
            for booked_at, usd in ((dm.now(), spent.usd), (spent.since, -spent.released)):
                if usd:
                    booking_key = spent.run_id, _minute_of(booked_at)
                    bookings[booking_key] = bookings.get(booking_key, 0.0) + usd
        for (run_id, minute), usd in sorted(bookings.items()):
            db.execute(SPEND_FOR_RUN, (usd, usd, run_id))
            db.execute(PUT_BOOKING, (minute, run_id, usd))

    def cost(self) -> float:
        """Return what all runs spent, in USD, including answers that were lost or that a killed run never saved."""
        return dm.rounded_usd(max(0.0, float(self._database.read(SPENT_IN_ALL)[0][0])))

    # -- reads

    def latest(self, limit: int | None) -> Iterator[dm.Run]:
        return self.selected("", {}, "" if limit is None else f" limit {int(limit)}")

    def ended_early(self, ticket: dm.Ticket, events: Sequence[dm.LoggedEvent]) -> dm.Run | None:
        """Return the latest run that should have taken up a ticket since its last event, and ended before."""
        if ticket.status not in dm.TAKEN_UP_BY or not events:
            return None
        last_event, kinds = events[-1], dm.compact(dm.TAKEN_UP_BY[ticket.status])
        run_values = {"kinds": kinds, "run": last_event.run_id or "", "since": last_event.timestamp}
        return next((run for run in self.selected(ENDED_EARLY_RUNS, run_values) if run.exit_code is not None), None)

    def holder(self, ticket_id: str) -> dm.Run | None:
        """Return the live run that holds a ticket."""
        runs = self.selected(HOLDER_OF_TICKET, {"ticket": ticket_id})
        return next((run for run in runs if run.exit_code is None), None)

    def selected(self, condition: str, bound_values: Values, limit: str = "") -> Iterator[dm.Run]:
        """Yield the runs of a condition, the latest first."""
        own_place, clock_now, columns = place(), self._database.clock(), ", ".join(_RUN_COLUMNS)
        runs_query = f"select {columns}, lease_until, place, process from runs {condition} order by run_id desc{limit}"
        for *run_values, lease_until, run_place, process_start in self._database.read(runs_query, bound_values):
            run = dm.Run(*run_values)
            is_alive = (
                alive(run.pid, process_start) and (process_start or lease_until > clock_now)
                if run_place == own_place
                else lease_until > clock_now
            )
            yield run if run.ended_at or is_alive else run._replace(exit_code=dm.KILLED)


def _book(db: Db, run_id: str, spent: float | None) -> None:
    """Book what a run has newly spent. Must come before `spent` is written to the run's row."""
    if spent is not None:
        db.execute(BOOK_SPENT, (_minute_of(dm.now()), spent, run_id, spent))


def _last_day_values() -> tuple[str, float]:
    """Return the values for `SPENT_OF_DAY`."""
    return _minute_of(dm.ago(DAY)), time.time() - DAY


def _minute_of(booked_at: str) -> str:
    return booked_at[:MINUTE]

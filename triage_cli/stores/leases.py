"""Which runs are alive: on this machine those whose process exists, on another machine those with a valid lease."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from triage_cli.domain.audit.events import LoggedEvent
from triage_cli.domain.errors import TakenOverError
from triage_cli.domain.exit_codes import EARLY_END, KILLED
from triage_cli.domain.explanation import early_end
from triage_cli.domain.runs import LEASE_SECONDS, Held, Lease, Run
from triage_cli.domain.serialization import compact
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime.process import alive, place
from triage_cli.stores.database import Db, Tables, Values
from triage_cli.stores.shared_sql import RUN_COLUMNS

# A live run whose lease has fewer seconds left than this is suspended or stuck, and cannot renew the lease itself.
SHORT_LEASE = 30.0
RUNS_OF_THIS_MACHINE = "select run_id, pid, process from runs where ended_at is null and place = ? order by run_id"
# The end of the lease stays recorded: what a dead run had reserved counts for a day from then.
END_LEASE = "update runs set lease_until = ? where run_id = ? and lease_until > ?"
# Runs of a server are not extended: one that was never ended would be held for as long as the server lives.
EXTEND_LEASE = f"""update runs set lease_until = :now + {LEASE_SECONDS}
    where run_id = :run and lease_until < :now + {SHORT_LEASE} and served = 0"""
CLAIMS_OF = """select ticket_id, lease_until from claims join runs using (run_id)
    where ticket_id in (select value from json_each(?)) and ended_at is null"""
# Runs that ended early after a ticket's last event, or began after it and were killed, or wrote it: the latest first.
ENDED_EARLY = f"""where kind in (select value from json_each(:kinds))
    and (exit_code is null or exit_code in ({", ".join(str(int(code)) for code in sorted(EARLY_END))}))
    and (run_id = :run or started_at >= :since or ended_at >= :since and exit_code <> {KILLED})"""
HOLDER = "where ended_at is null and run_id in (select run_id from claims where ticket_id = :ticket)"
HELD_CLAIMS = """update claims set run_id = run_id where run_id = :run
    and ticket_id in (select value from json_each(:ids)) returning ticket_id"""


class Leases(Tables):
    """Renews leases, and tells which runs are alive."""

    def _tend_leases(self, db: Any, now: float) -> None:
        """End the leases of dead runs of this machine, and extend those of live runs that cannot do so themselves.

        A lease is extended only if the start of the process is known, because process ids are used again.
        """
        for run_id, pid, process_start in db.execute(RUNS_OF_THIS_MACHINE, (place(),)).fetchall():
            if not alive(pid, process_start):
                db.execute(END_LEASE, (now, run_id, now))
            elif process_start and pid != os.getpid():
                db.execute(EXTEND_LEASE, {"run": run_id, "now": now})

    def renew(self, lease: Lease) -> None:
        """Renew a run's lease and record what it has spent; then look after the other runs of this machine."""
        self.database.write(lambda db: self.renew_lease(db, lease))
        now = self.database.clock()
        # Its own transaction, so that two runs never wait for each other's locks.
        self.database.write(lambda db: self._tend_leases(db, now))

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Renew a run's lease; return which of these tickets it holds. Raises `TakenOverError` if the run was ended."""
        now = self.database.clock()

        def hold(db: Db) -> Held:
            unbroken = self._check_run(db, lease) > now
            self.renew_lease(db, lease)
            values = {"run": lease.run_id, "ids": compact(list(ticket_ids))}
            return Held(frozenset(row[0] for row in db.execute(HELD_CLAIMS, values).fetchall()), unbroken)

        return self.database.write(hold)

    def claimed(self, ticket_ids: Sequence[str]) -> frozenset[str]:
        """Return which of these tickets a live run holds."""
        claims = self.database.read(CLAIMS_OF, (compact(list(ticket_ids)),))
        now = self.database.clock() if claims else 0.0
        return frozenset(ticket_id for ticket_id, lease_until in claims if lease_until > now)

    @staticmethod
    def _check_run(db: Any, lease: Lease) -> float:
        """Return when a run's lease ends. Raises `TakenOverError` if another run has ended this one."""
        row = db.execute("select ended_at, lease_until from runs where run_id = ?", (lease.run_id,)).fetchone()
        if row is not None and row[0] is not None:
            raise TakenOverError(
                "this run was out of touch for longer than its lease, and another one has taken over its work",
                hint="nothing is lost: the other run does the rest, and so does the same command",
            )
        return float(row[1]) if row else 0.0

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Yield runs, the latest first. A killed run has no end, and the exit code 137."""
        return self._runs("", {}, "" if limit is None else f" limit {int(limit)}")

    def _ended_early(self, ticket: Ticket, events: Sequence[LoggedEvent]) -> Run | None:
        """Return the latest run that should have taken up a ticket since its last event, and ended before."""
        if ticket.status not in early_end.KINDS or not events:
            return None
        last, kinds = events[-1], compact(early_end.KINDS[ticket.status])
        values = {"kinds": kinds, "run": last.run_id or "", "since": last.timestamp}
        return next((run for run in self._runs(ENDED_EARLY, values) if run.exit_code is not None), None)

    def _holder(self, ticket_id: str) -> Run | None:
        """Return the live run that holds a ticket."""
        runs = self._runs(HOLDER, {"ticket": ticket_id})
        return next((run for run in runs if run.exit_code is None), None)

    def _runs(self, where: str, bound_values: Values, most: str = "") -> Iterator[Run]:
        own_place, now, columns = place(), self.database.clock(), ", ".join(RUN_COLUMNS)
        query = f"select {columns}, lease_until, place, process from runs {where} order by run_id desc{most}"
        for *values, lease_until, run_place, process_start in self.database.read(query, bound_values):
            run = Run(*values)
            is_alive = (
                alive(run.pid, process_start) and (process_start or lease_until > now)
                if run_place == own_place
                else lease_until > now
            )
            yield run if run.ended_at or is_alive else run._replace(exit_code=KILLED)

"""The leases of runs, and their claims of tickets: a run holds what it claimed while its lease lasts."""

import os
from collections.abc import Sequence
from typing import Any

from triage_cli.domain import LEASE_SECONDS, Held, Lease, TakenOverError, compact
from triage_cli.runtime import alive, place
from triage_cli.stores.database import Db
from triage_cli.stores.run_tables import RunTables

# A run holds what it claimed while it has not ended and its lease is not over.
LIVE_RUNS = "(select run_id from runs where ended_at is null and lease_until > :now)"
UNCLAIMED_TICKET = (
    f"not exists (select 1 from claims where claims.ticket_id = tickets.ticket_id and claims.run_id in {LIVE_RUNS})"
)
# A run claims in ascending order (by `after`), else it would claim a ticket that failed again and again.
CLAIMABLE_TICKETS = "select *, :run from tickets where {where} order by urgency, ticket_id limit :limit"
INSERT_CLAIMS = """insert into claims (ticket_id, run_id) select value, ? from json_each(?) where true
    on conflict (ticket_id) do update set run_id = excluded.run_id"""
# The new revision makes late writes of the earlier holder conflict.
TAKE_OVER_TICKETS = """update tickets set revision = revision + 1
    where ticket_id in (select ticket_id from claims where ticket_id in (select value from json_each(?)))
    returning ticket_id"""
DELETE_CLAIMS = "delete from claims where ticket_id in (select value from json_each(?))"
# `{now}` is the clock that leases are measured by: the database's own, or a value.
RENEW_LEASE = f"""update runs set lease_until = {{now}} + {LEASE_SECONDS}, spent = coalesce(? + settled, spent),
    reserved = coalesce(?, reserved) where run_id = ?"""
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
HELD_CLAIMS = """update claims set run_id = run_id where run_id = :run
    and ticket_id in (select value from json_each(:ids)) returning ticket_id"""


class Leases(RunTables):
    """Renews the leases of runs, and reads which tickets live runs hold."""

    def _tend_leases(self, db: Any, lease_now: float) -> None:
        """End the leases of dead runs of this machine, and extend those of live runs that cannot do so themselves.

        A lease is extended only if the start of the process is known, because process ids are used again.
        """
        for run_id, pid, process_start in db.execute(RUNS_OF_THIS_MACHINE, (place(),)).fetchall():
            if not alive(pid, process_start):
                db.execute(END_LEASE, (lease_now, run_id, lease_now))
            elif process_start and pid != os.getpid():
                db.execute(EXTEND_LEASE, {"run": run_id, "now": lease_now})

    def renew(self, lease: Lease) -> None:
        """Renew a run's lease and record what it has spent; then look after the other runs of this machine."""
        self.database.write(lambda db: self.renew_lease(db, lease))
        lease_now = self.database.clock()
        # Its own transaction, so that two runs never wait for each other's locks.
        self.database.write(lambda db: self._tend_leases(db, lease_now))

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Renew a run's lease; return which of these tickets it holds. Raises `TakenOverError` if the run was ended."""
        lease_now = self.database.clock()

        def hold(db: Db) -> Held:
            is_unbroken = self._check_run(db, lease) > lease_now
            self.renew_lease(db, lease)
            claim_values = {"run": lease.run_id, "ids": compact(list(ticket_ids))}
            return Held(
                frozenset(run_row[0] for run_row in db.execute(HELD_CLAIMS, claim_values).fetchall()), is_unbroken
            )

        return self.database.write(hold)

    def claimed(self, ticket_ids: Sequence[str]) -> frozenset[str]:
        """Return which of these tickets a live run holds."""
        claims = self.database.read(CLAIMS_OF, (compact(list(ticket_ids)),))
        lease_now = self.database.clock() if claims else 0.0
        return frozenset(ticket_id for ticket_id, lease_until in claims if lease_until > lease_now)

    @staticmethod
    def _check_run(db: Any, lease: Lease) -> float:
        """Return when a run's lease ends. Raises `TakenOverError` if another run has ended this one."""
        run_row = db.execute("select ended_at, lease_until from runs where run_id = ?", (lease.run_id,)).fetchone()
        if run_row is not None and run_row[0] is not None:
            raise TakenOverError(
                "this run was out of touch for longer than its lease, and another one has taken over its work",
                hint="nothing is lost: the other run does the rest, and so does the same command",
            )
        return float(run_row[1]) if run_row else 0.0

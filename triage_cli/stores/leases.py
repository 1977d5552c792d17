"""Which runs are at work: a process of this machine is while it lives, suspended or not, another one by its lease."""

import os
from collections.abc import Iterator, Sequence
from typing import Any

from triage_cli.domain.errors import TakenOverError
from triage_cli.domain.runs import Held, Lease, Run
from triage_cli.domain.serialization import compact
from triage_cli.runtime.places import alive, place
from triage_cli.stores.database import Tables
from triage_cli.stores.queries import RUN_COLUMNS, TYPED

KILLED = 137  # as a shell has it for SIGKILL
# A living run whose lease has fewer seconds left than this is suspended, or held up: it cannot renew that itself.
SHORT = 30.0
NEIGHBOURS = "select run_id, pid, process from runs where ended_at is null and place = ? order by run_id"
# What a dead run had set aside counts for a day from when it was last heard of.
FREE = "update runs set lease_until = ? where run_id = ? and lease_until > ?"
# A server's own runs end with what asked for them; one that did not could be held for as long as the server lives.
SPARE = f"""update runs set lease_until = :now + :seconds
    where run_id = :run and lease_until < :now + {SHORT} and {TYPED} and words <> 'serve'"""
HELD = """update claims set run_id = run_id where run_id = :run
    and ticket_id in (select value from json_each(:ids)) returning ticket_id"""


class Leases(Tables):
    """The part of a store that knows which runs are at work; the store reads, writes, renews and has the clock."""

    def _tend(self, db: Any, now: float) -> None:
        """Free what dead processes of this machine held; a living one that cannot renew its lease keeps what it holds.

        Whether it lives can be told where it is known when it began: a number may be another process's by now.
        """
        for run_id, pid, began in db.execute(NEIGHBOURS, (place(),)).fetchall():
            if not alive(pid, began):
                db.execute(FREE, (now, run_id, now))
            elif began and pid != os.getpid():
                db.execute(SPARE, {"run": run_id, "now": now, "seconds": Lease(run_id).seconds})

    def renew(self, lease: Lease) -> None:
        """Renew a run's lease, and record what it says of money; what happened to its neighbours is seen to as well."""
        with self.database.transaction() as db:
            self.renew_lease(db, lease)
        now = self.database.clock()
        with (
            self.database.transaction() as db
        ):  # apart, so that two that look after each other never wait for each other
            self._tend(db, now)

    def hold(self, lease: Lease, ticket_ids: Sequence[str]) -> Held:
        """Renew a run's lease and tell which of these tickets it holds. Raises `TakenOverError` where it was ended."""
        now = self.database.clock()
        with self.database.transaction() as db:
            unbroken = self._check_run(db, lease) > now
            self.renew_lease(db, lease)
            values = {"run": lease.run_id, "ids": compact(list(ticket_ids))}
            return Held(frozenset(row[0] for row in db.execute(HELD, values).fetchall()), unbroken)

    @staticmethod
    def _check_run(db: Any, lease: Lease) -> float:
        """Return until when a run's lease goes. Raises `TakenOverError` where others have ended the run."""
        row = db.execute("select ended_at, lease_until from runs where run_id = ?", (lease.run_id,)).fetchone()
        if row is not None and row[0] is not None:
            raise TakenOverError(
                "this run was out of touch for longer than its lease, and another one has taken over its work",
                hint="nothing is lost: the other one does what is left, and so does the same command",
            )
        return float(row[1]) if row else 0.0

    def runs(self, limit: int | None) -> Iterator[Run]:
        """Walk over runs, the latest first; one that was killed has no end, but the exit code 137."""
        own_place, now, columns = place(), self.database.clock(), ", ".join(RUN_COLUMNS)
        most = "" if limit is None else f" limit {int(limit)}"
        query = f"select {columns}, lease_until, place, process from runs order by run_id desc{most}"
        for *values, until, there, began in self.database.read(query):
            run = Run(*values)
            lives = alive(run.pid, began) and (began or until > now) if there == own_place else until > now
            yield run if run.ended_at or lives else run._replace(exit_code=KILLED)

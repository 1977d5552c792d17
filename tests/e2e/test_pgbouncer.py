"""A database behind pgbouncer in session and in transaction mode, with and without statements that it prepares."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Literal

import pytest

from tests.support.chain import first_break
from tests.support.cli import Cli
from tests.support.commands import many
from tests.support.online import ONLINE
from tests.support.pg_server import sql
from tests.support.pgbouncer import PROGRAM, running_pgbouncer
from tests.support.records import replace
from tests.support.stored_tickets import a_ticket, changed, created
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore

pytestmark = pytest.mark.skipif(PROGRAM is None, reason="needs pgbouncer")
Mode = Literal["session", "transaction"]


@pytest.fixture(params=[("transaction", 0), ("transaction", 200), ("session", 0)], ids=str)
def bouncer(request: pytest.FixtureRequest, pg_url: str) -> Iterator[str]:
    """The address of a pgbouncer before the database; in transaction mode it has fewer connections than clients."""
    mode, prepared = request.param
    with running_pgbouncer(pg_url, mode, prepared=prepared) as address:
        yield address


def test_every_command_works(fitted: Cli, bouncer: str, pg_url: str) -> None:
    fitted.env["TRIAGE_DB"] = bouncer
    for words, exit_codes in (
        ("run -q", (0, 3)), ("create -q", (0,)), ("classify -q", (0,)), ("route -q", (0,)), ("stats", (0,)),
        ("list --search refund", (0,)), ("show B-3", (0,)), ("why B-3", (0,)), ("verdict B-3 Billing", (0,)),
        ("reclassify --apply --max-flips 100% -q", (0, 3)), ("logs --limit 5", (0,)), ("runs", (0,)),
        ("keys create ada --role agent", (0,)), ("keys list", (0,)), ("plan", (0, 2)), ("suspects", (0, 2)),
        ("categories", (0,)),
        ("forget --customer-id nobody --yes", (0, 5)), ("doctor", (0,)), ("audit verify", (0,)),
    ):  # fmt: skip
        done = fitted(*words.split(), stdin=many(40))
        assert done.returncode in exit_codes, (words, done.stderr)
        assert "unexpected" not in done.stderr, words
    assert sql(pg_url, "select count(*) from tickets") == [(40,)]


def test_many_at_once_share_few_connections(bouncer: str) -> None:
    """A statement that one had prepared would be missing for another one, or be another statement."""

    def work(number: int) -> None:
        with closing(PostgresStore(bouncer, network=ONLINE)) as store:
            for each in range(20):
                ticket = a_ticket(f"{number}-{each}")
                assert store.save([created(ticket)]) == [None]
                (kept,) = store.find(dm.Selection(ids=(ticket.ticket_id,)))
                assert kept.subject == ticket.subject
                assert store.save([changed(replace(kept, status="failed"))]) == [None]
                assert store.stats().tickets > each

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(work, range(4)))
    with closing(PostgresStore(bouncer, network=ONLINE)) as store:
        assert store.stats().tickets == 80
        assert first_break(store.log.events(dm.EventQuery())) is None

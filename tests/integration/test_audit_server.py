"""The audit log of PostgreSQL is verified too, and so are heads that are kept elsewhere, whatever the store."""

import json
import shlex
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from tests.support.audit_edits import drafts, tamper
from tests.support.cli import Cli
from tests.support.commands import TICKETS, rows
from tests.support.online import ONLINE
from tests.support.pg_server import PgServer, sql
from tests.support.world import CATEGORIES, World
from triage_cli import domain as dm
from triage_cli.extensions.postgres import PostgresStore, ServerTrail, migrations
from triage_cli.ports import AuditLogReader
from triage_cli.service import prove
from triage_cli.stores import SqliteStore, trail


def opened(store: SqliteStore | PostgresStore) -> AbstractContextManager[AuditLogReader]:
    return nullcontext(ServerTrail(store)) if isinstance(store, PostgresStore) else trail(store.path)


def proved(store: SqliteStore | PostgresStore, *heads: str) -> dm.Head:
    with opened(store) as log:
        return prove(log, None, dict.fromkeys(heads, "that was expected"))


def test_the_log_of_any_store_is_proved_alone_and_against_heads_kept_elsewhere(world: World) -> None:
    assert world.store.stats().tickets == 0
    list(world.triage().create(drafts(3)))
    before = world.store.log.head()
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    assert (
        proved(world.store) == proved(world.store, before.head) == world.store.log.head() == world.triage().audit_head()
    )
    with pytest.raises(dm.CheckError, match="expected"):
        proved(world.store, before.head, "1" * 64)


def test_what_is_stored_while_the_log_is_proved_contradicts_nothing(world: World) -> None:
    numbers = count(3)
    list(world.triage().create(drafts(next(numbers))))

    def store_more(log: AuditLogReader) -> AuditLogReader:
        """Let another run begin, store and end after the first look at either head."""

        def busy(look: Callable[[], Any]) -> Any:
            found = look()
            list(world.triage().create(drafts(next(numbers))))
            return found

        for name in ("recorded_head", "kept_head"):
            setattr(log, name, partial(busy, getattr(log, name)))
        return log

    with opened(world.store) as log:
        assert prove(store_more(log), None, {}).events >= 3


# -- on PostgreSQL


@pytest.fixture
def filled(pg_url: str) -> str:
    """A database of nine events: four tickets, an answer about each, a verdict."""
    world = World(PostgresStore(pg_url, network=ONLINE))
    tickets = [o.value for o in world.triage().create(drafts(4)) if o.value]
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().give_verdicts([dm.VerdictDraft(0, tickets[0].ticket_id, CATEGORIES[1].name)]))
    world.store.close()
    return pg_url


CUT = (
    "delete from events where seq > 7; update chain set seq = 7, hash = (select hash from events where seq = 7); "
    "update tickets set decision_id = null; delete from classifications c where not exists "
    "(select 1 from events where detail::json ->> 'decision' = c.classification_id)"
)
PUT_IN = (
    "insert into tickets (ticket_id, identity, source, content_hash, urgency, stored_at, extra) "
    "values ('other', 'other', 'x', '', 2, '', '{}')"
)
SUGGESTED = (
    "update classifications set classifier = 'agent', fingerprint = '' where classification_id = "
    "(select max(classification_id) from classifications where confidence_source <> 'human')"
)
JUDGED = (
    "update classifications set confidence_source = 'human' where classification_id = "
    "(select max(classification_id) from classifications where confidence_source <> 'human')"
)
PASSES = "create or replace function events_never_go() returns trigger language plpgsql as $$ begin return old; end $$"
ALTERED = (
    ("an edit", "update events set detail = '{}' where seq = 5", "event 5 "),
    ("an edit of an actor", "update events set actor = 'eve' where seq = 1", "event 1 "),
    ("an inner deletion", "delete from events where seq = 4", "event 4 of the log is missing"),
    ("the last one gone", "delete from events where seq = 9", "the log ends at event 8, but event 9 was written"),
    ("all gone", "delete from events", "ends at event 0"),
    ("the head's row gone", "delete from chain", "event 0 was written"),
    ("the head's row behind", "update chain set seq = 8", "event 8 was written"),
    ("a cut end, with care", CUT, "the head kept in the table last_head (of event 9) is not in the log, which ends"),
    ("a ticket past the log", PUT_IN, "ticket other has no event in the log"),
    ("a ticket gone", "delete from tickets where external_id = 'X-1'", "is gone from the table of tickets"),
    ("an answer gone", ("delete from classifications where classification_id in "
     "(select min(classification_id) from classifications where confidence_source <> 'human')"),
     "is gone from the table of classifications"),
    ("a verdict past the log", JUDGED, "has no event in the log"),
    ("a suggestion past the log", SUGGESTED, "has no event in the log"),
    ("no head", "delete from last_head", "whole up to event 9, but no head is kept in the table last_head"),
    ("a trigger gone", "drop trigger events_never_go on events", "triggers"),
    ("a trigger off", "alter table events disable trigger events_never_change", "triggers"),
    ("all triggers off", "alter table events disable trigger all", "triggers"),
    ("the guard against truncate gone", "drop trigger events_never_go_at_once on events", "triggers"),
    ("a trigger that lets pass", PASSES, "triggers"),
)  # fmt: skip


@pytest.mark.parametrize(("what", "statement", "message"), ALTERED, ids=[row[0] for row in ALTERED])
def test_whatever_was_done_to_the_tables_of_a_server_is_told(
    filled: str, what: str, statement: str, message: str
) -> None:
    """By somebody who may do anything there: triggers and foreign keys are off meanwhile, and on again."""
    sql(filled, f"set session_replication_role = replica; {statement}")
    store = PostgresStore(filled, network=ONLINE)
    try:
        with pytest.raises(dm.CheckError) as caught:
            proved(store)
        assert message in caught.value.message, what
        assert caught.value.hint
        assert "DATABASE" not in caught.value.hint
    finally:
        store.close()
        sql(filled, "drop trigger if exists events_never_go on events; "
            "drop trigger if exists events_never_go_at_once on events; "
            "alter table events enable trigger all; " + ";".join(triggers()))  # fmt: skip


def triggers() -> list[str]:
    statements = [each for each in migrations.statements() if "events_never_go" in each]
    return [each.replace("create function", "create or replace function") for each in statements]


def test_a_cut_log_that_grows_past_its_old_length_is_not_whole_again(filled: str) -> None:
    sql(filled, f"set session_replication_role = replica; {CUT}")
    store = PostgresStore(filled, network=ONLINE)
    list(World(store).triage().create(drafts(60, start=50)))
    with pytest.raises(dm.CheckError, match=r"of event 9. is not in the log, which ends at event 67"):
        proved(store)
    store.close()


def test_a_cut_end_that_was_cut_off_in_that_table_too_is_seen_by_a_head_kept_elsewhere_alone(filled: str) -> None:
    """What the documentation says of the table: it proves nothing against somebody who rewrites it as well."""
    store = PostgresStore(filled, network=ONLINE)
    older = store.log.head().head
    too = "update last_head set seq = chain.seq, hash = chain.hash from chain"
    sql(filled, f"set session_replication_role = replica; {CUT}; {too}")
    assert proved(store).events == 7
    with pytest.raises(dm.CheckError, match="that was expected"):
        proved(store, older)
    store.close()


def test_what_is_said_to_do_about_a_head_that_is_gone_can_be_done(filled: str) -> None:
    sql(filled, "delete from last_head")
    store = PostgresStore(filled, network=ONLINE)
    assert proved(store, store.log.head().head).events == 9, "a head from elsewhere is enough"
    with pytest.raises(dm.CheckError) as caught:
        proved(store)
    *_, command = shlex.split(caught.value.hint.partition("to keep one again: ")[2])
    sql(filled, command)
    assert proved(store).events == 9
    store.close()


def test_the_command_on_a_server_tells_what_is_wrong_and_not_that_a_file_is_missing(cli: Cli, pg_url: str) -> None:
    cli.env["TRIAGE_DB"] = pg_url
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    done = cli("audit", "verify")
    assert (done.returncode, done.stdout) == (0, cli("audit", "head").stdout)
    sql(pg_url, "set session_replication_role = replica; update events set detail = '{}' where seq = 2")
    done = cli("audit", "verify")
    assert (done.returncode, done.stdout) == (8, "")
    assert "event 2 is not what was written there" in done.stderr


def test_a_database_that_was_moved_to_a_server_is_proved_there_at_once(cli: Cli, pg_url: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("db", "copy", pg_url).returncode == 0
    done = cli("audit", "verify", "--db", pg_url)
    assert (done.returncode, done.stdout) == (0, cli("audit", "head").stdout)
    assert sql(pg_url, "select seq, hash from last_head") == rows(cli.db, "select seq, hash from chain")


def test_a_log_from_before_there_was_such_a_table_is_proved_once_it_is_brought_forward(
    pg_server: PgServer, pg_url: str
) -> None:
    now = PostgresStore(pg_url, network=ONLINE)
    list(World(now).triage().create(drafts(3)))
    head = now.log.head()
    now.close()
    url = pg_server.of_version_2(pg_url)
    later = PostgresStore(url, network=ONLINE)
    later.database.migrate()
    assert proved(later) == head
    assert sql(url, "select seq, hash from last_head") == [(3, head.head)]
    later.close()


# -- a file of heads


@pytest.fixture(params=["sqlite", "postgres"])
def anywhere(request: pytest.FixtureRequest, cli: Cli) -> Cli:
    """The command line over a database of each kind, which holds three tickets."""
    if request.param == "postgres":
        cli.env["TRIAGE_DB"] = request.getfixturevalue("pg_url")
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    return cli


def test_a_file_of_heads_is_begun_and_grows_with_the_log(anywhere: Cli) -> None:
    heads = anywhere.folder / "heads"
    done = anywhere("audit", "verify", "--heads", "heads")
    assert done.returncode == 0, done.stderr
    assert done.stderr == "3 events: the log is whole\nnote: heads is new, and holds today's head from here on\n"
    assert heads.read_text() == done.stdout == anywhere("audit", "head").stdout
    assert anywhere("audit", "verify", "--heads", "heads", "-q").stderr == ""
    assert heads.read_text() == done.stdout, "the same head is not added twice"
    assert anywhere("create", "-q", "--subject", "more").returncode == 0
    assert anywhere("audit", "verify", "--heads", "heads", "-q").returncode == 0
    assert [json.loads(line)["events"] for line in heads.read_text().splitlines()] == [3, 4]


def test_each_head_of_the_file_must_be_in_the_log_in_whichever_form_it_is_written(anywhere: Cli) -> None:
    heads = anywhere.folder / "heads"
    heads.write_text(f"{dm.GENESIS}\n\n" + anywhere("audit", "head", "-o", "id").stdout.strip().upper())  # and no LF
    assert anywhere("create", "-q", "--subject", "more").returncode == 0
    assert anywhere("audit", "verify", "--heads", "heads", "-q").returncode == 0
    last = anywhere("audit", "head", "-o", "id").stdout
    assert heads.read_text().splitlines()[2:] == [heads.read_text().splitlines()[2], last.strip()]
    heads.write_text(last + "1" * 64 + "\n" + last)
    done = anywhere("audit", "verify", "--heads", "heads")
    assert (done.returncode, done.stdout) == (8, "")
    assert "the head of line 2 of heads is not in the log, which ends at event 4" in done.stderr
    assert heads.read_text() == last + "1" * 64 + "\n" + last, "nothing is added"


def test_a_head_from_elsewhere_is_judged_after_the_log_itself(anywhere: Cli) -> None:
    (anywhere.folder / "heads").write_text("1" * 64 + "\n")
    if "TRIAGE_DB" in anywhere.env:
        sql(anywhere.env["TRIAGE_DB"], "set session_replication_role = replica; delete from tickets")
    else:
        tamper(anywhere.db, "delete from tickets")
        Path(f"{anywhere.db}.head").write_text("{")
    done = anywhere("audit", "verify", "--heads", "heads")
    assert done.returncode == 8
    assert "is gone from the table of tickets" in done.stderr


@pytest.mark.parametrize("line", ["abc", '{"head": 1}', "[1]", '{"events": 3}', "\x00", "9" * 63])
def test_a_line_that_is_no_head_is_told_with_its_number(cli: Cli, line: str) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    (cli.folder / "heads").write_text(f"{dm.GENESIS}\n{line}\n")
    done = cli("audit", "verify", "--heads", "heads")
    assert (done.returncode, done.stdout) == (2, "")
    assert "line 2 of heads is no head" in done.stderr
    assert (cli.folder / "heads").read_text() == f"{dm.GENESIS}\n{line}\n"


def test_a_file_of_heads_that_cannot_be_read_or_written_is_told(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    for name, reason in ((".", "cannot read"), ("no/such/heads", "cannot be added to no/such/heads: No such file")):
        done = cli("audit", "verify", "--heads", name)
        assert (done.returncode, done.stdout) == (2, "")
        assert reason in done.stderr


def test_a_missing_head_beside_a_file_is_mended_by_what_the_hint_says(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    for damage in (None, "{"):
        head = Path(f"{cli.db}.head")
        head.unlink() if damage is None else head.write_text(damage)
        done = cli("audit", "verify")
        assert done.returncode == 8
        command, _, target = done.stderr.strip().rpartition(": ")[2].partition(" > ")
        assert shlex.split(command) == ["triage", "audit", "head"]
        Path(shlex.split(target)[0]).write_text(cli("audit", "head").stdout)
        assert cli("audit", "verify").returncode == 0

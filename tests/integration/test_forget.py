"""A person is forgotten: no byte of theirs is left in any file of the database, and the log stays whole."""

import json
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from tests.support.cli import Cli
from tests.support.commands import on_terminal, rows
from tests.support.fake_destination import FakeDestination
from tests.support.forgotten_tickets import drafts, forgotten
from tests.support.llm_server import Asked, Step, chat, running_llm_server, verdict
from tests.support.records import replace
from tests.support.typed_terminal import Typist
from tests.support.watched_terminal import lasting_text
from tests.support.world import FakeClassifier, World
from triage_cli import domain as dm
from triage_cli.service import Callers, erased_ticket
from triage_cli.stores import Db, SqliteStore, connection

# One canary for each place where a person's words may come to lie.
WORDS = (
    "SUBJECTWORD",
    "OLDERWORD",
    "BODYWORD",
    "CUSTOMERWORD",
    "NOTEWORD",
    "EXTERNALWORD",
    "REASONWORD",
    "COMMANDWORD",
)


def repeating(_n: int, asked: Asked) -> Step:
    """A model that quotes the ticket in its reason."""
    text = asked.ticket
    return Step(chat(verdict(reason="REASONWORD" if "SUBJECTWORD" in text or "OLDERWORD" in text else "fine")))


def files_of(db: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in db.parent.glob(f"{db.name}*")}


def found_in(db: Path) -> set[tuple[str, str]]:
    return {
        (name, word)
        for name, data in files_of(db).items()
        for word in WORDS
        if word.encode() in data or word.encode("utf-16-le") in data
    }


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A customer's words in every place that holds any: text, older text, extra, ids, reasons, errors of commands."""
    cli = Cli(tmp_path_factory.mktemp("forget"))
    (cli.folder / "echo.sh").write_text("#!/bin/sh\ngrep -o COMMANDWORD >&2\nexit 1\n")
    (cli.folder / "echo.sh").chmod(0o755)
    with running_llm_server(repeating) as server:
        (cli.folder / "config.yaml").write_text(
            "classifier: gpt\nclassifiers:\n"
            f"  gpt: {{type: openai, model: m, base_url: {server.url}, api_key_env: null}}\n"
            "destinations:\n  cmd: {type: command, run: [./echo.sh]}\n  box: {type: file, path: box.jsonl}\n"
            "routes:\n  - {to: [cmd, box]}\n"
        )
        head = "id,subject,description,customer_id,note\n"
        other = "E-9,hello,keep me,C-OTHER,fine\n"
        for subject in ("OLDERWORD " * 2000, "SUBJECTWORD"):  # long, so that its pages are left lying about
            content = f"EXTERNALWORD,{subject} and COMMANDWORD,BODYWORD,CUSTOMERWORD,NOTEWORD\n"
            assert cli("run", "-q", stdin=head + content + other).returncode == 0
        typed = ("--subject", "SUBJECTWORD too", "--customer-id", "CUSTOMERWORD", "--external-id=EXTERNALWORD2")
        assert cli("create", "-q", *typed).returncode == 0
        assert cli("classify", "-q", "--force", "EXTERNALWORD").returncode == 0
    return cli.folder


@pytest.fixture
def written(cli: Cli, template: Path) -> Cli:
    """The command line in a copy of that folder."""
    shutil.copytree(template, cli.folder, dirs_exist_ok=True)
    return cli


def test_every_word_was_there_before(written: Cli) -> None:
    """But for the older text: SQLite may be built to overwrite what is deleted."""
    assert {word for _, word in found_in(written.db)} | {"OLDERWORD"} == set(WORDS)


def test_no_byte_of_a_person_is_left_and_the_log_is_whole(written: Cli) -> None:
    before = json.loads(written("audit", "head").stdout)
    done = written("forget", "--customer-id", "CUSTOMERWORD", "--yes")
    assert done.returncode == 0
    assert found_in(written.db) == set()
    assert "2 forgotten\n" in done.stderr
    beside = "backups, exports, files of rejects and of labels, examples in configurations"
    assert f"note: out of reach: what was sent before: box (1); {beside}\n" in done.stderr
    printed = [json.loads(line) for line in done.stdout.splitlines()]
    assert [r["status"] for r in printed] == ["forgotten", "forgotten"]
    assert {r["routed_to"] for r in printed} == {"box", None}
    proof = written("audit", "verify", "--expect-head", before["head"])
    assert (proof.returncode, json.loads(proof.stdout)["events"]) == (0, before["events"] + 2)
    assert rows(written.db, "select count(*) from events where action = 'forgotten'") == [(2,)]


def test_what_is_left_is_inert_and_can_be_looked_at(written: Cli) -> None:
    written("forget", "-q", "--customer-id", "CUSTOMERWORD", "--yes")
    ids = [row[0] for row in rows(written.db, "select ticket_id from tickets where subject is null")]
    assert len(ids) == 2
    for command in ("show", "why", "logs"):
        assert written(command, ids[0]).returncode == 0
    assert "its text was forgotten" in written("why", ids[0]).stdout
    assert written("classify", *ids, "-o", "json", "--force").returncode == 0
    assert written("route", "--retry-dead", "-q").returncode == 0
    assert rows(written.db, "select distinct status from tickets where subject is null") == [("forgotten",)]
    assert rows(written.db, "select count(*) from events where ticket_id in "
                "(select ticket_id from tickets where subject is null) and seq > "
                "(select max(seq) from events where action = 'forgotten')") == [(0,)]  # fmt: skip
    assert found_in(written.db) == set()


def test_others_keep_theirs(written: Cli) -> None:
    columns = "subject, description, customer_id, external_id, reason, extra, identity"
    kept = rows(written.db, f"select {columns} from tickets where customer_id = 'C-OTHER'")
    answers = rows(written.db, "select * from classifications where reason = 'fine'")
    written("forget", "-q", "--customer-id", "CUSTOMERWORD", "--yes")
    assert rows(written.db, f"select {columns} from tickets where customer_id = 'C-OTHER'") == kept
    assert answers
    assert rows(written.db, "select * from classifications where reason = 'fine'") == answers


def test_the_same_export_brings_nobody_back(written: Cli) -> None:
    written("forget", "-q", "--customer-id", "CUSTOMERWORD", "--yes")
    text = "id,subject,description,customer_id\nEXTERNALWORD,SUBJECTWORD,BODYWORD,CUSTOMERWORD\nE-10,new,new,C-3\n"
    done = written("create", stdin=text)
    assert done.returncode == 0
    assert "1 created, 0 updated, 1 unchanged, 0 rejected" in done.stderr
    assert found_in(written.db) == set()


def test_forgetting_again_finds_nobody_and_says_so(written: Cli) -> None:
    written("forget", "-q", "--customer-id", "CUSTOMERWORD", "--yes")
    done = written("forget", "--customer-id", "CUSTOMERWORD", "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "0 forgotten\nnote: no ticket has this customer id\n"
    assert written("forget").returncode == 2
    assert written("forget", "--customer-id", " ", "--yes").returncode == 2


def held(db: Path) -> list[list[tuple[object, ...]]]:
    return [rows(db, f"select * from {table}") for table in ("tickets", "events", "classifications", "runs")]


ASKED = "this erases 2 tickets of CUSTOMERWORD for good; go on? [y/N] "


@pytest.mark.parametrize("answer", ["n\r", "\r", "yellow\r", "\x04"])
def test_on_a_terminal_it_asks_and_anything_but_yes_erases_nothing(written: Cli, answer: str) -> None:
    before = held(written.db)
    typist = Typist(written, "forget", "--customer-id", "CUSTOMERWORD")
    typist.sees(ASKED)
    typist.types(answer, see="nothing was erased")
    assert typist.ends() == 0
    assert held(written.db) == before


def test_yes_at_the_question_erases(written: Cli) -> None:
    typist = Typist(written, "forget", "--customer-id", "CUSTOMERWORD")
    typist.sees(ASKED)
    typist.types("y\r", see="2 forgotten")
    assert typist.ends() == 0
    assert found_in(written.db) == set()


def test_ctrl_c_at_the_question_is_130_and_erases_nothing(written: Cli) -> None:
    typist = Typist(written, "forget", "--customer-id", "CUSTOMERWORD")
    typist.sees(ASKED)
    typist.process.send_signal(signal.SIGINT)
    typist.sees("nothing was erased")
    assert typist.ends() == 130
    assert rows(written.db, "select count(*) from tickets where customer_id = 'CUSTOMERWORD'") == [(2,)]


def test_with_yes_and_where_nobody_is_meant_there_is_no_question(written: Cli) -> None:
    done = on_terminal(written.folder, written.env, "forget", "--customer-id", "C-NOBODY")
    assert (done.code, lasting_text(done.text)) == (0, "0 forgotten\nnote: no ticket has this customer id\n")
    done = on_terminal(written.folder, written.env, "forget", "--customer-id", "CUSTOMERWORD", "--yes")
    assert done.code == 0
    assert "2 forgotten" in done.text
    assert "go on?" not in done.text


def test_a_dry_run_tells_how_many_and_changes_nothing(written: Cli) -> None:
    before = held(written.db)
    done = written("forget", "--customer-id", "CUSTOMERWORD", "--dry-run", "--yes")
    assert (done.returncode, done.stdout) == (0, "")
    assert done.stderr == "2 tickets of CUSTOMERWORD would be erased (--dry-run)\n"
    other = ("forget", "--customer-id", "C-OTHER", "--dry-run")
    assert ("1 ticket of C-OTHER" in written(*other).stderr, written(*other).stdout) == (True, "")
    assert [t["customer_id"] for t in json.loads(written(*other, "-o", "json").stdout)] == ["C-OTHER"]
    assert held(written.db) == before


def test_what_is_out_of_reach_is_told_of_what_was_never_delivered_too(cli: Cli) -> None:
    assert cli("create", "-q", "--subject", "x", "--customer-id", "C-1").returncode == 0
    assert "note: out of reach: backups, exports," in cli("forget", "--customer-id", "C-1", "--yes").stderr
    assert "out of reach" not in cli("forget", "--customer-id", "C-1", "--yes").stderr


def test_an_example_of_the_configuration_that_is_a_persons_text_is_named(cli: Cli) -> None:
    (cli.folder / "config.yaml").write_text(
        "categories:\n  - {name: A, examples: ['Mail me at [email], please']}\n  - {name: B, examples: [Hello]}\n"
    )
    assert (
        cli("create", "-q", "--description", "Mail me at\na@b.example, please", "--customer-id", "C-1").returncode == 0
    )
    said = cli("forget", "--customer-id", "C-1", "--yes").stderr
    assert "config.yaml has such a text as an example of A; delete it\n" in said


def test_names_typed_as_options_are_not_in_the_record_of_runs(written: Cli) -> None:
    words = " ".join(row[0] for row in rows(written.db, "select words from runs"))
    assert "--customer-id" in words
    assert [word for word in WORDS if word in words] == ["EXTERNALWORD"], "an argument, and until it is forgotten"


def test_a_ticket_without_an_id_of_its_own_stays_forgotten_too(world: World) -> None:
    list(world.triage().create(drafts(3)))
    assert [o.action for o in forgotten(world)] == ["forgotten"] * 3
    assert [o.action for o in world.triage().create(drafts(4))] == ["unchanged"] * 3 + ["created"]


def test_a_mail_address_is_one_person_however_it_is_written(world: World) -> None:
    customers = ("Ann@X.example", "ann@x.example", "ANN@X.EXAMPLE", "C-7", "c-7", "dann@x.example")
    drafts_ = [dm.TicketDraft(n, n + 2, f"hello {n}", "text", customer) for n, customer in enumerate(customers)]
    list(world.triage().create(drafts_))
    assert [o.action for o in world.triage().forget("ann@X.example")] == ["forgotten"] * 3
    assert [o.action for o in world.triage().forget("C-7")] == ["forgotten"], "another id may differ in that alone"


def test_an_export_full_of_forgotten_tickets_is_not_taken_for_another(world: World) -> None:
    rows_ = [dm.TicketDraft(n, n + 2, f"hello {n}", "text", "C-1", external_id=f"X-{n}", cells=()) for n in range(30)]
    list(world.triage().create(rows_))
    forgotten(world)
    assert {o.action for o in world.triage().create(rows_)} == {"unchanged"}


def test_what_another_run_holds_is_told_and_the_rest_is_forgotten(world: World) -> None:
    list(world.triage().create(drafts(3)))
    held = next(iter(world.store.find(dm.Selection())))
    run = world.store.runs.begin(dm.Run("r-1", "classify", "x", "w", ""))
    world.store.runs.claim(dm.Selection(ids=(held.ticket_id,)), dm.Lease(run.run_id), 1)
    with pytest.raises(dm.UnavailableError, match="at work on 1 more"):
        forgotten(world)
    assert [t.customer_id for t in world.store.find(dm.Selection())].count(None) == 2
    world.store.runs.end(run)
    assert len(forgotten(world)) == 1


class Down:
    """A destination that takes nothing for now."""

    name = "down"
    workers = 16
    max_attempts = 3
    schedule: tuple[float, ...] = (600.0,)

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        for chunk in chunks:
            yield [
                dm.Outcome(n, dm.Action.FAILED, None, dm.DeliveryError("down"), parcel)
                for n, parcel in enumerate(chunk)
            ]


def test_what_is_still_owed_is_sent_no_more(world: World) -> None:
    world.rules = (dm.Rule("all", ("down",)),)
    world.destinations = {"down": Down()}
    list(world.triage().create(drafts(2)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    all_ids = [t.ticket_id for t in world.store.find(dm.Selection())]
    assert {d.state for ds in world.store.deliveries.of(all_ids).values()
            for d in ds} == {"pending"}  # fmt: skip
    forgotten(world)
    assert world.store.deliveries.next_due() is None


def test_a_reader_that_keeps_an_old_state_open_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its write-ahead log would still hold the words; once it has left, the same command finishes."""
    monkeypatch.setattr(connection, "BUSY_SECONDS", 0.05)
    world = World(SqliteStore(str(tmp_path / "t.db")))
    list(world.triage().create(drafts(1)))
    with closing(sqlite3.connect(world.store.path, isolation_level=None)) as reader:
        reader.execute("begin")
        reader.execute("select * from tickets").fetchall()
        fresh = World(SqliteStore(world.store.path))
        with pytest.raises(dm.UnavailableError, match="reading"):
            forgotten(fresh)
    assert forgotten(World(SqliteStore(world.store.path))) == []
    assert b"hello 0" not in b"".join(files_of(Path(world.store.path)).values())


def test_a_kill_in_between_is_finished_by_the_same_command(cli: Cli) -> None:
    text = "id,subject,customer_id\n" + "".join(f"{n},CANARY {n},C-1\n" for n in range(50))
    assert cli("create", "-q", stdin=text).returncode == 0
    for place in ("SqliteStore.save", "sys.modules[SqlStore.__module__].erase_texts", "SqliteStore.scrub"):
        code = (
            "import os, sys\n"
            "from triage_cli.stores import SqliteStore, SqlStore\n"
            f"{place} = lambda *args, **kwargs: os.kill(os.getpid(), 9)\n"
            "sys.argv = ['triage', 'forget', '--customer-id', 'C-1', '-q', '--yes']\n"
            "from triage_cli.__main__ import main\nmain()\n"
        )
        done = subprocess.run([sys.executable, "-c", code], env=cli.env, cwd=cli.folder, check=False)
        assert done.returncode == -9
        assert cli("audit", "verify", "-q").returncode == 0
        words = dict(rows(cli.db, "select status, count(subject) from tickets group by 1"))
        assert words in ({"new": 50}, {"forgotten": 0}), "all of a ticket is there, or nothing"
    assert cli("forget", "--customer-id", "C-1", "--yes").returncode == 0
    assert rows(cli.db, "select status, count(*) from tickets group by 1") == [("forgotten", 50)]
    assert b"CANARY" not in b"".join(files_of(cli.db).values())
    assert cli("audit", "verify", "-q").returncode == 0


def meanwhile(world: World) -> None:
    """Forget all, though a run that was thought dead still works on them."""
    world.store.database.write(lambda db: db.execute("update runs set lease_until = 0"))
    assert len(forgotten(world)) == 1


@pytest.mark.parametrize("again", [False, True])
def test_an_answer_that_comes_after_its_ticket_was_forgotten_is_kept_without_words(
    world: World, *, again: bool
) -> None:
    list(world.triage().create(drafts(1)))
    if again:
        list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))

    def answer(_: object) -> tuple[str, float]:
        meanwhile(world)
        return "Technical", 0.9

    world.classifier = FakeClassifier(answer, "fake-2")
    named = dm.Selection(ids=tuple(t.ticket_id for t in world.store.find(dm.Selection())))
    if again:
        assert [o.action for o in world.triage().reclassify(named, dm.ReclassifyPlan(dm.ClassifyPlan()))] == ["held"]
    else:
        [outcome] = world.triage().classify(named, dm.ClassifyPlan())
        assert outcome.value is not None
        assert outcome.value.now is not None
        assert (outcome.action, outcome.value.now.reason) == ("held", None)
    kept = world.store.database.read("select category, reason, answer_key from classifications order by 1")
    assert [tuple(row) for row in kept] == [("Billing", None, "")] * again + [("Technical", None, "")]


def test_an_attempt_that_ends_after_its_ticket_was_forgotten_keeps_no_words(world: World) -> None:
    class DownThenRepeated(Down):
        def deliver(
            self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]
        ) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
            for outcomes in super().deliver(chunks):
                if outcomes:
                    meanwhile(world)
                yield [replace(o, error=dm.DeliveryError("not hello 0")) for o in outcomes]

    world.rules = (dm.Rule("all", ("down",)),)
    world.destinations = {"down": DownThenRepeated()}
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    assert [tuple(row) for row in world.store.database.read("select number, error from attempts")] == [
        (1, "(forgotten)")
    ]
    assert [tuple(row) for row in world.store.database.read("select state, last_error from deliveries")] == [
        ("superseded", None)
    ]


@pytest.mark.parametrize("named", [True, False])
def test_a_single_ticket_that_was_forgotten_is_not_brought_back_either(world: World, *, named: bool) -> None:
    draft = dm.TicketDraft(0, 0, "hello 0", "text", "C-1", external_id="Z-1" if named else None, origin="request")
    identity = None if named else "@call"
    singles = Callers(world.services())
    assert singles.create(draft, "api", identity).action == "created"
    forgotten(world)
    again = singles.create(draft, "api", identity)
    singles.close()
    assert (again.action, again.value and again.value.subject) == ("unchanged", None)
    assert len(list(world.store.find(dm.Selection()))) == 1


def test_blank_keeps_no_field_that_can_name_a_person() -> None:
    draft = dm.TicketDraft(0, 2, "my subject", "my text", "my id", "high", None, "my number", extra={"a": "my note"})
    ticket = dm.dedup.new_ticket(dm.dedup.identify(draft), "id", "at", None)
    ticket = replace(ticket, reason="my reason", error="my error")
    assert sum("my " in str(value) for value in ticket) == 8
    assert [value for value in erased_ticket(ticket) if "my " in str(value)] == []


def test_what_was_never_sent_is_not_told_as_delivered(world: World) -> None:
    world.rules = (dm.Rule("all", ("down",)),)
    world.destinations = {"down": Down()}
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    [ticket] = world.store.find(dm.Selection())
    assert (ticket.status, ticket.routed_to) == ("routing", "down")
    forgotten(world)
    [ticket] = world.store.find(dm.Selection())
    assert (ticket.status, ticket.routed_to) == ("forgotten", None)
    why = world.triage().why(ticket.ticket_id).why
    assert why[-1] == "Next: nothing; its text was forgotten, and nothing more is sent."


@pytest.mark.parametrize("lost", [False, True])
def test_what_is_on_its_way_is_waited_for_and_what_may_have_arrived_is_told_as_sent(
    world: World, *, lost: bool
) -> None:
    meanwhile_forgotten: list[Future[list[dm.Outcome[dm.Routed]]]] = []

    def answer(_: dm.OutgoingDelivery) -> dm.DeliveryError | None:
        if lost:
            return dm.DeliveryError("no answer came", doubtful=True)
        meanwhile_forgotten.append(threads.submit(forgotten, World(world.store)))
        with pytest.raises(TimeoutError):
            meanwhile_forgotten[0].result(0.5)
        return None

    world.rules = (dm.Rule("all", ("page",)),)
    world.destinations = {"page": FakeDestination("page", answer)}
    list(world.triage().create(drafts(1)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    with ThreadPoolExecutor() as threads:
        list(world.triage().route(dm.Selection(), dm.RoutePlan()))
    (outcome,) = forgotten(world) if lost else meanwhile_forgotten[0].result()
    assert outcome.value is not None
    assert [d.destination for d in outcome.value.deliveries] == ["page"]
    [ticket] = world.store.find(dm.Selection())
    assert (ticket.status, ticket.routed_to) == ("forgotten", "page")


def test_what_other_parts_keep_of_a_ticket_goes_too(world: World) -> None:
    """Answers that the API keeps for a day, the keys of a batch, and those of a trial: of this ticket, and no other."""
    list(world.triage().create(drafts(2)))
    list(world.triage().create([dm.TicketDraft(0, 2, "other", "text", "C-2", external_id="o", cells=())]))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    tickets = list(world.store.find(dm.Selection()))
    keys = dict(world.store.database.read("select ticket_id, answer_key from classifications"))

    def add_batch(db: Db) -> None:
        db.execute(
            "insert into batches values "
            "('b', 'c', 'a', 'f', '[]', '{}', 'p', 't', 'submitted', 3, 't', null, null, null, null, '{}')"
        )
        for n, ticket in enumerate(tickets):
            key = keys[ticket.ticket_id]
            db.execute(
                "insert into batch_items values ('b', ?, ?, ?, 'new', 0.0, null, 'waiting', '[]')",
                (ticket.ticket_id, n, key),
            )
            db.execute(
                "insert into trials values (?, ?, 's', 'c', 1, 'said', 'c', 'a', 'f', 't', 1, 1, 0, 0, 0.0, null, '')",
                (key, str(n)),
            )
            values = (str(n), ticket.ticket_id)
            db.execute("insert into idempotency values ('k', ?, 'h', 0.0, 201, '{}', 0.0, ?)", values)

    world.store.database.write(add_batch)
    forgotten(world)
    assert len(world.store.database.read("select 1 from idempotency where answer is not null")) == 1
    assert len(world.store.database.read("select 1 from trials")) == 1
    assert world.store.batches.waiting()["c"]["tickets"] == 1
    assert world.store.database.read("select count(*) from batch_items where answer_key = ''")[0][0] == 2


def test_a_name_by_which_a_ticket_was_called_leaves_the_record_of_runs(world: World) -> None:
    """So does a file that is called after its person; what else was called stays, word by word."""
    name = "O'Brien 5"
    for who, external_id in (("C-1", name), ("C-1", "bob@b.example/7"), ("Ann <ann@b.example>", "A"), ("C-2", "5")):
        list(world.triage().create([dm.TicketDraft(0, 2, "hello", "text", who, external_id=external_id, cells=())]))
    files = ["Bob@b.example.csv", "in/o'brien 5.csv", "ann@b.example.csv", "C-1.csv"]
    for words in (["classify", name, name, "5", "--limit", "55"], ["route", "5"], ["create", *files]):
        world.store.runs.end(
            world.store.runs.begin(dm.Run(dm.ids.new_id(), words[0], "x", shlex.join(words), dm.times.now()))
        )
    forgotten(world)
    kept = {row[0] for row in world.store.database.read("select words from runs")}
    assert {"classify … … 5 --limit 55", "route 5", "create … … ann@b.example.csv C-1.csv"} <= kept
    assert len(forgotten(world, "ann@b.example")) == 1
    assert "create … … … C-1.csv" in {row[0] for row in world.store.database.read("select words from runs")}


def test_an_import_that_is_under_way_brings_nobody_back(world: World) -> None:
    def draft(n: int, customer: str = "C-other") -> dm.TicketDraft:
        return dm.TicketDraft(n, n, f"text {n}", customer_id=customer, external_id=f"E{n}")

    def export() -> Iterator[dm.TicketDraft]:
        yield from map(draft, range(1, dm.CHUNK + 10))
        assert [o.action for o in world.triage().forget("C-1")] == ["forgotten"]
        yield from map(draft, range(dm.CHUNK + 10, 3 * dm.CHUNK))
        yield draft(0, "C-1")

    list(world.triage().create([draft(0, "C-1")]))
    outcomes = list(world.triage().create(export()))
    assert outcomes[-1].action == "unchanged"
    assert not list(world.store.find(dm.Selection(customer_id="C-1")))


def test_a_ticket_that_was_forgotten_on_its_way_into_the_store_is_refused(world: World) -> None:
    draft = dm.TicketDraft(0, 0, "text", customer_id="C-1", external_id="E")
    (created,) = world.triage().create([draft])
    list(world.triage().forget("C-1"))
    assert created.value is not None
    late = replace(created.value, ticket_id=dm.ids.new_id())
    (conflict,) = world.store.save([dm.Change(dm.Event("created", late.ticket_id, None, "me", dm.times.now()), late)])
    assert conflict is not None
    assert conflict.ticket is not None
    assert dm.ids.is_forgotten(conflict.ticket.identity)

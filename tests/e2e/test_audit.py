"""`triage audit verify`: it finds whatever was changed, deleted, inserted, moved or cut off, and a missing log."""

import fcntl
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.audit_edits import drafts, tamper
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, TICKETS, on_terminal
from tests.support.examples import examples
from tests.support.pages import ROOT, blocks
from tests.support.records import replace
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.runtime import children
from triage_cli.service import KeyRing, LocalConsultation, LocalTriage, prove
from triage_cli.stores import SqlApiAccess, SqliteStore, head_file, kept_head, second_half, trail

KEY = b"a key that nobody would guess"
# What an outsider needs: `triage logs -o jsonl | python verify.py`.
PAGE = ROOT / "docs" / "explanation" / "audit-log.md"
TWENTY_LINES = next(block.text for block in blocks(PAGE) if block.file == "verify.py")


def filled(path: Path, key: bytes | None = None, number: int = 4, start: int = 0) -> World:
    world = World(SqliteStore(str(path), key))
    list(world.triage("a \"quoted\" \\ \n\u2028 'actor'").create(drafts(number, start)))
    list(world.triage().classify(dm.Selection(), dm.ClassifyPlan()))
    return world


def proved(path: Path, key: bytes | None = None, expected: str | None = None) -> dm.Head:
    with trail(str(path)) as log:
        return prove(log, key, {expected: "that was expected"} if expected else {})


def cut_off(path: Path) -> None:
    """Take the last two events away and everything that would tell of them."""
    tamper(
        path,
        "delete from events where seq > 6",
        "update chain set seq = 6, hash = (select hash from events where seq = 6)",
        "update tickets set decision_id = null",
        "delete from classifications where classification_id not in "
        "(select json_extract(detail, '$.decision') from events where action = 'classified')",
    )


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database of eight events and the head beside it, closed."""
    folder = tmp_path_factory.mktemp("log")
    filled(folder / "live.db").store.backup(folder / "t.db")  # type: ignore[union-attr]
    return folder / "t.db"


@pytest.fixture
def db(template: Path, tmp_path: Path) -> Path:
    for suffix in ("", ".head"):
        shutil.copy(f"{template}{suffix}", tmp_path / f"t.db{suffix}")
    return tmp_path / "t.db"


def test_a_whole_log_holds_and_its_head_is_told_everywhere_alike(db: Path) -> None:
    head = proved(db)
    assert head.events == 8
    assert (
        head
        == SqliteStore(str(db)).log.head()
        == kept_head(str(db))
        == World(SqliteStore(str(db))).triage().audit_head()
    )
    assert json.loads(Path(f"{db}.head").read_text()) == head._asdict()


@pytest.mark.parametrize(
    ("what", "statement", "message"),
    [
        ("an edit", "update events set detail = replace(detail, '0.9', '0.8') where seq = 5", "event 5 "),
        ("an edit of an actor", "update events set actor = 'eve' where seq = 1", "event 1 "),
        ("an edit of a time", "update events set timestamp = replace(timestamp, '2', '3') where seq = 8", "event 8 "),
        ("another ticket", "update events set ticket_id = null where seq = 3", "event 3 "),
        ("an inner deletion", "delete from events where seq = 4", "event 4 of the log is missing"),
        ("the first one gone", "delete from events where seq = 1", "event 1 of the log is missing"),
        ("a truncated end", "delete from events where seq > 6", "ends at event 6"),
        ("all gone", "delete from events", "ends at event 0"),
        ("a number", "update events set seq = 99 where seq = 8", "event 8 of the log is missing"),
        ("a number below", "update events set seq = 0 where seq = 1", "event 1 of the log is missing"),
        ("an insertion", "insert into events values (9, '', 'created', null, 'eve', null, '{}', 'x')", "event 9 "),
        ("no text", "update events set detail = x'7b7d' where seq = 2", "event 2 "),
        ("no UTF-8", "update events set actor = cast(x'ff' as text) where seq = 2", "event 2 "),
        ("a table gone", "drop table events", "cannot be read"),
        ("the head's table gone", "drop table chain", "cannot be read"),
        ("the head's row gone", "delete from chain", "event 0 was written"),
        ("the head's row changed", "update chain set hash = 'x'", "event 8 was written"),
        ("the head's row behind", "update chain set seq = 7", "event 7 was written"),
        ("a ticket past the log", (
            "insert into tickets select 'other', 'other', source, null, content_hash, subject, "
         "description, null, null, 2, null, stored_at, '{}', status, category, null, null, null, null, null, 0, null, "
         "0, null, 0, null, 1, '{}', 0, null from tickets limit 1"), "ticket other has no event in the log"),
        ("a ticket gone", "delete from tickets where external_id = 'X-1'", "is gone from the table of tickets"),
        ("an answer gone", "delete from classifications where rowid = 2", "is gone from the table of classifications"),
        ("a verdict past the log", "update classifications set confidence_source = 'human' where rowid = 1",
         "has no event in the log"),
        ("no table of tickets", "drop table tickets", "cannot be read"),
        ("a schema of somebody else", "pragma user_version = 0", "no database of this triage"),
        ("a schema to come", "pragma user_version = 99", "written by a newer triage"),
    ],
)  # fmt: skip
def test_whatever_was_done_to_the_tables_is_told_with_the_first_bad_event(
    db: Path, what: str, statement: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if "drop table events" in statement:
        with closing(sqlite3.connect(db)) as raw:
            raw.execute(statement)
    else:
        tamper(db, statement)
    with pytest.raises(dm.CheckError) as caught:
        proved(db)
    assert message in caught.value.message, what
    assert caught.value.hint
    in_two_halves(monkeypatch)
    with pytest.raises(dm.CheckError) as caught_in_halves:
        proved(db)
    assert (caught_in_halves.value.message, caught_in_halves.value.hint) == (caught.value.message, caught.value.hint)


def in_two_halves(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a second process verify half of a short log, too, as on a machine with two processors."""
    monkeypatch.setattr(second_half, "EVENTS_FOR_TWO", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)


def read_and_proved(db: Path, key: bytes | None = None, heads: Sequence[str] = ()) -> tuple[int, dm.Head]:
    """Return how many events this process verified itself, and the head."""
    seqs = [0]

    def counted(events: Any, _: int) -> Iterator[Any]:
        for event in events:
            seqs.append(event[0])
            yield event

    with trail(str(db)) as log:
        head = prove(log, key, dict.fromkeys(heads, "that was expected"), counted)
    return seqs[-1], head


@pytest.mark.parametrize("key", [None, KEY])
def test_of_a_long_log_a_second_process_verifies_half(
    tmp_path: Path, key: bytes | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    db = tmp_path / "t.db"
    events = list(filled(db, key).store.log.events(dm.EventQuery()))
    hashes = [event.hash for event in events]
    alone = read_and_proved(db, key)
    assert alone == (8, dm.Head(hashes[-1], 8))
    in_two_halves(monkeypatch)
    for heads in ([], hashes, ["0" * 64, hashes[6]]):
        assert read_and_proved(db, key, heads) == (4, alone[1])
    with pytest.raises(dm.CheckError, match="expected"):
        read_and_proved(db, key, [*hashes, "1" * 64])
    assert not children


def test_an_alteration_beside_the_seam_of_the_halves_is_told_as_without_them(
    db: Path, template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_two_halves(monkeypatch)
    for seq in (3, 4, 5):
        for alteration, message in (
            ([f"update events set actor = 'eve' where seq = {seq}"], f"event {seq} is not"),
            ([f"delete from events where seq = {seq}"], f"event {seq} of the log is missing"),
            ([
                "create table other as select * from events",
                f"insert into other select * from events where seq = {seq}",
                "drop table events",
                "alter table other rename to events",
            ], f"event {seq + 1} of the log is missing"),
        ):  # fmt: skip
            shutil.copy(template, db)
            tamper(db, *alteration)
            with pytest.raises(dm.CheckError, match=message):
                proved(db)


@pytest.mark.parametrize(
    "program", ["/nowhere/python", "kill -9 $$", "exit 1", """echo '["a'""", """echo '["a", ["b", 8], []]'"""]
)
def test_without_a_second_process_one_verifies_all(db: Path, program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    head = proved(db)
    in_two_halves(monkeypatch)
    script = db.with_name("script")
    script.write_text(f"#!/bin/sh\n{program}\n")
    script.chmod(0o700)
    monkeypatch.setattr(sys, "executable", program if program.startswith("/") else str(script))
    assert read_and_proved(db) == (8, head)
    tamper(db, "update events set actor = 'eve' where seq = 7")
    with pytest.raises(dm.CheckError, match="event 7 is not"):
        proved(db)
    assert not children


def test_two_events_that_changed_places_are_found(db: Path) -> None:
    swap = "update events set seq = {} where seq = {}"
    tamper(db, swap.format(-1, 3), swap.format(3, 6), swap.format(6, -1))
    with pytest.raises(dm.CheckError, match="event 3 "):
        proved(db)


@pytest.mark.parametrize("instead", ["", "create trigger events_never_go before delete on events begin select 1; end"])
def test_the_triggers_that_keep_the_log_append_only_are_part_of_it(db: Path, instead: str) -> None:
    with closing(sqlite3.connect(db)) as raw:
        raw.execute("drop trigger events_never_go")
        raw.execute(instead)
    with pytest.raises(dm.CheckError, match="triggers"):
        proved(db)


def test_a_bad_event_is_told_when_the_tables_are_at_rest_and_who_stops_waits_for_nothing(db: Path) -> None:
    """The tables are compared in another thread: a restore, which goes on, would replace the file that it reads."""
    failed, stopped = threading.Event(), threading.Event()
    compared: list[bool] = []

    def bad_events(error: type[BaseException]) -> Iterator[Any]:
        failed.set()
        raise error
        yield

    with trail(str(db)) as log:
        log.events = partial(bad_events, sqlite3.DatabaseError)  # type: ignore[method-assign]
        log.strays = lambda: iter(lambda: compared.append(failed.wait(PATIENCE)), None)  # type: ignore[method-assign]
        with pytest.raises(sqlite3.DatabaseError):
            prove(log, None, {})
        assert compared == [True]
        log.events = partial(bad_events, KeyboardInterrupt)  # type: ignore[method-assign]
        log.strays = lambda: iter(lambda: str(stopped.wait()), "True")  # type: ignore[method-assign]
        with pytest.raises(KeyboardInterrupt):
            prove(log, None, {})
        stopped.set()


def test_a_log_is_proved_before_its_database_is_brought_forward(db: Path) -> None:
    with closing(sqlite3.connect(db)) as raw:
        for column in ("inherited", "settled", "place"):
            raw.execute("drop index if exists runs_paid")
            raw.execute(f"alter table runs drop column {column}")
        raw.execute("pragma user_version = 1")
    assert proved(db).events == 8
    SqliteStore(str(db)).stats()
    assert proved(db).events == 8


def test_verdicts_of_people_and_of_exports_are_accounted_for(tmp_path: Path) -> None:
    world = World(SqliteStore(str(tmp_path / "t.db")))
    (given, text) = drafts(2)
    tickets = [o.value for o in world.triage().create([given, replace(text, verdict="Billing")]) if o.value]
    list(world.triage().give_verdicts([dm.VerdictDraft(0, tickets[0].ticket_id, "Billing")]))
    list(world.triage().create([replace(text, verdict="Technical")]))
    assert proved(tmp_path / "t.db").events == 4


def test_an_end_that_was_cut_off_with_care_is_missed_by_no_head(db: Path) -> None:
    """The chain's own row is set back with it: only a head that was kept apart can know."""
    older = proved(db)
    cut_off(db)
    with pytest.raises(
        dm.CheckError, match=r"kept beside the database .of event 8. is not in the log, which ends at event 6"
    ):
        proved(db)
    Path(f"{db}.head").unlink()
    with pytest.raises(dm.CheckError, match="that was expected"):
        proved(db, expected=older.head)
    with pytest.raises(dm.CheckError, match="no head is kept"):
        proved(db)
    world = World(SqliteStore(str(db)))
    list(world.triage().create(drafts(3, start=50)))
    assert not Path(f"{db}.head").exists(), "a head that was taken away does not come back by itself"
    assert proved(db, expected=world.store.log.head().head).events == 9


def test_a_head_that_is_not_in_the_log_is_never_written_over(db: Path) -> None:
    """A cut log that grows past its old length would else be whole again."""
    kept = Path(f"{db}.head").read_bytes()
    cut_off(db)
    list(World(SqliteStore(str(db))).triage().create(drafts(9, start=50)))
    assert Path(f"{db}.head").read_bytes() == kept
    with pytest.raises(dm.CheckError, match="of event 8"):
        proved(db)


def test_a_head_kept_earlier_is_in_a_log_that_has_grown(db: Path) -> None:
    before = proved(db)
    list(World(SqliteStore(str(db))).triage().create(drafts(5, start=20)))
    after = proved(db, expected=before.head)
    assert after.events == before.events + 5
    assert kept_head(str(db)) == after
    Path(f"{db}.head").write_text(json.dumps(before._asdict()))
    assert proved(db, expected="0" * 64) == after
    with pytest.raises(dm.CheckError, match="expected"):
        proved(db, expected="1" * 64)


@pytest.mark.parametrize("message", ["{", "[]", '{"head": 1}', "\x00", '{"head": "x", "events": "y"}', "null\n\n\nx"])
def test_a_head_that_is_damaged_is_told(db: Path, message: str) -> None:
    Path(f"{db}.head").write_text(message)
    with pytest.raises(dm.CheckError, match="holds no head"):
        proved(db)


def test_a_pipe_in_place_of_the_head_keeps_no_command_waiting(db: Path) -> None:
    head = Path(f"{db}.head")
    head.unlink()
    os.mkfifo(head)
    with pytest.raises(dm.CheckError, match="holds no head"):
        proved(db)
    list(World(SqliteStore(str(db))).triage().create(drafts(1, start=90)))
    assert head.is_fifo()


def test_a_missing_file_is_failure_and_is_not_made(tmp_path: Path) -> None:
    for name, data in (("none.db", None), ("empty.db", b""), ("other.db", b"SQLite format 3\0 or so"), ("dir", None)):
        path = tmp_path / name
        if data is not None:
            path.write_bytes(data)
        elif name == "dir":
            path.mkdir()
        with pytest.raises(dm.CheckError):
            proved(path)
        assert path.exists() == (name != "none.db")
    assert (tmp_path / "empty.db").read_bytes() == b""


def test_damage_of_the_file_itself_is_told(db: Path) -> None:
    data = bytearray(db.read_bytes())
    for at in range(4096 * 2, len(data) - 64, 4096):
        data[at : at + 64] = b"\xff" * 64
    db.write_bytes(data)
    with pytest.raises(dm.CheckError, match="cannot be read"):
        proved(db)


# -- the head follows each commit

TICKET = st.integers(0, 5)
STEP = st.one_of(
    st.tuples(st.sampled_from(["create", "classify", "suggest", "forget", "key"]), TICKET),
    st.tuples(st.just("verdict"), TICKET, st.sampled_from(["Billing", "Technical", None])),
)
STEPS = st.lists(STEP, min_size=1, max_size=6)


def take(step: tuple[Any, ...], store: SqliteStore) -> None:
    """Take a step that logs; it may find its ticket gone, or changed by another writer."""
    what, number = step[:2]
    services, name = World(store).services(), f"X-{number}"
    triage = LocalTriage(services, "tester", "test")
    with suppress(dm.TriageError):
        if what == "create":
            draft = dm.TicketDraft(0, 2, f"subject {number}", "a text", external_id=name, cells=())
            list(triage.create([replace(draft, customer_id=f"C-{number}")]))
        elif what == "classify":
            list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
        elif what == "verdict":
            list(triage.give_verdicts([dm.VerdictDraft(0, name, step[2])]))
        elif what == "suggest":
            LocalConsultation(services, "tester").suggest(dm.AgentSuggestionDraft(name, "Billing", "an agent"))
        elif what == "forget":
            list(triage.forget(f"C-{number}"))
        else:
            KeyRing(store, SqlApiAccess(store.database), "tester").create(f"key {number} {dm.new_id()}", "agent")


def cut_with_care(path: Path, seq: int) -> None:
    """Take away the events from one on, and every row that would tell of them."""
    tamper(
        path,
        f"delete from events where seq >= {seq}",
        f"update chain set seq = {seq - 1}, hash = coalesce((select hash from events where seq = {seq - 1}), '')",
        "delete from tickets where ticket_id not in (select ticket_id from events where action = 'created')",
        "update tickets set decision_id = null",
        "delete from classifications where classification_id not in "
        "(select coalesce(json_extract(detail, '$.decision'), '') from events)",
    )


@examples(3, 100)
@given(STEPS, st.lists(STEPS, min_size=2, max_size=2), st.integers(0, 1000))
def test_every_cut_after_commands_of_every_kind_is_found(
    tmp_path_factory: pytest.TempPathFactory, steps: Any, at_once: Any, seed: int
) -> None:
    """A verdict, a suggestion, a key: each moves the head, not only what begins or ends a run.

    Where the head was set back with the log, one that was kept elsewhere finds it.
    """
    path = tmp_path_factory.mktemp("cut") / "t.db"
    store = SqliteStore(str(path))
    for step in [("create", 0), *steps]:
        take(step, store)
        assert kept_head(str(path)) == store.log.head()

    def write(own_steps: Sequence[tuple[Any, ...]]) -> None:
        own_store = SqliteStore(str(path))
        for step in own_steps:
            take(step, own_store)

    with ThreadPoolExecutor() as writers:
        list(writers.map(write, at_once))
    whole = proved(path)
    hashes = [dm.hash_chain.GENESIS, *(event.hash for event in store.log.events(dm.EventQuery()))]
    for seq in random.Random(seed).sample(range(1, whole.events + 1), min(10, whole.events)):
        copy = path.with_name(f"{seq}.db")
        store.backup(copy)
        shutil.copy(f"{path}.head", f"{copy}.head")
        cut_with_care(copy, seq)
        with pytest.raises(dm.CheckError):
            proved(copy)
        Path(f"{copy}.head").write_text(json.dumps({"head": hashes[seq - 1], "events": seq - 1}))
        with pytest.raises(dm.CheckError, match="that was expected" if seq > 1 else "ends at event 0"):
            proved(copy, expected=whole.head)


def test_a_head_that_a_kill_left_behind_or_another_holds_is_made_good_by_the_next_event(
    db: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, head_path = SqliteStore(str(db)), Path(f"{db}.head")
    older = head_path.read_bytes()
    take(("verdict", 0, "Technical"), store)
    head_path.write_bytes(older)
    take(("verdict", 1, "Technical"), store)
    assert kept_head(str(db)) == store.log.head()
    monkeypatch.setattr(head_file, "LOCK_SECONDS", 0.0)
    kept = head_path.read_bytes()
    with head_path.open("rb") as suspended:
        fcntl.flock(suspended, fcntl.LOCK_EX)
        take(("verdict", 2, "Technical"), store)
        assert head_path.read_bytes() == kept, "whoever holds the lock writes"
        assert proved(db).events == 11
    take(("verdict", 3, "Technical"), store)
    assert kept_head(str(db)) == store.log.head()


# -- 5,000 mutations


def mutated(
    events: Sequence[dm.LoggedEvent], chance: random.Random, *, keyed: bool
) -> tuple[str, list[dm.LoggedEvent], int]:
    """Return a log with one thing altered, and the number of the first event that is not what was written."""
    log, at = list(events), chance.randrange(len(events))
    kind = chance.choice(["edit", "edit", "edit", "delete", "swap", "insert", "cut", "rehash", "repeat"])
    if kind == "edit":
        field = chance.choice(["timestamp", "action", "ticket_id", "actor", "run_id", "detail", "hash"])
        text = str(getattr(log[at], field))
        place = chance.randrange(len(text))
        wrong = chance.choice([c for c in '0aZ "\\{}:,\u00e4\x00' if c != text[place]])
        how = chance.choice(["flip", "drop", "add", "null"])
        pieces = {"flip": wrong + text[place + 1 :], "drop": text[place + 1 :], "add": wrong + text[place:]}
        changed: dict[str, Any] = {field: None if how == "null" else text[:place] + pieces[how]}
        log[at] = replace(log[at], **changed)
    elif kind == "delete":
        del log[at]
        log[at:] = [replace(e, seq=e.seq - chance.choice([0, 1])) for e in log[at:]]
    elif kind == "swap":
        other = chance.choice([n for n in range(len(log)) if n != at])
        log[at], log[other] = replace(log[other], seq=log[at].seq), replace(log[at], seq=log[other].seq)
        at = min(at, other)
    elif kind == "insert":
        log.insert(at, replace(chance.choice(log), seq=at + 1, actor="eve"))
        log[at + 1 :] = [replace(e, seq=e.seq + 1) for e in log[at + 1 :]]
    elif kind == "repeat":
        log.insert(at + 1, log[at])
        at += 1
    elif kind == "cut":
        del log[at:]
    else:  # an edit with its own hash made to fit: without a key the next event tells, or the head
        forged = replace(log[at], actor="eve")
        detail = {k: v for k, v in forged._asdict().items() if k not in ("prev", "hash")}
        detail["detail"] = json.loads(forged.detail)
        text = json.dumps(detail, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        prev = log[at - 1].hash if at else dm.hash_chain.GENESIS
        log[at] = replace(forged, hash=hashlib.sha256(f"{prev}\n{text}".encode()).hexdigest())
        at += not keyed or at == 0  # the first might have been written before there was a key
    return kind, log, at + 1


@pytest.mark.parametrize("key", [None, KEY])
def test_every_one_of_5000_mutations_is_found(tmp_path: Path, key: bytes | None) -> None:
    store = filled(tmp_path / "t.db", key, number=8).store
    events, head = list(store.log.events(dm.EventQuery())), store.log.head()
    assert dm.hash_chain.verify(events, key, {head.head: "kept"}) == head
    chance, missed, kinds = random.Random(8), [], set()
    for number in range(5000):
        kind, log, first = mutated(events, chance, keyed=key is not None)
        kinds.add(kind)
        if log == events:  # an event was swapped with one that is the same
            continue
        with pytest.raises(dm.CheckError) as caught:
            dm.hash_chain.verify(log, key, {head.head: "kept"})
        message = caught.value.message
        if f"event {first} " not in message and not (first > len(log) or "is not in the log" in message):
            missed.append((number, kind, first, message))
    assert missed == []
    assert len(kinds) == 7


# -- the key


def test_a_log_with_a_key_holds_with_that_key_only(tmp_path: Path) -> None:
    db = tmp_path / "t.db"
    filled(db, KEY)
    assert proved(db, KEY).events == 8
    with pytest.raises(dm.CheckError, match="written with a key"):
        proved(db)
    with pytest.raises(dm.CheckError, match="another key"):
        proved(db, b"another key altogether")
    for other in (None, b"another key altogether"):
        with pytest.raises(dm.StoreError, match="TRIAGE_AUDIT_KEY"):
            filled(db, other, start=90)
    assert proved(db, KEY).events == 8


def test_a_key_may_come_later_and_holds_what_went_before(tmp_path: Path) -> None:
    db = tmp_path / "t.db"
    filled(db)
    with pytest.raises(dm.CheckError, match="no event of the log was written with the key"):
        proved(db, KEY)
    filled(db, KEY, start=10)
    assert proved(db, KEY).events == 16
    tamper(db, "update events set actor = 'eve' where seq = 2")
    with pytest.raises(dm.CheckError, match="event 2 "):
        proved(db, KEY)


def rehashed(db: Path, key: bytes | None, first: int = 1) -> None:
    """Alter an event and write the whole log anew from there: what somebody who owns the file can do."""
    events = list(SqliteStore(str(db), KEY).log.events(dm.EventQuery()))
    prev, statements = events[first - 2].hash if first > 1 else dm.hash_chain.GENESIS, []
    for e in events[first - 1 :]:
        actor = "eve" if e.seq == first else e.actor
        event = dm.Event(e.action, e.ticket_id, e.run_id, actor, e.timestamp)
        prev = dm.hash_chain.link(prev, e.seq, event, e.detail, key)
        quoted = actor.replace("'", "''")
        statements.append(f"update events set actor = '{quoted}', hash = '{prev}' where seq = {e.seq}")
    tamper(db, *statements, f"update chain set hash = '{prev}', key = null")


def test_a_log_that_was_written_anew_is_found_by_a_head_or_a_key(tmp_path: Path) -> None:
    for name, key in (("plain.db", None), ("keyed.db", KEY)):
        db = tmp_path / name
        filled(db, key)
        before = proved(db, key)
        rehashed(db, None)
        with pytest.raises(dm.CheckError, match="of event 8"):
            proved(db)
        with pytest.raises(dm.CheckError):
            proved(db, expected=before.head)
        Path(f"{db}.head").unlink()
        forged = SqliteStore(str(db)).log.head().head
        assert proved(db, expected=forged).events == 8, "a chain alone stops nobody who owns the file"
        with pytest.raises(dm.CheckError, match="no event of the log was written with the key"):
            proved(db, KEY, expected=forged)


def test_a_log_cannot_leave_its_key_again(tmp_path: Path) -> None:
    db = tmp_path / "t.db"
    filled(db, KEY)
    rehashed(db, None, first=6)
    Path(f"{db}.head").unlink()
    with pytest.raises(dm.CheckError, match="event 6 "):
        proved(db, KEY, expected="0" * 64)


def test_a_short_key_is_refused(cli: Cli) -> None:
    done = cli("create", "--subject", "x", TRIAGE_AUDIT_KEY="short")
    assert (done.returncode, done.stdout) == (2, "")
    assert "openssl rand" in done.stderr
    assert not cli.db.exists()


# -- the command


def outside(lines: str, **env: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-c", TWENTY_LINES], input=lines, capture_output=True, text=True, env=env, check=False
    )


@pytest.mark.parametrize("key", ["", "a key that nobody would guess"])
def test_an_outsider_verifies_with_twenty_lines(cli: Cli, key: str) -> None:
    env = {"TRIAGE_AUDIT_KEY": key} if key else {}
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("create", "-q", "--subject", "Köln \u2028", **env).returncode == 0
    assert len(TWENTY_LINES.strip().splitlines()) <= 20
    log_lines = cli("logs", "-o", "jsonl").stdout
    done = outside(log_lines, **env)
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(cli("audit", "head").stdout)
    lines = log_lines.splitlines()
    for altered, reason in (
        (log_lines.replace("created", "deleted", 1), "event 1 "),
        ("\n".join(lines[:1] + lines[2:]), "event 2 "),
        ("\n".join([*lines[:2], lines[3], lines[2]]), "event 3 "),
    ):
        assert reason in outside(altered, **env).stderr
    if key:
        assert "event 4 " in outside(log_lines).stderr
        assert "no event was written with the key" in outside("\n".join(lines[:3]), **env).stderr


def test_verify_and_head_on_the_command_line(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    head = cli("audit", "head")
    assert list(json.loads(head.stdout)) == ["head", "events"]
    done = cli("audit", "verify")
    assert (done.returncode, done.stdout, done.stderr) == (0, head.stdout, "3 events: the log is whole\n")
    printed_head = cli("audit", "head", "-o", "id").stdout.strip()
    assert cli("create", "-q", "--subject", "more").returncode == 0
    done = cli("audit", "verify", "-q", "--expect-head", printed_head, "-o", "json")
    assert (done.returncode, json.loads(done.stdout)["events"], done.stderr) == (0, 4, "")
    assert cli("audit", "verify", "--expect-head", "12").returncode == 2
    tamper(cli.db, "update events set actor = 'eve' where seq = 2")
    done = cli("audit", "verify", "-o", "json")
    assert (done.returncode, done.stdout) == (8, "")
    error = json.loads(done.stderr)["error"]
    assert (error["code"], error["message"].split(" is ")[0]) == ("check_failed", "event 2")
    cli.db.unlink()
    done = cli("audit", "verify")
    assert (done.returncode, done.stdout) == (8, "")
    assert not cli.db.exists()


def test_a_log_that_no_run_began_is_proved_too_and_its_missing_head_is_missed(cli: Cli) -> None:
    assert cli("keys", "create", "ada", "--role", "agent", "-q").returncode == 0
    head = Path(f"{cli.db}.head")
    assert json.loads(head.read_text())["events"] == 1
    assert cli("audit", "verify", "-q").returncode == 0
    assert cli("create", "-q", "--subject", "more").returncode == 0
    assert json.loads(head.read_text())["events"] == 2
    assert cli("audit", "verify", "-q").returncode == 0
    head.unlink()
    assert cli("create", "-q", "--subject", "more").returncode == 0
    assert cli("audit", "verify", "-q").returncode == 8


def test_looking_at_nothing_leaves_no_head_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert list(SqliteStore("none.db").find(dm.Selection())) == []
    assert list(tmp_path.iterdir()) == []


def test_a_copy_brings_its_head_along(cli: Cli) -> None:
    assert cli("create", "-q", stdin=TICKETS).returncode == 0
    assert cli("db", "backup", "copy.db").returncode == 0
    done = cli("audit", "verify", "--db", "copy.db")
    assert (done.returncode, done.stdout) == (0, cli("audit", "head").stdout)


def test_commands_at_once_leave_the_head_of_the_log(cli: Cli) -> None:
    cli("create", "-q", "--subject", "first")
    both = [cli.start("create", "-q", "--subject", f"n{n}", stdin=subprocess.DEVNULL) for n in range(6)]
    for process in both:
        process.communicate(timeout=PATIENCE)
        assert process.returncode == 0
    done = cli("audit", "verify")
    assert (done.returncode, json.loads(done.stdout)["events"]) == (0, 7)
    assert kept_head(str(cli.db)) == dm.Head(**json.loads(done.stdout))


def test_the_log_is_read_in_one_snapshot_while_others_write(db: Path) -> None:
    with trail(str(db)) as log:
        events: Iterator[Any] = log.events()
        next(events)
        list(World(SqliteStore(str(db))).triage().create(drafts(3, start=30)))
        assert log.recorded_head()[0].events == 8
        assert sum(1 for _ in events) == 7
    assert proved(db).events == 11


def test_a_terminal_is_shown_how_far_a_verification_is(fitted: Cli) -> None:
    with closing(sqlite3.connect(fitted.db)) as db, db:
        seq, head, _ = db.execute("select seq, hash, key from chain").fetchone() or (0, dm.hash_chain.GENESIS, None)
        events = (
            dm.Event(dm.EventAction.UPDATED, None, None, "tester", "2026-01-01T00:00:00Z") for _ in range(100_000)
        )
        more, head = dm.hash_chain.append(dm.Head(head, seq), events)
        db.executemany(
            "insert into events (seq, timestamp, action, ticket_id, actor, run_id, detail, hash) "
            "values (?, ?, ?, ?, ?, ?, ?, ?)",
            more,
        )
        db.execute("update chain set seq = ?, hash = ?", (head.events, head.head))
    seen = on_terminal(fitted.folder, fitted.env, "audit", "verify", "--expect-head", head.head)
    assert re.search(rf"verifying \d[\d,]* of {head.events:,} at [\d,]+/s ━*─* 0:0\d:\d\d left", seen.text)
    assert seen.text.rstrip().endswith("the log is whole")
    assert "verifying" not in fitted("audit", "verify", "--expect-head", head.head).stderr

"""No classifier reads the quotes, signature and banners of a mail, nor does learning."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import Cli
from tests.support.llm_classifiers import TYPES, opened
from tests.support.llm_server import running_llm_server
from tests.support.mails import mail, mbox
from tests.support.records import replace
from tests.support.world import World, a_budget
from triage_cli import domain as dm
from triage_cli.readers import open_table
from triage_cli.stores import SqlModelRegistry

ASK = "The invoice is wrong."
CANARY = "canary wombat"
TEXT = f"{ASK}\n\nOn Mon, 2 Nov 2026 at 10:00, Support <help@x.example> wrote:\n> {CANARY}\n> end\n\n-- \n{CANARY}"
MAIL = mbox(mail(TEXT, subject="Re: Question"))


def a_ticket() -> dm.Ticket:
    (draft,) = open_table(io.BytesIO(MAIL), "box").rows
    assert isinstance(draft, dm.TicketDraft)
    assert draft.text == f"Re: Question\n{ASK}"
    return dm.dedup.new_ticket(dm.dedup.identify(draft), dm.ids.new_id(), dm.times.now(), None)


@pytest.mark.parametrize("kind", TYPES)
def test_a_language_model_reads_what_was_written_for_the_mail(kind: str) -> None:
    ticket = a_ticket()
    with running_llm_server() as server:
        classifier = opened(server, kind)
        (outcome,) = [o for chunk in classifier.classify([[ticket]], a_budget()) for o in chunk]
        body = json.dumps([asked.body for asked in server.asked])
    assert ASK in body
    assert CANARY not in body
    assert outcome.value is not None
    (step,) = outcome.value.steps
    assert step.answer_key == dm.ids.answer_key(classifier.fingerprint, f"Re: Question\n{ASK}")


def test_the_store_keeps_the_whole_and_what_is_learned_from_is_the_rest(world: World) -> None:
    triage = world.triage()
    list(triage.create(open_table(io.BytesIO(MAIL), "box").rows))
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    list(triage.give_verdicts([dm.VerdictDraft(0, "1@x", "Billing")]))
    (ticket,) = triage.find(dm.Selection())
    assert CANARY in (ticket.description or "")
    (labelled,) = SqlModelRegistry(world.store).labelled()
    assert labelled.text == f"Re: Question\n{ASK}"


def created(world: World, **row: Any) -> dm.Ticket:
    """Import one row of JSON as of the source of mails, and return its ticket."""
    rows = open_table(io.BytesIO(json.dumps([row]).encode()), "rows").rows
    (outcome,) = world.triage().create(replace(row, source="mail") for row in rows if isinstance(row, dm.TicketDraft))
    assert outcome.value is not None, outcome.error
    return outcome.value


def test_what_says_of_itself_that_it_is_a_mail_hides_none_of_its_text(world: World) -> None:
    spans = {"message_id": "7@x", "left_out": [[0, 5]]}
    ticket = created(world, id="7", description="crash or refund", mail=spans, plan="gold")
    assert ticket.text == "crash or refund"
    assert json.loads(ticket.extra) == {"mail": {"message_id": "7@x"}, "plan": "gold"}
    assert created(world, id="7", description="crash or refund", mail=spans) == ticket


def test_another_text_of_a_mail_has_no_parts_that_are_left_out(world: World) -> None:
    list(world.triage().create(open_table(io.BytesIO(MAIL), "box").rows))
    corrected = "The invoice of November is wrong, and I want my money back by Friday."
    ticket = created(world, id="1@x", subject="Re: Question", description=corrected)
    assert (ticket.external_id, ticket.text) == ("1@x", f"Re: Question\n{corrected}")


def test_the_embedded_model_is_asked_about_the_rest(fitted: Cli) -> None:
    """Two mails that differ in what is left out alone are one question, which has one answer."""
    other = mail(TEXT.replace(CANARY, "something else"), subject="Re: Question", name="2@x")
    done = fitted("run", "-q", "-o", "jsonl", stdin=MAIL + mbox(other))
    assert done.returncode == 0, done.stderr
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert first["triage_confidence"] == second["triage_confidence"]
    keys = {
        answer["answer_key"]
        for row in (first, second)
        for answer in json.loads(fitted("show", row["triage_ticket_id"], "-o", "json").stdout)["classifications"]
    }
    assert len(keys) == 1


def test_our_own_export_carries_what_is_left_out_to_eval_and_to_another_database(fitted: Cli, tmp_path: Path) -> None:
    assert fitted("create", "-q", stdin=MAIL).returncode == 0
    (line,) = fitted("list", "-o", "jsonl").stdout.splitlines()
    record: dict[str, Any] = json.loads(line)
    labelled = tmp_path / "labelled.jsonl"
    labelled.write_text("".join(json.dumps(record | {"label": "General"}) + "\n" for _ in range(3)))
    report = tmp_path / "report.html"
    assert fitted("eval", str(labelled), "--report", str(report), "-q").returncode == 0
    assert ASK in report.read_text()
    assert CANARY not in report.read_text()
    there = {"TRIAGE_DB": str(tmp_path / "other.db")}
    assert fitted("create", "-q", stdin=line, **there).returncode == 0
    (again,) = fitted("list", "-o", "jsonl", **there).stdout.splitlines()
    assert json.loads(again)["extra"]["mail"] == record["extra"]["mail"]

"""Threads of mails on each store, here and over the wire: one ticket a conversation, and each mail of it once."""

import io
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.api_server import running_server
from tests.support.mails import REPLY, mail, mbox
from tests.support.online import ONLINE
from tests.support.world import World
from triage_cli import domain as dm
from triage_cli.extensions.remote import Address, RemoteTriage
from triage_cli.ports import Triage
from triage_cli.readers import RawMail, mail_drafts, open_table

FIRST = mail("I was charged twice.\n\nBest regards,\nAnn", name="1@x")
SECOND = mail(REPLY, name="2@x", subject="Re: A matter", after=["1@x"], date="Thu, 26 Nov 2026 11:00:00 +0000")
THIRD = mail("And now?", name="3@x", after=["1@x", "2@x"], sender="Bob <bob@x.example>")
OTHER = mail("Another matter", name="9@x")


@pytest.fixture(params=["local", "remote"])
def triage(request: pytest.FixtureRequest, world: World, tmp_path: Path) -> Iterator[Triage]:
    if request.param == "local":
        yield world.triage()
        return
    with running_server(tmp_path, services=world.services()) as running:
        remote = RemoteTriage(Address(running.url, running.keys["agent"]), ONLINE)
        yield remote
        remote.close()


def stored(triage: Triage, *mails: bytes) -> list[dm.Outcome[dm.Ticket]]:
    return list(triage.create(open_table(io.BytesIO(mbox(*mails)), "box").rows))


def actions(outcomes: list[dm.Outcome[dm.Ticket]]) -> list[str]:
    return [outcome.action.value for outcome in outcomes]


def tickets(triage: Triage) -> dict[str | None, dm.Ticket]:
    return {ticket.external_id: ticket for ticket in triage.find(dm.Selection())}


def thread(ticket: dm.Ticket) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = dm.from_json(ticket.extra).get("thread", [])
    return found


@pytest.mark.parametrize("planted", [[{"message_id": []}], [7], {"message_id": "2@x"}])
def test_a_thread_that_an_import_has_made_up_stops_no_mail(triage: Triage, planted: object) -> None:
    row = dm.TicketDraft(0, 1, "A matter", "made up", external_id="1@x", source="mail", extra={"thread": planted})
    list(triage.create([row]))
    assert actions(stored(triage, SECOND)) == ["updated"]
    assert thread(tickets(triage)["1@x"])[-1]["message_id"] == "2@x"


def test_a_mail_cannot_choose_a_ticket_by_the_id_that_triage_gave_it(triage: Triage) -> None:
    (made,) = triage.create([dm.TicketDraft(subject="Refund", external_id="A-1")])
    assert made.value is not None
    assert actions(stored(triage, mail("Mine", name="8@x", after=[made.value.ticket_id]))) == ["created"]
    assert tickets(triage)["A-1"] == made.value


def test_a_reply_joins_its_ticket_and_changes_nothing_else(triage: Triage) -> None:
    assert actions(stored(triage, FIRST, SECOND, THIRD, OTHER)) == ["created", "updated", "updated", "created"]
    found = tickets(triage)
    assert set(found) == {"1@x", "9@x"}
    ticket = found["1@x"]
    assert (ticket.subject, ticket.customer_id, ticket.status) == ("A matter", "ann@x.example", "new")
    assert [(each["message_id"], each["from"], each["text"]) for each in thread(ticket)] == [
        ("2@x", "ann@x.example", REPLY.strip()),
        ("3@x", "bob@x.example", "And now?"),
    ]


def test_the_same_mailbox_again_changes_nothing(triage: Triage) -> None:
    stored(triage, FIRST, SECOND, THIRD, OTHER)
    before = tickets(triage)
    assert set(actions(stored(triage, FIRST, SECOND, THIRD, OTHER))) == {"unchanged"}
    assert set(actions(stored(triage, THIRD, OTHER, FIRST, SECOND, SECOND))) == {"unchanged"}
    assert tickets(triage) == before


def test_in_whatever_order_mails_come_the_ticket_is_that_of_the_first(triage: Triage) -> None:
    for seed in range(4):
        mails = [mail(f"text {n}", name=f"{n}@{seed}", after=[f"0@{seed}"] if n else ()) for n in range(5)]
        random.Random(seed).shuffle(mails)
        stored(triage, *mails)
        ticket = tickets(triage)[f"0@{seed}"]
        assert ticket.description == "text 0"
        assert sorted(each["text"] for each in thread(ticket)) == [f"text {n}" for n in range(1, 5)]


def test_the_first_mail_may_never_come(triage: Triage) -> None:
    assert actions(stored(triage, SECOND, THIRD)) == ["created", "updated"]
    ticket = tickets(triage)["1@x"]
    assert (ticket.subject, ticket.description, ticket.body) == ("Re: A matter", REPLY.strip(), "It still fails.")
    assert set(actions(stored(triage, SECOND, THIRD))) == {"unchanged"}


def test_a_reply_to_a_decided_ticket_is_no_new_question(triage: Triage, world: World) -> None:
    stored(triage, FIRST)
    list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
    stored(triage, SECOND)
    assert list(triage.classify(dm.Selection(), dm.ClassifyPlan())) == []
    assert len(world.classifier.asked) == 1
    assert tickets(triage)["1@x"].category == "Billing"


def test_a_first_mail_that_comes_late_is_asked_about_unless_a_person_has_decided(triage: Triage) -> None:
    for verdict in (False, True):
        names = [f"{n}{verdict}@x" for n in (1, 2)]
        stored(triage, mail("answer", name=names[1], after=[names[0]]))
        list(triage.classify(dm.Selection(), dm.ClassifyPlan()))
        if verdict:
            list(triage.give_verdicts([dm.VerdictDraft(0, names[0], "General")]))
        stored(triage, mail("question", name=names[0]))
        ticket = tickets(triage)[names[0]]
        assert (ticket.description, ticket.status) == ("question", "classified" if verdict else "new")


def test_another_mail_under_a_known_id_is_rejected_and_said(triage: Triage) -> None:
    stored(triage, FIRST, SECOND)
    for changed in (mail("x", name="1@x", sender="eve@x.example"), mail("x", name="2@x", after=["1@x"])):
        (outcome,) = stored(triage, changed)
        assert outcome.error is not None
        assert re.fullmatch(r"line 1: the Message-ID .@x is that of another mail", outcome.error.message)
    (draft,) = mail_drafts([RawMail("UID 7", 0, mail("x", name="1@x", sender="eve@x.example"))], "mail")
    assert isinstance(draft, dm.TicketDraft)
    (outcome,) = triage.create([draft])
    assert outcome.error is not None
    assert outcome.error.message == "the mail 1@x: the Message-ID 1@x is that of another mail"
    copy = stored(triage, FIRST.replace(b"twice.", b"twice.\n\n-- \nlist footer"))
    assert actions(copy) == ["unchanged"]


def test_many_mails_of_one_thread_in_one_mailbox(triage: Triage) -> None:
    mails = [mail(f"text {n}", name=f"{n}@x", after=["0@x"] if n else ()) for n in range(40)]
    assert actions(stored(triage, *mails)) == ["created", *["updated"] * 39]
    assert len(thread(tickets(triage)["0@x"])) == 39


def test_a_thread_that_is_full_takes_no_more(triage: Triage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dm.threads, "LONGEST_THREAD", 20_000)
    part = "a line of a long text\n" * 500
    outcomes = stored(triage, *[mail(part, name=f"{n}@x", after=["0@x"] if n else ()) for n in range(4)])
    assert actions(outcomes) == ["created", "updated", "rejected", "rejected"]
    error = outcomes[-1].error
    assert error is not None
    assert "its thread holds" in error.message


def test_ids_of_mails_never_seem_to_be_those_of_other_tickets(triage: Triage) -> None:
    """The guard is for exports whose ids count up from 1; a thread's later mails have other texts than its ticket."""
    stored(triage, *[mail(f"text {n}", name=f"{n}@x") for n in range(20)])
    replies = [mail(f"reply {n}", name=f"r{n}@x", after=[f"{n}@x"]) for n in range(20)]
    assert set(actions(stored(triage, *replies))) == {"updated"}


def test_a_mail_of_a_forgotten_person_brings_nothing_back(world: World) -> None:
    triage = world.triage()
    stored(triage, FIRST, SECOND)
    list(triage.forget("ann@x.example"))
    assert set(actions(stored(triage, FIRST, SECOND, THIRD))) == {"unchanged"}
    assert all(ticket.extra == "{}" and ticket.description is None for ticket in triage.find(dm.Selection()))


def test_the_story_of_a_mail_says_what_was_left_out(triage: Triage) -> None:
    (outcome, _) = stored(triage, FIRST, SECOND)
    assert outcome.value is not None
    lines = triage.why(outcome.value.ticket_id).why
    assert lines[1] == (
        "19 of the 39 characters of the mail (quotes, signature, banners) are left out of what classifiers read."
    )
    assert any("another mail of its thread was stored by " in line and "it has 2 mails now" in line for line in lines)

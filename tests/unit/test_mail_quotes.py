"""Which parts of a mail no classifier reads."""

import time

import pytest

from tests.support.mails import REPLY
from triage_cli import domain as dm

ASK = "My invoice is wrong, please look into it."
BEHIND = {
    "signature": "--\nAnn\nShop GmbH",
    "closing": "Best regards,\nAnn Smith\n+49 30 1234",
    "german-closing": "Mit freundlichen Grüßen\nAnn Schmitt",
    "thanks": "Thanks!\nAnn",
    "telephone": "Sent from my iPhone",
    "disclaimer": "This e-mail and any attachments are\nconfidential and may be privileged.",
    "gmail": "On Mon, 2 Nov 2026 at 10:00, Support <help@shop.example> wrote:\n> Hello\n> Ann",
    "wrapped": "On Mon, 2 Nov 2026 at 10:00, Support <\nhelp@shop.example> wrote:\n> Hello",
    "outlook": "From: Support <help@shop.example>\nSent: Monday\nTo: Ann\nSubject: Your invoice\n\nHello Ann",
    "original": "-----Original Message-----\nFrom: Support\nSubject: x\n\nHello Ann",
    "apple": "Am 02.11.2026 um 10:00 schrieb Support:\n\n> Hallo\n> Ann",
    "german": "Ann Smith <a@b.example> schrieb am 02.11.2026 um 10:00:\n> Hallo",
    "italian": "Il giorno 2 nov 2026 alle 10:00 Ann <a@b.example> ha scritto:\n> Ciao",
    "dutch": "Op 2 nov. 2026 om 10:00 schreef Ann <a@b.example>:\n> Hallo",
    "russian": "2 ноября 2026 г., 10:00, Анна <a@b.example> написал(а):\n> Привет",
    "dated": "2026/11/2 Ann Smith <a@b.example>\n> Hello",
    "unmarked": "On Mon, 2 Nov 2026 at 10:00, Support <help@shop.example> wrote:\n\nHello Ann",
    "outlook-german": "______________________\nVon: Support <a@b.example>\nGesendet: Montag\nAn: Ann\n\nHallo",
    "bold": "*From:* Support\n*Sent:* Monday, 2 November 2026 10:00\n*Subject:* Your invoice\n\nHello Ann",
    "chinese": "发件人：Support\n发送时间：2026年11月2日 10:00\n主题：x\n\n你好",
    "addressed": "Von: Support\nGesendet: Montag\nAn: Ann <ann@x.example>\n\nHallo Ann",
    "french": "Le 2 nov. 2026 à 10:00, Support <a@b.example> a écrit :\n> Bonjour",
}


def cut(text: str, *, reply: bool = False, subject: str | None = None) -> str | None:
    return dm.without(text, dm.quotes_and_signatures.unwritten_parts(text, subject=subject, reply=reply))


@pytest.mark.parametrize("behind", BEHIND.values(), ids=BEHIND)
def test_what_stands_behind_a_message_is_left_out(behind: str) -> None:
    assert cut(f"{ASK}\n\n{behind}\n", reply=True) == ASK


def test_all_of_it_at_once() -> None:
    text = "\n\n".join((ASK, BEHIND["closing"], BEHIND["gmail"], BEHIND["disclaimer"]))
    assert cut(text, reply=True) == ASK


@pytest.mark.parametrize(
    "text",
    [
        "Your colleague wrote:\nThe fee is refunded.\nIt is not.",
        "On the telephone your colleague wrote:\nThe fee is refunded.\nIt is not.",
        "From: here on nothing works.\nThe app closes.",
        "Original message:\nthat is what the button says\n",
        "____________\nA line is drawn above",
        "My order 4711 is late.\nFrom: Berlin\nTo: Munich\nIt has been lost. Please refund me now.",
        "It is late.\nDate: 3 May\nFrom: Hamburg\nTo: Munich\nWhere is it?",
        "It is late.\nDate: 3 May 2026 10:00\nFrom: Hamburg\nTo: Munich\nWhere is it? Write to ann@x.example.",
        "____________\nFrom: Berlin\nTo: Munich\nIt has been lost.",
    ],
)
def test_a_reply_may_say_who_wrote_what(text: str) -> None:
    assert (cut(text, reply=True) or "").strip() == text.strip()


@pytest.mark.parametrize(
    "quote",
    ["> On 22 Aug 2026, at 19:21, Ann <ann@x.example> wrote:\n>\n> Hi", "On 22 Aug 2026, Ann wrote:\n> Hi"],
    ids=["within", "above"],
)
def test_the_line_above_a_quote_is_kept(quote: str) -> None:
    assert cut(f"I paid 20 EUR twice\n{quote}\n", reply=True) == "I paid 20 EUR twice"


def test_a_subject_tells_a_reply_too() -> None:
    assert cut(f"{ASK}\n\n{BEHIND['gmail']}", subject="AW: Rechnung") == ASK


@pytest.mark.parametrize(
    "banner", ["CAUTION: This email came from outside of the organization.\nDo not click.", "[EXTERNAL]"]
)
def test_a_banner_is_left_out(banner: str) -> None:
    assert cut(f"{banner}\n\n{ASK}") == ASK


def test_an_answer_below_or_between_quotes_is_kept() -> None:
    assert cut("> Is it well?\n> Do you agree?\n> Tell us.\n\nNo, it is not.", reply=True) == "No, it is not."
    text = "On 1 May 2026, Bob <b@x.example> wrote:\n> one?\n\nyes\n\n> two?\n\nno"
    assert (cut(text, reply=True) or "").split() == ["yes", "no"]


@pytest.mark.parametrize(
    "text",
    [
        "Hello team,\nThank you, the invoice came, but I was charged twice.\nPlease refund it.",
        "Hi,\nthank you.\nMy invoice is wrong and I want to have my money back.\nPlease answer.",
        "It fails like this:\n- open the page\n- press save\n- nothing happens",
        "See below\n\n---------- Forwarded message ---------\nFrom: Bob\nSubject: x\n\nMy printer burns",
        "New message\n\nFrom: Bob\nSubject: Refund\nMessage: I was charged twice",
        "> npm install\n> error 13\n> stopped\nWhat is that?",
        "Best regards,\nAnn",
        "--\nAnn",
        "",
        "12345\n--\n67",
    ],
)
def test_what_a_first_mail_says_is_whole(text: str) -> None:
    assert cut(text) == text


def test_nothing_is_cut_down_to_nothing() -> None:
    for text in (
        BEHIND["gmail"],
        BEHIND["outlook"],
        "> a\n> b\n> c",
        BEHIND["disclaimer"],
        "\n\n+1\n\n" + BEHIND["gmail"],
    ):
        assert cut(text, reply=True) == text


def test_the_parts_are_those_of_the_text_as_it_is_stored() -> None:
    spans = dm.quotes_and_signatures.unwritten_parts(REPLY, subject=None, reply=True)
    assert [REPLY[begin:end] for begin, end in spans] == [REPLY[REPLY.index("\nOn Mon") :]]
    stored = dm.compact({"mail": dm.Mail("1@x", spans).record()})
    assert dm.left_out(stored) == tuple(spans)


@pytest.mark.parametrize(
    "record",
    [None, 3, {}, {"message_id": 1}, {"message_id": "1", "left_out": 3}, {"message_id": "1", "left_out": [[3, 1]]},
     {"message_id": "1", "left_out": [["a", "b"]]}, {"message_id": "1", "left_out": [[5, 9], [1, 2]]}],
)  # fmt: skip
def test_a_column_of_the_same_name_cuts_nothing(record: object) -> None:
    found = dm.mail_of({"mail": record})
    assert found is None or found.left_out == ()
    assert dm.left_out(dm.compact({"mail": record})) == ()


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "On " * 60_000,
        "From: a\n" * 20_000,
        "> a\n" * 40_000,
        ("2026/1/1 " + " <@" * 4 + " <" * 100 + "\n") * 600,
        ("Op " + " heeft" * 50 + "\n") * 600,
        "thanks\n" * 20_000,
        "caution " * 20_000,
        "disclaimer " * 18_000,
        "\n" * 180_000,
    ],
    ids=["on", "from", "quote", "addresses", "dutch", "thanks", "banner", "disclaimer", "blank"],
)
def test_a_hostile_text_costs_little(text: str) -> None:
    began = time.process_time()
    dm.quotes_and_signatures.unwritten_parts(text, subject="Re: x", reply=True)
    assert time.process_time() - began < 4

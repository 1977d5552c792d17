"""Masking of what patterns and checksums can find: what is found, what is left alone, and how long it takes."""

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from triage_cli.config import REDACTABLE
from triage_cli.domain import redact


@pytest.mark.parametrize(
    ("text", "masked", "kind"),
    [
        ("write to jane.doe+x@mail.example.co.uk please", "write to [email] please", "email"),
        ("an jürgen@müller.de, danke", "an [email], danke", "email"),
        ("<a@b.io>", "<[email]>", "email"),
        ("call +49 (0) 30 123456-78 today", "call [phone] today", "phone"),
        ("Tel.: 030/1234567", "Tel.: [phone]", "phone"),
        ("ring 0171 2345678.", "ring [phone].", "phone"),
        ("at (212) 555-0134", "at [phone]", "phone"),
        ("or 212-555-0134 ok", "or [phone] ok", "phone"),
        ("06 12 34 56 78", "[phone]", "phone"),
        ("+1-800-555-0199", "[phone]", "phone"),
        ("toll-free 1-800-555-0199", "toll-free [phone]", "phone"),
        ("1-(800)-555-0199 or", "[phone] or", "phone"),
        ("1\u2011800\u2011555\u20110199", "[phone]", "phone"),
        ("0171\u202f234\u00a05678", "[phone]", "phone"),
        ("card 4111 1111 1111 1111 was", "card [card] was", "card"),
        ("5555-5555-5555-4444", "[card]", "card"),
        ("amex 378282246310005", "amex [card]", "card"),
        ("4111 1111 1111 1111 12/27", "[card] 12/27", "card"),
        ("2 4111-1111-1111-1111 1", "2 [card] 1", "card"),
        ("ｊａｎｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "[email]", "email"),
        ("DE89 3704 0044 0532 0130 00 from me", "[iban] from me", "iban"),
        ("gb82west12345698765432", "[iban]", "iban"),
        ("FR1420041010050500013M02606.", "[iban].", "iban"),
        ("key sk-proj-abcdefghijklmnop1234 leaked", "key [secret] leaked", "secret"),
        ("ghp_" + "a1B2" * 9, "[secret]", "secret"),
        ("AKIAIOSFODNN7EXAMPLE", "[secret]", "secret"),
        ("trg_live_" + "x" * 32, "[secret]", "secret"),
        ("jwt eyJhbGciOiJI.eyJzdWIiOiIx.c2lnbmF0dXJl ok", "jwt [secret] ok", "secret"),
        ("password: hunter22!", "password: [secret]", "secret"),
        ("Mein Passwort lautet geheim7x", "Mein Passwort lautet [secret]", "secret"),
        ("api_key=abcd1234efgh", "api_key=[secret]", "secret"),
        ("my password is: Hunter2!", "my password is: [secret]", "secret"),
        ("Mein Passwort lautet: Geheim", "Mein Passwort lautet: [secret]", "secret"),
        ("client_secret=abcd1234 AUTH_TOKEN=abcd1234", "client_secret=[secret] AUTH_TOKEN=[secret]", "secret"),
        ("pw: hunter22, passwd=hunter22", "pw: [secret] passwd=[secret]", "secret"),
        ("Mot de passe : hunter22", "Mot de passe : [secret]", "secret"),
        ("mi contraseña es hunter22", "mi contraseña es [secret]", "secret"),
        ("Authorization: Bearer abcdef1234567890", "Authorization: Bearer [secret]", "secret"),
        ("https://x.example/?mail=ann%40example.com&a=1", "https://x.example/?mail=[email]&a=1", "email"),
        ("Tel.0176-1234567", "Tel.[phone]", "phone"),
        ("-----BEGIN RSA PRIVATE KEY-----\nMII\n-----END RSA PRIVATE KEY-----", "[secret]", "secret"),
    ],
)
def test_what_is_found(text: str, masked: str, kind: str) -> None:
    assert redact(text, REDACTABLE) == (masked, (kind,))


@pytest.mark.parametrize(
    "text",
    [
        "Order 4711-0815 of 2026-11-24 did not arrive",
        "Invoice 20261124001, 129.90 EUR, due 05.11.2026",
        "My password is not working and the token is expired",
        "Version 10.0.19045.3803 at 10:30:00",
        "card 4111 1111 1111 1112 fails the checksum",
        "DE88 7104 4044 5532 1130 17 fails too",
        "Please ask @support about ticket #12345678",
        "The secret of a good sk-8 board",
        "my passwords are gone, the secretary is there, the bearer of bad news",
        "file.v2.0123456 and .0123456",
        "Tracking 1Z999AA10123456784",
        "error 0x80070005 in 03/04/2026 log",
        "from 9:00 to 17:00, room 0815",
        "0.000123456 BTC, or +0.000123456",
        "between 0.00012345-0.00022345",
        "DE89\u212a04004405320130000 has a Kelvin sign",
    ],
)
def test_what_is_left_alone(text: str) -> None:
    assert redact(text, REDACTABLE) == (text, ())


def test_only_what_was_asked_for_is_masked() -> None:
    text = "a@b.io 4111111111111111"
    assert redact(text, ("card",)) == ("a@b.io [card]", ("card",))
    assert redact(text, ()) == (text, ())


@given(st.text())
def test_masked_once_is_masked_for_good(text: str) -> None:
    once, _ = redact(text, REDACTABLE)
    assert redact(once, REDACTABLE)[0] == redact(redact(once, REDACTABLE)[0], REDACTABLE)[0]


@pytest.mark.parametrize(
    "part",
    ["a", "a@", "a.", "1", "1 ", "111 ", "1\u200b", "\u200b", "0-", "+", "(", "DE89", "A1 ", "eyJ", "eyJaaaaaaaa.",
     "sk-", "password: ", "password", "pin is ", "-----BEGIN PRIVATE KEY-----", "@a.a", "0123456789 ", "api key = ",
     "GB82 WEST ", "%40", "a%40", "bearer ", "mot de passe", "password is:", "a.0"],
)  # fmt: skip
def test_a_hostile_text_takes_no_longer(part: str) -> None:
    """10 kB within 50 ms of CPU; three times that, since a busy machine has cold caches."""
    text = (part * 10_000)[:10_000]
    best = min(_seconds(text) for _ in range(3))
    assert best < 0.15


def _seconds(text: str) -> float:
    start = time.process_time()
    redact(text, REDACTABLE)
    return time.process_time() - start

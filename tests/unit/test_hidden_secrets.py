"""Secrets are hidden in whatever spelling a text has them, and nothing else is."""

import html
import json
import random
from base64 import b64encode
from collections.abc import Callable
from itertools import product
from urllib.parse import quote, quote_plus

import pytest

from triage_cli import domain as dm

SECRETS = [
    "ab+cdEF/ghIJ+klMNop==",
    'pa>ss?wörd~~1"\\%2b&amp;x 😀y',
    "a%2bc\\u0041d&lt;",
    b64encode(b"agent:pa>ss?word~~1").decode(),
]


def in_json(text: str) -> str:
    return json.dumps(text)[1:-1]


SPELLINGS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "JSON": in_json,
    "JSON in UTF-8": lambda text: json.dumps(text, ensure_ascii=False)[1:-1],
    "PHP": lambda text: in_json(text).replace("/", "\\/"),
    "System.Text.Json": lambda text: "".join(
        c if c.isalnum() and c.isascii() else in_json(c) if ord(c) > 0xFFFF else f"\\u{ord(c):04X}" for c in text
    ),
    "UrlEncode": lambda text: "".join(f"%{byte:02x}" for byte in text.encode()),
    "quote": lambda text: quote(text, safe=""),
    "form": quote_plus,
    "HTML": html.escape,
    "numbers": lambda text: "".join(f"&#{ord(c)};" for c in text),
    "hexadecimal numbers": lambda text: "".join(f"&#x{ord(c):05X};" for c in text),
    "names": lambda text: (
        text.replace("&", "&amp;").replace("+", "&plus;").replace("/", "&sol;").replace("=", "&equals;")
    ),
    "JavaScript": lambda text: "".join(f"\\u{{{ord(c):x}}}" for c in text),
}


@pytest.mark.parametrize("secret", SECRETS)
def test_a_secret_is_hidden_in_each_spelling_and_in_one_within_another(secret: str) -> None:
    for (outer, encode), (inner, encode_first) in product(SPELLINGS.items(), SPELLINGS.items()):
        spelt = encode(encode_first(secret))
        assert dm.hide_secrets(f"no: {spelt}, sorry", [secret]) == "no: ***, sorry", (outer, inner)


def test_a_secret_is_hidden_where_the_bytes_of_a_header_were_read_as_latin_1() -> None:
    assert dm.hide_secrets("'X-Key': 'gr\u00c3\u00bcn-8'", ["gr\u00fcn-8"]) == "'X-Key': '***'"


def test_each_character_may_be_spelt_otherwise() -> None:
    chance = random.Random(1)
    single = [spelling for name, spelling in SPELLINGS.items() if name not in {"JSON", "PHP", "JSON in UTF-8"}]
    for secret in SECRETS[::3]:
        for _ in range(200):
            spelt = "".join(chance.choice(single)(character) for character in secret)
            assert dm.hide_secrets(f'{{"said": "{spelt}"}}', [secret]) == '{"said": "***"}', spelt


def test_what_is_no_secret_stays_as_it_is_spelt() -> None:
    text = 'a \\u002B "b\\n" %2B &amp; &#43; %zz &nosuch; \\ud83d % \\'
    assert dm.hide_secrets(text, SECRETS) == text
    assert dm.hide_secrets(f"{text} {SECRETS[0]} {text}", SECRETS) == f"{text} *** {text}"


def test_a_short_secret_is_hidden_as_a_word_of_its_own() -> None:
    assert dm.hide_secrets("unexpected response", ["e"]) == "unexpected response"
    assert dm.hide_secrets('LOGIN ann "e" e. \\u0065', ["e"]) == 'LOGIN ann "***" ***. ***'
    assert dm.hide_secrets("rehearsal, hear", ["hear"]) == "rehearsal, ***"
    assert dm.hide_secrets("xlong-onex", ["long-one"]) == "x***x"
    assert dm.hide_secrets("nothing", ["", "n"]) == "nothing"


@pytest.mark.slow
def test_long_texts_of_escapes_take_no_long_time() -> None:
    """With any square of the length these would take hours."""
    for unit in ("%25", "\\", "&amp;", "\\u005c", "%2525", SECRETS[0][:-1], "e", "\\\\u"):
        text = unit * (300_000 // len(unit))
        assert dm.hide_secrets(text, SECRETS) == text

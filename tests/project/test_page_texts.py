"""The texts of the page `/app`: each that it says is in the table of texts, in each language."""

import json
import re
from importlib.resources import files

from triage_cli import domain as dm

APP = files("triage_cli.extensions.server") / "app"
SCRIPTS = {file.name: file.read_text(encoding="utf-8") for file in APP.iterdir() if file.name.endswith(".js")}
TEXTS: dict[str, list[str]] = json.loads(SCRIPTS.pop("texts.js").partition("=")[2].rstrip(";\n"))
PLACE = re.compile(r"\{\d\}")


def said() -> set[str]:
    """Return the texts of the scripts: what `tr` and `counted` get, and what names the parts of the page."""
    texts = set[str]()
    for script in SCRIPTS.values():
        texts |= set(re.findall(r'\btr\(\s*"([^"]+)"', script))
        texts |= {text for pair in re.findall(r'\bcounted\([^"]*"([^"]+)",\s*"([^"]+)"', script) for text in pair}
    page = (APP / "app.html").read_text(encoding="utf-8").partition("<body>")[2]
    page = re.sub(r"<(noscript|kbd|h1).*?</\1>", "<>", page, flags=re.DOTALL)
    between = re.split(r"<[^>]*>", page) + re.findall(r'aria-label="([^"]*)"', page)
    return texts | {text.strip() for text in between if re.search(r"[^\W\d_]{2}", text)}


def test_each_text_is_in_the_table_and_the_table_has_no_other() -> None:
    names = {name.replace("_", " ") for name in (*dm.STATUSES, *dm.EventAction)}
    assert said() - TEXTS.keys() == set()
    assert {status.replace("_", " ") for status in dm.STATUSES} <= TEXTS.keys()
    others = {"low", "normal", "high", "urgent", "accepted", "pending", "dead", "superseded", "label", "sure"}
    assert TEXTS.keys() - said() - names == others


def test_a_text_has_the_same_places_in_each_language() -> None:
    for english, translated in TEXTS.items():
        assert len(translated) == 2, english
        assert all(sorted(PLACE.findall(text)) == sorted(PLACE.findall(english)) for text in translated), english

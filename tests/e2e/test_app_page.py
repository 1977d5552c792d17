"""The page `/app` in a real browser: verdicts, collisions, keys, sizes, hostile texts, roles, servers that go away."""

import json
import re
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Browser, Dialog, Route, expect

from tests.support.api_server import ApiServer, running_server
from tests.support.browser import Visitor, chromium
from tests.support.cli import Cli
from tests.support.commands import PATIENCE, rows
from tests.support.records import replace
from tests.support.serve_command import key_of, serve_command
from tests.support.stored_tickets import a_ticket, an_answer, changed, filled
from triage_cli import domain as dm
from triage_cli.stores import SqliteStore

CONFIG = """
server: {app: true}
categories: [Billing, Technical, General, Billing/Refund]
routes: {Billing: out, Technical: out, General: out}
destinations: {out: {type: file, path: out.jsonl}}
"""
ASKED = f"""{CONFIG}
questions:
  urgency: {{required: true, values: [now, soon, later]}}
  mood: {{values: [calm, cross]}}
"""
WAITING = {"status": "needs_review", "suggestion": "Billing", "confidence_source": "model", "classifier": "local"}
RUNS = "window.ran=1"
MARKUP = (
    "<script>{0}</script>", "<img src=x onerror={0}>", "<svg onload={0}>", "<svg><script>{0}</script></svg>",
    "<iframe srcdoc='<script>parent.{0}</script>'>", "<a href='javascript:{0}'>x</a>", "<body onload={0}>",
    "<input autofocus onfocus={0}>", "<details open ontoggle={0}>", "<math><mi xlink:href='javascript:{0}'>x",
    "<template><script>{0}</script></template>", "<meta http-equiv=refresh content='0;url=javascript:{0}'>",
    "<link rel=stylesheet href=http://evil.example/x.css>", "<img src=http://evil.example/x.png>",
    "<form action=http://evil.example><button>x</button></form>", "<base href=http://evil.example>",
    "<video src=http://evil.example/v autoplay>", "<object data=http://evil.example>", "<embed src=http://evil.example>",
    "<style>@import 'http://evil.example/x.css'</style>", "</title><script>{0}</script>", "--><script>{0}</script>",
    "]]><script>{0}</script>", "</textarea><script>{0}</script>", "</dialog><script>{0}</script>",
)  # fmt: skip
TEXTS = (
    "javascript:{0}", "data:text/html,<script>{0}</script>", "'-{0}-'", '"-{0}-"', "`${{{0}}}`", "${{{0}}}",
    "\\u003cscript",
    "constructor", "__proto__", "toString", "onclick", "innerHTML", "style", "data-value", "#today", "../../keys",
    "%2e%2e%2fkeys", "?x=1", "//evil.example", "http://evil.example/", "&lt;script&gt;{0}", "&#60;script>",
    "{{{{7*7}}}}",
    "\u202egnp.exe", "\u2066a\u2069", "a\u200bb", "a" + "\u0301" * 300, "w" * 3000, "\x1b]0;t\x07", "\x9b31m", "\ufeff",
    "null", "\u2028{0}\u2029", "\r\nX: y", "漢字カナ한글🙂",
)  # fmt: skip
HIDDEN = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
HOSTILE = [text.format(RUNS) for text in (*MARKUP, *TEXTS)]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as running:
        yield running


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Callable[..., ApiServer]]:
    """Serve tickets that wait for a person, each with fields of the test's choice."""
    servers = []

    def serve(*fields: dict[str, Any], config: str = CONFIG) -> ApiServer:
        store = SqliteStore(str(tmp_path / "triage.db"))
        tickets = [
            a_ticket(f"T-{n:02}", **WAITING | {"confidence": 0.4 + n / 1000} | each) for n, each in enumerate(fields)
        ]
        filled(store, *tickets)
        store.close()
        running = running_server(tmp_path, config=config)
        servers.append(running)
        return running.__enter__()

    yield serve
    for running in servers:
        running.__exit__(None, None, None)


@pytest.fixture
def visit(browser: Browser) -> Iterator[Callable[..., Visitor]]:
    """Let a person come to the page of a server, whose browser must not complain."""
    visitors = []

    def come(server: ApiServer, role: str = "agent", place: str = "", **settings: Any) -> Visitor:
        visitor = Visitor(browser, server.url, server.keys[role], **settings)
        visitors.append(visitor)
        return visitor.comes(place)

    yield come
    for visitor in visitors:
        assert [each for each in visitor.complaints if "404" not in each and "412" not in each] == []
        assert {httpx.URL(url).host for url in visitor.requested} == {httpx.URL(visitor.url).host}
        visitor.leaves()


def judge(client: httpx.Client, name: str, category: str | None, question: str = "category") -> None:
    body = {"category": category, "question": question}
    assert client.post(f"/tickets/{name}/verdict", json=body).status_code == 200


def shown(visitor: Visitor) -> str:
    return visitor.page.locator("article:visible dd").first.inner_text()


def test_eight_verdicts_with_undo_while_a_second_person_decides_too(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    server = served(*[{"description": f"text number {n}"} for n in range(12)])
    ada, expected = visit(server), dict[str, str]()
    keys = {"1": "Billing", "2": "Technical", "3": "General"}
    with server.client("admin") as ben:
        for n in range(8):
            expect(ada.title).to_be_focused()
            name, key = shown(ada), [*keys][n % 3]
            if n % 8 == 3:
                judge(ben, name, "Technical")
                ada.presses("3")
                ada.hears("Nothing was changed, since another person has decided: Technical.")
                assert ben.get(f"/tickets/{name}").json()["category"] == "Technical"
                assert shown(ada) == name, "it stays, as it is now"
            if n % 8 == 5:
                ada.presses("3")
                ada.hears(f"{name}: General; u takes it back.")
                ada.presses("u")
                ada.hears("Taken back: General.")
                assert ben.get(f"/tickets/{name}").json()["verdict"] is False
            ada.presses(key)
            ada.hears(f"{name}: {keys[key]}; u takes it back.")
            expected[name] = keys[key]
        judge(ben, name, "Billing/Refund")
        ada.presses("u")
        ada.hears(f"{name} stays as it is, since another person has decided: Billing/Refund.")
        expected[name] = "Billing/Refund"
        ada.presses("s")
        ada.hears("skipped")
        expect(ada.page.locator("#count")).to_have_text("4 wait for a person")
        judged = {t["external_id"]: t["category"] for t in ben.get("/tickets?verdict=true&limit=100").json()}
    assert judged == expected
    assert len(expected) == 8


def test_all_can_be_done_by_the_keyboard_alone(served: Callable[..., ApiServer], visit: Callable[..., Visitor]) -> None:
    priorities = {"first": None, "second": "urgent", "third": None, "fourth": "high"}
    server = served(*[{"subject": name, "priority": priority} for name, priority in priorities.items()])
    ada = visit(server)
    page = ada.page
    expect(ada.title).to_be_focused()
    reached = set()
    for _ in range(60):
        ada.presses("Tab")
        reached.add(page.evaluate("() => document.activeElement.outerHTML"))
    controls = page.locator("a:visible, button:visible, input:visible, select:visible, summary:visible")
    assert set(controls.evaluate_all("(all) => all.map((it) => it.outerHTML)")) <= reached
    page.locator("body").press("/")
    page.keyboard.insert_text("priority:urgent")
    ada.presses("Enter")
    expect(ada.title).to_have_text("second")
    page.locator("body").press("n")
    page.keyboard.insert_text("said by telephone")
    ada.presses("Enter", "f")
    page.keyboard.insert_text("billing/")
    ada.presses("Enter")
    ada.hears("Billing/Refund; u takes it back. That was the last one.")
    with server.client() as client:
        (second,) = client.get("/tickets?search=second").json()
    assert (second["category"], second["reason"]) == ("Billing/Refund", "said by telephone")
    ada.presses("/", "Control+a", "Delete", "Enter")
    expect(page.locator("#queue li")).to_have_count(3)
    expect(ada.title).to_be_focused()
    ada.presses("o")
    for key, title in (("", "fourth"), ("End", "first"), ("Home", "fourth"), ("ArrowDown", "third"), ("s", "first")):
        ada.presses(*filter(None, [key]))
        expect(ada.title).to_have_text(title)
        expect(ada.title).to_be_focused()
    ada.presses("u")
    ada.hears("Back.")
    expect(ada.title).to_have_text("third")
    ada.presses("?")
    expect(page.locator("#help")).to_be_visible()
    ada.presses("Space", "Escape", "s")  # no single key does anything now
    expect(page.locator("#help")).to_be_hidden()
    expect(ada.title).to_have_text("third")
    assert "skipped" not in ada.said.inner_text()
    page.goto(f"{server.url}/app#ticket/T-00")
    expect(ada.title).to_have_text("first")


@pytest.mark.parametrize(("width", "scheme"), [(360, "light"), (1440, "dark")])
def test_it_fits_and_axe_finds_nothing_wrong(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor], width: int, scheme: str
) -> None:
    text = {"subject": "S" * 300, "description": "word " * 300, "extra": '{"plan": "gold"}', "reason": "w" * 200}
    server = served({"subject": "short"}, text, {"subject": None, "description": None})
    with server.client() as client:
        judge(client, "T-00", "General")
        assert client.post("/tickets/T-00/route").json()["status"] == "routed"
    ada = visit(server, viewport={"width": width, "height": 740}, color_scheme=scheme)
    assert ada.violations() == [], "signing in"
    page = ada.page
    for place, sign in (
        ("#waiting", "#pane h2"), ("#ticket/T-01", "#pane h2"), ("#week", "#week h2"), ("#ticket", "#open"),
        ("#tickets", "#found li"),
    ):  # fmt: skip
        page.goto(f"{server.url}/app{place}")
        expect(page.locator(sign).first).to_be_visible()
        assert ada.violations() == [], place
        assert page.evaluate("() => document.documentElement.scrollWidth") == width, place
    page.locator("#show-help").click()
    assert ada.violations() == [], "the keys"


def test_hostile_texts_are_shown_run_nothing_and_ask_for_nothing(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    assert len(HOSTILE) == 60
    tickets = [
        {
            **dict.fromkeys(("subject", "description", "customer_id", "reason", "error", "routed_to", "source"), text),
            "external_id": f"{n} {text}",
            "suggestion": text if n % 2 else "Billing",
            "extra": httpx.Request("POST", "http://x", json={text: text, "nested": [text]}).content.decode(),
        }
        for n, text in enumerate(HOSTILE)
    ]
    server = served(*tickets)
    ada = visit(server)
    page = ada.page
    page.on("dialog", lambda dialog: ada.complaints.append(dialog.message))
    seen = list[str]()
    for _ in HOSTILE:
        expect(ada.title).to_be_focused()
        seen.append(page.locator("#pane .text").evaluate("(it) => it.textContent"))
        assert page.evaluate("() => window.ran") is None
        number = shown(ada).split()[0]
        page.get_by_role("button", name="s Skip", exact=True).click()
        expect(ada.said).to_have_text(re.compile(rf"^{number} .*: skipped; u takes it back\.", re.DOTALL))
    ada.hears("That was the last one.")
    with server.client() as client:
        stored = {
            HIDDEN.sub(lambda it: f"\\u{ord(it[0]):04x}", ticket["description"])
            for ticket in client.get("/tickets?limit=100").json()
        }
        ids = [ticket["ticket_id"] for ticket in client.get("/tickets?limit=3").json()]
    assert set(seen) == stored
    for ticket_id in ids:
        page.goto(f"{server.url}/app#ticket/{ticket_id}")
        expect(page.locator("#pane h2")).to_be_visible()
    page.goto(f"{server.url}/app#tickets")
    expect(page.locator("#found li")).to_have_count(50)
    page.locator("#more-found").click()
    expect(page.locator("#found li")).to_have_count(60)
    page.locator("#words").fill(HOSTILE[-1])
    ada.presses("Enter")
    expect(page.locator("#found li")).to_have_count(1)
    assert page.evaluate("() => window.ran") is None
    elements = page.locator("script, img, svg, iframe, object, embed, base, form, style, video, math, template")
    assert elements.evaluate_all("(all) => all.map((it) => it.id || it.src || it.method)") == [
        f"{server.url}/app/app.js", "sign-in", "find", "open", "search", "dialog",
    ]  # fmt: skip


def test_a_role_sees_and_does_what_it_may(served: Callable[..., ApiServer], visit: Callable[..., Visitor]) -> None:
    server = served({"subject": "one"}, {"subject": "two"})
    rita = visit(server, "reader")
    expect(rita.title).to_be_focused()
    expect(rita.page.locator("#pane")).to_contain_text("Your role, reader, may read, and change nothing.")
    assert rita.page.locator("#pane fieldset, #pane input").count() == 0
    rita.presses("1")
    rita.hears("There is no ticket here that you may decide.")
    first = rita.title.inner_text()
    rita.presses("ArrowDown")
    expect(rita.title).not_to_have_text(first)
    rita.page.goto(f"{server.url}/app#tickets")
    expect(rita.page.locator("#found li")).to_have_count(2)
    assert rita.page.locator("#found input, #bulk button").count() == 0
    rita.page.goto(f"{server.url}/app#week")
    expect(rita.page.locator("#week")).to_contain_text("Someone with the role admin can let the model learn")
    rita.presses("q")
    rita.hears("There is no ticket here that you may decide.")
    rita.page.locator("#sign-out").click()
    rita.hears("Signed out.")
    rita.page.reload()
    expect(rita.page.locator("#sign-in")).to_be_visible()
    metrics = visit(server, "metrics")
    metrics.hears('"metrics" has the role metrics: this takes the role reader.')
    wrong = visit(server, "agent")
    expect(wrong.title).to_be_focused()
    with server.client("admin") as admin:
        assert admin.delete("/keys/agent").status_code == 200
        wrong.presses("1")
        wrong.hears("The server does not know this key.")
        expect(wrong.page.locator("#sign-in")).to_be_visible()
        assert admin.get("/stats").json()["by_status"] == {"needs_review": 2}
    for visitor in (metrics, wrong):
        visitor.complaints[:] = [each for each in visitor.complaints if "401" not in each and "403" not in each]


WORDS = ("urgent", "search", "404", "our", "s.o.s.")


def test_who_types_a_word_outside_of_a_field_decides_and_takes_back_nothing(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    names = [f"{letter} category" for letter in "abcdefghijklmnop"]
    server = served(*[{}] * 3, config=f"server: {{app: true}}\ncategories: [{', '.join(names)}]\n")
    ada = visit(server)
    expect(ada.title).to_be_focused()
    ada.presses("1")
    ada.hears("a category; u takes it back.")
    expect(ada.page.get_by_role("button", name=re.compile("Undo a category: T-"))).to_be_visible()
    changes: list[str] = []
    ada.page.on("request", lambda request: changes.append(request.url) if request.method != "GET" else None)
    for word in WORDS:
        ada.page.keyboard.type(word, delay=40)
        ada.presses("Enter")
        ada.page.wait_for_timeout(950)  # as long as a word lasts
        ada.page.locator("h2").first.focus()
    assert changes == []
    ada.presses("u")
    ada.hears("Taken back: a category.")


def test_on_a_telephone_a_ticket_is_read_and_decided_without_scrolling(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    server = served(*[{"subject": f"Ticket {n}", "description": "The invoice is wrong. " * 27} for n in range(4)])
    ada = visit(server, viewport={"width": 360, "height": 740}, has_touch=True, is_mobile=True)
    page = ada.page
    for _ in range(4):
        expect(ada.title).to_be_focused()
        name = shown(ada)
        title, text, guess = (
            page.locator(place).bounding_box() for place in ("#pane h2", "#pane .text", "#pane .guess")
        )
        assert title is not None
        assert text is not None
        assert guess is not None
        said = ada.said.bounding_box()
        assert title["y"] >= (said["y"] + said["height"] if said else 0), "read from its beginning"
        assert text["y"] + text["height"] <= page.locator(".decide").bounding_box()["y"], "and to its end"  # type: ignore[index]
        assert guess["y"] + guess["height"] <= 740
        assert guess["y"] > 740 / 2, "below a thumb"
        page.locator("#pane .guess").tap()
        ada.hears(f"{name}: Billing; u takes it back.")
    ada.hears("That was the last one.")


def test_similar_tickets_and_those_of_the_customer_are_shown_with_the_address_in_the_helpdesk(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    texts = ("the printer hums loudly <b>", "the printer hums loudly again", "an invoice of October is missing")
    address = "https://desk.example/tickets/1047?a=<b>"
    extra = json.dumps({"url": address, "script": "javascript:window.ran=1", "plain": "http://desk.example"})
    fields = {"customer_id": "C-9 & sons", "extra": extra}
    server = served(*[{"subject": text, "description": text, **fields} for text in texts])
    ada = visit(server, place="#ticket/T-00")
    expect(ada.title).to_have_text(texts[0])
    of_customer = ada.page.locator("#pane ul").last
    expect(of_customer.locator("a")).to_have_text([texts[2], texts[1]])
    expect(ada.page.locator(".facts a")).to_have_text([address])
    assert ada.page.locator(".facts a").get_attribute("href") == address
    ada.page.get_by_role("link", name=texts[1]).first.click()
    expect(ada.title).to_have_text(texts[1])
    expect(ada.page.get_by_role("link", name=texts[0])).to_have_count(2)
    assert ada.violations() == []


def found(visitor: Visitor, count: int) -> list[str]:
    """Wait until so many tickets are listed, and return what stands beside them."""
    expect(visitor.page.locator("#found li")).to_have_count(count)
    expect(visitor.page.locator("#sum")).to_contain_text(f"{count} ticket")
    return visitor.page.locator("#found small").all_inner_texts()


def test_tickets_are_found_by_words_and_menus_and_the_search_is_an_address(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    sent = {"status": "routed", "category": "Billing", "suggestion": None, "routed_to": "out"}
    server = served(
        {"subject": "printer hums", "customer_id": "C-9", "language": "de"},
        {"subject": "printer burns", "priority": "urgent"},
        {"subject": "an invoice", **sent, "customer_id": "C-9"},
        {"subject": "another invoice", **sent, "verdict": True},
    )
    ada = visit(server, place="#tickets")
    page = ada.page
    found(ada, 4)
    expect(page.locator("#sum")).to_have_text("4 tickets: 2 needs review, 2 routed")
    for words, count in (("printer", 2), ("customer:C-9", 2), ("language:de hums", 1), ("zz", 0)):
        ada.presses("/")
        expect(page.locator("#words")).to_be_focused()
        page.locator("#words").fill(words)
        ada.presses("Enter")
        found(ada, count)
    expect(page.locator("#sum")).to_have_text("0 tickets: none")
    page.locator("#words").fill("")
    ada.presses("Enter")
    for menu, value, count in (("category", "Billing", 2), ("by", "true", 1), ("by", "", 2), ("came", "today", 2)):
        page.locator(f"[name={menu}]").select_option(value)
        found(ada, count)
    assert page.url.endswith("#tickets?category=Billing&came=today")
    page.reload()
    assert all(text.startswith("Billing") and "→ out" in text for text in found(ada, 2))
    assert page.locator("[name=came]").input_value() == "today"
    page.locator("[name=came]").select_option("yesterday")
    found(ada, 0)
    page.go_back()
    found(ada, 2)
    page.get_by_role("link", name="another invoice").click()
    expect(ada.title).to_have_text("another invoice")


def test_many_tickets_get_a_category_as_they_were_seen_and_what_others_do_appears_at_its_place(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    server = served(*[{"subject": f"Ticket {n}"} for n in range(5)])
    ada, asked = visit(server, place="#tickets"), list[str]()
    page = ada.page

    def agree(dialog: Dialog) -> None:
        asked.append(dialog.message)
        dialog.accept()

    page.on("dialog", agree)
    found(ada, 5)
    boxes = page.locator("#found input")
    for n in (0, 1, 2):  # the newest, which is T-04, and two more
        boxes.nth(n).check()
    with server.client("admin") as ben:
        judge(ben, "T-04", "General")
        judge(ben, "T-00", "General")
        expect(page.locator("#found li").nth(4)).to_contain_text("General, by a person")
        expect(page.locator("#found li").nth(0)).to_contain_text("Billing, a guess")  # it was chosen as it was seen
        page.locator("#bulk-value").select_option("Technical")
        page.get_by_role("button", name="Give this category").click()
        ada.hears("2 tickets: Technical; u takes them back. 1 stays, since another person has changed it.")
        assert asked == ["Give 3 tickets the category Technical?"]

        def judged() -> dict[str, str]:
            return {t["external_id"]: t["category"] for t in ben.get("/tickets?verdict=true").json()}

        assert judged() == {"T-00": "General", "T-04": "General", "T-03": "Technical", "T-02": "Technical"}
        judge(ben, "T-03", "Billing")
        ada.presses("u")
        ada.hears("T-03 stays as it is, since another person has decided: Billing.")
        assert judged() == {"T-00": "General", "T-04": "General", "T-03": "Billing"}
        page.goto(f"{server.url}/app#waiting")
        expect(page.locator("#count")).to_have_text("1 waits for a person")
        judge(ben, "T-01", "Billing")
        expect(page.locator("#queue")).to_contain_text("Billing, by a person")
        expect(page.locator("#count")).to_have_text("0 wait for a person")


def test_the_week_tells_what_the_report_tells_and_an_admin_lets_the_model_learn(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    sent = {"status": "routed", "category": "Billing", "suggestion": None, "routed_to": "out"}
    server = served(*[{"description": f"text {n}"} for n in range(3)], sent)
    ada = visit(server, "admin", place="#week")
    week = ada.page.locator("#week")
    expect(week).to_contain_text("Tickets that came4")
    expect(week).to_contain_text("Waiting now3")
    with server.client() as client:
        sure = client.get("/report").json()["sure"]
    assert (sure["n"], sure["held"]) == (4, 1)
    expect(week).to_contain_text("25 % of 4 (between 5 % and 70 %)")
    ada.page.get_by_role("button", name="Learn from verdicts").click()
    ada.hears("too few labelled tickets (0): learning begins with 10, of two categories.")
    ada.page.get_by_role("link", name="Billing").click()
    assert len(found(ada, 1)) == 1
    assert ada.page.url.endswith("#tickets?category=Billing&came=week")


@pytest.mark.parametrize(
    ("locale", "said"),
    [("de-AT", "1 wartet auf einen Menschen"), ("fr", "1 attend une personne"), ("ja", "1 waits for a person")],
)
def test_the_page_speaks_the_language_of_its_reader(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor], locale: str, said: str
) -> None:
    server = served({"customer_id": "C-9", "extra": "{}"}, {"status": "routed", "category": "Billing"})
    ada = visit(server, "admin", locale=locale)  # what no table has, the page says in the console: a complaint
    expect(ada.page.locator("#count")).to_have_text(said)
    for place, sign in (("#ticket/T-00", "#pane h2"), ("#tickets", "#found li"), ("#week", "#week h2")):
        ada.page.goto(f"{server.url}/app{place}")
        expect(ada.page.locator(sign).first).to_be_visible()
        assert ada.violations() == [], place
    assert ada.page.evaluate("() => document.documentElement.lang") == {"de-AT": "de", "fr": "fr"}.get(locale, "en")


@pytest.mark.parametrize(
    ("status", "said"),
    [("routed", "Sent to"), ("routing", "On its way to"), ("undeliverable", "Not accepted by all of")],
)
def test_what_is_on_its_way_is_not_said_to_be_sent(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor], status: str, said: str
) -> None:
    fields = {"status": status, "category": "Billing", "suggestion": None, "routed_to": "out"}
    ada = visit(served(fields), place="#ticket/T-00")
    expect(ada.page.locator("dt", has_text=said)).to_have_count(1)


def test_further_questions_are_answered_by_the_keyboard(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    guess = '{"urgency": {"suggestion": "soon", "confidence": 0.5, "confidence_source": "model", "state": "unsure"}}'
    server = served(*[{"answers": guess}] * 3, config=ASKED)
    ada = visit(server)
    asked, facts = ada.page.locator("[data-asked] legend"), ada.page.locator("#pane dl")
    expect(asked).to_have_text("Category")
    expect(facts).to_contain_text("urgencysoon, a guess, 50 % sure (model)")
    name = shown(ada)
    ada.presses(".", ".")
    expect(asked).to_have_text("mood")
    expect(ada.page.locator("[data-asked]")).to_be_focused()
    ada.presses("2")
    ada.hears(f"{name}: cross; u takes it back.")
    expect(asked).to_have_text("Category")  # for which it waits
    ada.presses("1")
    ada.hears(f"{name}: Billing; u takes it back.")
    expect(asked).to_have_text("urgency")  # which is required
    expect(facts).to_contain_text("CategoryBilling, by a person")
    ada.presses("Enter")
    ada.hears(f"{name}: soon; u takes it back.")
    assert shown(ada) != name, "it waits no more"
    ada.presses("u")
    ada.hears("Taken back: soon.")
    expect(asked).to_have_text("urgency")
    assert shown(ada) == name
    with server.client("admin") as ben:
        judge(ben, name, "later", "urgency")
        ada.presses("f")
        ada.page.keyboard.insert_text("no")
        ada.presses("Enter")
        ada.hears("Nothing was changed, since another person has decided: later.")
        expect(facts).to_contain_text("urgencylater, by a person")
        ada.presses("1")
        ada.hears(f"{name}: now; u takes it back.")
        judge(ben, name, "General")  # of another question, so that the answer is taken back all the same
        ada.presses("u")
        ada.hears("Taken back: now.")
        ada.page.locator("fieldset").get_by_role("button", name="calm").click()
        ada.hears(f"{name}: calm; u takes it back.")
        ticket = ben.get(f"/tickets/{name}").json()
    answers = {each: (answer["value"], answer["verdict"]) for each, answer in ticket["answers"].items()}
    assert (ticket["category"], answers) == ("General", {"urgency": ("later", True), "mood": ("calm", True)})


def test_of_many_categories_the_first_keys_are_the_best_guesses(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor], tmp_path: Path
) -> None:
    names = [f"{letter} category" for letter in "abcdefghijkl"]
    server = served({}, config=f"server: {{app: true}}\ncategories: [{', '.join(names)}]\n")
    store = SqliteStore(str(tmp_path / "triage.db"))
    (ticket,) = store.find(dm.Selection())
    chances = {"k category": 0.5, "b category": 0.3, "l category": 0.2, "a category": 0.1, "gone": 0.9}
    answer = replace(an_answer(ticket, "k category"), probabilities=json.dumps(chances))
    store.save([replace(changed(ticket, suggestion="k category"), adds=(answer,))])
    store.close()
    ada = visit(server)
    buttons = ada.page.locator("[data-asked] button")
    expect(buttons.first).to_have_text("Enter 1 k category (the guess)")
    expect(buttons).to_have_count(12)
    shown_keys = [text.removeprefix("Enter ").partition(" ")[0] for text in buttons.all_inner_texts()]
    assert shown_keys == [*"123456789", "h", "i", "j"]
    ada.presses("2")
    ada.hears(": b category; u takes it back.")


def test_what_waits_with_nearly_the_same_text_is_decided_by_one_key_and_taken_back_by_one(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    alarm = {"subject": "Alarm", "description": "the disk of server seven is nearly full again"}
    server = served(alarm, alarm, alarm, {"description": "an invoice of October is missing"})
    ada = visit(server, place="#ticket/T-00")
    expect(ada.title).to_have_text("Alarm")
    ada.presses("2")
    ada.hears("T-00: Technical; u takes it back. = 2 more with nearly this text")
    assert ada.violations() == []
    with server.client("admin") as ben:

        def judged() -> dict[str, str]:
            return {t["external_id"]: t["category"] for t in ben.get("/tickets?verdict=true").json()}

        judge(ben, "T-01", "General")
        ada.presses("=")
        ada.hears("1 more: Technical; u takes them back.")
        assert judged() == {"T-00": "Technical", "T-01": "General", "T-02": "Technical"}
        ada.presses("u")
        ada.hears("Taken back: Technical.")
        assert judged() == {"T-00": "Technical", "T-01": "General"}
        ada.presses("=")
        ada.hears("There is nothing here that = does.")


def test_hostile_names_of_values_are_texts(served: Callable[..., ApiServer], visit: Callable[..., Visitor]) -> None:
    texts = [text for text in HOSTILE if "," not in text and text.isprintable() and len(text) <= 80]
    names = json.dumps(texts, ensure_ascii=False)
    server = served({}, config=f"server: {{app: true}}\ncategories: {names}\nquestions: {{mood: {{values: {names}}}}}")
    ada = visit(server)
    for question in ("Category", "mood"):
        expect(ada.page.locator("[data-asked] legend")).to_have_text(question)
        values = ada.page.locator("[data-asked] button").evaluate_all("(all) => all.map((it) => it.dataset.value)")
        assert len(values) == len(set(values)) > 40, question
        ada.presses("9")
        ada.hears("u takes it back")
        ada.presses("u")
        ada.hears("Taken back")
        ada.presses(".")
    assert ada.page.evaluate("() => window.ran") is None
    assert ada.page.locator("article :is(script, img, svg, iframe, object, embed, base, form, style)").count() == 0


def test_the_key_is_of_its_tab_alone(served: Callable[..., ApiServer], visit: Callable[..., Visitor]) -> None:
    ada = visit(served({}))
    expect(ada.title).to_be_focused()
    ada.page.reload()
    expect(ada.title).to_be_focused()
    other = ada.context.new_page()
    other.goto(f"{ada.url}/app")
    expect(other.locator("#sign-in")).to_be_visible()
    assert ada.context.cookies() == []
    assert other.evaluate("() => localStorage.length") == 0
    assert not any(ada.key in url for url in ada.requested)


def test_a_verdict_whose_answer_is_lost_is_given_once(
    served: Callable[..., ApiServer], visit: Callable[..., Visitor]
) -> None:
    server = served({}, {})
    ada = visit(server)
    expect(ada.title).to_be_focused()
    lost = list[int]()

    def lose(route: Route) -> None:
        if not lost:
            lost.append(route.fetch().status)
        route.abort()

    ada.page.route("**/verdict", lose)
    ada.presses("2")
    ada.hears("The server cannot be reached. This may not be stored yet, and is sent again in ")
    ada.page.unroute("**/verdict", lose)
    ada.hears("T-00: Technical; u takes it back.")
    assert lost == [200]
    with server.client() as client:
        given = client.get("/logs?action=verdict").json()
    assert [event["detail"]["category"] for event in given] == ["Technical"]
    ada.complaints.clear()


@pytest.mark.slow
def test_a_server_that_is_killed_and_restarted_loses_no_verdict(fitted: Cli, browser: Browser) -> None:
    fitted.folder.joinpath("config.yaml").write_text(
        "server: {app: true}\nclassifiers: {local: {type: local, min_confidence: 0.9999}}\n"
    )
    key = key_of(fitted)
    headers, timeout = {"X-API-Key": key}, PATIENCE
    with (
        serve_command(fitted) as (process, url, _),
        httpx.Client(base_url=url, headers=headers, timeout=timeout) as client,
    ):
        for subject in ("Where is my invoice", "The printer hums", "Opening hours on Sunday", "A blue parcel"):
            client.post("/tickets?do=classify", json={"subject": subject})
        ada = Visitor(browser, url, key).comes()
        expect(ada.title).to_be_focused()
        ada.presses("1")
        ada.hears("u takes it back")
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        expect(ada.title).to_be_visible()
        ada.presses("2")
        ada.hears("The server cannot be reached.")
    with serve_command(fitted, port=int(httpx.URL(url).port or 0)):
        ada.hears(": Technical; u takes it back.")
        ada.leaves()
    verdicts = rows(fitted.db, "select category from tickets where verdict = 1 order by category")
    assert verdicts == [("Billing",), ("Technical",)]

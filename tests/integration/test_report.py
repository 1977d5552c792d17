"""`triage report`: one page without scripts, whole as HTML and in words, of the same numbers here and over a remote."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.support.api_server import ApiServer, running_server
from tests.support.cli import Cli
from tests.support.online import ONLINE
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.cli import safe
from triage_cli.extensions.insight import report_page
from triage_cli.extensions.remote import Address, RemoteAnalysis, RemoteTriage
from triage_cli.wiring import Analyst, LocalAnalysis

WEEK = timedelta(days=7)
VOID = {"meta", "link", "br", "img", "input"}
BREAKERS = (
    "<script>alert(1)</script>", '"><img src=x onerror=y>', "'><svg/onload=z>", "</title><b>", "</desc></svg><i>",
    "</style><a href=javascript:x>", "<!--", "-->", "]]>", "&lt;b&gt;", "&#60;b", "{{ 7**9 }}", "{% raw %}", "\u202eb",
    "\x00", "\x1b[31m", "\r\nX: y", "\ufeff", "a" + "\u0301" * 40, "<" * 5000,
)  # fmt: skip
EMPTY = ("3 to 6 days", "1 to 4 weeks", "4 weeks or more")
HOSTILE = [spot.format(text) for text in BREAKERS for spot in ("{0}", "a {0} b", "{0}{0}")]


class Page(HTMLParser):
    """Reads a page, which must be whole: each element is closed in its order."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), (tag, attrs)
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert "svg" in self._open, f"only SVG has such elements: {tag}"
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append((self._open[-1] if self._open else "", data))

    def handle_comment(self, data: str) -> None:
        raise AssertionError(data)

    def texts_of(self, tag: str) -> list[str]:
        return [text for inside, text in self.texts if inside == tag]


def group(tickets: int, needs_review: int, **keys: str | None) -> dm.StatsGroup:
    return dm.StatsGroup(keys, tickets, tickets - needs_review, needs_review, 0.5)


def report_of(names: list[str]) -> dm.Report:
    """Return a report in which all names are given."""
    share = dm.MeasuredShare.of("", dm.Count(10, 9))
    shares = tuple(replace(share, name=name) for name in names)
    return dm.Report(
        since="2026-11-23T08:00:00.000Z",
        until="2026-11-30T08:00:00.000Z",
        volume_key="day",
        volumes=(group(5, 1, day="2026-11-23"), group(9, 0, day="2026-11-24")),
        decided=(
            *(group(4, 0, category=name, classifier=name) for name in names),
            group(3, 3, category=None, classifier=None),
        ),
        sure=share,
        right=shares,
        overruled=shares,
        waiting=(group(2, 2, status="needs_review", day="2026-11-28"), group(1, 0, status="new", day="2026-11-30")),
        destinations=tuple(group(4, 0, destination=name) for name in names),
        deliveries={name: {"pending": 1, "dead": 2} for name in names},
        spikes=tuple(
            dm.Spike("spike_1", "group", name, name, 9, 8, 0.5, 0.1, 1.5, "2026-11-30T07:00:00.000Z", (), ())
            for name in names
        ),
        spike_window=86_400.0,
        spike_weeks=4,
        drift=tuple(dm.Drift("label", name, 10, 0.5, 10, 0.1, 0.001, moved=True) for name in names),
        questions={"urgency": (*(group(4, 0, urgency=name) for name in names), group(9, 9, urgency=None))},
        promises=tuple(
            dm.ReportedPromise(name, name, 0.2, 0.7, 345, 53, 0, "2026-11-28T08:00:00.000Z", replace(share, name=name))
            for name in names
        ),
    )


def test_the_page_is_whole_has_no_script_and_tells_its_pictures_in_words() -> None:
    html = report_page(report_of(["Billing", "Technical"]))
    page = Page(html)
    assert html.startswith("<!DOCTYPE html>\n")
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    pictures = [attributes for tag, attributes in page.elements if tag == "svg" and attributes.get("role") == "img"]
    assert len(pictures) == 5
    for picture in pictures:
        assert set((picture["aria-labelledby"] or "").split()) <= set(ids)
    assert page.texts_of("desc") == [
        "2026-11-23: 4 decided, 1 for a person; 2026-11-24: 9 decided.",
        "Billing: 4 by machines; Technical: 4 by machines; no category yet: 3 none.",
        "open: 9 none; Billing: 4 decided; Technical: 4 decided.",
        "Billing: 90.0% of 10 verdicts, 59.6% to 98.2%; Technical: 90.0% of 10 verdicts, 59.6% to 98.2%.",
        "; ".join(["today: 1 otherwise", "1 to 2 days: 2 for a person", *(f"{band}: none" for band in EMPTY)]) + ".",
    ]
    tags = {tag for tag, _ in page.elements}
    assert not tags & {"script", "link", "img", "iframe", "object", "a"}
    assert "Tickets from 2026-11-23 to 2026-11-30" in page.texts_of("title")


def test_no_name_is_markup_and_each_can_be_read() -> None:
    """The page of hostile names has the elements, attributes and values of that of plain ones."""
    assert len(set(HOSTILE)) == 60
    plain = Page(report_page(report_of([f"name {n:02}" for n in range(60)])))
    hostile = Page(report_page(report_of(HOSTILE)))
    assert hostile.elements == plain.elements
    assert set(hostile.texts_of("td")) >= {safe(name) for name in HOSTILE}
    assert str(7**9) not in "".join(text for _, text in hostile.texts)


def test_a_report_of_nothing_says_so() -> None:
    share = dm.MeasuredShare.of("", dm.Count())
    nothing = replace(report_of([]), decided=(), waiting=(), sure=share, spike_weeks=0)
    texts = Page(report_page(nothing)).texts_of("p")
    assert {"No ticket waits.", "Nothing was sent."} <= set(texts)
    assert sum(text.startswith("There is nothing to compare with") for text in texts) == 2, "spikes, and drift"


def test_a_report_of_a_steady_week_says_so() -> None:
    steady = replace(report_of([]), drift=(dm.Drift("label", "Billing", 10, 0.5, 10, 0.5, 1.0, moved=False),))
    assert "No share changed by more than chance explains." in Page(report_page(steady)).texts_of("p")


def test_long_periods_are_counted_by_week_and_leave_none_out() -> None:
    until = datetime(2026, 11, 30, 8, tzinfo=UTC)
    assert dm.volume_days(until - timedelta(days=2), until) == ("day", ["2026-11-28", "2026-11-29", "2026-11-30"])
    key, mondays = dm.volume_days(until - timedelta(days=63), until)
    assert (key, len(mondays), mondays[0], mondays[-1]) == ("week", 10, "2026-09-28", "2026-11-30")
    waiting = [group(1, 0, status="new", day=(until - timedelta(days=n)).date().isoformat()) for n in range(40)]
    assert [counts["new"] for counts in dm.waiting_by_age(waiting, dm.timestamp(until)).values()] == [1, 2, 4, 21, 12]


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ApiServer]:
    with running_server(tmp_path, config="questions: {urgency: {values: [now, later]}}\n") as running:
        yield running


def test_a_reader_gets_the_report_over_a_remote_with_the_numbers_of_its_machine(server: ApiServer) -> None:
    triage = server.served.use_cases("tester", "test")
    texts = ["I was charged twice", "the app crashes", "hello"] * 3
    written = "2025-03-01T08:00:00.000Z"  # long before they are stored and judged, which is what counts
    drafts = [
        dm.TicketDraft(n, n, text, external_id=f"X-{n}", customer_id=f"C-{n}", created_at=written)
        for n, text in enumerate(texts)
    ]
    list(triage.run(drafts, dm.ClassifyPlan()))
    list(triage.give_verdicts([dm.VerdictDraft(0, "X-0", "General"), dm.VerdictDraft(1, "X-1", "Technical")]))
    list(triage.give_verdicts([dm.VerdictDraft(0, "X-0", "now", question="urgency")]))
    since = datetime.now(UTC) - WEEK
    here = LocalAnalysis(server.config, Analyst("tester", "test")).report(since)
    remote = RemoteTriage(Address(server.url, server.keys["reader"]), ONLINE)
    try:
        there = RemoteAnalysis(remote).report(since)
    finally:
        remote.close()
    assert replace(there, until=here.until) == here
    assert [sum(each.tickets for each in groups) for groups in (here.decided, here.volumes)] == [9, 9]
    assert [(each.keys["urgency"], each.tickets) for each in here.questions["urgency"]] == [("now", 1), (None, 8)]
    assert here.sure.n == 7
    assert [(each.n, each.held) for each in here.right] == [(2, 1)]
    assert sum(each.held for each in here.overruled) <= 1
    assert sum(each.tickets for each in here.decided if each.keys["classifier"] == "verdict") == 2
    assert "<h1>Tickets from " in report_page(there)


def test_it_is_written_to_a_file_or_to_stdout(fitted: Cli) -> None:
    assert fitted("create", "-q", stdin="id,subject\n1,Please refund me\n").returncode == 0
    done = fitted("report", "--to", "week.html")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "wrote week.html\n")
    Page((fitted.folder / "week.html").read_text())
    assert Page(fitted("report", "-q").stdout).texts_of("h1")
    record = json.loads(fitted("report", "--since", "30d", "-o", "json").stdout)
    assert (record["decided"][0]["tickets"], record["waiting"][0]["status"], len(record["volumes"])) == (1, "new", 31)


@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("--since nonsense", '"nonsense" is no time'),
        ("--since 2999-01-01", "a report begins before now"),
        ("--since 1900-01-01", "at most ten years ago"),
        ("--to missing/week.html", "no folder missing for week.html"),
        ("--to -", "- names no file to write"),
        ("-o csv", "--output takes one of html, json"),
    ],
)
def test_a_mistake_is_a_sentence(fitted: Cli, words: str, error: str) -> None:
    done = fitted("report", *words.split())
    assert (done.returncode, done.stdout) == (2, "")
    assert error in done.stderr

"""Helpdesks that are pulled from and labelled: a vendor's list, which shows what its tickets were made to be."""

import json
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from tests.support.helpdesk import TEXTS
from tests.support.http_stub import Got, HttpStub, Reply
from tests.support.records import replace
from tests.support.vendor_lists import CHANGES, NUMBER, VENDORS, answered, query, source_of
from tests.support.vendors.helpdesks import Freshdesk, ServiceNow, Zammad, Zendesk
from tests.support.vendors.samples import SAMPLES
from tests.support.vendors.server import Vendor
from tests.support.vendors.trackers import GitHub, Jira


class Kind(NamedTuple):
    """How a vendor's items look in its list, and its labels on a ticket.

    `items` is where the list stands in an answer. `begin` makes the vendor's tickets, each with the label of a person,
    and `labels` reads those of one. `expected` are the labels after triage has given these categories in turn.
    `correct` is what an agent does there, None where no source can read it. `destination` has the keys of one; without
    them the preset of the same name labels. `answer` is what a list answers beside its pages.
    """

    items: str
    subject: str
    begin: Callable[[Any], None]
    labels: Callable[[Any, int], Sequence[str]]
    expected: Callable[[Sequence[str]], Sequence[str]]
    correct: Callable[[Any, int, str], None] | None = None
    shown: Callable[[Any, int], Mapping[str, Any]] = lambda _vendor, _number: {}
    source: Mapping[str, Any] = {}
    destination: Mapping[str, Any] = {}
    answer: Callable[[Any, Got], Reply | None] = lambda _vendor, _got: None


def tag(category: str) -> str:
    return f"triage_{category.lower()}"


def tagged(vendor: Zendesk | Zammad) -> None:
    vendor.tags = {str(number): ["vip"] for number in range(NUMBER)}


def freshdesk(vendor: Freshdesk) -> None:
    for number in range(NUMBER):
        fields = {"cf_triage": None, "cf_plan": "gold"}
        vendor.tickets[str(number)] = {"id": number, "tags": ["vip"], "custom_fields": fields}


def servicenow(vendor: ServiceNow) -> None:
    for number in range(NUMBER):
        sys_id = f"{number:032x}"
        incident = {"sys_id": sys_id, "number": f"INC{number:07}", "short_description": "s", "work_notes": "vip"}
        vendor.incidents[sys_id] = incident


def of_tags(vendor: Zendesk | Zammad, number: int) -> Sequence[str]:
    return vendor.tags[str(number)]


def of_field(vendor: Freshdesk, number: int) -> Sequence[str]:
    ticket = vendor.tickets[str(number)]
    return [*ticket["tags"], ticket["custom_fields"]["cf_triage"]]


def of_notes(vendor: ServiceNow, number: int) -> Sequence[str]:
    return re.findall(r"^(triage_\w+|vip)", vendor.incidents[f"{number:032x}"]["work_notes"], re.MULTILINE)


def with_tag(categories: Sequence[str]) -> Sequence[str]:
    return ["vip", *map(tag, categories[-1:])]


def corrected(labels: Sequence[str], category: str) -> list[str]:
    """Return labels as an agent leaves them who takes the wrong one away and adds another one."""
    return [*(label for label in labels if not label.startswith("triage_")), tag(category)]


def tag_in_zendesk(vendor: Zendesk, number: int, category: str) -> None:
    vendor.change(str(number), corrected(vendor.tags[str(number)], category))


def tag_in_zammad(vendor: Zammad, number: int, category: str) -> None:
    vendor.tags[str(number)] = corrected(vendor.tags[str(number)], category)


def set_in_freshdesk(vendor: Freshdesk, number: int, category: str) -> None:
    vendor.tickets[str(number)]["custom_fields"]["cf_triage"] = category


def label_in_tracker(vendor: Jira | GitHub, number: int, category: str) -> None:
    vendor.labels[KEYS[type(vendor)].format(n=number)] = corrected(of_issue(vendor, number), category)


KEYS: Mapping[type[Jira | GitHub], str] = {Jira: "SUP-{n}", GitHub: "{n}"}


def labelled(vendor: Jira | GitHub) -> None:
    vendor.labels = {KEYS[type(vendor)].format(n=number): ["vip"] for number in range(NUMBER)}


def of_issue(vendor: Jira | GitHub, number: int) -> Sequence[str]:
    return vendor.labels[KEYS[type(vendor)].format(n=number)]


def tags_of_zammad(vendor: Zammad, got: Got) -> Reply | None:
    """Answer the request for the tags of one ticket: docs.zammad.org/en/latest/api/ticket/tags.html."""
    if urlsplit(got.path).path != "/api/v1/tags":
        return None
    asked = query(got)
    return answered({"tags": vendor.tags[asked["o_id"]]}) if asked["object"] == "Ticket" else Reply(422)


def on_issue(endpoint: str, label: str, **keys: Any) -> Mapping[str, Any]:
    """Return the request of one's own that labels an issue; `undo` takes back the label of an earlier category."""
    was = "triage_{{ replaced.category | slug }}"
    written = json.loads(json.dumps(keys).replace("LABEL", label).replace("WAS", was))
    return {"endpoint": endpoint, **written}


OURS = "triage_{{ category | slug }}"
TICKET = "{{ ticket.external_id }}"
JIRA_ISSUE = f"/rest/api/2/issue/{TICKET}"


KINDS: Mapping[str, Kind] = {
    "zendesk": Kind(
        "tickets", "subject", tagged, of_tags, with_tag, tag_in_zendesk,
        lambda vendor, number: {"tags": vendor.tags[str(number)]},
        {"verdict": "tags"},
    ),
    "freshdesk": Kind(
        "", "subject", freshdesk, of_field,
        lambda categories: ["vip", categories[-1]],
        set_in_freshdesk,
        lambda vendor, number: vendor.tickets[str(number)],
        {"verdict": "custom_fields.cf_triage"},
    ),
    "servicenow": Kind(
        "result", "short_description", servicenow, of_notes,
        lambda categories: [*map(tag, reversed(categories)), "vip"],
    ),
    "zammad": Kind(
        "", "title", tagged, of_tags, with_tag, tag_in_zammad,
        source={"verdict": "tag_list.tags"},
        answer=tags_of_zammad,
    ),
    "jira": Kind(
        "issues", "summary", labelled, of_issue, with_tag, label_in_tracker,
        lambda vendor, number: {"labels": of_issue(vendor, number)},
        {"verdict": "fields.labels"},
        on_issue(
            JIRA_ISSUE, OURS, method="PUT", body={"update": {"labels": [{"add": "LABEL"}]}},
            undo={"method": "PUT", "endpoint": JIRA_ISSUE, "body": {"update": {"labels": [{"remove": "WAS"}]}}},
        ),
    ),
    "github": Kind(
        "", "title", labelled, of_issue, with_tag, label_in_tracker,
        lambda vendor, number: {"labels": [{"name": label} for label in of_issue(vendor, number)]},
        {"verdict": "labels"},
        {"preset": "github-label"},
    ),
}  # fmt: skip


class LabelledDesk(NamedTuple):
    """A helpdesk of one vendor that serves: its list, and the API that takes labels."""

    preset: str
    vendor: Vendor
    lists: HttpStub

    @property
    def config(self) -> str:
        """Return a configuration that pulls all its tickets, is sure of every answer, and labels."""
        source = source_of(self.preset, self.lists.root, **KINDS[self.preset].source)
        classifiers = {"local": {"type": "local", "min_confidence": 0}}
        pulled = f"sources: {json.dumps({'desk': source})}\nclassifiers: {json.dumps(classifiers)}\n"
        if not KINDS[self.preset].destination:
            return pulled + SAMPLES[self.preset].config(self.preset, self.vendor)
        auth = {"bearer": "OUT_KEY"} if self.preset == "github" else {"basic": ["OUT_USER", "OUT_KEY"]}
        out = {"type": "http", "url": self.vendor.url, "auth": auth, **KINDS[self.preset].destination}
        return pulled + f"destinations: {json.dumps({'out': out})}\nroutes: [{{to: out}}]\n"

    @property
    def variables(self) -> Mapping[str, str]:
        return {"DESK_USER": "user", "DESK_TOKEN": "token", **SAMPLES[self.preset].variables(self.vendor)}

    def labels(self) -> list[Sequence[str]]:
        """Return the labels of all tickets."""
        return [KINDS[self.preset].labels(self.vendor, number) for number in range(NUMBER)]


@contextmanager
def running_desk(preset: str) -> Iterator[LabelledDesk]:
    """Serve a vendor's tickets: in the list they have a text, and stand as labels changed them, with a later time."""
    kind, listed, vendor = KINDS[preset], VENDORS[preset], SAMPLES[preset].vendor()
    kind.begin(vendor)
    before = {number: list(kind.labels(vendor, number)) for number in range(NUMBER)}

    def answer(got: Got) -> Reply:
        for number, labels in before.items():
            if labels != (changed := list(kind.labels(vendor, number))):
                before[number], CHANGES[number] = changed, int(time.time()) - NUMBER + number
        if (beside := kind.answer(vendor, got)) is not None:
            return beside
        reply = listed.answer(got) if got.headers.get("authorization") == listed.proof else Reply(401)
        value = json.loads(reply.body or "null")
        for item in (value[kind.items] if kind.items else value) if reply.status == 200 else ():
            number = int(re.sub(r"\D", "", str(item.get("key", item.get("id", item.get("number", NUMBER))))))
            if number < NUMBER:  # an article has no id, and one ticket is gone
                fields = item.get("fields", item)
                fields |= {kind.subject: f"{TEXTS[number % 3]}, number {number}", **kind.shown(vendor, number)}
        return replace(reply, body=json.dumps(value))

    lists = HttpStub(answer)
    try:
        yield LabelledDesk(preset, vendor, lists)
    finally:
        CHANGES.clear()
        lists.close()
        vendor.close()

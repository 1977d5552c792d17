"""Whatever the input, the result is a record or an error of our own tree; what is exported can be imported."""

import io
import json
from collections.abc import Mapping
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.cli import Printer, options, recorded_command_line, ticket_id_input
from triage_cli.destinations import payload_line
from triage_cli.readers import ReadOptions, open_table
from triage_cli.stores import kept_head

TEXT = st.text(max_size=30)


def texts(*excluded: Literal["Cs", "Cc"]) -> st.SearchStrategy[str]:
    """Return texts without characters of these categories of Unicode, and without blanks at their ends."""
    characters = st.characters(exclude_categories=excluded, exclude_characters="\0")
    return st.text(characters, min_size=1, max_size=30).map(str.strip).filter(bool)


# What a database can hold: no halves of surrogate pairs, and no NUL, which readers reject.
STORED = texts("Cs")
# Without control characters, which are signs of a file that is no text.
WRITTEN = texts("Cs", "Cc")
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
quickly = examples(40, 150)


def a_ticket(**fields: Any) -> dm.Ticket:
    draft = dm.TicketDraft(0, 2, "s", "d", cells=())
    return replace(dm.dedup.new_ticket(dm.dedup.identify(draft), dm.ids.new_id(), dm.times.now(), None), **fields)


# -- codec


@quickly
@given(
    st.fixed_dictionaries(
        {key: STORED | st.none() for key in ("subject", "description", "customer_id", "reason", "category")}
    ),
    st.dictionaries(STORED, JSON, max_size=3),
)
def test_a_ticket_s_record_is_json_and_comes_back(fields: Mapping[str, str | None], extra: Mapping[str, Any]) -> None:
    ticket = a_ticket(**fields, extra=dm.json_values.compact(extra).encode("utf-8", "replace").decode())
    back = json.loads(dm.to_json(dm.ticket_record(ticket)))
    assert tuple(back) == dm.TICKET_KEYS
    assert {key: back[key] for key in fields} == dict(fields)
    assert back["extra"] == json.loads(ticket.extra)
    needed_deliveries = dm.Delivery(
        "msg_1", ticket.ticket_id, None, "c", "d", "r", "h", None, "pending", 0, 0.0, None, None, None, ""
    )
    sent = payload_line(dm.OutgoingDelivery(needed_deliveries, ticket))
    assert sent.count(b"\n") == 1
    assert json.loads(sent)["ticket"] == back


@quickly
@given(st.lists(st.tuples(WRITTEN, WRITTEN, WRITTEN), min_size=1, max_size=5, unique_by=lambda row: row[0]))
def test_what_is_exported_can_be_imported(rows: list[tuple[str, str, str]]) -> None:
    """As JSON lines and as CSV: the same ids, the same texts."""
    tickets = [
        a_ticket(external_id=f"X{n}", subject=f"s {s}", description=f"d {d}", customer_id=f"C-{c}")
        for n, (s, d, c) in enumerate(rows)
    ]
    columns = ("external_id", "subject", "description", "customer_id")
    as_lines = "".join(dm.to_json({k: dm.ticket_record(t)[k] for k in columns}) + "\n" for t in tickets)
    printer, written = Printer("csv"), io.StringIO()
    printer.write = lambda text: written.write(text) >= 0  # type: ignore[method-assign]
    printer.delimited(columns, [[dm.ticket_record(t)[k] for k in columns] for t in tickets])
    for data in (as_lines, written.getvalue()):
        table = open_table(io.BytesIO(data.encode()), "in", ReadOptions(encoding="utf-8"))
        drafts = [d for d in table.rows if isinstance(d, dm.TicketDraft)]
        assert [(d.external_id, d.subject, d.description, d.customer_id) for d in drafts] == [
            (t.external_id, t.subject, t.description, t.customer_id) for t in tickets
        ]


# -- audit log


EVENTS = st.lists(st.tuples(st.booleans(), TEXT, st.dictionaries(TEXT, JSON, max_size=2)), max_size=4)


@quickly
@given(EVENTS, st.binary(min_size=16) | st.none())
def test_any_events_make_a_log_that_holds_and_is_told_as_json(
    events: list[tuple[bool, str, Mapping[str, Any]]], key: bytes | None
) -> None:
    plain = [
        dm.Event("did", dm.ids.new_id() if of else None, None, actor, dm.times.now(), data)
        for of, actor, data in events
    ]
    rows, head = dm.hash_chain.append(dm.Head(dm.hash_chain.GENESIS, 0), plain, key)
    log = [dm.LoggedEvent(*row[:7], prev="", hash=row[7]) for row in rows]
    assert dm.hash_chain.verify(log, key, {head.head: "kept"}) == head
    for event in log:
        record = json.loads(dm.to_json(dm.event_record(event)))
        assert dm.canonical(record["detail"]) == event.detail


ANYTHING = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.binary(max_size=5)


@quickly
@given(st.lists(st.tuples(*[ANYTHING] * 9), max_size=4), st.text(max_size=5))
def test_rows_of_anything_are_no_log_and_raise_nothing_else(rows: list[tuple[Any, ...]], head: str) -> None:
    for key in (None, b"k" * 16):
        with pytest.raises(dm.CheckError) as caught:
            dm.hash_chain.verify([dm.LoggedEvent(*row) for row in rows], key, {head: "kept"})
        assert caught.value.hint


@quickly
@given(st.binary(max_size=40) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_beside_a_database_are_a_head_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, data: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "fuzz.db"
    Path(f"{path}.head").write_bytes(data)
    try:
        head = kept_head(str(path))
    except dm.CheckError:
        return
    assert head is None or isinstance(head.events, int)


# -- router


WHEN = st.dictionaries(
    st.sampled_from(["category", "priority", "customer_id", "external_id", "source", "extra.a", "verdict"]),
    st.lists(TEXT).map(tuple),
    max_size=3,
)
RULES = st.lists(st.tuples(TEXT, st.lists(TEXT, min_size=1).map(tuple), WHEN, st.floats(0, 1) | st.none()), max_size=4)


@quickly
@given(RULES, TEXT | st.none(), st.floats(0, 1) | st.none(), st.booleans())
def test_the_router_takes_any_rules(
    rules: list[Any], category: str | None, confidence: float | None, again: bool
) -> None:
    ticket = a_ticket(category=category, confidence=confidence, status="classified")
    rule = dm.routing_rules.match([dm.Rule(*answer) for answer in rules], ticket)
    rule = rule or (dm.Rule(*rules[0]) if rules else None)
    if rule is None or category is None:
        return
    first = dm.routing.needed_deliveries(ticket, rule, (), again=again, config_hash="h", at="t", due_at=0.0, run_id="r")
    assert {d.destination for d in first.new} == set(rule.to)
    assert all("." not in d.delivery_id for d in first.new)
    done = tuple(replace(d, state="accepted") for d in first.new)
    assert (
        dm.routing.needed_deliveries(
            ticket, rule, done, again=False, config_hash="h", at="t", due_at=0.0, run_id="r"
        ).new
        == ()
    )


# -- what is typed or piped


@quickly
@given(st.binary(max_size=60) | JSON.map(lambda value: json.dumps(value).encode()))
def test_any_bytes_are_ids_or_an_error(data: bytes) -> None:
    names = ["one"]
    with suppress(dm.TriageError):
        names = list(ticket_id_input.names_in(io.BytesIO(data)))
    assert all(names)


@quickly
@given(st.lists(st.text(max_size=12) | st.sampled_from(["--subject", "--customer-id", "--note=", "--db"]), max_size=6))
def test_any_command_line_can_be_kept(args: list[str]) -> None:
    recorded = recorded_command_line(args)
    for before, after in pairwise(args):
        if before in ("--subject", "--customer-id") and len(after) > 8 and args.count(after) == 1:
            assert after not in recorded


@pytest.mark.parametrize(
    "moment", ["", "1", "7d", "99999999999d", "2026-13-01", "0000-00-00", "1e400h", "\u0661d", "-1d", "7 d"]
)
def test_any_moment_is_one_or_an_error(moment: str) -> None:
    for read in (options.typed_moment, options.seconds):
        with suppress(dm.UsageError):
            assert read(moment) is not None

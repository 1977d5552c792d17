"""JSON in all its layouts: array, JSON Lines, one object, objects one after another, a list inside an object."""

import io
import json
import time
from typing import Any

import pytest

from triage_cli import domain as dm
from triage_cli.readers import LONGEST_CELL as LONGEST
from triage_cli.readers import ReadOptions, Table, open_table

ONE = {"id": 7, "subject": "help", "description": "it broke"}
TWO = {"id": 8, "subject": "Grüße", "tags": ["a", "b"], "vip": True, "note": None}


def opened(data: str | bytes, name: str = "t.json", **options: Any) -> Table:
    raw = data.encode() if isinstance(data, str) else data
    return open_table(io.BytesIO(raw), name, ReadOptions(**options))


def read(data: str | bytes, name: str = "t.json", **options: Any) -> list[dm.TicketDraft | dm.Rejected]:
    return list(opened(data, name, **options).rows)


LAYOUTS = {
    "array": json.dumps([ONE, TWO]),
    "pretty array": json.dumps([ONE, TWO], indent=2, ensure_ascii=False),
    "lines": f"{json.dumps(ONE)}\n\n{json.dumps(TWO)}",
    "pretty objects": f"{json.dumps(ONE, indent=1)}\n{json.dumps(TWO, indent=1)}\n",
    "wrapped": json.dumps({"count": 2, "tickets": [ONE, TWO], "next_page": None}),
    "pretty wrapped": json.dumps({"users": [{"id": 1}], "tickets": [ONE, TWO], "end": [1]}, indent=2),
    "wrapped on lines": '{"tickets": [\n' + json.dumps(ONE) + ",\n" + json.dumps(TWO) + "\n]}",
}


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_every_layout_gives_the_same_tickets(layout: str, encoding: str) -> None:
    table = opened(LAYOUTS[layout].encode(encoding))
    first, second = table.rows
    assert table.columns == ("id", "subject", "description", "tags", "vip", "note")
    assert isinstance(first, dm.TicketDraft)
    assert isinstance(second, dm.TicketDraft)
    assert (first.row, first.external_id, first.subject, first.description) == (0, "7", "help", "it broke")
    assert (second.row, second.external_id, second.subject) == (1, "8", "Grüße")
    assert second.extra == {"tags": ["a", "b"], "vip": True}
    assert second.cells == [8, "Grüße", None, ["a", "b"], True, None], "as they came"
    assert first.extra == {}


def test_an_object_under_extra_is_the_tickets_extra_as_the_api_has_it() -> None:
    nested, text = read(
        '[{"subject": "x", "plan": "silver", "extra": {"plan": "gold", "seats": 3, "extra": 1}},'
        ' {"subject": "y", "extra": "a word"}]'
    )
    assert isinstance(nested, dm.TicketDraft)
    assert isinstance(text, dm.TicketDraft)
    assert nested.extra == {"plan": "silver", "seats": 3, "extra": 1}, "a column of its own wins"
    assert text.extra == {"extra": "a word"}


def test_the_line_is_that_of_the_items_beginning() -> None:
    assert [row.line for row in read(LAYOUTS["pretty array"])] == [2, 7]
    assert [row.line for row in read(LAYOUTS["lines"])] == [1, 3]
    assert [row.line for row in read(LAYOUTS["wrapped on lines"])] == [2, 3]


def test_one_object_is_one_ticket_even_with_a_list_inside() -> None:
    (row,) = read('{"subject": "help", "comments": [{"body": "x"}]}')
    assert isinstance(row, dm.TicketDraft)
    assert row.extra == {"comments": [{"body": "x"}]}


def test_a_bad_line_is_rejected_and_the_rest_goes_on() -> None:
    lines = [json.dumps(ONE), '{"subject": "cut', "[1]", json.dumps(ONE) + " and more", '"x"', json.dumps(TWO), ""]
    rows = read("\n".join(lines), "t.jsonl")
    assert [(row.row, row.line, type(row).__name__) for row in rows] == [
        (0, 1, "TicketDraft"),
        (1, 2, "Rejected"),
        (2, 3, "Rejected"),
        (3, 4, "Rejected"),
        (4, 5, "Rejected"),
        (5, 6, "TicketDraft"),
    ]
    bad = [row for row in rows if isinstance(row, dm.Rejected)]
    assert [row.error.message.partition(" (")[0] for row in bad] == [
        "line 2: not JSON",
        "line 3: not a JSON object",
        "line 4: text follows the JSON object",
        "line 5: not a JSON object",
    ]
    assert bad[0].raw == '{"subject": "cut\n'


@pytest.mark.parametrize(
    "data", ['{"subject": "a"}\n{"subject": "cut\n{"subject": "b"}\n', '[{"subject": "a"},\n{"subject": "c\nut"}]']
)
def test_the_reason_why_a_piece_is_not_json_names_no_second_place(data: str) -> None:
    _, bad, *_ = read(data, "t.jsonl")
    assert isinstance(bad, dm.Rejected)
    assert bad.error.message.startswith("line 2")
    assert bad.error.message.partition("not JSON")[2] in (" (Unterminated string)", " (Invalid control character)")


def test_a_bad_first_line_does_not_hide_the_others() -> None:
    rows = read('{"subject": oops}\n{"subject": "a"}\n{"subject": "b"}\n', "t.jsonl")
    assert [type(row).__name__ for row in rows] == ["Rejected", "TicketDraft", "TicketDraft"]


def test_a_bad_item_of_an_array_is_rejected_and_the_rest_goes_on() -> None:
    bad = '{"subject": oops, "x": {"y": "}"}}'
    items = ['[{"subject": "a"}', bad, "17", '"text"', '{"subject": "b"}, {"subject": "c']
    rows = read(",\n".join(items))
    assert [(row.line, getattr(row, "subject", None)) for row in rows] == [
        (1, "a"),
        (2, None),
        (3, None),
        (4, None),
        (5, "b"),
        (5, None),
    ]
    assert [row.error.message for row in rows if isinstance(row, dm.Rejected)] == [
        "line 2, record 2: not JSON (Expecting value)",
        "line 3, record 3: not a JSON object",
        "line 4, record 4: not a JSON object",
        "line 5, record 6: the input ends in the middle of this object",
    ]


def test_a_rejected_element_of_an_array_on_one_line_names_its_number() -> None:
    rows = read('[{"id": 1, "subject": "a"}, 5, {"id": 2, "subject": ""}, null, {"id": 3, "subject": "b"}]')
    assert [row.error.message for row in rows if isinstance(row, dm.Rejected)] == [
        "line 1, record 2: not a JSON object",
        "line 1, record 3: neither subject nor description",
        "line 1, record 4: not a JSON object",
    ]
    last = rows[-1]
    assert isinstance(last, dm.TicketDraft)
    assert last.place == "line 1, record 5"


def test_a_line_of_json_lines_needs_no_number() -> None:
    (row,) = read('{"id": 1, "subject": "a"}\n{"id": 2, "subject": ""}\n', "t.jsonl")[1:]
    assert isinstance(row, dm.Rejected)
    assert row.error.message == "line 2: neither subject nor description"


@pytest.mark.parametrize("layout", ["array", "lines"])
def test_an_item_over_one_megabyte_is_rejected(layout: str) -> None:
    def big(size: int) -> str:
        return json.dumps({"subject": "big", "x": [{"y": 'a "quoted" [ \\ text'}], "description": "z" * size})

    items = [json.dumps(ONE), big(LONGEST), json.dumps(ONE), big(3 * LONGEST), json.dumps(ONE), big(LONGEST // 2)]
    rows = read("[" + ",\n".join(items) + "]" if layout == "array" else "\n".join(items))
    assert [row.error.message if isinstance(row, dm.Rejected) else row.subject for row in rows] == [
        "help",
        "line 2, record 2: over 1 MB",
        "help",
        "line 4, record 4: over 1 MB",
        "help",
        "big",
    ]
    assert [row.line for row in rows] == [1, 2, 3, 4, 5, 6]


@pytest.mark.parametrize("layout", sorted(LAYOUTS))
def test_a_first_item_that_is_longer_than_what_is_examined_is_read(layout: str) -> None:
    first, second = read(LAYOUTS[layout].replace("it broke", "it broke " * 100_000))
    assert isinstance(first, dm.TicketDraft)
    assert isinstance(second, dm.TicketDraft)
    assert (first.subject, len(first.description or ""), second.subject) == ("help", 900_000 - 1, "Grüße")


@pytest.mark.slow
def test_a_first_item_over_sixteen_megabytes_is_told() -> None:
    for layout, reason in (("lines", "is not JSON"), ("array", "holds no JSON objects")):
        with pytest.raises(dm.InputError, match=reason) as refused:
            read(LAYOUTS[layout].replace("it broke", "it broke " * 2_000_000))
        assert "at most 1 MB" in refused.value.hint


def test_what_no_store_can_keep_is_told_or_mended() -> None:
    half, zero = read('[{"subject": "half \\ud83d smile \\ud83d\\ude00"}, {"subject": "a\\u0000b"}]')
    assert isinstance(half, dm.TicketDraft)
    assert half.subject is not None
    assert half.subject.startswith("half \ufffd")
    assert half.subject.endswith("smile 😀")
    assert isinstance(zero, dm.Rejected)
    assert zero.error.message == "line 1, record 2: holds NUL characters"


def test_values_of_other_types_are_read() -> None:
    (row,) = read('[{"subject": "x", "created_at": 1734258158, "priority": "P1", "score": NaN, "late": "", "n": 0}]')
    assert isinstance(row, dm.TicketDraft)
    assert (row.created_at, row.priority, row.extra) == ("2024-12-15T10:22:38Z", "urgent", {"n": 0})


def test_a_key_that_comes_late_is_kept() -> None:
    rows = read("\n".join([json.dumps(ONE)] * 300 + [json.dumps({**ONE, "late": 1})]))
    last = rows[-1]
    assert isinstance(last, dm.TicketDraft)
    assert last.extra == {"late": 1}


@pytest.mark.slow
@pytest.mark.parametrize("begins", ["[", '{"tickets": ['])
def test_a_list_that_is_never_closed_is_told_after_its_rows(begins: str) -> None:
    text = begins + ",\n".join(['{"subject": "a"}'] * 16_000)  # more than is looked at first
    for ending in ("", ",", "\n"):
        *rows, cut = read(text + ending)
        assert [type(row) for row in rows] == [dm.TicketDraft] * 16_000
        assert isinstance(cut, dm.Rejected)
        assert cut.error.message.endswith(": the input ends before its list does, so there may have been more")
    assert len(read(text + ("]}" if begins[0] == "{" else "]"))) == 16_000


@pytest.mark.parametrize("at", [3, 250])
def test_one_nested_value_is_its_row_s_own_matter(at: int) -> None:
    """Within the rows that are looked at first, and after them."""
    items: list[dict[str, Any]] = [{"id": n, "subject": f"s{n}", "description": f"d{n}"} for n in range(300)]
    items[at]["description"] = {"html": "it broke"}
    items[at + 1]["id"] = {"number": 7}
    rows = read(json.dumps(items))
    bad = rows.pop(at + 1)
    assert isinstance(bad, dm.Rejected)
    assert bad.error.message == f"line 1, record {at + 2}: the id under id is a list or an object"
    drafts = [row for row in rows if isinstance(row, dm.TicketDraft)]
    assert [row.external_id for row in drafts] == [str(n) for n in range(300) if n != at + 1]
    assert drafts[at].description == '{"html":"it broke"}'
    assert drafts[at - 1].description == f"d{at - 1}"


def nested(levels: int) -> str:
    return "[" * levels + "]" * levels


@pytest.mark.parametrize("layout", ["[{}]", "{}"])
def test_what_is_nested_too_deeply_to_be_written_again_is_its_row_s_own_matter(layout: str) -> None:
    """A thousand levels can be read, but not written where the program has called a few functions more."""
    items = [f'{{"id": {n}, "subject": "caf\\u00e9", "x": {nested(n)}}}' for n in (1, 99, 100, 600, 5000)]
    separator = "," if layout == "[{}]" else "\n"
    rows = read(layout.format(separator.join(items)))
    assert [type(row) for row in rows] == [dm.TicketDraft] * 2 + [dm.Rejected] * 3
    for row in rows[2:]:
        assert isinstance(row, dm.Rejected)
        assert "nested too deeply" in row.error.message


def test_a_column_of_nested_values_is_no_field_unless_it_is_named() -> None:
    items = [{"_id": {"$oid": f"x{n}"}, "subject": "s", "comments": [{"body": "b"}] if n % 3 else None} for n in (1, 2)]
    taken = [row for row in read(json.dumps(items)) if isinstance(row, dm.TicketDraft)]
    assert [(row.external_id, row.description) for row in taken] == [(None, None)] * 2
    named = read(json.dumps(items), mapping={"external_id": "_id"})
    assert [row.external_id for row in named if isinstance(row, dm.TicketDraft)] == ['{"$oid":"x1"}', '{"$oid":"x2"}']


def test_an_empty_array_is_a_table_without_rows() -> None:
    assert read("[]") == []
    assert read('{"tickets": []}') == []


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ("17", "begins with no array and no object of JSON"),
        ("[1, 2]", "no JSON objects"),
        ('{"a": [{"id": 1}], "b": [{"id": 2}]}', "several lists: a, b"),
        ('{"tickets": {"x": }', "not JSON"),
        ('[{"id": 1, "status": "open"}]', "its columns are id, status"),
        ('{"id": 1}', "its columns are id"),
        ("[" * 100_000, "no JSON objects"),
    ],
)
def test_json_that_holds_no_tickets_is_one_sentence(data: str, message: str) -> None:
    with pytest.raises(dm.InputError) as caught:
        opened(data)
    assert message in caught.value.sentence()


def test_content_decides_before_the_name() -> None:
    assert len(read('[{"subject": "a"}]', "tickets.csv")) == 1
    assert len(read("subject,x\na,b\n", "tickets.tsv")) == 1
    assert len(read('{"subject": "a"}', "-", format="jsonl")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("item", ['"\n', 'a"b,', "{x},", "x,"])
def test_items_that_are_none_cost_no_more_than_their_length(item: str) -> None:
    """Each error of the decoder counts the lines before it: by the square that took some 10 s."""
    began = time.process_time()
    rows = read('[{"subject": "x"},' + item * (256 * 1024 // len(item)) + '{"subject": "y"}]')
    assert time.process_time() - began < 4.0
    assert all(isinstance(row, dm.Rejected) for row in rows[1:-2])


def test_what_follows_an_item_that_is_none_is_read_as_ever() -> None:
    rows = read('[{"subject": "a"}, {x}, "one, two", [1, 2], {"subject": "b, {c}"}, 12, {"subject": "d"}]')
    assert [row.subject if isinstance(row, dm.TicketDraft) else None for row in rows] == [
        "a", None, None, None, "b, {c}", None, "d",
    ]  # fmt: skip


def test_numbers_that_json_has_no_word_for_are_null_or_text() -> None:
    for text in (
        '{"subject": "a", "x": 1e999, "y": NaN, "z": [-Infinity, -1e999]}',
        '[{"subject":"a","x":1e999,"z":[null,"-1e999"]}]',
    ):
        (row,) = read(text)
        assert isinstance(row, dm.TicketDraft)
        assert row.extra == {"x": "1e999", "z": [None, "-1e999"]}


@pytest.mark.parametrize("listed", [False, True])
def test_a_first_object_with_an_attachment_is_rejected_like_any_other(*, listed: bool) -> None:
    items = [json.dumps({"id": n, "subject": "x" * size}) for n, size in enumerate((9 * LONGEST, 5))]
    rows = read(f"[{','.join(items)}]" if listed else "\n".join(items))
    assert [type(row) for row in rows] == [dm.Rejected, dm.TicketDraft]
    assert isinstance(rows[0], dm.Rejected)
    assert rows[0].error.message.endswith("over 1 MB")

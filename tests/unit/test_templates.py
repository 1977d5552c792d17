"""Templates of the configuration: a closed language, whose values keep their type and are never parsed again."""

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.records import replace
from triage_cli import domain as dm
from triage_cli.config import (
    FILTERS,
    LARGEST,
    Template,
    TemplateFailure,
    TemplateMistake,
    as_url_part,
    compiled,
    delivery_names,
    leaves,
)
from triage_cli.destinations import template_values

NAMES = delivery_names(kept=frozenset({"id"}), others=frozenset({"project"}))


def outgoing(**fields: Any) -> dm.OutgoingDelivery:
    values: dict[str, Any] = {"extra": "{}", "category": "Billing", **fields}
    ticket = dm.Ticket("t1", "i", "s", "X-1", "h", values.pop("subject", "hello"), None, None, None, 2, None, "now")
    delivery = dm.Delivery(
        "msg_1", "t1", None, "Billing", "hook", "r", "m", None, "pending", 0, 0.0, None, None, None, ""
    )
    return dm.OutgoingDelivery(delivery, replace(ticket, **values))


def rendered(source: str, **fields: Any) -> Any:
    return Template(source, NAMES, "body").value(template_values(outgoing(**fields), project="SUP"))


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("plain", "plain"),
        ("{{ category }}", "Billing"),
        ("{{ ticket.confidence }}", 0.25),
        ("{{ ticket.verdict }}", False),
        ("{{ attempt }}", 1),
        ("{{- attempt -}}", 1),
        ("{{ ticket.description }}", None),
        ("{{ ticket.description }} is it", " is it"),
        ("{{ ticket.extra.plan }}", None),
        ("{{ ticket.extra.plan.deep[0] }}", None),
        ("{{ ticket.extra['No such'] | upper }}", None),
        ("{{ ticket.extra.items }}", None),  # a method of Python's dict, and no key
        ("{{ remote.id }}", None),
        ("{{ project }}-{{ ticket.external_id }}", "SUP-X-1"),
        ("{{ ticket.description | default('none') }}", "none"),
        ("{{ {'urgent': 'critical'}[ticket.priority] | default('info') }}", "info"),
        ("{{ 'sure' if ticket.confidence > 0.2 else 'unsure' }}", "sure"),
        ("{% if ticket.extra.plan is none %}free{% else %}paid{% endif %}", "free"),
        ("{{ [category, 'triage'] }}", ["Billing", "triage"]),
        ("{{ ticket.subject | json }}", '"hello"'),
        ("{{ ticket.verdict }}!", "false!"),
        ("{{ 'Rücksendung / Geld' | slug }}", "rucksendung-geld"),
        ("{{ 'a\n b\0\tc' | one_line }}", "a b c"),
        ("{{ ticket.subject | truncate(4) }}", "hel…"),
        ("{{ ticket.subject | truncate(5) }}", "hello"),
        ("{{ ticket.subject | truncate(0) }}", ""),
        ("{{ delivery_id | uuid }}", "116b88f1-7300-4be5-a05d-f2a87105f095"),
    ],
)
def test_a_value_keeps_its_type_where_it_stands_alone(source: str, value: object) -> None:
    assert rendered(source, confidence=0.25) == value


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{{ tiket.subject }}", 'name "tiket.subject" is unknown; did you mean "ticket.subject"?'),
        ("{{ ticket.sujet }}", 'name "ticket.sujet" is unknown'),
        ("{{ ticket }}", 'name "ticket" is unknown'),
        ("{{ ticket.subject.__class__ }}", 'name "ticket.subject.__class__" is unknown'),
        ("{{ remote.other }}", 'name "remote.other" is unknown'),
        ("{{ ticket[category] }}", "takes a name in quotes"),
        ("{{ category | shout }}", 'filter "shout" is unknown'),
        ("{{ category | attr('x') }}", 'filter "attr" is unknown'),
        ("{{ category is filtered }}", 'test "filtered" is unknown'),
        ("{{ range(10**9) }}", "no template needs (call)"),
        ("{{ 'x' * 1000000000 }}", "no template needs (mul)"),
        ("{{ 9 ** 9 ** 9 }}", "no template needs (pow)"),
        ("{{ category ~ category }}", "no template needs (concat)"),
        ("{% for x in ticket.extra.y %}{% endfor %}", "no template needs (for)"),
        ("{% macro m() %}{% endmacro %}", "no template needs (macro)"),
        ("{% include 'x' %}", "no template needs (include)"),
        ("{% set x = 1 %}", "no template needs (assign)"),
        ("{{ category", "is not a valid template"),
        ("{% if category %}", "is not a valid template"),
        ("{{ " + "(" * 5000 + "1" + ")" * 5000 + " }}", "is nested too deeply"),
        ("x{{ category }}" * 5000, "is longer than"),
    ],
)
def test_what_no_ticket_could_be_rendered_with_is_a_mistake(source: str, message: str) -> None:
    with pytest.raises(TemplateMistake) as caught:
        Template(source, NAMES, "body")
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "source", ["{{ ticket.confidence > 0.5 }}", "{{ ticket.subject | join }} {{ ticket.source < 1 }}"]
)
def test_what_this_ticket_cannot_be_rendered_with_names_the_place(source: str) -> None:
    with pytest.raises(TemplateFailure, match=r"^body: "):
        rendered(source)


@pytest.mark.parametrize(
    "source",
    [
        "{{ ticket.subject | replace('', ticket.subject) }}",
        "{{ ticket.extra.all | join(ticket.subject) }}",
        "{{ ticket.subject | json | json | json | json | json | json }}",
        "{{ ticket.subject }}" * 50,
    ],
)
def test_no_template_takes_much_memory(source: str) -> None:
    tracemalloc.start()
    try:
        with pytest.raises(TemplateFailure, match=f"{LARGEST:,} characters"):
            rendered(source, subject='"' * 1_000_000, extra=dm.compact({"all": list(range(1000))}))
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_a_tree_is_rendered_leaf_by_leaf_and_a_mistake_has_its_place() -> None:
    tree = {
        "fields": {"summary": "{{ ticket.subject }}", "labels": ["triage", "{{ delivery_id }}"], "n": 3, "no": None}
    }
    render = compiled(tree, NAMES, "body")
    assert render(template_values(outgoing())) == {
        "fields": {"summary": "hello", "labels": ["triage", "msg_1"], "n": 3, "no": None}
    }
    assert [place for place, _ in leaves(tree, "body")] == [
        "body.fields.summary", "body.fields.labels[0]", "body.fields.labels[1]",
    ]  # fmt: skip


def test_a_part_of_an_address_is_percent_encoded_and_never_empty() -> None:
    path = Template("/tickets/{{ ticket.external_id }}/tags", NAMES, "url", as_url_part)
    assert (
        path.text(template_values(outgoing(external_id="a/../b?c=d é"))) == "/tickets/a%2F..%2Fb%3Fc%3Dd%20%C3%A9/tags"
    )
    for nothing in (None, ""):
        with pytest.raises(TemplateFailure, match=r"^url: a value is empty"):
            path.text(template_values(outgoing(external_id=nothing)))


HOSTILE = st.text(st.characters(codec="utf-8"), max_size=300) | st.sampled_from(
    [
        "{{ 7*7 }}",
        "{% for x in y %}",
        '"}, {"',
        "\\",
        "\0",
        "a:\n- b",
        "{{ ticket.subject }}",
        "\u2028",
        "x" * 1_000_000,
    ]
)


@given(HOSTILE, HOSTILE)
@settings(examples(60, 300), derandomize=True)
def test_hostile_text_arrives_as_it_was_in_valid_json(text: str, column: str) -> None:
    tree = {"text": "{{ ticket.subject }}", "mixed": "<{{ ticket.extra.note }}>", "{{ raw }}": ["{{ ticket.extra }}"]}
    body = dm.compact(
        compiled(tree, NAMES, "body")(template_values(outgoing(subject=text, extra=dm.compact({"note": column}))))
    )
    assert json.loads(body.encode()) == {"text": text, "mixed": f"<{column}>", "{{ raw }}": [{"note": column}]}


@pytest.mark.slow
@given(HOSTILE, st.integers(0, 50))
@settings(examples(50, 200), derandomize=True)
def test_truncate_never_gives_more_and_one_line_is_one(text: str, length: int) -> None:
    short = rendered(f"{{{{ ticket.subject | truncate({length}) }}}}", subject=text)
    assert len(short.encode("utf-16-le")) // 2 <= length
    assert short == text or text.startswith(short[:-1])
    assert len(rendered("{{ ticket.subject | one_line }}", subject=text).splitlines()) <= 1
    assert rendered("{{ ticket.subject | slug }}", subject=text).replace("-", "").isalnum()


def test_every_filter_leaves_null_as_it_is() -> None:
    arguments = {"truncate": "(3)", "replace": "('a', 'b')"}
    for name in FILTERS:
        assert rendered(f"{{{{ ticket.description | {name}{arguments.get(name, '')} }}}}") == (
            "" if name == "default" else None
        )

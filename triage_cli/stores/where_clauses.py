"""Translates selections of tickets, queries of events and groups of counts to SQL."""

import re
from itertools import chain
from typing import Any

from triage_cli import domain as dm
from triage_cli.stores.dialect import Dialect

# By the field of a selection.
FIELD_CONDITIONS = {
    **{field: f"{field} = :{field}" for field in ("customer_id", "priority", "classifier")},
    "since": "stored_at >= :since",
    "until": "stored_at <= :until",
    # Without its index: pages are read in the order of ticket_id, so the index would sort the whole period for each
    # page.
    "written_since": "(coalesce(created_at, stored_at) || '') >= :written_since",
    "min_confidence": "confidence >= :min_confidence",
    "max_confidence": "confidence <= :max_confidence",
}
SENT_TO_CONDITION = """exists (select 1 from deliveries where deliveries.ticket_id = tickets.ticket_id
    and deliveries.state <> 'superseded' and destination in (select value from json_each(:destinations)))"""
# `like` ignores the case of English letters alone. `lowered`, which SQLite gets from us and which is translated for
# PostgreSQL, knows all letters, and is a call of Python for each ticket, which takes several times as long.
ENGLISH_SEARCH = "(subject like :search escape '\\' or description like :search escape '\\')"
SEARCH = " or ".join(f"lowered({field}) like lowered(:search) escape '\\'" for field in ("subject", "description"))
EMPTY = "''"
OF_MAIL_ADDRESS = "same_mail(customer_id, :customer_id)"
_JSON_SCALAR = re.compile(r"-?[0-9]+(?:\.[0-9]+)?|true|false|null")
# The sort expressions of fields other than texts that may be null. Nulls come first, since positions are compared.
SORT_KEYS = {"priority": "-urgency", "confidence": "coalesce(confidence, -1)", "cost_usd": "cost_usd"}
# Only ids are sorted, so many at a time, so that memory does not grow with the database.
SORTED_IDS_PER_PAGE = 20_000
# A selection is rare if it has few of so many next tickets, and there are others behind them.
NEXT_TICKETS = 20_000
IS_RARE = """with behind as (select ticket_id from tickets where {after} order by ticket_id desc limit 1 offset :next)
    select count(*) from behind where :few > (select count(*) from (select 1 from tickets
    where {where} and ticket_id > (select ticket_id from behind) limit :few) of_next)"""
# No index has the order of an expression.
IDS_AS_STORED = "select ticket_id from tickets where {where} order by ticket_id || '' desc limit :limit"


def sorted_ids(selection: dm.Selection) -> tuple[str, dict[str, Any]]:
    """Return a query for up to `:page` ids in sorted order, and its other values.

    It continues after the last ticket of the page before, or after a value and an id, as `0.5:ID`, whatever became of
    that ticket since. Each page reads the whole selection.
    """
    field, _, direction_name = selection.sort.partition(":")
    if field not in dm.SORTS:
        raise ValueError(field)
    sort_key = SORT_KEYS.get(field, f"coalesce({field}, '')")
    comparison, direction = ("<", "desc") if direction_name == "desc" else (">", "asc")
    conditions, values = where(selection)
    if selection.after:
        last_position = f"select {sort_key}, ticket_id from tickets where ticket_id = :after_id"
        last_value, _, values["after_id"] = selection.after.rpartition(":")
        if last_value:
            last_position, values["after_value"] = ":after_value, :after_id", float(last_value)
        conditions.append(f"({sort_key}, ticket_id) {comparison} ({last_position})")
    condition = " and ".join(conditions) or "true"
    sort_order = f"{sort_key} {direction}, ticket_id {direction}"
    return f"select ticket_id from tickets where {condition} order by {sort_order} limit :page", values


def where(selection: dm.Selection) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions of a selection and their values, all but `after` and `limit`.

    Texts are compared as they are stored, with U+FFFD in the place of NUL, so that all databases answer the same. A
    customer's mail address is compared however it is spelt: it is one person, and `forget` must find every ticket.
    """
    conditions: list[str] = []
    values: dict[str, Any] = {}
    if selection.ids is not None:
        conditions.append("ticket_id in (select value from json_each(:ids))")
        values["ids"] = dm.compact(list(selection.ids))
    for field, condition in FIELD_CONDITIONS.items():
        value = getattr(selection, field)
        if value is not None:
            address = dm.mail_address(value) if field == "customer_id" else None
            conditions.append(condition if address is None else OF_MAIL_ADDRESS)
            values[field] = address or (dm.storable_text(value) if isinstance(value, str) else value)
    for field, column in (
        ("categories", "category"),
        ("sources", "source"),
        ("suggestions", "suggestion"),
        ("languages", "language"),
    ):
        if chosen := [dm.storable_text(value) for value in getattr(selection, field)]:
            equality = f"{column} = :{field}"  # an index answers it on PostgreSQL
            conditions.append(equality if len(chosen) == 1 else f"{column} in (select value from json_each(:{field}))")
            values[field] = chosen[0] if len(chosen) == 1 else dm.compact(chosen)
    if selection.destinations:
        conditions.append(SENT_TO_CONDITION)
        values["destinations"] = dm.compact([dm.storable_text(name) for name in selection.destinations])
    json_conditions = [_extra_condition(number, pair) for number, pair in enumerate(selection.extras)]
    json_conditions += [_answer_condition(number, pair) for number, pair in enumerate(selection.answers)]
    conditions += [condition for condition, _ in json_conditions]
    values |= dict(chain.from_iterable(pairs.items() for _, pairs in json_conditions))
    conditions += ["unanswered = 1"] * selection.unanswered
    if selection.verdict is not None:
        conditions.append(f"verdict = {int(selection.verdict)}")
    if selection.search is not None:
        conditions.append(ENGLISH_SEARCH if selection.search.isascii() else f"({SEARCH})")
        values["search"] = f"%{_like_escaped(dm.storable_text(selection.search))}%"
    if selection.statuses or selection.ids is None:
        # Nearly all tickets pass it without statuses: last, since in a row it stands behind the texts.
        conditions.insert(0 if selection.statuses else len(conditions), _status_condition(selection.statuses))
    return conditions, values


def where_after(selection: dm.Selection) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions and values of a selection with its `after`, in descending order of ids."""
    conditions, values = where(selection)
    if selection.after:
        conditions.append("ticket_id < :after_id")
        values["after_id"] = dm.storable_text(selection.after)
    return conditions, values


def rare(selection: dm.Selection) -> tuple[str, str, dict[str, Any]]:
    """Return a query for 1 if a selection has few of the next tickets, one for its first ids, and their values."""
    conditions, values = where_after(selection)
    limit = SORTED_IDS_PER_PAGE if selection.limit is None else min(selection.limit, SORTED_IDS_PER_PAGE)
    values |= {"next": NEXT_TICKETS, "few": limit // 50 + 1, "limit": limit}
    condition, after = " and ".join(conditions), "ticket_id < :after_id" if selection.after else "true"
    return IS_RARE.format(where=condition, after=after), IDS_AS_STORED.format(where=condition), values


def _extra_condition(number: int, named_value: str) -> tuple[str, dict[str, str]]:
    """Return the condition that the JSON of `extra` holds a name with its value, a text or a number, and its values.

    No text in there looks like such a pair, since its quotes are escaped.
    """
    name, _, text = map(dm.storable_text, named_value.partition("="))
    stated = [dm.compact(text), *([text] if _JSON_SCALAR.fullmatch(text) else [])]
    forms = [f"{start}{dm.compact(name)}:{value}{end}" for value in stated for start in "{," for end in ",}"]
    pairs = {f"extra_{number}_{'abcdefgh'[place]}": form for place, form in enumerate(forms)}
    return f"({' or '.join([f'replace(extra, :{key}, {EMPTY}) <> extra' for key in pairs])})", pairs


def _answer_condition(number: int, named_value: str) -> tuple[str, dict[str, str]]:
    """Return the condition that the JSON of `answers` holds this value of a question, which stands first there.

    Without a value: that it holds none.
    """
    question, _, value = map(dm.storable_text, named_value.partition("="))
    begins = f'{dm.compact(question)}:{{"value":{dm.compact(value) if value else chr(34)}'
    comparison = "<>" if value else "="
    return f"replace(answers, :answer_{number}, {EMPTY}) {comparison} answers", {f"answer_{number}": begins}


def _status_condition(statuses: frozenset[str]) -> str:
    """Return the condition for statuses; without any, what was taken back with its import is in no selection."""
    if not statuses:
        return "status <> 'withdrawn'"
    # Sorted literals, so that SQLite recognises its partial indexes.
    selected_statuses = sorted(set(dm.STATUSES) & statuses)
    if len(selected_statuses) == 1:
        return f"status = '{selected_statuses[0]}'"
    return f"status in ({', '.join(map(repr, selected_statuses))})"


def where_claimable(selection: dm.Selection) -> tuple[list[str], dict[str, Any]]:
    """Return the conditions and values of a claim: those of the selection, and the position after which it goes on."""
    conditions, values = where(selection)
    if selection.after:
        conditions.append("(urgency, ticket_id) > (:after_urgency, :after_id)")
        values |= {"after_urgency": int(selection.after[0]), "after_id": selection.after[1:]}
    return conditions, values


EVENT_COMPARISONS = {"ticket_id": "ticket_id =", "actor": "actor =", "since": "timestamp >=", "until": "timestamp <="}


def where_events(query: dm.EventQuery) -> tuple[str, dict[str, Any]]:
    """Return the condition of an event query and its values, all but `after` and `limit`."""
    values = {f: dm.storable_text(value) for f in EVENT_COMPARISONS if (value := getattr(query, f)) is not None}
    conditions = [f"{EVENT_COMPARISONS[field]} :{field}" for field in values]
    if query.actions:
        conditions.append("action in (select value from json_each(:actions))")
        values["actions"] = dm.compact([dm.storable_text(action) for action in query.actions])
    return " and ".join(conditions) or "true", values


DAY = "substr(tickets.stored_at, 1, 10)"
# By the name of a key, as in `StatsKey`: the columns of tickets, and what is made of them or stands in other tables. A
# ticket with deliveries to several destinations is in the group of each.
GROUP_KEYS = {
    **{
        key: f"tickets.{key}"
        for key in ("category", "status", "classifier", "priority", "customer_id", "source", "language")
    },
    "category:1": "tickets.category",  # of which the use cases take the first level
    "day": DAY,
    "week": "{monday}",
    "month": "substr(tickets.stored_at, 1, 7)",
    "destination": "sent.destination",
    "actor": "decided.actor",
}
GROUP_JOINS = {
    "destination": """left join (select distinct ticket_id, destination from deliveries
    where state <> 'superseded') sent on sent.ticket_id = tickets.ticket_id""",
    "actor": """left join (select classification_id, actor from classifications) decided
    on decided.classification_id = tickets.decision_id""",
}


def grouped(query: dm.StatsQuery, dialect: Dialect) -> tuple[str, dict[str, Any]]:
    """Return a query for the counts of each group: its keys, tickets, sure ones, those for a person, their cost.

    Any key but those of `GROUP_KEYS` is the name of a question.
    """
    conditions, values = where(query.where)
    monday = dialect.monday.format(day=DAY)
    group_columns = [
        GROUP_KEYS[key].format(monday=monday) if key in GROUP_KEYS else dialect.columns_of(key).value
        for key in query.by
    ]
    count_where = "coalesce(sum(case when tickets.{} then 1 else 0 end), 0)"
    count_columns = (
        "count(*)",
        count_where.format("category is not null"),
        count_where.format("status = 'needs_review'"),
    )
    all_columns = ", ".join([*group_columns, *count_columns, "coalesce(sum(tickets.cost_usd), 0)"])
    counted_tables = " ".join(["tickets", *(join for key, join in GROUP_JOINS.items() if key in query.by)])
    group_by = f" group by {', '.join(group_columns)}" if group_columns else ""
    return f"select {all_columns} from {counted_tables} where {' and '.join(conditions) or 'true'}{group_by}", values


def _like_escaped(text: str) -> str:
    """Return a text escaped for a LIKE pattern."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")

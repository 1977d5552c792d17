"""The conditions of a rule in config.yaml: values that a field may have, words, patterns, bounds."""

import re
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, Schema, accepts, or_null, record, record_schema, schema_of
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, UnsupportedScalar

# The largest share of wrong answers that can be promised.
MOST_ERROR = 0.5
PROMISED_SHARE = valid.share(MOST_ERROR)
OF_EACH: Mapping[str, Field] = {"each": Field(PROMISED_SHARE, needed=True)}
# What looks like a comparison of numbers, as > 100; a listed value is compared as a whole text.
COMPARISON = re.compile(r"\s*([<>=!]=|[<>≤≥])\s*([-+]?[0-9][0-9.,_]*)\s*")
COLUMN_TEXT: Schema = {"type": "string", "pattern": r"\S", "not": {"pattern": f"^{COMPARISON.pattern}$"}}
BOUND_OF_SIGN = {">": "over", "<": "under", ">=": "at_least", "≥": "at_least", "<=": "at_most", "≤": "at_most"}
# What is meant as a pattern, as outage.* and foo|bar, where a word stands as it is.
PATTERN_LIKE = r"\\[bBdDsSwW]|\.[*+]|\]\s*[*+]|^\^|\$$|\w\|\w"
LONGEST_WORD, LONGEST_PATTERN = 200, 500  # characters
WORD_TEXT: Schema = {"type": "string", "pattern": r"\S", "maxLength": LONGEST_WORD}


def _comparison_objection(column: str) -> str:
    if not (comparison := COMPARISON.fullmatch(column)):
        return ""
    bound = BOUND_OF_SIGN.get(comparison[1])
    instead = f"write {{{bound}: {comparison[2]}}}" if bound else "list the values that are meant"
    return f'compares no numbers: only the text "{column}" itself would match; {instead}'


def _word_objection(word: str) -> str:

    if len(word) > LONGEST_WORD:
        return f"is {len(word)} characters long; a word or phrase has at most {LONGEST_WORD}"
    if not dm.linear_patterns.folded_word(word):
        return "has no character that can be seen"
    if re.search(PATTERN_LIKE, word):
        return "looks like a pattern, and a word is looked for as it stands; write {match: …} for a pattern"
    return ""


def pattern_objection(pattern: str) -> str:
    """Return why a text is no pattern that can be looked for in linear time, else an empty text."""
    if len(pattern) > LONGEST_PATTERN:
        return f"is {len(pattern):,} characters long; a pattern has at most {LONGEST_PATTERN}"
    return dm.linear_patterns.no_pattern(pattern)


pattern = valid.unless({"type": "string", "minLength": 1, "maxLength": LONGEST_PATTERN}, pattern_objection)
words = valid.several(valid.unless(WORD_TEXT, _word_objection), least=1)


@accepts(lambda: {"anyOf": [schema_of(words), record_schema(MATCH)]})
def _text_condition(setting: ConfigNode) -> dm.Words | dm.Match:
    """Accept a word, several of them, or a pattern."""
    if not isinstance(setting.value, dict):
        return dm.Words(words(setting))
    return dm.Match(record(setting, MATCH, setting.path).get("match", ""))


@accepts({"type": ["number", "string"]})
def _bound(setting: ConfigNode) -> float | str:
    """Accept a number, or a time of ISO 8601, quoted or not."""
    value = setting.value
    if isinstance(value, str | UnsupportedScalar):
        moment = value if isinstance(value, str) else value.text
        try:
            datetime.fromisoformat(moment)
        except ValueError:
            quotes = "; write it without quotes" if re.fullmatch(r"[-+]?\d+(\.\d+)?", moment) else ""
            raise ConfigValueError(
                f'"{moment[:40]}" is neither a number nor a time such as 2026-11-30T09:00:00Z{quotes}'
            ) from None
        return moment
    bound: float = ANY_NUMBER(setting)
    return bound


@accepts(lambda: {**record_schema(BOUNDS), "minProperties": 1})
def _bounds(setting: ConfigNode) -> dm.Bounds:
    """Accept bounds of numbers or times that some value lies within."""
    bounds = dm.Bounds(**record(setting, BOUNDS, setting.path))
    given = dict(bounds.given())
    if not setting.value:
        raise ConfigValueError("names no bound; write one of over, under, at_least, at_most")
    if len({type(bound) is str for bound in given.values()}) > 1:
        raise ConfigValueError("compares with a number and with a time; a value can be only one of them")
    for pair in (("over", "at_least"), ("under", "at_most")):
        if given.keys() >= {*pair}:
            raise ConfigValueError(f"has both {pair[0]} and {pair[1]}; keep one of them")
    if not bounds.can_hold():
        raise ConfigValueError(f"holds of nothing: no value {str(bounds).removeprefix('is ')}")
    return bounds


@accepts(lambda: {"anyOf": [schema_of(_listed_column), schema_of(_bounds)]})
def _column_condition(setting: ConfigNode) -> tuple[str, ...] | dm.Bounds:
    """Accept the values that a column may have, or their bounds."""
    if isinstance(setting.value, dict):
        return _bounds(setting)
    listed: tuple[str, ...] = _listed_column(setting)
    return listed


@accepts(lambda: {"anyOf": [schema_of(PROMISED_SHARE), record_schema(OF_EACH)]})
def promised_error(setting: ConfigNode) -> dm.MaxError | None:
    """Accept the share of wrong answers that is promised: of all, or `{each: …}` of each category."""
    if not isinstance(setting.value, dict):
        return dm.MaxError(PROMISED_SHARE(setting))
    values = record(setting, OF_EACH, setting.path)
    return dm.MaxError(values["each"], each=True) if "each" in values else None


def _or_open(check: Check) -> Check:
    """Accept one or several values, among them null: that of an open question, or of what is not clear."""
    listed: Callable[[ConfigNode], tuple[str | None, ...]] = valid.several(valid.optional(check), least=1)

    @accepts(lambda: or_null(schema_of(listed)))
    def read(setting: ConfigNode) -> tuple[str | None, ...]:
        return (None,) if setting.value is None else listed(setting)

    return read


@accepts(schema_of(valid.truth))
def _verdict_condition(setting: ConfigNode) -> tuple[bool]:
    return (valid.truth(setting),)


@accepts(lambda: {"anyOf": [schema_of(valid.text), record_schema(OUTSIDE)]})
def _hours_condition(setting: ConfigNode) -> tuple[str, bool]:
    """Accept the name of a calendar, and whether its hours are meant or those outside of them."""
    if not isinstance(setting.value, dict):
        return valid.text(setting), False
    return record(setting, OUTSIDE, setting.path).get("outside", ""), True


@accepts(lambda: record_schema(AGE))
def _age(setting: ConfigNode) -> tuple[float, str | None]:
    """Accept an age, and the name of the calendar whose open hours alone it counts."""
    values = record(setting, AGE, setting.path)
    return values.get("over", 0.0), values.get("in")


answer_condition = _or_open(valid.text)
ANY_NUMBER: Check = valid.number(-1e15, 1e15)
_listed_column: Callable[[ConfigNode], Any] = valid.several(valid.unless(COLUMN_TEXT, _comparison_objection), least=1)
AGE: Mapping[str, Field] = {"over": Field(valid.duration, needed=True), "in": Field(valid.text)}
OUTSIDE: Mapping[str, Field] = {"outside": Field(valid.text, needed=True)}
MATCH: Mapping[str, Field] = {"match": Field(pattern, needed=True)}
BOUNDS: Mapping[str, Field] = {name: Field(_bound) for name in dm.Bounds._fields}
# The placeholder for any column of `extra`.
COLUMN = f"{dm.EXTRA}COLUMN"
WHEN: Mapping[str, Field] = {
    "category": Field(valid.several(valid.text, least=1)),
    "priority": Field(valid.several(valid.one_of(*dm.PRIORITIES), least=1)),
    "customer_id": Field(valid.several(valid.text, least=1)),
    "external_id": Field(valid.several(valid.text, least=1)),
    "source": Field(valid.several(valid.text, least=1)),
    "language": Field(_or_open(valid.one_of(*dm.LANGUAGES))),
    COLUMN: Field(_column_condition),
    "verdict": Field(_verdict_condition),
    "min_confidence": Field(valid.number(0, 1)),
    "max_error": Field(promised_error),
    "text": Field(_text_condition),
    "subject": Field(_text_condition),
    "hours": Field(_hours_condition),
}


# The conditions of an escalation.
ESCALATION_WHEN: Mapping[str, Field] = {
    **{key: field for key, field in WHEN.items() if key != "max_error"},
    "status": Field(valid.several(valid.one_of(*dm.ESCALATED), least=1), needed=True),
    "age": Field(_age),
}
# What a rule before the classification can look at, beside columns.
BEFORE_WHEN = frozenset({"priority", "customer_id", "external_id", "source", "text", "subject", "hours"})


def when_schema(table: Mapping[str, Field] = WHEN) -> Schema:
    """Return the schema of a rule's conditions."""
    conditions = {key: field for key, field in table.items() if key != COLUMN}

    columns = {f"^{re.escape(dm.EXTRA)}.": schema_of(WHEN[COLUMN].check)}
    # Any other name may be that of a question, unless something else has it.
    names = {"pattern": rf"^([A-Za-z][A-Za-z0-9_]*|{re.escape(dm.EXTRA)}.+)$"}
    taken = {"not": {"enum": sorted({*dm.TICKET_KEYS, *WHEN, *ESCALATION_WHEN} - conditions.keys())}}
    further = {"additionalProperties": schema_of(answer_condition), "propertyNames": {**names, **taken}}
    return record_schema(conditions) | {"patternProperties": columns} | further


def read_conditions(setting: ConfigNode, name: str, when: Mapping[str, Field] = WHEN) -> dict[str, Any]:
    """Return the conditions of a rule, in the order of the table, so that equal rules have equal hashes."""
    extra_columns = [
        key for key in (setting.value if isinstance(setting.value, dict) else ()) if key.startswith(dm.EXTRA)
    ]
    table = {**when, **{key: WHEN[COLUMN] for key in sorted(extra_columns) if key != dm.EXTRA}}
    values = record(setting, table, f"{name}.when")
    return {key: values[key] for key in table if key in values}

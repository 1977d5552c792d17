"""Questions in config.yaml that tickets are asked beside that for their category."""

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.categories import in_levels, read_categories
from triage_cli.config.classifiers import SHARE, ClassifierSpec
from triage_cli.config.key_tables import Field, Schema, accepts, record, record_schema, schema_of, suggestion
from triage_cli.config.rule_conditions import ESCALATION_WHEN, promised_error
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

MOST_QUESTIONS = 20
QUESTION_NAME = "[A-Za-z][A-Za-z0-9_]{0,39}"
# What a column of an answer is named after its question: the machine's unsure guess, and its confidence.
COLUMN_ENDS = ("_suggestion", "_confidence")
# A value of which several may hold is a part of names, of queries and of the keys of a language model's answer.
PART_NAME = "[A-Za-z0-9][A-Za-z0-9_-]{0,38}"
# How many examples of each other value show what a value does not mean.
EXAMPLES_OF_OTHERS = 2


@accepts(lambda: {"type": "object", "additionalProperties": record_schema(QUESTION), **_NAMES})
def read_questions(setting: ConfigNode) -> dict[str, ConfigNode]:
    """Return the questions as they stand, by their names; `checked_questions` reads them once classifiers are known."""
    entries = setting.entries()
    if len(entries) > MOST_QUESTIONS:
        raise ConfigValueError(f"holds more than {MOST_QUESTIONS} questions")
    taken, folded_names = _taken_names(), dict[str, str]()
    for name, entry in entries.items():
        folded = name.casefold()
        base = next((folded.removesuffix(end) for end in COLUMN_ENDS if folded.endswith(end)), folded)
        if not re.fullmatch(QUESTION_NAME, name):
            entry.wrong("must have a name of at most 40 letters from a to z, digits and _, with a letter first")
        elif folded in taken or base in taken:
            entry.wrong("has the name of what a ticket has already; give the question another name")
        elif folded_names.setdefault(folded, name) != name:
            entry.wrong(f'has the name of "{folded_names[folded]}" but for its case')
    return entries


def _taken_names() -> frozenset[str]:
    """Return the names of a record's fields, conditions, words of `stats --by`, templates and added columns."""
    from triage_cli.config.template_language import DELIVERY_NAMES

    others = "answers asked classifications deliveries events id label labels language note remote text ticket"
    tables = (dm.TICKET_KEYS, ESCALATION_WHEN, dm.STATS_KEYS, DELIVERY_NAMES, dm.added_keys(prefix=""))
    return frozenset((dm.CATEGORY, dm.NO_VALUE, *others.split(), *(name for table in tables for name in table)))


def checked_questions(
    entries: Mapping[str, ConfigNode], classifiers: Mapping[str, ClassifierSpec], default: str, *, levels: bool
) -> tuple[dm.Question, ...]:
    """Return the questions; `default` is the classifier of those that name none. Mistakes go to the diagnostics."""
    questions: list[dm.Question] = []
    for name, entry in entries.items():
        values = record(entry, QUESTION, f"questions.{name}")
        if "values" not in values:
            continue
        many = values.pop("many", False)
        objection = _part_objection if many else _value_objection
        listed = values["values"].read(_values_of(f"questions.{name}", objection), ())
        values["values"] = in_levels(listed) if levels else listed
        if many and any(value.was for value in listed):
            entry.wrong("values of which several may hold are not renamed yet: leave out was")
        if "map" in values and "column" not in values:
            entry.wrong("map translates the values of a column; name that as column")
        names = [*(value.name for value in listed), *([dm.NO_VALUE] if many else [])]
        for written, meant in values.get("map", {}).items():
            if listed and meant not in names:
                near = suggestion(meant, names)
                entry.entries()["map"].wrong(f'"{written}" would mean "{meant}", which is no value{near}')
        if "max_error" in values and "min_confidence" in values:
            entry.wrong("max_error stands in place of min_confidence: leave one of them out")
        named = values.get("classifier", default)
        if named not in classifiers and "classifier" in values:
            entry.entries()["classifier"].wrong(f'no classifier "{named}"{suggestion(named, classifiers)}')
        asked = list(_parts(name, listed, values)) if many else [dm.Question(name, **values)]
        if len(questions) <= MOST_QUESTIONS < len(questions) + len(asked):
            entry.wrong(f"makes more than {MOST_QUESTIONS} questions: each of several values is one; leave values out")
        questions += asked
    return tuple(questions)


def _parts(name: str, listed: tuple[dm.Category, ...], shared: Mapping[str, Any]) -> Iterator[dm.Question]:
    """Yield a question for each of several values: whether it holds. Examples of the others show what it is not."""
    ask, meanings = shared.get("ask", ""), {value.name: value.name for value in listed} | {dm.NO_VALUE: dm.NO_VALUE}
    meanings |= shared.get("map", {})
    for value in listed:
        others = [example for other in listed if other != value for example in other.examples[:EXAMPLES_OF_OTHERS]]
        described = f"{value.name}: {value.description}" if value.description else value.name
        part = {
            "ask": f'{ask} Does "{value.name}" hold? Several values of {name} may hold, or none.'.lstrip(),
            "values": (
                dm.Category(dm.HOLDS, described, value.examples),
                dm.Category(dm.HOLDS_NOT, examples=tuple(others) if value.examples else ()),
            ),
            "map": {written: dm.HOLDS if meant == value.name else dm.HOLDS_NOT for written, meant in meanings.items()},
        }
        yield dm.Question(name + dm.PART + value.name, **{**shared, **part})


def _values_of(section: str, objection: Callable[[str], str]) -> Callable[[ConfigNode], object]:
    return lambda setting: read_categories(setting, section, objection)


def _part_objection(name: str) -> str:
    """Return why a text cannot be one of several values that may hold, else an empty text."""
    if why := _value_objection(name):
        return why
    if re.fullmatch(PART_NAME, name):
        return ""
    return f'"{name}" is no name of a value of which several may hold: at most 39 letters from a to z, digits, _ and -'


def _value_objection(name: str) -> str:
    """Return why a text cannot be a value of a question, else an empty text."""
    if "," in name:
        return f'"{name}" holds a comma, which parts the values of a verdict; write another sign'
    return (
        f'"{name}" is what a verdict says where no value holds; take another word'
        if name.casefold() == dm.NO_VALUE
        else ""
    )


@accepts(lambda: {"type": "object", "additionalProperties": {"type": "string"}})
def _meanings(setting: ConfigNode) -> Mapping[str, str]:
    return {written: meant.read(valid.text, "") for written, meant in setting.entries().items()}


_NAMES: Schema = {"propertyNames": {"pattern": f"^{QUESTION_NAME}$"}, "maxProperties": MOST_QUESTIONS}
QUESTION: Mapping[str, Field] = {
    "ask": Field(valid.text),
    "values": Field(accepts(lambda: schema_of(read_categories))(lambda setting: setting), needed=True),
    "classifier": Field(valid.text),
    "min_confidence": Field(SHARE),
    "max_error": Field(promised_error),
    "required": Field(valid.truth),
    "column": Field(valid.text),
    "map": Field(_meanings),
    "many": Field(valid.truth),
}

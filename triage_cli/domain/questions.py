"""Questions about tickets: the category and further ones, and what holds of each of them on a ticket.

The answer to the question `category` stands in columns of its own, because it decides the ticket's status; those to
further questions stand in the column `answers`, a JSON object by question. A question of which several values may hold
is one question for each of its parts, `topics.app`: whether that value holds; what it answers as a whole follows.
"""

import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.domain.errors import UsageError
from triage_cli.domain.evaluation.error_bounds import MaxError
from triage_cli.domain.json_values import compact, from_json
from triage_cli.domain.levels import Levels
from triage_cli.domain.tickets import CATEGORY, Category, Renamed, SourceOfConfidence, Ticket

# `answered`: sure, or by a person. `unsure`: it has a suggestion at most. `failed`: the classifier could not answer.
# `unanswered`: it was not asked yet, or not about the present text.
AnswerState = Literal["answered", "unsure", "failed", "unanswered"]
# Failures to answer after which a question is not asked again by itself; of the category, the ticket goes to review.
MOST_FAILURES = 3
NO_VALUE = "none"  # what a verdict says where none of a question's values holds
# What stands between a question of which several values may hold and one of these, and what a part answers.
PART, HOLDS, HOLDS_NOT = ".", "yes", "no"
# From what is known least about the parts of a question to what is known of all of them.
_LEAST_KNOWN: tuple[AnswerState, ...] = ("unanswered", "failed", "unsure", "answered")


class Question(NamedTuple):
    """A question about tickets, with the values from which an answer is chosen.

    `classifier`, `min_confidence` and `max_error` are those of the category if they are None.
    """

    name: Annotated[str, "its name; `category` is that for the category"]
    values: Annotated[tuple[Category, ...], "its values"]
    ask: Annotated[str, "the question in words, as language models read it; empty: none"] = ""
    classifier: str | None = None
    min_confidence: float | None = None
    required: Annotated[bool, "whether an open answer holds its ticket for review; the category always does"] = False
    max_error: MaxError | None = None
    column: Annotated[str | None, "the column of inputs that holds what people answered; null: none"] = None
    map: Annotated[Mapping[str, str], "what cells of that column mean which are no values", dict[str, str]] = {}

    @property
    def labels(self) -> Levels:
        """Return the names of the values, in their levels."""
        return Levels.of(self.values)

    def label_of(self, cell: object) -> str | None:
        """Return the value that a cell of the column means, by `map` or by its name; None if it means none.

        A cell of a question's part lists the values that hold, of which `map` says what each means for this part.
        """
        if PART not in self.name:
            named = {value.name: value.name for value in self.values}
            return _meaning({**named, **self.map}, str(cell))
        listed = re.split("[,;]", str(cell))  # a list of JSON may be written as one
        meant = {_meaning(self.map, each.strip(" []'\"")) for each in listed}
        return next((value for value in (HOLDS, HOLDS_NOT) if value in meant), None)


class GivenAnswer(NamedTuple):
    """What holds of a further question about a ticket.

    Of the category, the same is made of the ticket's own fields. `decision_id` is the classification that it rests on.
    """

    value: Annotated[str | None, "what holds; null if it is open"] = None
    suggestion: Annotated[str | None, "the machine's unsure guess"] = None
    confidence: Annotated[float | None, "how sure, from 0 to 1"] = None
    confidence_source: SourceOfConfidence = None
    classifier: Annotated[str | None, "the classifier's name in the configuration"] = None
    reason: Annotated[str | None, "why, in the classifier's words"] = None
    verdict: Annotated[bool, "whether a person's answer holds"] = False
    state: Annotated[AnswerState, "`unsure`, `failed` and `unanswered` are open"] = "unanswered"
    failures: int = 0
    error: str | None = None
    decision_id: str | None = None

    @property
    def is_open(self) -> bool:
        """Return whether the question is to be asked, for the first time or after a failure."""
        return self.state == "unanswered" or (self.state == "failed" and self.failures < MOST_FAILURES)


def _meaning(meanings: Mapping[str, str], cell: str) -> str | None:
    """Return what a text means, in whatever case."""
    text = cell.strip().casefold()
    return next((value for written, value in meanings.items() if written.casefold() == text), None)


def whole_names(names: Iterable[str]) -> tuple[str, ...]:
    """Return the names of questions as they are configured: one for all parts of a question."""
    return tuple(dict.fromkeys(name.partition(PART)[0] for name in names))


def one_of(question: str) -> str:
    """Return what messages call a possible answer to a question."""
    return CATEGORY if question == CATEGORY else f"value of {question}"


def parts_of(question: str, names: Iterable[str]) -> dict[str, str]:
    """Return the names of the parts of a question among `names`, by the value that each is about."""
    begin = question + PART
    return {name.removeprefix(begin): name for name in names if name.startswith(begin)}


def spread(question: str, said: str | None, names: Collection[str]) -> dict[str, str | None]:
    """Return what is said of each part of a question by the values that hold of it, None if nothing is said any more.

    Of a question without parts it is what was said. Raises `UsageError` for what is none of its values.
    """
    parts = parts_of(question, names)
    if not parts:
        return {question: said}
    if not said:
        return dict.fromkeys(parts.values())
    written = {each.strip().casefold() for each in re.split("[,;]", said) if each.strip()}
    unknown = sorted(written - {value.casefold() for value in (*parts, NO_VALUE)})
    if unknown or (NO_VALUE in written and len(written) > 1) or not written:
        named = f'"{unknown[0][:40]}" is no value' if unknown else f'"{said[:40]}" says nothing'
        problem = f"{named} of {question}"
        hint = f"name one or several of {','.join(parts)} with commas between them, or {NO_VALUE}"
        raise UsageError(problem, hint=hint)
    return {name: HOLDS if value.casefold() in written else HOLDS_NOT for value, name in parts.items()}


def answers_meant(question: str, value: str, names: Collection[str]) -> list[str]:
    """Return the answers, as `urgency=now`, that tickets have of which a value holds; of each part that it names.

    Without a value, or with `null`, the question is open. Raises `UsageError` for what is none of its values.
    """
    value = "" if value == "null" else value
    parts = spread(question, value, names)
    if question in parts:
        return [f"{question}={value}"]
    if not value:
        hint = f"name one, as in {next(iter(parts))}="
        raise UsageError(f'"{question}=" could mean any value of {question}', hint=hint)
    wanted = HOLDS if HOLDS in parts.values() else HOLDS_NOT  # of values that are not named, nothing is said
    return [f"{part}={wanted}" for part, given in parts.items() if given == wanted]


def label_columns(questions: Iterable[Question]) -> tuple[str, ...]:
    """Return the columns of inputs that hold what people answered to questions."""
    return tuple(dict.fromkeys(question.column for question in questions if question.column))


UNANSWERED = GivenAnswer()
# The keys of an answer in records.
ANSWER_KEYS = GivenAnswer._fields[: GivenAnswer._fields.index("state") + 1]


def given_answers(ticket: Ticket) -> Mapping[str, GivenAnswer]:
    """Return what holds of the further questions on a ticket, by their names."""
    known = _known_answers.get(ticket.answers)
    if known is None:
        known = {name: GivenAnswer(**values) for name, values in from_json(ticket.answers).items()}
        _remember(ticket.answers, known)
    return known


# What stored answers say, as long as the tickets of a chunk are dealt with: to read it takes longer than to write it.
MOST_KNOWN = 4_096
_known_answers: dict[str, Mapping[str, GivenAnswer]] = {}


def _remember(stored: str, answers: Mapping[str, GivenAnswer]) -> None:
    if len(_known_answers) >= MOST_KNOWN:
        _known_answers.clear()
    _known_answers[stored] = MappingProxyType(answers)


def given_answer(ticket: Ticket, question: str) -> GivenAnswer:
    """Return what holds of a question on a ticket; of one with parts, what follows from these."""
    if question != CATEGORY:
        answers = given_answers(ticket)
        parts = parts_of(question, answers)
        if parts:
            return _together({value: answers[name] for value, name in parts.items()})
        return answers.get(question, UNANSWERED)
    sure_state: AnswerState = "unsure" if ticket.decision_id else "unanswered"
    # By position, in the order of the fields: it is done for each ticket, and names take twice as long.
    return GivenAnswer(
        ticket.category,
        ticket.suggestion,
        ticket.confidence,
        ticket.confidence_source,
        ticket.classifier,
        ticket.reason,
        ticket.verdict == 1,
        "answered" if ticket.category is not None else "failed" if ticket.failures else sure_state,
        ticket.failures,
        ticket.error,
        ticket.decision_id,
    )


def told_answers(ticket: Ticket) -> dict[str, GivenAnswer]:
    """Return what holds of the further questions on a ticket, by their names; before its parts, the whole one."""
    answers = given_answers(ticket)
    names = dict.fromkeys(each for name in answers for each in (name.partition(PART)[0], name))
    return {name: given_answer(ticket, name) for name in names}


def held_values(ticket: Ticket, question: str) -> tuple[str | None, ...]:
    """Return the values that surely hold of a question on a ticket; among them None where it is open."""
    answers = given_answers(ticket)
    parts = parts_of(question, answers)
    if not parts:
        return (given_answer(ticket, question).value,)
    held: list[str | None] = [value for value, name in parts.items() if answers[name].value == HOLDS]
    is_open = any(answers[name].state != "answered" for name in parts.values())
    return (*held, *([None] if is_open else [])) or (NO_VALUE,)


def _together(parts: Mapping[str, GivenAnswer]) -> GivenAnswer:
    """Return what holds of a question, from what holds of its parts by their values: as sure as the least sure one."""
    state = next(state for state in _LEAST_KNOWN if any(part.state == state for part in parts.values()))
    likely = ",".join(value for value, part in parts.items() if HOLDS in (part.value, part.suggestion))
    of_state = [part for part in parts.values() if part.state == state]
    weakest = min(of_state, key=lambda part: part.confidence or 0.0)
    return weakest._replace(
        value=(likely or NO_VALUE) if state == "answered" else None,
        suggestion=None if state == "answered" else likely or None,
        verdict=all(part.verdict for part in parts.values()),
    )


def shown_hash_of(ticket: Ticket, question: str) -> str:
    """Return the hash of what a person decides a question by: the text, and a verdict on it that holds."""
    from triage_cli.domain import ids  # imports hashlib, which most commands need not

    given = given_answer(ticket, question)
    verdict = (given.value, given.reason) if given.verdict else (None, None)
    return ids.shown_hash(ticket.subject, ticket.description, *verdict)


def with_given(ticket: Ticket, answers: Mapping[str, GivenAnswer]) -> Ticket:
    """Return a ticket with what holds of further questions; what it has of others stays."""
    return _with_answers(ticket, {**given_answers(ticket), **answers}) if answers else ticket


def all_given(ticket: Ticket, names: Iterable[str]) -> dict[str, GivenAnswer]:
    """Return what holds of these further questions on a ticket, given or not."""
    answers = given_answers(ticket)
    return {name: answers.get(name, UNANSWERED) for name in names}


def with_questions(ticket: Ticket, names: Collection[str]) -> Ticket:
    """Return a ticket with an answer to each of these further questions, given or not, and to no other one."""
    if ticket.answers == "{}":
        return ticket._replace(answers=_none_given(tuple(names)), unanswered=1) if names else ticket
    answers = all_given(ticket, names)
    return ticket if given_answers(ticket) == answers else _with_answers(ticket, answers)


def without_answers(ticket: Ticket) -> Ticket:
    """Return a ticket whose text has changed: its questions are to be asked again, but those that people answered."""
    if ticket.answers == "{}":
        return ticket
    return _with_answers(ticket, {n: a if a.verdict else UNANSWERED for n, a in given_answers(ticket).items()})


def without_reasons(ticket: Ticket) -> Ticket:
    """Return a ticket without the reasons of its answers, which may repeat its text."""
    if ticket.answers == "{}":
        return ticket
    answers = given_answers(ticket)
    return _with_answers(ticket, {n: a._replace(reason=None, error=None) for n, a in answers.items()})._replace(
        unanswered=0
    )


def settled_by(ticket: Ticket, required: Collection[str]) -> Ticket:
    """Return a ticket that has a category with its status: an open required question holds it for review."""
    if ticket.category is None or ticket.status not in ("classified", "needs_review"):
        return ticket
    status = "needs_review" if required and open_required(ticket, required) else "classified"
    return ticket if ticket.status == status else ticket._replace(status=status)


def open_required(ticket: Ticket, required: Iterable[str]) -> list[str]:
    """Return the required questions without a sure answer, for which a ticket waits for a person."""
    return [name for name, answer in all_given(ticket, required).items() if answer.state != "answered"]


def with_renamed(answers: str, renamed: Renamed) -> str:
    """Return the stored answers of a ticket after a rename of a question's value."""
    stored = from_json(answers)
    of_question = stored[renamed.question]
    for field in ("value", "suggestion"):
        if of_question.get(field) == renamed.old:
            of_question[field] = renamed.new
    return compact(stored)


def answer_records(ticket: Ticket) -> dict[str, dict[str, Any]]:
    """Return the JSON records of the answers to a ticket's further questions, always with all keys."""
    return {
        name: {key: value for key, value in answer._asdict().items() if key in ANSWER_KEYS}
        for name, answer in told_answers(ticket).items()
    }


@lru_cache(16)  # new tickets have the same
def _none_given(names: Sequence[str]) -> str:
    return _stored(dict.fromkeys(names, UNANSWERED))


def _with_answers(ticket: Ticket, answers: dict[str, GivenAnswer]) -> Ticket:
    """Return a ticket with these answers, and no other ones."""
    unanswered = int(any(answer.is_open for answer in answers.values()))
    stored = _stored(answers)
    _remember(stored, answers)
    return ticket._replace(answers=stored, unanswered=unanswered)


def _stored(answers: Mapping[str, GivenAnswer]) -> str:
    """Return answers as a ticket has them; the value comes first in each, by which `list --answer` finds it."""
    return compact(
        {
            name: {
                field: value
                for field, value, default in zip(GivenAnswer._fields, answer, UNANSWERED, strict=True)
                if value != default or field == "value"
            }
            for name, answer in answers.items()
        }
    )

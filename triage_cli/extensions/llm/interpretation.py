"""The meaning of a language model's reply, or of a failed request: parsing, problems, reasons without the prompt."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.extensions.llm.prompt import Part, Question, cut_text
from triage_cli.extensions.llm.provider import Reply
from triage_cli.extensions.llm.provider_errors import RejectedError, TooLongError

QUOTE_LENGTH = 20  # equal characters from which on a reason counts as quoting another ticket
PROMPT_QUOTE_LENGTH = 40  # and from which on a reason counts as repeating the prompt
PROBLEM_MEANINGS = {
    "empty": "the model said nothing",
    "not_json": "the model's answer was no JSON of the form that was asked for",
    "unknown_label": "the model named a category that is not in the list",
    "cut": "the model's answer was cut off, as it thinks or writes longer than max_answer_tokens allows",
    "refused": "the model refused to answer",
    "too_long": "the ticket is too long for the model",
    "rejected": "the request was rejected",
    "unavailable": "the provider kept failing",
}


class ParsedAnswer(NamedTuple):
    """A model's answer, parsed: a label of the list, or a `problem` (empty, not_json, unknown_label)."""

    label: str | None = None
    confidence: float | None = None
    reason: str | None = None
    problem: str | None = None


class Interpretation(NamedTuple):
    """The result of a question about one ticket: a label, or a problem with details.

    `further` are the same of the questions that were asked with it.
    """

    parsed: ParsedAnswer
    reply: Reply
    detail: str = ""
    further: Mapping[str, ParsedAnswer] = {}


def interpretation_of(reply: Reply, question: Question) -> Interpretation:
    """Return the interpretation of a model's reply."""

    def parsed(part: Part) -> ParsedAnswer:
        if reply.problem:
            return ParsedAnswer(problem=reply.problem)
        return parse_answer(reply.said, part.labels, part.name, part.confidence_key)

    first, *further = question.parts
    return Interpretation(parsed(first), reply, further={part.name: parsed(part) for part in further})


def failed_interpretation(error: dm.TriageError, question: Question) -> Interpretation:
    """Return the interpretation of a failed request."""
    problems = ((TooLongError, "too_long"), (RejectedError, "rejected"), (dm.AnswerError, "refused"))
    problem = next((problem for error_type, problem in problems if isinstance(error, error_type)), "unavailable")
    parsed = ParsedAnswer(problem=problem)
    further = {part.name: parsed for part in question.further}
    return Interpretation(parsed, Reply(None), error.message, further)


def parse_answer(
    answer_text: str | None, labels: Sequence[str], question: str = dm.CATEGORY, confidence_key: str = "confidence"
) -> ParsedAnswer:
    """Parse a model's answer to a question: JSON (bare, fenced or in prose), or only a label. Nothing is guessed."""
    answer_text = (answer_text or "").strip()
    if not answer_text:
        return ParsedAnswer(problem="empty")
    if label_only := _match_label(answer_text, labels) or _match_label(answer_text.strip("`\"'*. \n"), labels):
        return ParsedAnswer(label_only)
    answer = json_answer_in(answer_text, question)
    if answer is None:
        return ParsedAnswer(problem="not_json")
    label = _match_label(answer[question], labels)
    if label is None:
        return ParsedAnswer(problem="unknown_label")
    confidence, reason = _parsed_confidence(answer.get(confidence_key)), answer.get("reason")
    return ParsedAnswer(label, confidence, reason if isinstance(reason, str) else None)


def _match_label(name: object, labels: Sequence[str]) -> str | None:
    """Return the label that a model's answer names; else the only one that is equal when case is ignored."""
    if not isinstance(name, str):
        return None
    name = name.strip()
    if name in labels:
        return name
    equal_labels = [label for label in labels if label.casefold() == name.casefold()]
    return equal_labels[0] if len(equal_labels) == 1 else None


def json_answer_in(answer_text: str, question: str) -> Mapping[str, Any] | None:
    """Return the JSON object that answers a question; None if there is none in the text, or several that differ."""
    answers: list[Mapping[str, Any]] = []
    decoder = json.JSONDecoder()
    answer_start = answer_text.find("{")
    for _ in range(50):  # bounded, for a text of many braces
        if answer_start < 0:
            break
        try:
            json_value, answer_end = decoder.raw_decode(answer_text, answer_start)
        except (ValueError, RecursionError):
            answer_end = answer_start + 1
        else:
            if isinstance(json_value, dict) and question in json_value:
                answers.append(json_value)
            else:
                answer_end = answer_start + 1  # the answer may be nested
        answer_start = answer_text.find("{", answer_end)
    if not answers or any(repr(other[question]) != repr(answers[0][question]) for other in answers):
        return None
    return answers[0]


def _parsed_confidence(confidence: object) -> float | None:
    """Return the confidence that a model gives, between 0 and 1; a number from 1 to 100 counts as per cent."""
    if isinstance(confidence, str):
        try:
            confidence = float(confidence.strip().rstrip("%"))
        except ValueError:
            return None
    if isinstance(confidence, bool) or not isinstance(confidence, int | float):
        return None
    if 0 <= confidence <= 1:
        return float(confidence)
    return float(confidence) / 100 if 1 < confidence <= 100 else None


def clean_reason(
    reason_text: str | None, system_text: str, ticket: str = "", decided: Iterable[str] = ()
) -> str | None:
    """Return the model's reason in one line of bounded length; None if it repeats the prompt but for the ticket.

    What it has from `decided` tickets alone is other people's text, which is not to stand with this ticket.
    """
    reason = " ".join(cut_text(reason_text or "", 300).split())
    is_foreign = any(_words_from(reason, _line_of(other), QUOTE_LENGTH, _line_of(ticket)) for other in decided)
    return None if is_foreign or _words_from(reason, system_text, PROMPT_QUOTE_LENGTH) else reason or None


def _line_of(ticket: str) -> str:
    """Return the texts of a ticket in a prompt."""
    return " ".join(json.loads(ticket).values()) if ticket else ""


def _words_from(reason: str, text: str, length: int, own: str = "") -> bool:
    """Return whether so many characters of a reason stand in a text, and not in its `own` one, in whatever case."""
    folded_reason, *texts = (" ".join(each.split()).casefold() for each in (reason, text, own))
    pieces = (folded_reason[start : start + length] for start in range(len(folded_reason) - length + 1))
    return any(piece in texts[0] and piece not in texts[1] for piece in pieces)

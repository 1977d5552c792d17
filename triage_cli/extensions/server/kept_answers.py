"""Answers that are kept under an `Idempotency-Key` without a word of a ticket: its texts are looked up again.

Each text is replaced by its place: the classification or the attempt that has it for good, else the ticket. A
repetition gets the first answer, with what these places have by then.
"""

import re
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from triage_cli import domain as dm

# What is kept as it is: ids, times, and names of the configuration; numbers and flags are kept everywhere.
KEPT_KEYS = frozenset({
    "ticket_id", "source", "priority", "created_at", "status", "category", "suggestion", "confidence_source",
    "classifier", "routed_to", "language", "classification", "value", "state", "delivery_id", "classification_id",
    "destination", "rule", "config_hash", "replaces", "due_at", "run_id", "at", "done_at", "type", "title", "code",
    "agent", "actor", "question", "stored_at", "decided_at",
})  # fmt: skip
OF_TICKET = frozenset({"external_id", "subject", "description", "customer_id", "extra"})
SENTENCES = frozenset({"detail", "hint"})
SHORTEST_NAMED = 3  # characters of a text that is looked for in an error's sentence
PLACE, SENTENCE = "=", "+"  # no keys of an answer, and no names of questions


def without_texts(record: Mapping[str, Any], history: Callable[[], dm.History]) -> dict[str, Any]:
    """Return an answer about one ticket with places instead of texts; `history` is asked only if it has any."""

    @cache
    def places() -> Mapping[str, str]:
        places: dict[str, str] = {}
        for place, text in _texts(history()).items():
            if isinstance(text, str) and text:
                places.setdefault(text, place)  # the one that changes last
        return places

    def kept(key: str, value: Any, owner: str) -> Any:
        if key in (*OF_TICKET, "kept") and value:
            return {PLACE: f"{owner if key == 'kept' else 'ticket'} {key}"}
        if isinstance(value, dict):
            return {name: kept(name, each, value.get("delivery_id", owner)) for name, each in value.items()}
        if isinstance(value, list):
            return [kept(key, each, owner) for each in value]
        if not isinstance(value, str) or not value or key in KEPT_KEYS:
            return value
        if key in SENTENCES:
            return {SENTENCE: _parts(value, places())}
        return {PLACE: places().get(value, f"ticket {key}")}

    return {key: kept(key, value, "") for key, value in record.items()}


def with_texts(kept_answer: Any, history: dm.History) -> Any:
    """Return an answer whose texts were replaced by places, with what these have now."""
    texts = _texts(history)

    def told(value: Any) -> Any:
        if isinstance(value, list):
            return [told(each) for each in value]
        if not isinstance(value, dict):
            return value
        if PLACE in value:
            return texts.get(value[PLACE])
        if SENTENCE in value:
            parts = value[SENTENCE]
            return "".join((texts.get(part) or "…") if number % 2 else part for number, part in enumerate(parts))
        return {key: told(each) for key, each in value.items()}

    return told(kept_answer)


def _texts(history: dm.History) -> Mapping[str, Any]:
    """Return what the rows of a ticket have, by place; first those that stay as they are."""
    texts: dict[str, Any] = {}
    for answer in history.classifications:
        texts |= {f"{answer.classification_id} {key}": getattr(answer, key) for key in ("reason", "error")}
    for attempt in history.attempts:
        texts |= {f"{attempt.delivery_id} {attempt.number} {key}": getattr(attempt, key) for key in ("error", "answer")}
    for delivery in history.deliveries:
        kept = dm.from_json(delivery.kept) if delivery.kept else {}
        texts |= {f"{delivery.delivery_id} kept": kept, f"{delivery.delivery_id} last_error": delivery.last_error}
    return texts | {f"ticket {key}": value for key, value in dm.ticket_record(history.ticket).items()}


def _parts(sentence: str, places: Mapping[str, str]) -> list[str]:
    """Return a sentence in parts: words of the program, the place of a text, and so on in turns."""
    named = sorted((text for text in places if len(text) >= SHORTEST_NAMED), key=len, reverse=True)
    parts = re.split(f"({'|'.join(map(re.escape, named))})", sentence) if named else [sentence]
    return [places[part] if number % 2 else part for number, part in enumerate(parts)]

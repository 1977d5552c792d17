"""Tickets that came as mail: their Message-ID, and the parts of their text that classifiers do not read.

A ticket's `extra` has under `mail` the Message-ID of the mail that is its text, and the left out parts of that text.
Under `thread` it has the later mails of the conversation.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

# A part of a mail's text: its beginning and end, in characters.
Span = tuple[int, int]

MAIL, THREAD, LEFT_OUT = "mail", "thread", "left_out"


class Mail(NamedTuple):
    """One mail: its Message-ID, and the parts of its text that are quotes, a signature or a banner, in order."""

    message_id: str
    left_out: Sequence[Span] = ()

    def record(self) -> dict[str, Any]:
        """Return the mail as a ticket's `extra` has it."""
        return {"message_id": self.message_id, LEFT_OUT: [list(span) for span in self.left_out]}


def mail_of(extra: Mapping[str, Any]) -> Mail | None:
    """Return the mail of a draft or ticket; None if it is no mail, or `extra` was not written by triage."""
    mail_record = extra.get(MAIL)
    if not isinstance(mail_record, dict) or not isinstance(mail_record.get("message_id"), str):
        return None
    left_out_spans, at = [], 0
    spans = mail_record.get(LEFT_OUT)
    for span in spans if isinstance(spans, list) else ():
        match span:
            case [int(begin), int(end)] if at <= begin < end:
                left_out_spans.append((begin, end))
                at = end
            case _:
                return Mail(mail_record["message_id"])
    return Mail(mail_record["message_id"], tuple(left_out_spans))


def left_out(extra: str) -> Sequence[Span]:
    """Return the parts of a stored ticket's description that classifiers do not get; `extra` is its JSON."""
    if f'"{LEFT_OUT}"' not in extra:  # true for most tickets, and cheaper than parsing the mail's JSON
        return ()
    mail = mail_of(json.loads(extra))
    return mail.left_out if mail else ()


def whole(extra: dict[str, Any]) -> dict[str, Any]:
    """Return the `extra` of a text of which no part is left out, since it is not the text of the mail."""
    mail_record = extra.get(MAIL)
    if not isinstance(mail_record, dict) or LEFT_OUT not in mail_record:
        return extra
    return {**extra, MAIL: {key: value for key, value in mail_record.items() if key != LEFT_OUT}}


def without(text: str | None, spans: Iterable[Span]) -> str | None:
    """Return a text without these parts of a mail, or the whole text if no letter would be left."""
    if not text or not spans:
        return text
    kept_parts, at = [], 0
    for begin, end in spans:
        kept_parts.append(text[at:begin])
        at = end
    rest = "".join((*kept_parts, text[at:])).strip()
    return rest if any(map(str.isalpha, rest)) else text

"""Threads of mails: one conversation is one ticket, and each of its mails is kept once."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from triage_cli.domain.dedup import Identified, extra_as_json, reset
from triage_cli.domain.errors import RowError
from triage_cli.domain.json_values import from_json
from triage_cli.domain.mail.parts import THREAD, Mail, mail_of
from triage_cli.domain.questions import without_answers
from triage_cli.domain.tickets import Rejected, Ticket, TicketDraft

# Characters of JSON that the later mails of one ticket may take.
LONGEST_THREAD = 1 << 20


def apart(chunks: Iterable[Sequence[TicketDraft | Rejected]]) -> Iterator[Sequence[TicketDraft | Rejected]]:
    """Yield chunks with at most one mail of a thread, since a mail is joined to the ticket that earlier mails made."""
    for chunk in chunks:
        begin = 0
        threads_in_chunk: set[tuple[str, str | None]] = set()
        for place, row in enumerate(chunk):
            if not isinstance(row, TicketDraft) or row.origin != "mail":
                continue
            if (row.source, row.external_id) in threads_in_chunk:
                yield chunk[begin:place]
                begin = place
                threads_in_chunk.clear()
            threads_in_chunk.add((row.source, row.external_id))
        yield chunk[begin:] if begin else chunk


def with_mail(known_ticket: Ticket, item: Identified) -> Ticket | None:
    """Return a ticket with one more mail of its thread, or None if it has that mail already.

    The ticket's text stays that of the first mail. If the first mail comes after a reply to it, it replaces the reply
    as the text, and the ticket is `new` again unless it has a verdict. Raises `RowError` for a different mail with a
    known Message-ID, and for a full thread.
    """
    draft, extra = item.draft, from_json(known_ticket.extra)
    mail, opener = mail_of(draft.extra), mail_of(extra)
    if mail is None:
        return None
    place = draft.place if draft.line else f"the mail {mail.message_id[:200]}"  # of a mail server
    thread = [each for each in _list_or_empty(extra.get(THREAD)) if isinstance(each, dict)]
    with_id = [each for each in thread if isinstance(each.get("message_id"), str)]  # an import may have made it up
    mails = {each["message_id"]: (each.get("from"), each.get("date")) for each in with_id}
    if opener is not None:
        mails[opener.message_id] = (known_ticket.customer_id, known_ticket.created_at)
    if mail.message_id in mails:
        if mails[mail.message_id] != (draft.customer_id, draft.created_at):
            raise RowError(f"{place}: the Message-ID {mail.message_id[:200]} is that of another mail")
        return None
    is_first = opener is not None and mail.message_id == known_ticket.external_id
    if opener is not None and is_first:
        thread.insert(0, _thread_entry(opener, known_ticket, extra))
        extra = dict(draft.extra)
    else:
        thread.append(_thread_entry(mail, draft, draft.extra))
    extra_json = extra_as_json({**extra, THREAD: thread})
    if len(extra_json) > LONGEST_THREAD:
        raise RowError(
            f"{place}: its thread holds {len(thread)} mails and would be over 1 MB",
            hint="a thread that long is rarely one matter: keep the mail where it is",
        )
    ticket = known_ticket._replace(extra=extra_json, revision=known_ticket.revision + 1)
    return _opened(ticket, item) if is_first else ticket


def length(ticket: Ticket) -> int:
    """Return the number of mails in a ticket's thread, with the first one."""
    return 1 + len(_list_or_empty(from_json(ticket.extra).get(THREAD)))


def _opened(ticket: Ticket, item: Identified) -> Ticket:
    """Return the ticket with this first mail of its thread as its text."""
    draft = item.draft
    ticket = ticket._replace(
        content_hash=item.content,
        subject=draft.subject,
        description=draft.description,
        customer_id=draft.customer_id,
        created_at=draft.created_at,
    )
    return without_answers(ticket) if ticket.verdict else reset(ticket)


def _thread_entry(mail: Mail, bearer: Ticket | TicketDraft, extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mail as the thread has it; `bearer` holds its sender, date and text, `extra` its attachments."""
    thread_entry = {
        "message_id": mail.message_id,
        "from": bearer.customer_id,
        "date": bearer.created_at,
        "subject": bearer.subject,
        "text": bearer.description,
    }
    return {**thread_entry, "attachments": extra["attachments"]} if extra.get("attachments") else thread_entry


def _list_or_empty(value: object) -> list[Any]:
    return value if isinstance(value, list) else []

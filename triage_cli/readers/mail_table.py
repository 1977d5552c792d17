"""Mails -> a table of tickets: one draft a mail, and a rejection with its reason for each that cannot be read."""

from collections.abc import Iterable, Iterator
from itertools import islice

from triage_cli.domain.errors import RowError, UsageError
from triage_cli.domain.tickets import Rejected, TicketDraft
from triage_cli.readers.mail_files import RawMail, as_mbox
from triage_cli.readers.mail_message import COLUMNS, UnreadableMailError, draft_of
from triage_cli.readers.table import ReadOptions, Table

SOURCE = "mail"
_TAKEN = "external_id ← Message-ID of the thread's first mail, customer_id ← From, created_at ← Date, subject ← Subject"


def mail_table(mails: Iterable[RawMail], name: str, options: ReadOptions) -> Table:
    """Return the tickets in mails. Raises `UsageError` for options that only a table can have."""
    of_tables = ((options.mapping, "--map"), (options.encoding, "--encoding"), (options.delimiter, "--delimiter"))
    for given, option in (*of_tables, (not options.header, "--no-header")):
        if given:
            raise UsageError(f"{option} is for tables, and {name} is mail", hint="leave it out: a mail names its parts")
    source = options.source or SOURCE
    rows = islice(drafts(mails, source), options.limit)
    return Table(COLUMNS, f"{_TAKEN}; mail", source, rows, "", name=name, trusts_ids=True)


def rewritten(draft: TicketDraft) -> str:
    """Return a mail that was read well, and rejected later, as it can stand in a mailbox: what was read of it."""
    own, sender, to, date, subject, text = draft.cells or [""] * len(COLUMNS)
    headers = {"From": sender, "To": to, "Date": date, "Subject": subject, "Message-ID": f"<{own}>"}
    if draft.external_id != own:
        headers["References"] = f"<{draft.external_id}>"
    lines = [f"{name}: {value}" for name, value in headers.items() if value]
    return as_mbox("\n".join([*lines, "", text or ""]).encode("utf-8", "replace"))


def drafts(mails: Iterable[RawMail], source: str) -> Iterator[TicketDraft | Rejected]:
    """Yield a draft or a rejection for every mail."""
    for row, mail in enumerate(mails):
        try:
            draft = draft_of(mail.content, whole=mail.is_whole)
        except UnreadableMailError as error:
            yield Rejected(row, mail.line, RowError(f"{mail.place}: {error}"), as_mbox(mail.content), rest=mail.rest)
        else:
            yield draft._replace(row=row, line=mail.line, source=source)

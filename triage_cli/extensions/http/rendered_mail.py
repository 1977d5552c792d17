"""The mail of a delivery, rendered from its destination's templates: its headers of one bounded line each."""

import re
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from triage_cli import domain as dm
from triage_cli.config import MailSpec, Template, TemplateFailure, TemplateMistake, delivery_names
from triage_cli.destinations import template_values

# Characters of a mail's subject, and of another mail's Message-ID.
LONGEST = 250
# Characters that end a header line, here or in other mail programs, and other control characters.
HEADER_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# A Message-ID (RFC 5322, 3.6.4): the external id of a ticket that came as mail.
MESSAGE_ID = re.compile(r"<[!#-;=?A-Z^-~]+@[!#-;=?A-Z\[\]^-~]+>")
# Begins an encoded word (RFC 2047). Python decodes those in a header that it is given, also to line breaks.
ENCODED_WORD = "=?"


class MailMessages:
    """Renders the mails of one destination. Raises `TemplateMistake`; `message` raises `TemplateFailure`."""

    def __init__(self, spec: MailSpec) -> None:
        self._spec = spec
        self._subject, self._text = (Template(source, delivery_names(), key) for key, source in _mail_templates(spec))

    def message(self, outgoing: dm.OutgoingDelivery, now: datetime) -> EmailMessage:
        """Return the mail. All attempts at a delivery have one Message-ID, so that a repeated mail is recognisable."""
        values = template_values(outgoing)
        message = EmailMessage(policy=SMTP)
        message["From"] = self._spec.sender
        message["To"] = ", ".join(self._spec.to)
        subject = HEADER_CONTROLS.sub(" ", dm.encodable(self._subject.text(values))).replace(ENCODED_WORD, "= ?")
        message["Subject"] = subject.strip()[:LONGEST]
        message["Date"] = format_datetime(now)
        domain = bare_address(self._spec.sender).rpartition("@")[2]
        message["Message-ID"] = f"<{outgoing.delivery.delivery_id}@{domain}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: vacation notices do not answer it
        if replied_to := _replied_to(outgoing.ticket):
            message["In-Reply-To"] = message["References"] = replied_to
        message.set_content(dm.encodable(self._text.text(values)), cte="quoted-printable")
        return message


def _replied_to(ticket: dm.Ticket) -> str | None:
    """Return the Message-ID that a mail about a ticket replies to, in angle brackets; None if the ticket has none.

    A ticket that came as mail has its id without them. So the mail joins its thread, also if it comes back to a mailbox
    that is pulled.
    """
    message_id = ticket.external_id or ""
    if dm.mail_of(dm.from_json(ticket.extra)) is not None:
        message_id = f"<{message_id}>"
    is_id = len(message_id) <= LONGEST and ENCODED_WORD not in message_id and MESSAGE_ID.fullmatch(message_id)
    return message_id if is_id else None


def mail_mistakes(spec: MailSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template of a mail: its key in the destination's configuration, and why it is invalid."""
    for key, source in _mail_templates(spec):
        try:
            Template(source, delivery_names(), key)
        except TemplateMistake as mistake:
            yield key, str(mistake)


def _mail_templates(spec: MailSpec) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("subject", spec.subject), ("text", spec.text)


def bare_address(mailbox: str) -> str:
    """Return a mail address without the name before it."""
    return mailbox.rpartition("<")[2].rstrip(">")


def mail_as_text(mail: MailSpec, outgoing: dm.OutgoingDelivery, now: datetime) -> str:
    """Return a mail as `route --dry-run` prints it."""
    try:
        message = MailMessages(mail).message(outgoing, now)
    except TemplateFailure as failure:
        return f"(nothing is sent: {failure})"
    headers = "".join(f"{name}: {value}\n" for name, value in message.items())
    return f"MAIL {mail.host}:{mail.port}\n{headers}\n{message.get_content()}"

"""The mail about one delivery: its templates rendered, its headers of one bounded line each."""

import re
from collections.abc import Iterator
from datetime import datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime

from triage_cli.config.models import MailSpec
from triage_cli.config.templates import Template, TemplateMistake, delivery_names
from triage_cli.destinations.payload import template_values
from triage_cli.domain.deliveries import OutgoingDelivery
from triage_cli.domain.serialization import encodable

# Characters of a subject, and of an id of another mail.
LONGEST = 250
# What ends a line in a header, here or in some program that reads it, and what else is no text.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# A Message-ID (RFC 5322, 3.6.4), as mail that became a ticket has it for its external id.
MESSAGE_ID = re.compile(r"<[!#-;=?A-Z^-~]+@[!#-;=?A-Z\[\]^-~]+>")


class MailMessages:
    """Makes the mails of one destination. Raises `TemplateMistake`; `message` raises `TemplateFailure`."""

    def __init__(self, spec: MailSpec) -> None:
        self._spec = spec
        self._subject, self._text = (Template(source, delivery_names(), place) for place, source in _sources(spec))

    def message(self, outgoing: OutgoingDelivery, now: datetime) -> EmailMessage:
        """Return the mail. All attempts at a delivery have one Message-ID, so that a repeated mail is recognisable."""
        values = template_values(outgoing)
        message = EmailMessage(policy=SMTP)
        message["From"] = self._spec.sender
        message["To"] = ", ".join(self._spec.to)
        message["Subject"] = CONTROL.sub(" ", encodable(self._subject.text(values))).strip()[:LONGEST]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{outgoing.delivery.delivery_id}@{domain(self._spec.sender)}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: nobody's vacation notice answers
        about = outgoing.ticket.external_id or ""
        if len(about) <= LONGEST and MESSAGE_ID.fullmatch(about):
            message["In-Reply-To"] = message["References"] = about
        message.set_content(encodable(self._text.text(values)), cte="quoted-printable")
        return message


def mistakes(spec: MailSpec) -> Iterator[tuple[str, str]]:
    """Yield each template that nothing could be rendered with: its place under the destination, and why."""
    for place, source in _sources(spec):
        try:
            Template(source, delivery_names(), place)
        except TemplateMistake as mistake:
            yield place, str(mistake)


def plain(message: EmailMessage) -> str:
    """Return a mail as a person reads it."""
    headers = "".join(f"{name}: {value}\n" for name, value in message.items())
    return f"{headers}\n{message.get_content()}"


def bare(address: str) -> str:
    """Return an address without the name before it."""
    return address.rpartition("<")[2].rstrip(">")


def domain(address: str) -> str:
    """Return the domain of an address."""
    return bare(address).rpartition("@")[2]


def _sources(spec: MailSpec) -> tuple[tuple[str, str], tuple[str, str]]:
    return ("subject", spec.subject), ("text", spec.text)

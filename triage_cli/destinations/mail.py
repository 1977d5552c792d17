"""Mail over SMTP: to all recipients or to none, with the same Message-ID for all attempts.

Its templates are rendered for each delivery, its headers of one bounded line each.
"""

import asyncio
import re
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from operator import itemgetter
from typing import NamedTuple

from triage_cli.config.destination_specs import DestinationSpec, MailSpec
from triage_cli.config.template_filters import TemplateFailure
from triage_cli.config.templates import Template, TemplateMistake, delivery_names
from triage_cli.destinations.payload import template_values
from triage_cli.domain.deliveries import OutgoingDelivery, Receipt
from triage_cli.domain.errors import ConfigError, DeliveryError, PrivateAddressError, causes
from triage_cli.domain.mail.parts import mail_of
from triage_cli.domain.outcomes import Action, Outcome
from triage_cli.domain.serialization import encodable, from_json
from triage_cli.domain.tickets import Ticket
from triage_cli.runtime import resource_exhaustion
from triage_cli.runtime.async_bridge import bridge
from triage_cli.runtime.mail_connections import MailConnectionLost, MailError, MailRefusal, MailServer, SmtpConnection
from triage_cli.runtime.network import Network
from triage_cli.runtime.ssrf_guard import Resolver, checked
from triage_cli.runtime.unreachable import reason

# Characters of a subject, and of an id of another mail.
LONGEST = 250
# Characters that end a header line, here or in other mail programs, and other control characters.
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
# A Message-ID (RFC 5322, 3.6.4): the external id of a ticket that came as mail.
MESSAGE_ID = re.compile(r"<[!#-;=?A-Z^-~]+@[!#-;=?A-Z\[\]^-~]+>")
# Begins an encoded word (RFC 2047). Python decodes those in a header that it is given, also to line breaks.
ENCODED = "=?"

# How many mails are sent at once: mail servers refuse clients with more connections.
WORKERS = 4
# Answers to too many connections or mails: Gmail's 421, and 432 of Exchange Online, which takes three at once.
BUSY = frozenset({421, 432})
# How many characters of a server's answer are kept.
KEPT = 500
DONE = 250
# 251: the server forwards it to where the user is now (RFC 5321, 3.4).
TAKEN = frozenset({DONE, 251})


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
        subject = CONTROL.sub(" ", encodable(self._subject.text(values))).replace(ENCODED, "= ?")
        message["Subject"] = subject.strip()[:LONGEST]
        message["Date"] = format_datetime(now)
        message["Message-ID"] = f"<{outgoing.delivery.delivery_id}@{domain(self._spec.sender)}>"
        message["Auto-Submitted"] = "auto-generated"  # RFC 3834: vacation notices do not answer it
        if about := _answered(outgoing.ticket):
            message["In-Reply-To"] = message["References"] = about
        message.set_content(encodable(self._text.text(values)), cte="quoted-printable")
        return message


def _answered(ticket: Ticket) -> str | None:
    """Return the Message-ID that a mail about a ticket replies to, in angle brackets; None if the ticket has none.

    A ticket that came as mail has its id without them. So the mail joins its thread, also if it comes back to a mailbox
    that is pulled.
    """
    about = ticket.external_id or ""
    if mail_of(from_json(ticket.extra)) is not None:
        about = f"<{about}>"
    is_id = len(about) <= LONGEST and ENCODED not in about and MESSAGE_ID.fullmatch(about)
    return about if is_id else None


def mistakes(spec: MailSpec) -> Iterator[tuple[str, str]]:
    """Yield each invalid template: its place in the destination's configuration, and why it is invalid."""
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


class Login(NamedTuple):
    """The name and password that a mail server asks for."""

    user: str
    password: str

    @property
    def shapes(self) -> Iterator[str]:
        """Yield the forms in which the password may appear: encoded for the login (RFC 4616 and others), and plain."""
        yield from (b64encode(each.encode()).decode() for each in (f"\0{self.user}\0{self.password}", self.password))
        yield self.password


def login_of(name: str, spec: MailSpec, env: Mapping[str, str]) -> Login | None:
    """Return a destination's login. Raises `ConfigError` for a variable that is not set or cannot be sent."""
    if spec.user_env is None or spec.password_env is None:
        return None
    for variable in (spec.user_env, spec.password_env):
        if not env.get(variable):
            raise ConfigError(
                f'destination "{name}" needs the variable {variable}, which is not set', hint=f"export {variable}"
            )
        if not env[variable].isascii() or CONTROL.search(env[variable]):
            raise ConfigError(f'destination "{name}": {variable} holds a character that no login over SMTP can carry')
    return Login(env[spec.user_env], env[spec.password_env])


class MailDestination:
    """Sends deliveries by mail, a few at a time, each over a connection of its own."""

    def __init__(
        self, spec: DestinationSpec, mail: MailSpec, login: Login | None, network: Network, *, guarded: bool = False,
        resolver: Resolver | None = None,
    ) -> None:  # fmt: skip
        self.name = spec.name
        self.workers = WORKERS
        self.max_attempts = spec.max_attempts
        self.schedule = spec.retry_schedule
        self._mail = mail
        self._login = login
        self._timeout = spec.timeout
        self._network = network
        self._guarded = guarded
        self._resolver = resolver or network.resolve
        self._messages = MailMessages(mail)

    def deliver(self, chunks: Iterable[Sequence[OutgoingDelivery]]) -> Iterator[Sequence[Outcome[Receipt]]]:
        """Send mails concurrently; yield outcomes as they arrive.

        Raises at once `UsageError` when offline, `ConfigError` for authorities that cannot be read, `ExhaustedError`.
        """
        bridge()
        server = self._network.mail_server(
            self.name, self._mail.host, self._mail.port, tls=self._mail.tls, timeout=self._timeout
        )
        return self._delivered(server, chunks)

    def _delivered(
        self, server: MailServer, chunks: Iterable[Sequence[OutgoingDelivery]]
    ) -> Iterator[Sequence[Outcome[Receipt]]]:
        threads = ThreadPoolExecutor(WORKERS, "mail")

        async def one(outgoing: OutgoingDelivery) -> Outcome[Receipt]:
            loop = asyncio.get_running_loop()
            connection = server.connection()
            timer = loop.call_later(self._timeout, connection.expire)
            try:
                return await loop.run_in_executor(threads, self._one, connection, outgoing)
            except asyncio.CancelledError:
                connection.expire()
                raise
            finally:
                timer.cancel()

        try:
            for arrived in bridge().map(chunks, one, workers=WORKERS, stopping=lambda: False, tick=0.0):
                yield [self._came(outgoing, result) for outgoing, result in arrived]
        finally:
            threads.shutdown(wait=False)

    def _one(self, connection: SmtpConnection, outgoing: OutgoingDelivery) -> Outcome[Receipt]:
        began = time.perf_counter()
        try:
            self._hand_over(connection, self._messages.message(outgoing, datetime.now(UTC)))
        except TemplateFailure as failure:
            error = DeliveryError(
                f"{self.name} cannot be sent this ticket: {failure}", hint="correct the template", final=True
            )
        except PrivateAddressError as private:
            return Outcome(0, Action.FAILED, None, private, outgoing)
        except DeliveryError as failure:
            error = failure
        except MailRefusal as refusal:
            error = self._refusal(refusal.smtp_code, refusal.smtp_error)
        except OSError as failure:
            if lack := resource_exhaustion.lack_of(failure, is_probe=True):
                return Outcome(0, Action.FAILED, None, lack, outgoing)
            error = self._unreached(failure, connection)
        else:
            return Outcome(0, Action.DELIVERED, Receipt(DONE, time.perf_counter() - began), None, outgoing)
        finally:
            connection.close()
        return Outcome(0, Action.FAILED, Receipt(error.status, time.perf_counter() - began), error, outgoing)

    def _hand_over(self, connection: SmtpConnection, message: EmailMessage) -> None:
        mail, mail_bytes = self._mail, message.as_bytes()
        host, shown = mail.host, f"{self.name}: {mail.host}"
        connection.open(checked(host, mail.port, self._resolver, shown) if self._guarded else host)
        if self._login:
            connection.login(*self._login)
        size = [f"size={len(mail_bytes)}"] if connection.has_extn("size") else []
        code, text = connection.mail(bare(mail.sender), size)
        if code != DONE:
            raise self._refusal(code, text)
        replies = {to: connection.rcpt(to) for to in map(bare, mail.to)}
        if refused := {to: reply for to, reply in replies.items() if reply[0] not in TAKEN}:
            raise self._refused(refused)
        done, answer = connection.hand_over(mail_bytes)
        if done != DONE:
            raise self._refusal(done, answer)
        with suppress(OSError):
            connection.putcmd("quit")

    def _refused(self, answers: Mapping[str, tuple[int, bytes]]) -> DeliveryError:
        """Return the error for refused recipients. Then nobody gets the mail, so that nobody gets it twice."""
        worst = max(answers.values(), key=itemgetter(0))
        error = self._refusal(worst[0], b"; ".join(text for _, text in answers.values()))
        error.message = f"{self.name}: {', '.join(f'{to} is refused ({code})' for to, (code, _) in answers.items())}"
        return error

    def _refusal(self, code: int, text: bytes | str) -> DeliveryError:
        answer = self._excerpt(text) or None
        hint = "triage why shows its answer" if answer else ""
        final, limited = 500 <= code < 600, code in BUSY
        why = f"{self.name} answered {code}"
        return DeliveryError(why, hint=hint, final=final, status=code, answer=answer, limited=limited)

    def _unreached(self, failure: OSError, connection: SmtpConnection) -> DeliveryError:
        server = f"{self._mail.host}:{self._mail.port}"
        if connection.expired or any(isinstance(cause, TimeoutError) for cause in causes(failure)):
            why = f"{self.name} did not answer within {self._timeout:g} s"
        elif isinstance(failure, MailConnectionLost):
            why = f"{self.name} cannot be reached at {server}: it closed the connection"
        elif isinstance(failure, MailError):
            return DeliveryError(
                f"{self.name} cannot be used at {server}: {self._excerpt(str(failure)).rstrip('.')}",
                hint="see tls, user_env and password_env in the config",
            )
        else:
            why = f"{self.name} cannot be reached at {server}: {reason(failure)}"
        return DeliveryError(why, doubtful=connection.in_doubt)

    def _excerpt(self, text: bytes | str) -> str:
        """Return the beginning of a server's answer, on one line and without the login."""
        shown = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        for secret in self._login.shapes if self._login else ():
            shown = shown.replace(secret, "***")
        return CONTROL.sub(" ", encodable(shown)).strip()[:KEPT]

    def _came(self, outgoing: OutgoingDelivery, result: Outcome[Receipt] | Exception) -> Outcome[Receipt]:
        if isinstance(result, Outcome):
            return result
        error = DeliveryError(f"{self.name}: {type(result).__name__}", doubtful=True)
        return Outcome(0, Action.FAILED, None, error, outgoing)


def as_text(mail: MailSpec, outgoing: OutgoingDelivery, now: datetime) -> str:
    """Return a mail as `route --dry-run` prints it."""
    try:
        message = MailMessages(mail).message(outgoing, now)
    except TemplateFailure as failure:
        return f"(nothing is sent: {failure})"
    return f"MAIL {mail.host}:{mail.port}\n{plain(message)}"

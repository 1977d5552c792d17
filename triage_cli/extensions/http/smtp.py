"""Destinations of type `mail`: mails are sent over SMTP (RFC 5321), to all recipients or to none."""

import asyncio
import time
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, datetime
from email.message import EmailMessage
from operator import itemgetter
from typing import NamedTuple

from triage_cli import domain as dm
from triage_cli.config import DestinationSpec, MailSpec, TemplateFailure
from triage_cli.destinations import attempted, not_renderable
from triage_cli.extensions.http.rendered_mail import HEADER_CONTROLS, MailMessages, bare_address
from triage_cli.runtime import (
    AccessTokens,
    MailConnectionLost,
    MailError,
    MailRefusal,
    MailServer,
    Network,
    Resolver,
    SmtpConnection,
    bridge,
    checked,
    reason,
    resource_exhaustion,
    sent_forms,
)

# How many mails are sent at once: mail servers refuse clients with more connections.
WORKERS = 4
# Answers to too many connections or mails: Gmail's 421, and 432 of Exchange Online, which takes three at once.
BUSY_CODES = frozenset({421, 432})
# How many characters of a mail server's answer are kept.
KEPT = 500
# The code of a command that the mail server has completed.
COMPLETED = 250
# 251: the server forwards it to where the user is now (RFC 5321, 3.4).
ACCEPTED_RECIPIENT = frozenset({COMPLETED, 251})


class SmtpLogin(NamedTuple):
    """The name that a mail server asks for, and a password or `tokens`."""

    user: str
    password: str = ""
    tokens: AccessTokens | None = None

    @property
    def secret_forms(self) -> Iterator[str]:
        """Yield the forms of password or tokens in SMTP: encoded for the login (RFC 4616 and others), and plain."""
        if self.tokens:
            yield from sent_forms(self.user, self.tokens.secrets)
            return
        credentials = (f"\0{self.user}\0{self.password}", self.password)
        yield from (b64encode(each.encode()).decode() for each in credentials)
        yield self.password


def login_of(name: str, spec: MailSpec, env: Mapping[str, str], tokens: AccessTokens | None = None) -> SmtpLogin | None:
    """Return the login to the mail server, with `tokens` if they take the place of a password.

    Raises `ConfigError` for a variable that is not set or cannot be sent.
    """
    if spec.user_env is None:
        return None
    for variable in filter(None, (spec.user_env, spec.password_env)):
        if not env.get(variable):
            raise dm.ConfigError(
                f'destination "{name}" needs the variable {variable}, which is not set', hint=f"export {variable}"
            )
        if not env[variable].isascii() or HEADER_CONTROLS.search(env[variable]):
            raise dm.ConfigError(
                f'destination "{name}": {variable} holds a character that no login over SMTP can carry'
            )
    return SmtpLogin(env[spec.user_env], env[spec.password_env] if spec.password_env else "", tokens)


class MailDestination:
    """Sends deliveries by mail, a few at a time, each over an SMTP connection of its own."""

    def __init__(
        self,
        spec: DestinationSpec,
        mail: MailSpec,
        login: SmtpLogin | None,
        network: Network,
        *,
        guarded: bool = False,
        resolver: Resolver | None = None,
    ) -> None:
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

    def deliver(self, chunks: Iterable[Sequence[dm.OutgoingDelivery]]) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        bridge()
        server = self._network.mail_server(
            self.name, self._mail.host, self._mail.port, tls=self._mail.tls, timeout=self._timeout
        )
        return self._delivered(server, chunks)

    def _delivered(
        self, server: MailServer, chunks: Iterable[Sequence[dm.OutgoingDelivery]]
    ) -> Iterator[Sequence[dm.Outcome[dm.Receipt]]]:
        threads = ThreadPoolExecutor(WORKERS, "mail")

        async def mail_one(outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
            if self._login and self._login.tokens:  # the wait for a token is none for the mail server
                try:
                    await self._login.tokens.token()
                except dm.NOT_ATTEMPTED as problem:
                    return dm.Outcome.failed(outgoing, problem)
            loop = asyncio.get_running_loop()
            connection = server.connection()
            timer = loop.call_later(self._timeout, connection.expire)
            try:
                return await loop.run_in_executor(threads, self._mail_one, connection, outgoing)
            except asyncio.CancelledError:
                connection.expire()
                raise
            finally:
                timer.cancel()

        try:
            yield from attempted(chunks, mail_one, WORKERS, self._unexpected)
        finally:
            threads.shutdown(wait=False)

    def _unexpected(self, error: Exception) -> dm.DeliveryError:
        return dm.DeliveryError(f"{self.name}: {type(error).__name__}", doubtful=True)

    def _mail_one(self, connection: SmtpConnection, outgoing: dm.OutgoingDelivery) -> dm.Outcome[dm.Receipt]:
        mail_began = time.perf_counter()
        try:
            self._hand_over(connection, self._messages.message(outgoing, datetime.now(UTC)), outgoing)
        except TemplateFailure as failure:
            error = not_renderable(self.name, failure)
        except dm.NOT_ATTEMPTED as problem:
            return dm.Outcome.failed(outgoing, problem)
        except dm.DeliveryError as failure:
            error = failure
        except MailRefusal as refusal:
            error = self._refusal(refusal.smtp_code, refusal.smtp_error)
        except OSError as smtp_failure:
            if lack := resource_exhaustion.lack_of(smtp_failure, is_probe=True):
                return dm.Outcome.failed(outgoing, lack)
            error = self._unreached_server(smtp_failure, connection)
        else:
            return dm.Outcome(
                0, dm.Action.DELIVERED, dm.Receipt(COMPLETED, time.perf_counter() - mail_began), None, outgoing
            )
        finally:
            connection.close()
        return dm.Outcome.failed(outgoing, error, dm.Receipt(error.status, time.perf_counter() - mail_began))

    def _hand_over(self, connection: SmtpConnection, message: EmailMessage, outgoing: dm.OutgoingDelivery) -> None:
        mail, mail_bytes = self._mail, message.as_bytes()
        self._open(connection)
        size = [f"size={len(mail_bytes)}"] if connection.has_extn("size") else []
        smtp_code, text = connection.mail(bare_address(mail.sender), size)
        if smtp_code != COMPLETED:
            raise self._refusal(smtp_code, text)
        replies = {to: connection.rcpt(to) for to in map(bare_address, mail.to)}
        if refused := {to: reply for to, reply in replies.items() if reply[0] not in ACCEPTED_RECIPIENT}:
            raise self._refused_recipients(refused)
        outgoing.check_held()
        data_code, answer = connection.hand_over(mail_bytes)
        if data_code != COMPLETED:
            raise self._refusal(data_code, answer)
        with suppress(OSError):
            connection.putcmd("quit")

    def _open(self, connection: SmtpConnection) -> None:
        """Connect and log in; if a token is refused, once again with a new one, since some servers hang up then."""
        host, shown = self._mail.host, f"{self.name}: {self._mail.host}"
        address = checked(host, self._mail.port, self._resolver, shown) if self._guarded else host
        connection.open(address)
        if self._login is None:
            return
        if self._login.tokens is None:
            connection.login(self._login.user, self._login.password)
            return
        token = self._login.tokens.waited_for()
        if connection.log_in_by_token(self._login.user, token):
            return
        token = self._login.tokens.waited_for(refused=token)
        connection.open(address)
        if not connection.log_in_by_token(self._login.user, token):
            raise self._login.tokens.refused_again(
                f"{self.name} refuses a new token of {self._login.tokens.client}, too"
            )

    def _refused_recipients(self, replies: Mapping[str, tuple[int, bytes]]) -> dm.DeliveryError:
        """Return the error for refused recipients. Then nobody gets the mail, so that nobody gets it twice."""
        worst = max(replies.values(), key=itemgetter(0))
        error = self._refusal(worst[0], b"; ".join(text for _, text in replies.values()))
        error.message = f"{self.name}: {', '.join(f'{to} is refused ({code})' for to, (code, _) in replies.items())}"
        return error

    def _refusal(self, smtp_code: int, text: bytes | str) -> dm.DeliveryError:
        answer = self._excerpt(text) or None
        hint = f"{dm.Step.WHY} shows its answer" if answer else ""
        final, limited = 500 <= smtp_code < 600, smtp_code in BUSY_CODES
        why = f"{self.name} answered {smtp_code}"
        return dm.DeliveryError(why, hint=hint, final=final, status=smtp_code, answer=answer, limited=limited)

    def _unreached_server(self, failure: OSError, connection: SmtpConnection) -> dm.DeliveryError:
        mail_server = f"{self._mail.host}:{self._mail.port}"
        if connection.expired or any(isinstance(cause, TimeoutError) for cause in dm.causes(failure)):
            why = f"{self.name} did not answer within {self._timeout:g} s"
        elif isinstance(failure, MailConnectionLost):
            why = f"{self.name} cannot be reached at {mail_server}: it closed the connection"
        elif isinstance(failure, MailError):
            return dm.DeliveryError(
                f"{self.name} cannot be used at {mail_server}: {self._excerpt(str(failure)).rstrip('.')}",
                hint="see tls, user_env and what stands beside it in the config",
            )
        else:
            why = f"{self.name} cannot be reached at {mail_server}: {reason(failure)}"
        return dm.DeliveryError(why, doubtful=connection.in_doubt)

    def _excerpt(self, text: bytes | str) -> str:
        """Return the beginning of a mail server's answer, on one line and without the login."""
        answer = text.decode("utf-8", "replace") if isinstance(text, bytes) else text
        answer = dm.hide_secrets(answer, self._login.secret_forms if self._login else ())
        return HEADER_CONTROLS.sub(" ", dm.encodable(answer)).strip()[:KEPT]

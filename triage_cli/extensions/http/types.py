"""The types of destinations over the network: a webhook, a request over HTTP, a mail."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from triage_cli import domain as dm
from triage_cli.config import AuthSpec, Config, DestinationSpec, HttpSpec, MailSpec, check_signing_secrets
from triage_cli.runtime import Network, host_of
from triage_cli.wiring import DestinationType, open_tokens
from triage_cli.wiring import destinations as configured

if TYPE_CHECKING:  # each type imports its own
    from triage_cli.extensions.http.http import HttpDestination
    from triage_cli.extensions.http.smtp import MailDestination
    from triage_cli.extensions.http.webhook import WebhookDestination, WebhookTarget


class WebhookType(DestinationType):
    """A webhook, signed by the scheme of Standard Webhooks."""

    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> "WebhookDestination":
        from triage_cli.extensions.http.webhook import WebhookDestination

        return WebhookDestination(_target(spec)._replace(guarded=guarded), Network(config.offline))

    def request_text(self, spec: DestinationSpec, outgoing: dm.OutgoingDelivery) -> str:
        from triage_cli.extensions.http.webhook import webhook_as_text

        return webhook_as_text(_target(spec), outgoing)

    def tried(self, _config: Config, spec: DestinationSpec) -> str:
        signed = f", signed by {' and '.join(spec.secret_env)}" if spec.secret_env else ", not signed"
        return f"posts to {host_of(spec.url or '')}{signed}"


class HttpType(DestinationType):
    """A request over HTTP, by templates."""

    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> "HttpDestination":
        from triage_cli.extensions.http.http import HttpDestination
        from triage_cli.extensions.http.rendered_requests import secrets_of

        configured.check_templates(config, [spec.name])
        http = _http(spec)
        secrets = secrets_of(spec.name, http, os.environ)
        if http.auth is not None and not isinstance(http.auth, AuthSpec):
            tokens = open_tokens(config, f'destination "{spec.name}"', http.auth, os.environ, guarded=guarded)
            secrets = secrets._replace(tokens=tokens)
        return HttpDestination(spec, http, secrets, Network(config.offline), guarded=guarded)

    def template_mistakes(self, spec: DestinationSpec) -> Iterator[tuple[str, str]]:
        from triage_cli.extensions.http.rendered_requests import request_mistakes

        yield from request_mistakes(_http(spec))

    def request_text(self, spec: DestinationSpec, outgoing: dm.OutgoingDelivery) -> str:
        from triage_cli.extensions.http.http import http_as_text

        return http_as_text(_http(spec), outgoing)

    def tried(self, _config: Config, spec: DestinationSpec) -> str:
        http = _http(spec)
        to = f"the address in {http.url_env}" if http.url_env else host_of(http.url or "")
        return f"sends {http.method} to {to}"


class MailType(DestinationType):
    """A mail, over SMTP."""

    def opened(self, config: Config, spec: DestinationSpec, *, guarded: bool) -> "MailDestination":
        from triage_cli.extensions.http.smtp import MailDestination, login_of

        configured.check_templates(config, [spec.name])
        mail, owner = _mail(spec), f'destination "{spec.name}"'
        tokens = open_tokens(config, owner, mail.auth, os.environ, guarded=guarded) if mail.auth else None
        login = login_of(spec.name, mail, os.environ, tokens)
        return MailDestination(spec, mail, login, Network(config.offline), guarded=guarded)

    def template_mistakes(self, spec: DestinationSpec) -> Iterator[tuple[str, str]]:
        from triage_cli.extensions.http.rendered_mail import mail_mistakes

        yield from mail_mistakes(_mail(spec))

    def request_text(self, spec: DestinationSpec, outgoing: dm.OutgoingDelivery) -> str:
        from triage_cli.extensions.http.rendered_mail import mail_as_text

        return mail_as_text(_mail(spec), outgoing, datetime.now(UTC))

    def tried(self, _config: Config, spec: DestinationSpec) -> str:
        mail = _mail(spec)
        encryption = {"implicit": "by TLS", "starttls": "by STARTTLS", "none": "unencrypted"}[mail.tls]
        login = f", as {mail.user_env}" if mail.user_env else ""
        return f"mails to {', '.join(mail.to)} over {mail.host}:{mail.port} {encryption}{login}"


WEBHOOK, HTTP, MAIL = WebhookType(), HttpType(), MailType()


def _target(spec: DestinationSpec) -> "WebhookTarget":
    """Return the target of a webhook, with its secrets from the environment."""
    from triage_cli.extensions.http.webhook import WebhookTarget

    owner = f'destination "{spec.name}"'
    check_signing_secrets(owner, spec.secret_env, os.environ)
    secrets = tuple(dm.secret_of(os.environ[variable], f"{owner}: {variable}") for variable in spec.secret_env)
    return WebhookTarget(spec.name, spec.url or "", secrets, spec.timeout, spec.max_attempts, spec.retry_schedule)


def _http(spec: DestinationSpec) -> HttpSpec:
    if spec.http is None:
        raise TypeError(spec.type)
    return spec.http


def _mail(spec: DestinationSpec) -> MailSpec:
    if spec.mail is None:
        raise TypeError(spec.type)
    return spec.mail

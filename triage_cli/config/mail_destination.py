"""Destinations of type `mail` in config.yaml: the mail, its templates, and the mail server."""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from triage_cli.config.destination_limits import LIMITS
from triage_cli.config.key_tables import Field, record
from triage_cli.config.validators import number, one_of, several, text, text_matching, variable
from triage_cli.config.yaml_document import ConfigNode
from triage_cli.runtime import is_loopback

SUBMISSIONS = 465  # the port of SMTP with TLS from the start (RFC 8314)
MAIL_HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}"
# A mail address (RFC 5322, 3.4) in ASCII, without what is quoted or commented; maybe a name before it.
MAIL_ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
MAILBOX = rf'{MAIL_ADDRESS}|[^<>@,;:"\\\x00-\x1f\x7f]{{1,80}} <{MAIL_ADDRESS}>'

# The default templates of a mail.
MAIL_SUBJECT = "[{{ category }}] {{ ticket.subject | one_line | truncate(150) }}"
MAIL_TEXT = """\
{{ ticket.description | truncate(20000) }}

--
category: {{ category }}
confidence: {{ confidence | default("-") }}
priority: {{ ticket.priority | default("-") }}
customer: {{ ticket.customer_id | default("-") }}
ticket: {{ ticket.external_id | default(ticket.ticket_id) }}
rule: {{ rule }}
"""


class MailSpec(NamedTuple):
    """The mail of a destination of type `mail`, and the mail server; `subject` and `text` are templates."""

    host: str
    sender: str
    to: tuple[str, ...] = ()
    port: int = 587
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    user_env: str | None = None
    password_env: str | None = None
    subject: str = MAIL_SUBJECT
    text: str = MAIL_TEXT


def read_mail(destination_name: str, setting: ConfigNode) -> dict[str, Any]:
    """Return the values of a `DestinationSpec` of type `mail`; mistakes are in the setting's diagnostics."""
    mail_values = record(setting, MAIL, f"destinations.{destination_name}", instead="user_env and password_env")
    limits = {key: mail_values.pop(key) for key in LIMITS if key in mail_values}
    if ("user_env" in mail_values) != ("password_env" in mail_values):
        setting.wrong("needs both user_env and password_env, or neither")
    mail_values.pop("type", None)
    sender, host, port = mail_values.pop("from", ""), mail_values.get("host", ""), mail_values.get("port")
    usual_tls = "implicit" if port == SUBMISSIONS else "none" if is_loopback(host) else "starttls"
    tls = mail_values.setdefault("tls", usual_tls)
    mail_values.setdefault("port", SUBMISSIONS if tls == "implicit" else MailSpec._field_defaults["port"])
    return {**limits, "mail": MailSpec(**{"host": "", **mail_values}, sender=sender)}


mail_host = text_matching(f"({MAIL_HOST})", "must be the name or address of a mail server, such as smtp.example.com")
_mailbox = text_matching(f"({MAILBOX})", "must be a mail address, such as team@example.com or Team <team@example.com>")
MAIL: Mapping[str, Field] = {
    "type": Field(one_of("mail"), needed=True),
    "host": Field(mail_host, needed=True),
    "port": Field(number(1, 65535, whole=True)),
    "tls": Field(one_of("implicit", "starttls", "none")),
    "user_env": Field(variable),
    "password_env": Field(variable),
    "from": Field(_mailbox, needed=True),
    "to": Field(several(_mailbox, least=1, most=100), needed=True),
    "subject": Field(text),
    "text": Field(text),
    **LIMITS,
}

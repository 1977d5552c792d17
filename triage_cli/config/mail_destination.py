"""Destinations of type `mail` in config.yaml: the server, the login, and the mail."""

import re
from collections.abc import Mapping

from triage_cli.config.http_destination import COMMON
from triage_cli.config.json_schema import accepts
from triage_cli.config.models import DestinationSpec, MailSpec
from triage_cli.config.validators import Field, number, one_of, record, several, text, variable
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError
from triage_cli.runtime.network import is_loopback

SUBMISSIONS = 465  # the port of SMTP with TLS from the start (RFC 8314)
HOST = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?|[0-9A-Fa-f:]{2,39}"
# An address (RFC 5322, 3.4) in ASCII, without what is quoted or commented; maybe a name before it.
ADDRESS = r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?"
MAILBOX = rf'{ADDRESS}|[^<>@,;:"\\\x00-\x1f\x7f]{{1,80}} <{ADDRESS}>'


def read_mail(name: str, place: ConfigNode) -> DestinationSpec:
    """Read a destination of type `mail`; its mistakes are in the place's book."""
    values = record(place, MAIL, f"destinations.{name}", instead="user_env and password_env")
    common = {key: values.pop(key) for key in COMMON if key in values}
    if ("user_env" in values) != ("password_env" in values):
        place.wrong("needs both user_env and password_env, or neither")
    values.pop("type", None)
    sender, host, port = values.pop("from", ""), values.get("host", ""), values.get("port")
    usual = "implicit" if port == SUBMISSIONS else "none" if is_loopback(host) else "starttls"
    tls = values.setdefault("tls", usual)
    values.setdefault("port", SUBMISSIONS if tls == "implicit" else MailSpec._field_defaults["port"])
    return DestinationSpec(name, "mail", **common, mail=MailSpec(**{"host": "", **values}, sender=sender))


@accepts({"type": "string", "pattern": f"^({HOST})$"})
def mail_host(place: ConfigNode) -> str:
    """Accept the name or the address of a mail server."""
    value = text(place)
    if not re.fullmatch(HOST, value):
        raise ConfigValueError("must be the name or address of a mail server, such as smtp.example.com")
    return value


@accepts({"type": "string", "pattern": f"^({MAILBOX})$"})
def _mailbox(place: ConfigNode) -> str:
    value = text(place)
    if not re.fullmatch(MAILBOX, value):
        raise ConfigValueError("must be a mail address, such as team@example.com or Team <team@example.com>")
    return value


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
    **COMMON,
}

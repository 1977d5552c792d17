"""Destinations in config.yaml: webhooks, commands, files and mails; type `http` has a module of its own."""

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.http_auth import TokenSpec, mail_token, read_auth
from triage_cli.config.http_destination import LIMITS, RETRIES, TIMEOUT, HttpSpec, http_schema, read_http
from triage_cli.config.key_tables import Field, Schema, accepts, keys_of, named_schema, record, record_schema
from triage_cli.config.plugin_settings import of_plugin
from triage_cli.config.yaml_document import ConfigNode
from triage_cli.hooks import Hook
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
    """The mail of a destination of type `mail`, and the mail server; `subject` and `text` are templates.

    One logs in as `user_env` with a password, or with a token (`auth`).
    """

    host: str
    sender: str
    to: tuple[str, ...] = ()
    port: int = 587
    tls: Literal["implicit", "starttls", "none"] = "starttls"
    user_env: str | None = None
    password_env: str | None = None
    subject: str = MAIL_SUBJECT
    text: str = MAIL_TEXT
    auth: TokenSpec | None = None


def read_mail(name: str, setting: ConfigNode) -> dict[str, Any]:
    """Return the values of a `DestinationSpec` of type `mail`; mistakes are in the setting's diagnostics."""
    values = record(setting, MAIL, f"destinations.{name}", instead="user_env and password_env")
    limits = {key: values.pop(key) for key in LIMITS if key in values}
    values["auth"] = mail_token(setting, values.get("auth"))
    keys = setting.entries().keys()
    if {"password_env", "auth"} <= keys:
        setting.wrong("password_env and auth exclude each other; remove one")
    elif ("user_env" in keys) != bool({"password_env", "auth"} & keys):
        setting.wrong("needs both user_env and password_env (or auth), or neither")
    values.pop("type", None)
    sender, host, port = values.pop("from", ""), values.get("host", ""), values.get("port")
    usual_tls = "implicit" if port == SUBMISSIONS else "none" if is_loopback(host) else "starttls"
    tls = values.setdefault("tls", usual_tls)
    values.setdefault("port", SUBMISSIONS if tls == "implicit" else MailSpec._field_defaults["port"])
    return {**limits, "mail": MailSpec(**{"host": "", **values}, sender=sender)}


mail_host = valid.text_matching(
    f"({MAIL_HOST})", "must be the name or address of a mail server, such as smtp.example.com"
)
_mailbox = valid.text_matching(
    f"({MAILBOX})", "must be a mail address, such as team@example.com or Team <team@example.com>"
)
MAIL: Mapping[str, Field] = {
    "type": Field(valid.one_of("mail"), needed=True),
    "host": Field(mail_host, needed=True),
    "port": Field(valid.number(1, 65535, whole=True)),
    "tls": Field(valid.one_of("implicit", "starttls", "none")),
    "user_env": Field(valid.variable),
    "password_env": Field(valid.variable),
    "auth": Field(read_auth),
    "from": Field(_mailbox, needed=True),
    "to": Field(valid.several(_mailbox, least=1, most=100), needed=True),
    "subject": Field(valid.text),
    "text": Field(valid.text),
    **LIMITS,
}


# The presets that set a field of a helpdesk's ticket.
FIELD_PRESETS = frozenset({"freshdesk"})
# The presets whose labels stand in the helpdesk's list of a ticket's tags.
LABEL_PRESETS = frozenset({"zendesk", "zammad", "github-label"})
# The presets that write a category back to the ticket that it is about.
WRITE_BACK_PRESETS = FIELD_PRESETS | LABEL_PRESETS | {"servicenow"}


DESTINATION_TYPES = ("webhook", "http", "mail", "command", "file")


class DestinationSpec(NamedTuple):
    """One destination as configured; paths in it are absolute, `secret_env` names the newest secret first."""

    name: str
    type: Annotated[str, Field(valid.one_of(*DESTINATION_TYPES), needed=True)]
    url: Annotated[str | None, Field(valid.url, ("webhook",), needed=True)] = None
    secret_env: Annotated[tuple[str, ...], Field(valid.several(valid.variable), ("webhook",))] = ()
    max_attempts: Annotated[int, RETRIES["max_attempts"]] = 7
    timeout: Annotated[float, Field(TIMEOUT, ("webhook", "command"))] = 15
    run: Annotated[tuple[str, ...], Field(valid.command, ("command",), needed=True)] = ()
    final_exit: Annotated[tuple[int, ...], Field(valid.several(valid.number(1, 255, whole=True)), ("command",))] = ()
    path: Annotated[Path | None, Field(valid.path, ("file",), needed=True)] = None
    retry_schedule: Annotated[tuple[float, ...], RETRIES["retry_schedule"]] = (5, 300, 1800, 7200, 18000, 36000)
    allow_private: Annotated[bool, Field(valid.truth, ("webhook",))] = False
    http: HttpSpec | None = None
    mail: MailSpec | None = None
    on_change: Annotated[str, RETRIES["on_change"]] = "ignore"  # one of `ON_CHANGE`
    settings: Mapping[str, Any] = {}  # the keys of its own that a plug-in's type has

    @property
    def names_field(self) -> bool:
        """Return whether the destination is known to set a field of a helpdesk's ticket to the category."""
        return self.http is not None and (self.http.guards_field or self.http.preset in FIELD_PRESETS)

    @property
    def writes_labels(self) -> bool:
        """Return whether the destination is known to label a helpdesk's ticket with the category."""
        return self.http is not None and self.http.preset in LABEL_PRESETS

    @property
    def writes_back(self) -> bool:
        """Return whether the destination is known to write the category to a helpdesk's ticket."""
        return self.names_field or (self.http is not None and self.http.preset in WRITE_BACK_PRESETS)

    def may_write(self, *, labels: bool) -> bool:
        """Return whether the destination may set a field of a helpdesk's ticket to the category, or label it.

        What a webhook's receiver, a program or a request of one's own sets is not known.
        """
        if self.http is not None and self.http.preset is not None:
            return self.http.preset in (LABEL_PRESETS if labels else FIELD_PRESETS)
        return self.type not in ("file", "mail") and not (labels and self.names_field)

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables with the destination's secrets, each with its key in the configuration."""
        yield from (("secret_env", name) for name in self.secret_env)
        if self.http:
            http_variables = (("url_env", self.http.url_env), ("key_env", self.http.key_env))
            yield from ((key, name) for key, name in http_variables if name)
            yield from (("auth", name) for name in (self.http.auth.env if self.http.auth else ()))
        if self.mail:
            login_variables = (("user_env", self.mail.user_env), ("password_env", self.mail.password_env))
            yield from ((key, name) for key, name in login_variables if name)
            yield from (("auth", name) for name in (self.mail.auth.env if self.mail.auth else ()))
        yield from ((key, name) for key, name in self.settings.items() if key.endswith("_env"))


DESTINATION = keys_of(DestinationSpec)
# The types of destinations that are read by tables of their own.
READERS = {"http": read_http, "mail": read_mail}


def _destinations_schema() -> Schema:
    schema: Schema = record_schema(DESTINATION)
    for type_name, of_type in (("http", http_schema()), ("mail", record_schema(MAIL))):
        has_type = {"properties": {"type": {"const": type_name}}, "required": ["type"]}
        schema = {"if": has_type, "then": of_type, "else": schema}
    return named_schema(schema, [{"not": {"pattern": "://"}}])


@accepts(_destinations_schema)
def read_destinations(setting: ConfigNode) -> dict[str, DestinationSpec]:
    """Return the destinations of the configuration by their names."""
    destinations = {}
    for name, inner in valid.named_entries(setting).items():
        if "://" in name:
            inner.wrong("give the destination a name; the address goes into its url")
        type_node = inner.value.get("type") if isinstance(inner.value, dict) else None
        if type_node is not None and isinstance(type_node.value, str) and type_node.value in READERS:
            spec_values = READERS[type_node.value](name, inner)
            destinations[name] = DestinationSpec(name, type_node.value, **spec_values)
            continue
        values = of_plugin(Hook.DESTINATION, inner, DESTINATION, RETRIES, f"destinations.{name}") or record(
            inner, DESTINATION, f"destinations.{name}", instead="secret_env"
        )
        if values.get("type") == "command":
            inner.refuse_command()
        destinations[name] = DestinationSpec(name, **{"type": "", **values})
    return destinations


def unnamed_webhook(address: str, setting: ConfigNode) -> DestinationSpec:
    """Return the destination for an address in the routing map, which is also its name."""
    spec = DestinationSpec(address, "webhook", valid.url(setting))
    setting.origin(f"destinations.{address}.url")
    return spec


def default_destinations(categories: Iterable[dm.Category], folder: Path) -> dict[str, DestinationSpec]:
    """Return a destination of type `file` for each category, for a configuration without a routing map."""
    queue_files = {category.name: folder / _queue_file_name(category.name) for category in categories}
    return {name: DestinationSpec(name, "file", path=queue_file) for name, queue_file in queue_files.items()}


def _queue_file_name(category: str) -> str:
    """Return the name of the file of a category's destination; one altered to be safe everywhere gets a hash."""
    stem = re.sub(r'[\x00-\x1f\x7f/\\:*?"<>|]+', "-", category).strip(" .-").encode()[:200].decode(errors="ignore")
    if stem != category:
        import hashlib

        stem = f"{stem or 'category'}-{hashlib.sha256(category.encode()).hexdigest()[:6]}"
    return f"{stem}.jsonl"

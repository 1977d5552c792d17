"""The records of the configuration, with the defaults. They hold no secrets, only names of variables."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple

from triage_cli.config.http_auth import AuthSpec
from triage_cli.config.source_specs import SourceSpec
from triage_cli.domain.deliveries import Rule
from triage_cli.domain.tickets import Category

DEFAULT_CATEGORIES = (
    Category("Billing", "Invoices, charges, payments, refunds, subscriptions"),
    Category("Technical", "Errors, bugs, logins, outages, performance, integrations"),
    Category("General", "Everything else: questions, feedback, orders, accounts, how-tos"),
)
# What `redact` may name: personal data and credentials that a pattern and a checksum can find.
REDACTABLE = ("email", "phone", "card", "iban", "secret")
# The wires of a Decisions API: OpenAI's `/decisions`, and TypeSafe's `/systemone`.
WIRES = ("decisions", "systemone")
KEY_VARIABLES: Mapping[str, str] = {
    "decision": "OPENAI_API_KEY",
    "openai": "OPENAI_API_KEY",
    "anthropic": "ANTHROPIC_API_KEY",
}


class Price(NamedTuple):
    """USD per million tokens; if the cache's prices are null, its tokens cost as much as other input."""

    input: float = 0
    output: float = 0
    cache_read: float | None = None
    cache_write: float | None = None


class ClassifierSpec(NamedTuple):
    """One classifier as configured; keys that mean nothing to its type keep their default."""

    name: str
    type: str  # local | decision | openai | anthropic | cascade
    min_confidence: float = 0.6
    max_error: float | None = None  # the share of wrong sure answers that is promised, in place of min_confidence
    model: str | None = None
    base_url: str | None = None
    api_key_env: str | None = None
    workers: int = 8
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None
    timeout: float = 30
    max_retries: int = 5
    price: Price | None = None
    steps: tuple[str, ...] = ()
    audit_rate: float = 0
    redact: tuple[str, ...] = ()
    hysteresis: float = 0
    encoder: Path | None = None  # of type local: a folder with a sentence encoder, asked where the vectors are unsure
    wire: str | None = None  # of type decision: decisions | systemone; null: found out


class AnswerTest(NamedTuple):
    """A test of an answer: one of these statuses (none: any), and this value at a path (none: any but null).

    `contains` is a text that the value at the path must contain.
    """

    status: tuple[int, ...] = ()
    path: str | None = None
    value: tuple[Any, ...] = ()
    contains: str = ""


class OnceSpec(NamedTuple):
    """A search before a repeated attempt, if the outcome of the first one is unknown.

    It is a GET of an address, or a body posted to the destination's own address. It has found something if there is a
    value at the path `found`, or if the answer contains a text.
    """

    get: str = ""
    body: Any = None
    found: str = ""
    contains: str = ""


class FindSpec(NamedTuple):
    """A GET request before each attempt; values at these paths of its answer are `remote.NAME` in the main request."""

    get: str
    keep: Mapping[str, str] = {}


class UndoSpec(NamedTuple):
    """The request, sent before a new delivery, that undoes an earlier delivery to the same destination."""

    endpoint: str
    method: str = "DELETE"
    body: Any = None


class HttpSpec(NamedTuple):
    """The request of a destination of type `http`; string leaves of its trees are templates.

    `endpoint` follows the address. `given` are the values of the keys that a preset needs, for its templates.
    """

    preset: str | None = None
    method: str = "POST"
    url: str | None = None
    url_env: str | None = None
    endpoint: str = ""
    query: Mapping[str, str] = {}
    headers: Mapping[str, str] = {}
    auth: AuthSpec | None = None
    key_env: str | None = None
    body: Any = None
    form: Mapping[str, str] = {}
    ok: AnswerTest = AnswerTest()
    retry: AnswerTest | None = None
    keep: Mapping[str, str] = {}
    find: FindSpec | None = None
    once: OnceSpec | None = None
    undo: UndoSpec | None = None
    given: Mapping[str, str] = {}


# The default templates of a mail.
SUBJECT = "[{{ category }}] {{ ticket.subject | one_line | truncate(150) }}"
TEXT = """\
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
    subject: str = SUBJECT
    text: str = TEXT


class DestinationSpec(NamedTuple):
    """One destination as configured; paths in it are absolute, `secret_env` names the newest secret first."""

    name: str
    type: str  # webhook | http | mail | command | file
    url: str | None = None
    secret_env: tuple[str, ...] = ()
    max_attempts: int = 7
    timeout: float = 15
    run: tuple[str, ...] = ()
    final_exit: tuple[int, ...] = ()
    path: Path | None = None
    retry_schedule: tuple[float, ...] = (5, 300, 1800, 7200, 18000, 36000)
    allow_private: bool = False
    http: HttpSpec | None = None
    mail: MailSpec | None = None

    def variables(self) -> Iterator[tuple[str, str]]:
        """Yield the variables with its secrets, each with its key in the configuration."""
        yield from (("secret_env", name) for name in self.secret_env)
        if self.http:
            named = (("url_env", self.http.url_env), ("key_env", self.http.key_env))
            yield from ((key, name) for key, name in named if name)
            yield from (("auth", name) for name in (self.http.auth.env if self.http.auth else ()))
        if self.mail:
            login = (("user_env", self.mail.user_env), ("password_env", self.mail.password_env))
            yield from ((key, name) for key, name in login if name)


class HookSpec(NamedTuple):
    """An incoming webhook as configured: its signature, which events count, and the paths of a ticket's fields.

    Type `standard` is Standard Webhooks with headers that begin with `header_prefix`. With type `hmac`, `header` holds
    the signature over `base` (null: the body, after the time if there is one); with type `token` the secret itself. The
    time is in `timestamp_header`, or in the signature's header as the item `timestamp_in`. If `encoding` is null, hex
    and base64 are accepted. An event counts if its value at each path of `when` is among those listed. The values of
    several paths of a field are joined with `#`.
    """

    name: str
    type: str  # standard | hmac | token
    preset: str | None = None
    secret_env: tuple[str, ...] = ()
    header_prefix: str = "webhook"
    header: str | None = None
    algorithm: Literal["sha1", "sha256"] = "sha256"
    encoding: Literal["hex", "base64"] | None = None
    prefix: str | None = None
    base: str | None = None
    timestamp_header: str | None = None
    timestamp_in: str | None = None
    challenge_header: str | None = None
    when: Mapping[str, tuple[str, ...]] = {}
    fields: Mapping[str, tuple[str, ...]] = {}
    on_create: tuple[str, ...] = ()

    @property
    def timed(self) -> bool:
        """Return whether each event has a signed time."""
        return self.type == "standard" or bool(self.timestamp_header or self.timestamp_in)


class OidcSpec(NamedTuple):
    """The identity provider whose tokens the HTTP API accepts.

    `claim` is the dotted path of their roles, which `roles` maps to triage's roles (`*`: any token). `name` are paths;
    the first one with a value names the actor.
    """

    issuer: str
    audience: tuple[str, ...]
    claim: str
    roles: Mapping[str, str]
    name: tuple[str, ...] = ("preferred_username", "client_id", "azp", "sub")


class Config(NamedTuple):
    """The checked configuration; `origins` maps a dotted key to the origin of its value.

    `secret_variables` are those of the environment that it names as holding a secret, set or not.
    """

    path: Path | None
    database: str
    categories: tuple[Category, ...]
    classifier: str
    classifiers: Mapping[str, ClassifierSpec]
    destinations: Mapping[str, DestinationSpec]
    routes: tuple[Rule, ...]
    per_day: float | None
    remote: str | None
    offline: bool
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()
    webhooks: Mapping[str, HookSpec] = {}
    requests_per_minute: int | None = 6000
    secret_variables: frozenset[str] = frozenset(KEY_VARIABLES.values())
    sources: Mapping[str, SourceSpec] = {}
    oidc: OidcSpec | None = None
    spikes_to: str | None = None  # the destination of spikes
    cors_origins: tuple[str, ...] = ()  # of pages that may call the API from a browser

    def routing_hash(self) -> str:
        """Return a hash of routes and destinations, 16 characters, so that a decision can name its routing map."""
        import hashlib
        import json

        parts = [
            # Left out if it is not given, so that older maps keep their hash.
            [{k: v for k, v in rule._asdict().items() if k != "max_error" or v is not None} for rule in self.routes],
            [spec._asdict() for _, spec in sorted(self.destinations.items())],
        ]
        text = json.dumps(parts, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def without_password(database: str) -> str:
    """Return the database as it may be printed."""
    hidden = re.sub(r"(?<=://)([^/@?#:]*):[^?#]*(?=@)", r"\1:***", database)
    return re.sub(r"(?i)([?&](?:ssl)?password=)[^&#]*", r"\1***", hidden) if "://" in database else database

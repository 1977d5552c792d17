"""The records of the configuration, with the defaults. They hold no secrets, only names of variables."""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

from triage_cli.config.destination_specs import DestinationSpec
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


class HookSpec(NamedTuple):
    """An incoming webhook as configured: its signature, which events count, and the paths of a ticket's fields.

    Type `standard` is Standard Webhooks with headers that begin with `header_prefix`. With type `hmac`, `header` holds
    the signature over `base` (null: the body, after the time if there is one); with type `token` the secret itself. The
    time is in `timestamp_header`, or in the signature's header as the item `timestamp_in`. If `encoding` is null, hex
    and base64 are accepted. An event counts if its value at each path of `when` is among those listed. The values of
    several paths of a field are joined with `#`. `html` are the fields with HTML to convert to text.
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
    when: Mapping[str, tuple[str | None, ...]] = {}
    fields: Mapping[str, tuple[str, ...]] = {}
    html: tuple[str, ...] = ()
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

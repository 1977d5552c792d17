"""The identity provider in config.yaml, under `server.oidc`: whose tokens are accepted, and which role they give."""

from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from triage_cli.config.json_schema import accepts, record_schema, schema_of
from triage_cli.config.key_tables import Field, record
from triage_cli.config.validators import one_of, several, text, url
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError
from triage_cli.domain import ROLES
from triage_cli.runtime import is_loopback

TRIAGE_ROLE = one_of(*ROLES)


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


@accepts(lambda: schema_of(url))
def _issuer(setting: ConfigNode) -> str:
    """Accept the address of an identity provider, written as in its tokens."""
    issuer = url(setting)
    issuer_parts = urlsplit(issuer)
    if issuer_parts.scheme != "https" and not is_loopback(issuer_parts.hostname or ""):
        raise ConfigValueError("must be https://, else somebody in between could sign tokens")
    return issuer


@accepts(lambda: {"type": "object", "additionalProperties": schema_of(TRIAGE_ROLE)})
def _role_map(setting: ConfigNode) -> dict[str, str]:
    roles = {provider_role: inner.read(TRIAGE_ROLE) for provider_role, inner in setting.entries().items()}
    return {provider_role: triage_role for provider_role, triage_role in roles.items() if triage_role}


@accepts(lambda: record_schema(ROLES_KEYS))
def _roles(setting: ConfigNode) -> dict[str, Any]:
    return record(setting, ROLES_KEYS, "server.oidc.roles")


@accepts(lambda: record_schema(OIDC))
def read_oidc(setting: ConfigNode) -> OidcSpec | None:
    """Return the identity provider; None if a key is missing, which was reported."""
    oidc_values = record(setting, OIDC, "server.oidc")
    roles = oidc_values.pop("roles", {})
    if not {"issuer", "audience"} <= oidc_values.keys() or not {"claim", "map"} <= roles.keys():
        return None
    return OidcSpec(**oidc_values, claim=roles["claim"], roles=roles["map"])


ROLES_KEYS: Mapping[str, Field] = {"claim": Field(text, needed=True), "map": Field(_role_map, needed=True)}
OIDC: Mapping[str, Field] = {
    "issuer": Field(_issuer, needed=True),
    "audience": Field(several(text, least=1), needed=True),
    "roles": Field(_roles, needed=True),
    "name": Field(several(text, least=1)),
}

"""The secrets of a destination of type `http`: read from the environment, hidden in all that is shown or stored."""

import re
from collections.abc import Mapping
from html import escape
from typing import NamedTuple
from urllib.parse import quote, unquote, urlsplit

from triage_cli.config.http_auth import auth_header_value
from triage_cli.config.http_destination import HttpSpec
from triage_cli.config.secrets import secret
from triage_cli.config.templates.addresses import no_address
from triage_cli.config.templates.jinja import is_template
from triage_cli.domain.errors import ConfigError
from triage_cli.domain.serialization import compact

HIDDEN = "***"
# Shorter parts of a secret address, and shorter user names, are not hidden.
TELLING = 8


class Secrets(NamedTuple):
    """The values of a destination's variables: the address, the authentication header, and the key for the body."""

    url: str | None = None
    auth: tuple[str, str] | None = None
    key: str | None = None
    values: tuple[str, ...] = ()

    def hidden_in(self, text: str) -> str:
        """Return a text without the secrets; an answer may repeat its request."""
        parts = [self.key or "", *(value for value in self.values if len(value) >= TELLING)]
        if self.auth:
            parts += [self.auth[1], self.auth[1].rpartition(" ")[2]]
        if self.url:
            _, _, path, query, _ = urlsplit(self.url)
            raw = [part for part in re.split(r"[/?&=]", f"{path}?{query}") if len(part) >= TELLING]
            parts += [self.url, *raw, *map(unquote, raw)]
        written = {form for part in filter(None, parts) for form in _written(part)}
        for form in sorted(written, key=len, reverse=True):
            text = text.replace(form, HIDDEN)
        return text


def _written(part: str) -> tuple[str, ...]:
    """Return a secret as it is, and as it is written in JSON, in an address and in HTML."""
    in_json = compact(part)[1:-1]
    return part, in_json, in_json.replace("/", "\\/"), quote(part, safe=""), escape(part)


def secrets_of(name: str, spec: HttpSpec, env: Mapping[str, str]) -> Secrets:
    """Read a destination's secrets. Raises `ConfigError` for a variable that is not set or has an unusable value."""

    def value(variable: str) -> str:
        return secret(f'destination "{name}"', variable, env)

    url = value(spec.url_env) if spec.url_env else None
    if url and (objection := "holds a template" if is_template(url) else no_address(url)):
        raise ConfigError(f'destination "{name}": the address in {spec.url_env} {objection}', hint="export it again")
    key = value(spec.key_env) if spec.key_env else None
    values = [value(variable) for variable in _variables(spec)]
    auth = (spec.auth.header, auth_header_value(spec.auth, values)) if spec.auth else None
    return Secrets(url, auth, key, tuple(values))


def hidden_secrets(spec: HttpSpec) -> Secrets:
    """Return the placeholders that replace the secrets when a request is shown."""
    url = f"${spec.url_env}" if spec.url_env else None
    auth = None
    if spec.auth:
        scheme = {"basic": "Basic ", "bearer": "Bearer ", "header": spec.auth.prefix}[spec.auth.kind]
        auth = (spec.auth.header, f"{scheme}{HIDDEN}")
    return Secrets(url, auth, HIDDEN if spec.key_env else None)


def _variables(spec: HttpSpec) -> tuple[str, ...]:
    if spec.auth is None:
        return ()
    return spec.auth.env or ((spec.key_env,) if spec.key_env else ())

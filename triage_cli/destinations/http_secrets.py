"""The secrets of a destination of type `http`: read from the environment, hidden in all that is shown or stored."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from triage_cli.config import HttpSpec, auth_header_value, is_template, no_address, secret
from triage_cli.domain import HIDDEN, ConfigError, hide_secrets

# Shorter parts of a secret address, and shorter user names, are not hidden.
SHORTEST_HIDDEN = 8


class HttpSecrets(NamedTuple):
    """The secrets of an HTTP destination: the address, the authentication header, and the key for the body."""

    url: str | None = None
    auth: tuple[str, str] | None = None
    key: str | None = None
    values: tuple[str, ...] = ()

    def hidden_in(self, text: str) -> str:
        """Return a text with the secrets hidden, in whatever spelling: an answer may repeat its request."""
        secret_parts = [self.key or "", *(value for value in self.values if len(value) >= SHORTEST_HIDDEN)]
        if self.auth:
            secret_parts += [self.auth[1], self.auth[1].rpartition(" ")[2]]
        if self.url:
            _, _, path, query, _ = urlsplit(self.url)
            url_parts = [part for part in re.split(r"[/?&=]", f"{path}?{query}") if len(part) >= SHORTEST_HIDDEN]
            secret_parts += [self.url, *url_parts, *map(unquote, url_parts)]
        return hide_secrets(text, secret_parts)


def secrets_of(name: str, spec: HttpSpec, env: Mapping[str, str]) -> HttpSecrets:
    """Read an HTTP destination's secrets. Raises `ConfigError` for a variable that is not set or unusable."""

    def secret_in(variable: str) -> str:
        return secret(f'destination "{name}"', variable, env)

    url = secret_in(spec.url_env) if spec.url_env else None
    if url and (objection := "holds a template" if is_template(url) else no_address(url)):
        raise ConfigError(f'destination "{name}": the address in {spec.url_env} {objection}', hint="export it again")
    key = secret_in(spec.key_env) if spec.key_env else None
    auth_secrets = [secret_in(variable) for variable in _auth_variables(spec)]
    auth_header = (spec.auth.header, auth_header_value(spec.auth, auth_secrets)) if spec.auth else None
    return HttpSecrets(url, auth_header, key, tuple(auth_secrets))


def hidden_secrets(spec: HttpSpec) -> HttpSecrets:
    """Return the placeholders that replace the secrets when a request is shown."""
    url = f"${spec.url_env}" if spec.url_env else None
    hidden_auth = None
    if spec.auth:
        scheme = {"basic": "Basic ", "bearer": "Bearer ", "header": spec.auth.prefix}[spec.auth.kind]
        hidden_auth = (spec.auth.header, f"{scheme}{HIDDEN}")
    return HttpSecrets(url, hidden_auth, HIDDEN if spec.key_env else None)


def _auth_variables(spec: HttpSpec) -> tuple[str, ...]:
    if spec.auth is None:
        return ()
    return spec.auth.env or ((spec.key_env,) if spec.key_env else ())

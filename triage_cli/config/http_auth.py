"""The authentication header of a request, made from environment variables."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from triage_cli.domain.errors import ConfigError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class AuthSpec(NamedTuple):
    """The authentication of a request: one header, made from the values of the variables `env`."""

    kind: Literal["basic", "bearer", "header"]
    env: tuple[str, ...] = ()
    header: str = "authorization"
    prefix: str = ""


def secret(owner: str, variable: str, env: Mapping[str, str]) -> str:
    """Return the value of a variable. Raises `ConfigError` if it is not set, or cannot be part of a header."""
    secret_value = env.get(variable, "").strip()
    if not secret_value:
        raise ConfigError(f"{owner} needs the variable {variable}, which is not set", hint=f"export {variable}")
    if CONTROL.search(secret_value):
        raise ConfigError(f"{owner}: {variable} holds a line break or another control character")
    return secret_value


def proof(auth: AuthSpec, values: Sequence[str]) -> str:
    """Return the value of the header.

    A user without a password is an API key, and gets the password X as helpdesks expect.
    """
    if auth.kind == "basic":
        return "Basic " + b64encode(":".join(values if len(values) > 1 else [*values, "X"]).encode()).decode()
    return ("Bearer " if auth.kind == "bearer" else auth.prefix) + values[0]

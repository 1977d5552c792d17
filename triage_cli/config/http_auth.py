"""The header by which a request proves who sends it, made of what variables of the environment hold."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple

from triage_cli.domain.errors import ConfigError

CONTROL = re.compile(r"[\x00-\x1f\x7f]")


class AuthSpec(NamedTuple):
    """How a request proves who sends it: one header, made of what the variables `env` hold."""

    kind: Literal["basic", "bearer", "header"]
    env: tuple[str, ...] = ()
    header: str = "authorization"
    prefix: str = ""


def secret(owner: str, variable: str, env: Mapping[str, str]) -> str:
    """Return what a variable holds. Raises `ConfigError` where it is not set, or holds what no header can."""
    secret_value = env.get(variable, "").strip()
    if not secret_value:
        raise ConfigError(f"{owner} needs what {variable} holds, and it is not set", hint=f"export {variable}")
    if CONTROL.search(secret_value):
        raise ConfigError(f"{owner}: {variable} holds a line break or another control character")
    return secret_value


def proof(auth: AuthSpec, values: Sequence[str]) -> str:
    """Return the value of the header; an API key that is a user alone has X for its password, as helpdesks want it."""
    if auth.kind == "basic":
        return "Basic " + b64encode(":".join(values if len(values) > 1 else [*values, "X"]).encode()).decode()
    return ("Bearer " if auth.kind == "bearer" else auth.prefix) + values[0]

"""Secrets of the configuration: the variables that hold them, their values, and texts without them."""

import re
from collections.abc import Iterable, Iterator, Mapping

from triage_cli import domain as dm
from triage_cli.config.configuration import Config
from triage_cli.config.database_address import without_password
from triage_cli.config.http_auth import FORBIDDEN_IN_HEADERS

# The variables of triage, the SDKs and libpq; they count whatever the configuration names.
USUAL_SECRETS = re.compile(
    r"TRIAGE_\w*(KEY|TOKEN|SECRET|PASSWORD)\w*"
    r"|(OPENAI|ANTHROPIC)_\w*(KEY|TOKEN|SECRET)\w*"
    r"|PG(PASSWORD|PASSFILE|SERVICEFILE|SSLKEY|SSLPASSWORD|OAUTHCLIENTSECRET)"
)


def secret_variables(config: Config, env: Mapping[str, str]) -> frozenset[str]:
    """Name the variables of an environment that hold secrets: those the configuration names, and the usual ones.

    `TRIAGE_DB` is one where there is a password in it.
    """
    names = {name for name in env if name in config.secret_variables or USUAL_SECRETS.fullmatch(name)}
    database = env.get("TRIAGE_DB", "")
    return frozenset(names | ({"TRIAGE_DB"} if without_password(database) != database else set()))


def without_secrets(config: Config, env: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables that hold secrets, for a program that the configuration names."""
    names = secret_variables(config, env)
    return {variable: value for variable, value in env.items() if variable not in names}


def secret(owner: str, variable: str, env: Mapping[str, str]) -> str:
    """Return the secret in a variable. Raises `ConfigError` if it is not set, or cannot be part of a header."""
    value = env.get(variable, "").strip()
    if not value:
        raise dm.ConfigError(f"{owner} needs the variable {variable}, which is not set", hint=f"export {variable}")
    if FORBIDDEN_IN_HEADERS.search(value):
        raise dm.ConfigError(f"{owner}: {variable} holds a line break, another control character or no UTF-8")
    return value


def check_signing_secrets(owner: str, variables: Iterable[str], env: Mapping[str, str]) -> None:
    """Raise `ConfigError` if a variable that holds a secret for signatures is not set."""
    for variable in variables:
        if not env.get(variable):
            unset_problem = f"{owner} needs the secret in {variable}, which is not set"
            raise dm.ConfigError(unset_problem, hint=f"export {variable}")


def unset(owner: str, variables: Iterable[tuple[str, str]], env: Mapping[str, str]) -> Iterator[str]:
    """Yield a warning for each secret's variable that is not set; `variables` has each with its key in the config."""
    for key, variable in variables:
        if not env.get(variable):
            yield f"{owner}.{key}: {variable} is not set here; export {variable}"

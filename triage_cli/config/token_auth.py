"""Access tokens in config.yaml, which expire: from a token server by client credentials, or printed by a command."""

import re
from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from triage_cli.config.key_tables import Field, accepts, record, record_schema, schema_of
from triage_cli.config.template_settings import address, no_address
from triage_cli.config.validators import command, one_of, text, variable
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

# Parameters of a token request that are secrets, or follow from other keys.
_OWN_PARAMETERS = re.compile(
    r"(?i)client_id|client_secret|scope|(?P<secret>client_assertion|refresh_token|password|username|code)"
)


class OAuth2Spec(NamedTuple):
    """The client credentials of OAuth 2.0 (RFC 6749, 4.4), and the server that gives tokens for them.

    `send` is where id and secret stand in the request for a token, `params` are further parameters of it.
    """

    token_url: str
    client_id_env: str
    client_secret_env: str
    scope: str = ""
    send: Literal["body", "basic"] = "body"
    params: Mapping[str, str] = {}

    @property
    def env(self) -> tuple[str, ...]:
        """The variables with the secrets."""
        return self.client_id_env, self.client_secret_env


class BearerCommandSpec(NamedTuple):
    """A command whose first line of output is a token; it gets the secrets in the variables `env`."""

    bearer_command: tuple[str, ...]
    env: tuple[str, ...] = ()


TokenSpec = OAuth2Spec | BearerCommandSpec


@accepts(schema_of(address))
def _token_address(setting: ConfigNode) -> str:
    url = text(setting)
    if objection := no_address(url) or ("holds a template, which it cannot" if "{" in url else ""):
        raise ConfigValueError(objection)
    return url


@accepts({"type": "object", "additionalProperties": schema_of(text)})
def _token_parameters(setting: ConfigNode) -> dict[str, str]:
    parameters = {}
    for name, inner in setting.entries().items():
        if own := _OWN_PARAMETERS.fullmatch(name):
            inner.wrong(
                "is a secret, or needs one; a command that keeps it prints the token: bearer_command"
                if own["secret"]
                else f"stands beside params: {'scope' if name.lower() == 'scope' else f'{name.lower()}_env'}"
            )
        parameters[name] = inner.read(text, "")
    return parameters


@accepts(lambda: record_schema(OAUTH2))
def read_oauth2(setting: ConfigNode) -> OAuth2Spec:
    """Read the client credentials, and where a token is had for them."""
    values = record(setting, OAUTH2, setting.path, instead="client_secret_env")
    return OAuth2Spec(**{"token_url": "", "client_id_env": "", "client_secret_env": "", **values})


@accepts(lambda: schema_of(command))
def read_bearer_command(setting: ConfigNode) -> tuple[str, ...]:
    """Accept a command that prints a token, if others cannot have written the file."""
    setting.refuse_command()
    return command(setting)


def token_auth(setting: ConfigNode, values: Mapping[str, Any]) -> TokenSpec:
    """Return the token of an `auth` with oauth2 or bearer_command, whose values were read."""
    if "oauth2" not in setting.entries():
        return BearerCommandSpec(values.get("bearer_command", ()), values.get("env", ()))
    if "env" in setting.entries():
        raise ConfigValueError("env means nothing to oauth2, which has client_id_env and client_secret_env")
    return values.get("oauth2") or OAuth2Spec("", "", "")


OAUTH2: Mapping[str, Field] = {
    "token_url": Field(_token_address, needed=True),
    "client_id_env": Field(variable, needed=True),
    "client_secret_env": Field(variable, needed=True),
    "scope": Field(text),
    "send": Field(one_of("body", "basic")),
    "params": Field(_token_parameters),
}

"""The authentication in config.yaml: one header, whose value is made from secrets, or an access token that expires."""

import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, accepts, as_record, record, record_schema, schema_of
from triage_cli.config.template_settings import address, no_address
from triage_cli.config.yaml_document import ConfigNode, ConfigValueError

# Parameters of a token request that are secrets, or follow from other keys.
_OWN_PARAMETERS = re.compile(
    r"(?i)client_id|client_secret|scope|(?P<secret>client_assertion|refresh_token|password|username|code)"
)


@accepts(schema_of(address))
def _token_address(setting: ConfigNode) -> str:
    url = valid.text(setting)
    if objection := no_address(url) or ("holds a template, which it cannot" if "{" in url else ""):
        raise ConfigValueError(objection)
    return url


@accepts({"type": "object", "additionalProperties": schema_of(valid.text)})
def _token_parameters(setting: ConfigNode) -> dict[str, str]:
    parameters = {}
    for name, inner in setting.entries().items():
        if own := _OWN_PARAMETERS.fullmatch(name):
            inner.wrong(
                "is a secret, or needs one; a command that keeps it prints the token: bearer_command"
                if own["secret"]
                else f"stands beside params: {'scope' if name.lower() == 'scope' else f'{name.lower()}_env'}"
            )
        parameters[name] = inner.read(valid.text, "")
    return parameters


class OAuth2Spec(NamedTuple):
    """The client credentials of OAuth 2.0 (RFC 6749, 4.4), and the server that gives tokens for them.

    `send` is where id and secret stand in the request for a token, `params` are further parameters of it.
    """

    token_url: Annotated[str, Field(_token_address, needed=True)]
    client_id_env: Annotated[str, Field(valid.variable, needed=True)]
    client_secret_env: Annotated[str, Field(valid.variable, needed=True)]
    scope: Annotated[str, Field(valid.text)] = ""
    send: Annotated[Literal["body", "basic"], Field(valid.one_of("body", "basic"))] = "body"
    params: Annotated[Mapping[str, str], Field(_token_parameters)] = {}

    @property
    def env(self) -> tuple[str, ...]:
        """The variables with the secrets."""
        return self.client_id_env, self.client_secret_env


class BearerCommandSpec(NamedTuple):
    """A command whose first line of output is a token; it gets the secrets in the variables `env`."""

    bearer_command: tuple[str, ...]
    env: tuple[str, ...] = ()


TokenSpec = OAuth2Spec | BearerCommandSpec


@accepts(lambda: schema_of(valid.command))
def read_bearer_command(setting: ConfigNode) -> tuple[str, ...]:
    """Accept a command that prints a token, if others cannot have written the file."""
    setting.refuse_command()
    return valid.command(setting)


def token_auth(setting: ConfigNode, values: Mapping[str, Any]) -> TokenSpec:
    """Return the token of an `auth` with oauth2 or bearer_command, whose values were read."""
    if "oauth2" not in setting.entries():
        return BearerCommandSpec(values.get("bearer_command", ()), values.get("env", ()))
    if "env" in setting.entries():
        raise ConfigValueError("env means nothing to oauth2, which has client_id_env and client_secret_env")
    return values.get("oauth2") or OAuth2Spec("", "", "")


# Headers that the program sets itself, or that hold secrets and so have a key of their own.
OWN_HEADERS = re.compile(
    r"(?i)host|content-length|transfer-encoding|connection|webhook-.*|idempotency-key|accept-encoding"
    r"|(?P<secret>authorization|proxy-authorization|cookie)"
)

# Characters that no header holds.
FORBIDDEN_IN_HEADERS = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")  # surrogates stand for bytes that are no UTF-8


class AuthSpec(NamedTuple):
    """The authentication of a request: one header, made from the values of the variables `env`."""

    kind: Literal["basic", "bearer", "header"]
    env: tuple[str, ...] = ()
    header: str = "authorization"
    prefix: str = ""


def settable_header(setting: ConfigNode, name: str) -> None:
    """Report a header that the program or `auth` sets, or that no request may have."""
    valid.header(setting._replace(node=setting.node._replace(value=name)))
    if own := OWN_HEADERS.fullmatch(name):
        reason = "is set by auth, which names variables" if own["secret"] else "is set by the program"
        setting.wrong(f"{reason}; remove it")
    if isinstance(setting.value, str) and FORBIDDEN_IN_HEADERS.search(setting.value):
        setting.wrong("holds a line break or another control character")


@accepts(schema_of(valid.text))
def _auth_prefix(setting: ConfigNode) -> str:
    if FORBIDDEN_IN_HEADERS.search(prefix := valid.text(setting)):
        raise ConfigValueError("holds a line break or another control character")
    return prefix


@accepts(schema_of(valid.header))
def _auth_header(setting: ConfigNode) -> str:
    name = valid.header(setting)
    own = OWN_HEADERS.fullmatch(name)
    if own and not own["secret"]:
        raise ConfigValueError("is set by the program; name another header")
    return name


@accepts(schema_of(valid.variable))
def _bearer_variable(setting: ConfigNode) -> tuple[str, ...]:
    return (valid.variable(setting),)


@accepts(lambda: record_schema(AUTH))
def read_auth(setting: ConfigNode) -> AuthSpec | TokenSpec:
    """Read `auth`: one of its kinds, with the variables of its secrets."""
    values = record(setting, AUTH, setting.path, instead="basic, bearer or env")
    entries = setting.value if isinstance(setting.value, Mapping) else {}
    kinds = [key for key in ("basic", "bearer", "header", "oauth2", "bearer_command") if key in entries]
    if len(kinds) != 1:
        raise ConfigValueError(
            "takes one of basic: [USER, PASSWORD], bearer: VARIABLE, header: NAME with env, oauth2 and bearer_command"
        )
    if kinds[0] in ("basic", "bearer") and {"env", "prefix"} & entries.keys():
        raise ConfigValueError(f"env and prefix mean nothing to {kinds[0]}")
    if kinds[0] in ("oauth2", "bearer_command"):
        if "prefix" in entries:
            raise ConfigValueError(f"prefix means nothing to {kinds[0]}")
        return token_auth(setting, values)
    if kinds[0] == "header":
        env = values.get("env", ())
        if len(env) > 1:
            raise ConfigValueError("a header takes one variable as env")
        return AuthSpec("header", env, values.get("header", ""), values.get("prefix", ""))
    return AuthSpec("basic" if kinds[0] == "basic" else "bearer", values.get(kinds[0], ()))


def mail_token(setting: ConfigNode, auth: AuthSpec | TokenSpec | None) -> TokenSpec | None:
    """Return the token of a mail server's `auth`, with which one logs in by XOAUTH2; report any other kind."""
    if isinstance(auth, AuthSpec):
        setting.entries()["auth"].wrong(
            f"{auth.kind} is for requests over HTTP; a mail server takes oauth2 or bearer_command here, "
            "and a password in password_env"
        )
        return None
    return auth


def auth_header_value(auth: AuthSpec, secrets: Sequence[str]) -> str:
    """Return the value of the authentication header.

    A user without a password is an API key, and gets the password X as helpdesks expect.
    """
    if auth.kind == "basic":
        return "Basic " + b64encode(":".join(secrets if len(secrets) > 1 else [*secrets, "X"]).encode()).decode()
    return ("Bearer " if auth.kind == "bearer" else auth.prefix) + secrets[0]


AUTH: Mapping[str, Field] = {
    "basic": Field(valid.several(valid.variable, least=1, most=2)),
    "bearer": Field(_bearer_variable),
    "header": Field(_auth_header),
    "oauth2": Field(as_record(OAuth2Spec, instead="client_secret_env")),
    "bearer_command": Field(read_bearer_command),
    "env": Field(valid.several(valid.variable)),
    "prefix": Field(_auth_prefix),
}

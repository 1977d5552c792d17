"""Opens the access tokens of the configuration: those of a client, or of a command that prints them."""

from collections.abc import Mapping

from triage_cli.config import Config, OAuth2Spec, TokenSpec, check_signing_secrets, secret, without_secrets
from triage_cli.runtime import AccessTokens, ClientCredentials, Network, TokenCommand, client_tokens, printed_tokens


def open_tokens(
    config: Config, owner: str, auth: TokenSpec, env: Mapping[str, str], *, guarded: bool = False
) -> AccessTokens:
    """Return the tokens of an `auth`; nothing is asked or run yet.

    Raises `ConfigError` for a variable that is not set. `guarded` refuses a token server at a private address.
    """
    if isinstance(auth, OAuth2Spec):
        client = ClientCredentials(
            auth.token_url,
            secret(owner, auth.client_id_env, env),
            secret(owner, auth.client_secret_env, env),
            (auth.client_id_env, auth.client_secret_env),
            scope=auth.scope,
            is_basic=auth.send == "basic",
            params=tuple(auth.params.items()),
            guarded=guarded,
        )
        return client_tokens(client, Network(config.offline))
    check_signing_secrets(owner, auth.env, env)
    command_env = without_secrets(config, env) | {variable: env[variable] for variable in auth.env}
    return printed_tokens(TokenCommand(auth.bearer_command, tuple(command_env.items())))

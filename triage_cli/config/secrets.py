"""Which environment variables hold secrets: commands do not get them, and no output shows them."""

import re
from collections.abc import Mapping

from triage_cli.config.models import Config, without_password

# The variables of triage, the SDKs and libpq; they count whatever the configuration names.
USUAL = re.compile(
    r"TRIAGE_\w*(KEY|TOKEN|SECRET|PASSWORD)\w*"
    r"|(OPENAI|ANTHROPIC)_\w*(KEY|TOKEN|SECRET)\w*"
    r"|PG(PASSWORD|PASSFILE|SERVICEFILE|SSLKEY|SSLPASSWORD|OAUTHCLIENTSECRET)"
)


def secret_variables(config: Config, env: Mapping[str, str]) -> frozenset[str]:
    """Name the variables of an environment that hold secrets: those the configuration names, and the usual ones.

    `TRIAGE_DB` is one where there is a password in it.
    """
    named = {name for name in env if name in config.secret_variables or USUAL.fullmatch(name)}
    address = env.get("TRIAGE_DB", "")
    return frozenset(named | ({"TRIAGE_DB"} if without_password(address) != address else set()))

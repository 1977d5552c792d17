"""What each destination in config.yaml may have: its timeout, its attempts, and what follows a changed text."""

from collections.abc import Mapping

from triage_cli.config.key_tables import Field
from triage_cli.config.validators import number, one_of, several, truth

TIMEOUT = number(0.1, 3600, unit="seconds")
# What follows if a ticket's text changes after the destination has accepted it; the first is the default.
ON_CHANGE = ("ignore", "again")
RETRIES: Mapping[str, Field] = {
    "max_attempts": Field(number(1, 100, whole=True)),
    "retry_schedule": Field(several(number(0, 30 * 86_400, unit="seconds"), least=1, most=100)),
    "on_change": Field(one_of(*ON_CHANGE)),
}
LIMITS: Mapping[str, Field] = {"timeout": Field(TIMEOUT), **RETRIES, "allow_private": Field(truth)}

"""Limits of each destination in config.yaml: its timeout, its attempts, and whether its address may be private."""

from collections.abc import Mapping

from triage_cli.config.key_tables import Field
from triage_cli.config.validators import number, several, truth

TIMEOUT = number(0.1, 3600, unit="seconds")
RETRIES: Mapping[str, Field] = {
    "max_attempts": Field(number(1, 100, whole=True)),
    "retry_schedule": Field(several(number(0, 30 * 86_400, unit="seconds"), least=1, most=100)),
}
LIMITS: Mapping[str, Field] = {"timeout": Field(TIMEOUT), **RETRIES, "allow_private": Field(truth)}

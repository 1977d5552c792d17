"""The configuration: a checked `Config`, read from one YAML file, the environment and the global options."""

from triage_cli.config.destination_specs import DestinationSpec
from triage_cli.config.load import load_config, no_home
from triage_cli.config.protected_files import is_own
from triage_cli.config.secrets import without_password
from triage_cli.config.sections import schema
from triage_cli.config.show import shown
from triage_cli.config.specs import (
    DEFAULT_CATEGORIES,
    REDACTABLE,
    WIRES,
    ClassifierSpec,
    Config,
    HookSpec,
    OidcSpec,
    Price,
)
from triage_cli.config.starter import STARTER, every_key
from triage_cli.config.validators import is_postgres

__all__ = [
    "DEFAULT_CATEGORIES", "REDACTABLE", "STARTER", "WIRES", "ClassifierSpec", "Config", "DestinationSpec", "HookSpec",
    "OidcSpec", "Price", "every_key", "is_own", "is_postgres", "load_config", "no_home", "schema", "shown",
    "without_password",
]  # fmt: skip

"""The configuration: a checked `Config`, read from one YAML file, the environment and the global options."""

from triage_cli.config.categories import DEFAULT_CATEGORIES
from triage_cli.config.classifiers import REDACTABLE, WIRES, ClassifierSpec, Price
from triage_cli.config.configuration import Config, is_own
from triage_cli.config.database_address import is_postgres, without_password
from triage_cli.config.destinations import DestinationSpec
from triage_cli.config.load import load_config, no_home
from triage_cli.config.oidc import OidcSpec
from triage_cli.config.sections import schema
from triage_cli.config.show import shown
from triage_cli.config.starter import STARTER, every_key
from triage_cli.config.webhooks import HookSpec

__all__ = [
    "DEFAULT_CATEGORIES", "REDACTABLE", "STARTER", "WIRES", "ClassifierSpec", "Config", "DestinationSpec", "HookSpec",
    "OidcSpec", "Price", "every_key", "is_own", "is_postgres", "load_config", "no_home", "schema", "shown",
    "without_password",
]  # fmt: skip

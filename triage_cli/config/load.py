"""Loads the configuration: takes each value from flag, environment, file or default, in this order."""

import os
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from triage_cli.config.categories import DEFAULT_CATEGORIES
from triage_cli.config.classifiers import KEY_VARIABLES, LOCAL
from triage_cli.config.config_file import ConfigFile, find_config_file, home_folder, typed_path, xdg_folder
from triage_cli.config.configuration import Config, is_among, mistakes_error, own_files
from triage_cli.config.database_address import is_postgres, no_database
from triage_cli.config.destinations import DestinationSpec, default_destinations
from triage_cli.config.routes import default_routes
from triage_cli.config.sections import TOP_KEYS, Sections, read_sections
from triage_cli.config.validators import no_url
from triage_cli.config.yaml_document import ConfigNode, Diagnostics
from triage_cli.domain import ConfigError

# What TRIAGE_OFFLINE may hold.
OFFLINE_VALUES: Mapping[str, bool] = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)
NO_SECTIONS = Sections({}, DEFAULT_CATEGORIES, {"local": LOCAL}, "local", {}, None)


def load_config(
    *,
    config: str | None = None,
    db: str | None = None,
    remote: str | None = None,
    offline: bool | None = None,
    env: Mapping[str, str],
    cwd: Path,
) -> Config:
    """Load the configuration from flags, environment, file and defaults.

    Raises one `ConfigError` with every mistake in the file, the environment and the flags.
    """
    home = home_folder(env)
    config_file, notes = find_config_file(config, env, cwd, home)
    diagnostics = config_file.diagnostics if config_file else Diagnostics()
    sections = (
        read_sections(ConfigNode(config_file.root, "", diagnostics))
        if config_file and config_file.root
        else NO_SECTIONS
    )
    precedence = _SettingPrecedence(sections.values, diagnostics, env)
    database = precedence.value("database", db, ("--db", "TRIAGE_DB"), no_database)
    if database is None:
        database = _default_database(env, home)
    elif not is_postgres(database):
        database = str(typed_path(database, diagnostics.origins["database"], cwd, home))
    given_remote = precedence.value("remote", remote, ("--remote", "TRIAGE_REMOTE"), no_url)
    if db is not None and remote is None:  # a typed database has precedence over a remote that was not typed
        given_remote = None
        diagnostics.origins.pop("remote", None)
    if not database and given_remote is None:
        raise no_home()
    is_offline = precedence.offline(offline)
    _check_own_files(diagnostics, sections.destinations, own_files(database, config_file.path if config_file else None))
    _raise_mistakes(config_file, diagnostics)
    destinations, routes = sections.destinations, sections.routes
    if routes is None:
        config_folder = config_file.path.parent if config_file else cwd
        queue_folder = (config_folder if is_postgres(database) else Path(database).parent) / "queues"
        destinations = {**default_destinations(sections.categories, queue_folder), **destinations}
        routes = default_routes(sections.categories)
    server = sections.values.get("server", {})
    return Config(
        path=config_file.path if config_file else None,
        database=database,
        categories=sections.categories,
        classifier=sections.classifier,
        classifiers=sections.classifiers,
        destinations=destinations,
        routes=routes,
        per_day=sections.values.get("budget"),
        remote=given_remote,
        offline=is_offline,
        origins=diagnostics.origins,
        notes=notes,
        webhooks=sections.values.get("webhooks", {}),
        requests_per_minute=server.get("requests_per_minute", Config._field_defaults["requests_per_minute"]),
        secret_variables=frozenset(diagnostics.variables | set(KEY_VARIABLES.values())),
        sources=sections.values.get("sources", {}),
        oidc=server.get("oidc"),
        spikes_to=sections.values.get("spikes"),
        cors_origins=server.get("cors_origins", ()),
    )


def _default_database(env: Mapping[str, str], home: Path | None) -> str:
    """Return the path of the database if none is named; empty without a home directory."""
    data_folder = xdg_folder(env, home, "XDG_DATA_HOME", ".local/share")
    return str(data_folder / "triage" / "triage.db") if data_folder else ""


def no_home() -> ConfigError:
    """Return the error for a database whose default place would be in a home directory that does not exist."""
    return ConfigError("no home directory, where the database usually is", hint="give --db or TRIAGE_DB")


def _raise_mistakes(config_file: ConfigFile | None, diagnostics: Diagnostics) -> None:
    """Raise one `ConfigError` with all mistakes of the configuration."""
    if not (problems := diagnostics.problems):
        return
    is_in_file = config_file and any(problem.startswith(f"{diagnostics.label}:") for problem in problems)
    if len(problems) == 1 and not is_in_file:
        raise ConfigError(problems[0])
    mistaken_place = diagnostics.label if is_in_file else "the configuration"
    top_keys = config_file.root.value if config_file and config_file.root else ()
    is_foreign_file = 2 * sum(key in TOP_KEYS for key in top_keys) < len(top_keys)
    hint = "if the file is not triage's, name another with --config" if is_foreign_file else ""
    raise mistakes_error(mistaken_place, problems, hint)


class _SettingPrecedence:
    """Takes a value from flag, environment or file, and records its origin."""

    def __init__(self, values: Mapping[str, Any], diagnostics: Diagnostics, env: Mapping[str, str]) -> None:
        self.values = values
        self.diagnostics = diagnostics
        self.env = env

    def value(self, key: str, flag: str | None, names: tuple[str, str], objection: Callable[[str], str]) -> str | None:
        """Return the value of a flag, else of a variable, else of the file; `names` are those of flag and variable."""
        flag_and_variable = (
            (flag, f"flag {names[0]}", "leave it out"),
            (self.env.get(names[1]), f"environment {names[1]}", "unset it"),
        )
        for given_value, origin, advice in flag_and_variable:
            if given_value is not None:
                problem = objection(given_value) if given_value.strip() else f"is empty; give a value, or {advice}"
                if problem:
                    self.diagnostics.misplaced(origin, problem)
                self.diagnostics.origins[key] = origin
                return given_value
        file_value: str | None = self.values.get(key)
        return file_value

    def offline(self, flag: bool | None) -> bool:
        """Return whether flag, environment or file switch the network off."""
        if flag is not None:
            self.diagnostics.origins["offline"] = "flag --offline"
            return flag
        if not (offline_text := self.env.get("TRIAGE_OFFLINE", "").strip()):
            return bool(self.values.get("offline"))
        self.diagnostics.origins["offline"] = "environment TRIAGE_OFFLINE"
        if offline_text.lower() not in OFFLINE_VALUES:
            self.diagnostics.misplaced(
                "environment TRIAGE_OFFLINE", f'"{offline_text[:40]}" is neither 1, true, yes nor 0, false, no'
            )
        return OFFLINE_VALUES.get(offline_text.lower(), True)


def _check_own_files(
    diagnostics: Diagnostics, destinations: Mapping[str, DestinationSpec], own: Iterable[str | os.PathLike[str]]
) -> None:
    """Report a destination that is one of triage's own files: appended lines would damage it, or be lost."""
    if diagnostics.problems:  # for example a path with a NUL
        return
    for name, spec in destinations.items():
        if spec.path is not None and is_among(spec.path, own):
            path_key = f"destinations.{name}.path"
            problem = f"{spec.path} is the database, a file beside it, or the configuration; name a file of its own"
            diagnostics.misplaced(f"{diagnostics.origins[path_key]}: {path_key}", problem)

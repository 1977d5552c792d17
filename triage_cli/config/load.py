"""Finds the configuration file, and takes each value from flag, environment, file or default, in this order."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli.config.categories import DEFAULT_CATEGORIES
from triage_cli.config.classifiers import KEY_VARIABLES, LOCAL
from triage_cli.config.configuration import Config, is_among, own_files
from triage_cli.config.database_address import is_postgres, no_database
from triage_cli.config.destinations import DestinationSpec, default_destinations
from triage_cli.config.routes import default_routes
from triage_cli.config.sections import TOP, Sections, read
from triage_cli.config.validators import absolute, no_url
from triage_cli.config.yaml_document import (
    MAX_BYTES,
    ConfigNode,
    ConfigValueError,
    Diagnostics,
    Node,
    UnreadableError,
    parse,
)
from triage_cli.domain.errors import ConfigError
from triage_cli.runtime.file_system import distrust

TRUTHS: Mapping[str, bool] = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)
NOTHING = Sections({}, DEFAULT_CATEGORIES, {"local": LOCAL}, "local", {}, None)


class _Found(NamedTuple):
    """An opened configuration file: its parsed content, or the reason why it cannot be read."""

    path: Path
    diagnostics: Diagnostics
    root: Node | None
    has_our_key: bool


def load_config(
    *,
    config: str | None = None,
    db: str | None = None,
    remote: str | None = None,
    offline: bool | None = None,
    env: Mapping[str, str],
    cwd: Path,
) -> Config:
    """Return the configuration.

    Raises one `ConfigError` with every mistake in the file, the environment and the flags.
    """
    home = _home(env)
    config_file, notes = _find(config, env, cwd, home)
    diagnostics = config_file.diagnostics if config_file else Diagnostics()
    sections = read(ConfigNode(config_file.root, "", diagnostics)) if config_file and config_file.root else NOTHING
    settled = _SettingPrecedence(sections.values, diagnostics, env)
    database = settled.value("database", db, ("--db", "TRIAGE_DB"), no_database)
    if database is None:
        database = _default_database(env, home)
    elif not is_postgres(database):
        database = str(_typed(database, diagnostics.origins["database"], cwd, home))
    given_remote = settled.value("remote", remote, ("--remote", "TRIAGE_REMOTE"), no_url)
    if db is not None and remote is None:  # a typed database has precedence over a remote that was not typed
        given_remote = None
        diagnostics.origins.pop("remote", None)
    if not database and given_remote is None:
        raise no_home()
    is_offline = settled.offline(offline)
    _check_own_files(diagnostics, sections.destinations, own_files(database, config_file.path if config_file else None))
    _raise(config_file, diagnostics)
    destinations, routes = sections.destinations, sections.routes
    if routes is None:
        beside = (config_file.path.parent if config_file else cwd) if is_postgres(database) else Path(database).parent
        destinations = {**default_destinations(sections.categories, beside / "queues"), **destinations}
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
    data = _xdg(env, home, "XDG_DATA_HOME", ".local/share")
    return str(data / "triage" / "triage.db") if data else ""


# Finding the file


def _find(
    config: str | None, env: Mapping[str, str], cwd: Path, home: Path | None
) -> tuple[_Found | None, tuple[str, ...]]:
    """Return the file in use, and a note about a file that was skipped."""
    named = ((config, "--config"), (env.get("TRIAGE_CONFIG"), "TRIAGE_CONFIG"))
    for name, origin in named:
        if name is not None:
            if not name.strip():
                kind, otherwise = ("flag", "leave it out") if origin == "--config" else ("environment", "unset it")
                raise ConfigError(f"{kind} {origin}: is empty", hint=f"name the file, or {otherwise}")
            path = _typed(name, origin, cwd, home)
            return _open(path, name, home, f" ({origin})"), _notes_of(path, name)
    notes: tuple[str, ...] = ()
    local = cwd / "config.yaml"
    if _is_file(local):
        config_file = _open(local, "config.yaml", home)
        if config_file.has_our_key:
            _check_unnamed(local, config_file.diagnostics.distrust)
            return config_file, ()
        notes = ("./config.yaml has none of triage's keys and was ignored",)
    folder = _xdg(env, home, "XDG_CONFIG_HOME", ".config")
    elsewhere = folder / "triage" / "config.yaml" if folder else None
    if elsewhere is None or not _is_file(elsewhere):
        return None, notes
    return _open(elsewhere, str(elsewhere), home), (*notes, *_notes_of(elsewhere, str(elsewhere)))


def _notes_of(path: Path, label: str) -> tuple[str, ...]:
    """Return a note about a file of no bytes: a full disk leaves such files."""
    is_empty = _is_file(path) and not path.stat().st_size
    return (f"{label} is an empty file, so the built-in defaults are used",) if is_empty else ()


def _is_file(path: Path) -> bool:
    """Return whether a file exists; False in a home directory that we may not read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _open(path: Path, label: str, home: Path | None, origin: str = "") -> _Found:
    """Read a file. Its mistakes are only collected, since it is not clear yet whether the file is used."""
    diagnostics = Diagnostics(label, path.parent, home)
    try:
        with path.open("rb") as file:
            diagnostics.distrust = distrust(os.fstat(file.fileno()))
            config_bytes = file.read(MAX_BYTES + 1)
    except OSError as exc:
        hint = "`triage config init` writes a first one" if isinstance(exc, FileNotFoundError) else ""
        raise ConfigError(f"cannot read {label}{origin}: {exc.strerror}", hint=hint) from exc
    try:
        root = parse(config_bytes, diagnostics)
    except UnreadableError as exc:
        diagnostics.wrong(exc.line, "", str(exc))
        without_nul = config_bytes.replace(b"\0", b"")  # two bytes a letter, as some editors save
        has_our_key = re.search(
            rb"(?m)^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(" + "|".join(TOP).encode() + rb")\s*:", without_nul
        )
        return _Found(path, diagnostics, None, has_our_key is not None)
    if root.value is None:
        root = Node({}, 1)  # only comments: all defaults
    if not isinstance(root.value, dict):
        diagnostics.wrong(root.line, "", "must be a mapping (key: value)")
        return _Found(path, diagnostics, None, has_our_key=False)
    return _Found(path, diagnostics, root, any(key in TOP for key in root.value))


def _xdg(env: Mapping[str, str], home: Path | None, variable: str, usual: str) -> Path | None:
    """Return a base directory; None if it would be in a home that does not exist. A relative one is ignored."""
    text = env.get(variable, "")
    if Path(text).is_absolute():
        return Path(text)
    return home / usual if home else None


def _home(env: Mapping[str, str]) -> Path | None:
    """Return the home directory; None if neither HOME nor the system has one, as for a container's user."""
    text = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(text) if Path(text).is_absolute() else None


def no_home() -> ConfigError:
    """Return the error for a database whose default place would be in a home directory that does not exist."""
    return ConfigError("no home directory, where the database usually is", hint="give --db or TRIAGE_DB")


def _typed(value: str, origin: str, cwd: Path, home: Path | None) -> Path:
    """Return the absolute path of a flag or variable. Raises `ConfigError` if it needs a home and there is none."""
    try:
        return absolute(value, cwd, home)
    except ConfigValueError as mistake:
        raise ConfigError(f"{origin} {mistake}") from mistake


def _raise(config_file: _Found | None, diagnostics: Diagnostics) -> None:
    """Raise one error with all mistakes."""
    if not (problems := diagnostics.problems):
        return
    inside = config_file and any(problem.startswith(f"{diagnostics.label}:") for problem in problems)
    if len(problems) == 1 and not inside:
        raise ConfigError(problems[0])
    where = diagnostics.label if inside else "the configuration"
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    keys = config_file.root.value if config_file and config_file.root else ()
    foreign = 2 * sum(key in TOP for key in keys) < len(keys)
    hint = "if the file is not triage's, name another with --config" if foreign else ""
    raise ConfigError(f"{where} has {count}", hint=hint, problems=problems)


# Settling what holds


class _SettingPrecedence:
    """Takes a value from flag, environment or file, and records its origin."""

    def __init__(self, values: Mapping[str, Any], diagnostics: Diagnostics, env: Mapping[str, str]) -> None:
        self.values = values
        self.diagnostics = diagnostics
        self.env = env

    def value(self, key: str, flag: str | None, names: tuple[str, str], objection: Callable[[str], str]) -> str | None:
        """Return the value of this key; `names` are those of its flag and its variable."""
        outside = (
            (flag, f"flag {names[0]}", "leave it out"),
            (self.env.get(names[1]), f"environment {names[1]}", "unset it"),
        )
        for text, origin, otherwise in outside:
            if text is not None:
                problem = objection(text) if text.strip() else f"is empty; give a value, or {otherwise}"
                if problem:
                    self.diagnostics.misplaced(origin, problem)
                self.diagnostics.origins[key] = origin
                return text
        value: str | None = self.values.get(key)
        return value

    def offline(self, flag: bool | None) -> bool:
        """Return whether the network is off."""
        if flag is not None:
            self.diagnostics.origins["offline"] = "flag --offline"
            return flag
        if not (text := self.env.get("TRIAGE_OFFLINE", "").strip()):
            return bool(self.values.get("offline"))
        self.diagnostics.origins["offline"] = "environment TRIAGE_OFFLINE"
        if text.lower() not in TRUTHS:
            self.diagnostics.misplaced(
                "environment TRIAGE_OFFLINE", f'"{text[:40]}" is neither 1, true, yes nor 0, false, no'
            )
        return TRUTHS.get(text.lower(), True)


def _check_own_files(
    diagnostics: Diagnostics, destinations: Mapping[str, DestinationSpec], own: Iterable[str | os.PathLike[str]]
) -> None:
    """Report a destination that is one of triage's own files: appended lines would damage it, or be lost."""
    if diagnostics.problems:  # for example a path with a NUL
        return
    for name, spec in destinations.items():
        if spec.path is not None and is_among(spec.path, own):
            key = f"destinations.{name}.path"
            problem = f"{spec.path} is the database, a file beside it, or the configuration; name a file of its own"
            diagnostics.misplaced(f"{diagnostics.origins[key]}: {key}", problem)


def _check_unnamed(path: Path, opened: str) -> None:
    """Raise `ConfigError` if others can have put a configuration into a folder, where nobody named it.

    `opened` is the reason to distrust the file that was read.
    """
    if reason := opened or distrust(path.lstat()):
        why = f"it {reason}"
    elif reason := distrust(path.parent.stat()):
        why = f"its folder {reason}"
    else:
        return
    raise ConfigError(
        f"./{path.name} is not used, because {why} and could send your tickets and keys anywhere",
        hint=f"if you trust it, name it: --config {path.name}",
    )

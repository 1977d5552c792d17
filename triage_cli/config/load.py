"""Finds and loads the configuration: takes each value from flag, environment, file or default, in this order."""

import os
import re
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.classifiers import KEY_VARIABLES
from triage_cli.config.configuration import Config, is_among, mistakes_error, own_files
from triage_cli.config.database_address import is_postgres, no_database, without_password
from triage_cli.config.destinations import DestinationSpec, default_destinations
from triage_cli.config.key_tables import suggestion
from triage_cli.config.routes import default_routes
from triage_cli.config.sections import TOP_KEYS, read_sections
from triage_cli.config.yaml_document import (
    MAX_BYTES,
    ConfigNode,
    ConfigValueError,
    Diagnostics,
    Node,
    UnreadableError,
    parse,
)
from triage_cli.runtime import distrust

STDOUT = 1  # the file descriptor
IGNORED = "./config.yaml has none of triage's keys and was ignored"
# A key that is nearly one of these is mistyped: hardly another program has it.
TELLING_KEYS = ("categories", "classifiers")
# What TRIAGE_OFFLINE may hold.
OFFLINE_VALUES: Mapping[str, bool] = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(
    ("0", "false", "no", "off"), False
)


class ConfigFile(NamedTuple):
    """An opened configuration file: its parsed content, or the reason why it cannot be read."""

    path: Path
    diagnostics: Diagnostics
    root: Node | None
    has_triage_key: bool


def load_config(
    *,
    config: str | None = None,
    db: str | None = None,
    remote: str | None = None,
    offline: bool | None = None,
    routes: str | None = None,
    sent: bool = False,
    env: Mapping[str, str],
    cwd: Path,
) -> Config:
    """Load the configuration from flags, environment, file and defaults; `routes` is the file of a routing map.

    The file was `sent` if its author may not read this machine's files; then it names no other one.
    Raises one `ConfigError` with every mistake in the file, the environment and the flags.
    """
    home = home_folder(env)
    config_file, notes = find_config_file(config, env, cwd, home)
    diagnostics = config_file.diagnostics if config_file else Diagnostics()
    diagnostics.is_sent = sent
    root = config_file.root if config_file and config_file.root else Node({}, 1)
    routes_flag = None if routes is None else (typed_path(routes, "flag --routes", cwd, home), routes)
    sections = read_sections(ConfigNode(root, "", diagnostics), routes_flag)
    precedence = _SettingPrecedence(sections, diagnostics, env)
    database = precedence.value("database", db, ("--db", "TRIAGE_DB"), no_database)
    if database is None:
        data_folder = xdg_folder(env, home, "XDG_DATA_HOME", ".local/share")
        database = str(data_folder / "triage" / "triage.db") if data_folder else ""
    elif not is_postgres(database):
        database = str(typed_path(database, diagnostics.origins["database"], cwd, home))
    given_remote = precedence.value("remote", remote, ("--remote", "TRIAGE_REMOTE"), valid.no_url)
    if db is not None and remote is None:  # a typed database has precedence over a remote that was not typed
        given_remote = None
        diagnostics.origins.pop("remote", None)
    if not database and given_remote is None:
        raise no_home()
    is_offline = precedence.offline(offline)
    config_path = config_file.path if config_file else None
    if IGNORED in notes and given_remote is None:  # what takes its place may be in another folder
        notes = (f"{IGNORED}; in use: {config_path or 'the built-in defaults'}, database {without_password(database)}",)
    destinations = sections["destinations"]
    _check_own_files(diagnostics, destinations, own_files(database, config_path, sections["routes_path"]))
    _raise_mistakes(config_file, diagnostics)
    if sections["routes"] is None:
        config_folder = config_file.path.parent if config_file else cwd
        queue_folder = (config_folder if is_postgres(database) else Path(database).parent) / "queues"
        sections["destinations"] = {**default_destinations(sections["categories"], queue_folder), **destinations}
        sections["routes"] = default_routes(sections["categories"])
    fields = {name: value for name, value in sections.items() if name in Config._fields} | {
        "path": config_path,
        "database": database,
        "remote": given_remote,
        "offline": is_offline,
        "origins": diagnostics.origins,
        "notes": notes,
        "secret_variables": frozenset(diagnostics.variables | set(KEY_VARIABLES.values())),
    }
    return Config(**fields)


def no_home() -> dm.ConfigError:
    """Return the error for a database whose default place would be in a home directory that does not exist."""
    return dm.ConfigError("no home directory, where the database usually is", hint="give --db or TRIAGE_DB")


def _raise_mistakes(config_file: ConfigFile | None, diagnostics: Diagnostics) -> None:
    """Raise one `ConfigError` with all mistakes of the configuration."""
    if not (problems := diagnostics.problems):
        return
    mistaken_files = diagnostics.mistaken_files
    if len(problems) == 1 and not mistaken_files:
        raise dm.ConfigError(problems[0])
    mistaken_place = mistaken_files[0] if len(mistaken_files) == 1 else "the configuration"
    top_keys = config_file.root.value if config_file and config_file.root else ()
    is_foreign_file = 2 * sum(key in TOP_KEYS for key in top_keys) < len(top_keys)
    hint = "if the file is not triage's, name another with --config" if is_foreign_file else ""
    raise mistakes_error(mistaken_place, problems, hint)


def _variable(env: Mapping[str, str], name: str) -> str | None:
    """Return what a variable holds; None if it is not set, or empty, as a script or a unit file leaves it."""
    value = env.get(name, "")
    return value if value.strip() else None


class _SettingPrecedence:
    """Takes a value from flag, environment or file, and records its origin."""

    def __init__(self, values: Mapping[str, Any], diagnostics: Diagnostics, env: Mapping[str, str]) -> None:
        self.values = values
        self.diagnostics = diagnostics
        self.env = env

    def value(self, key: str, flag: str | None, names: tuple[str, str], objection: Callable[[str], str]) -> str | None:
        """Return the value of a flag, else of a variable, else of the file; `names` are those of flag and variable."""
        flag_and_variable = (
            (flag, f"flag {names[0]}"),
            (_variable(self.env, names[1]), f"environment {names[1]}"),
        )
        for given, origin in flag_and_variable:
            if given is not None:
                problem = objection(given) if given.strip() else "is empty; give a value, or leave it out"
                if problem:
                    self.diagnostics.misplaced(origin, problem)
                self.diagnostics.origins[key] = origin
                return given
        value: str | None = self.values.get(key)
        return value

    def offline(self, flag: bool | None) -> bool:
        """Return whether flag, environment or file switch the network off."""
        if flag is not None:
            self.diagnostics.origins["offline"] = "flag --offline"
            return flag
        if (text := _variable(self.env, "TRIAGE_OFFLINE")) is None:
            return bool(self.values.get("offline"))
        self.diagnostics.origins["offline"] = "environment TRIAGE_OFFLINE"
        value = text.strip().lower()
        if value not in OFFLINE_VALUES:
            self.diagnostics.misplaced(
                "environment TRIAGE_OFFLINE", f'"{text.strip()[:40]}" is neither 1, true, yes nor 0, false, no'
            )
        return OFFLINE_VALUES.get(value, True)


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


def find_config_file(
    config: str | None, env: Mapping[str, str], cwd: Path, home: Path | None
) -> tuple[ConfigFile | None, tuple[str, ...]]:
    """Return the configuration file in use, and a note about one that was skipped or is empty."""
    named_files = ((config, "--config"), (_variable(env, "TRIAGE_CONFIG"), "TRIAGE_CONFIG"))
    for named, origin in named_files:
        if named is not None:
            if not named.strip():
                raise dm.ConfigError("flag --config: is empty", hint="name the file, or leave it out")
            path = typed_path(named, origin, cwd, home)
            return _open_config(path, named, home, f" ({origin})"), _empty_file_notes(path, named)
    notes: tuple[str, ...] = ()
    local_file = cwd / "config.yaml"
    if _is_readable_file(local_file):
        config_file = _open_config(local_file, "config.yaml", home)
        if config_file.has_triage_key:
            _check_unnamed_config(local_file, config_file.diagnostics.distrust)
            return config_file, ()
        if not _is_our_output(local_file):
            if not local_file.stat().st_size:
                problem = "./config.yaml is an empty file, as a command that failed behind > config.yaml leaves it"
                raise dm.ConfigError(problem, hint="write it again, delete it, or name another with --config")
            notes = (IGNORED,)
    config_folder = xdg_folder(env, home, "XDG_CONFIG_HOME", ".config")
    user_file = config_folder / "triage" / "config.yaml" if config_folder else None
    if user_file is None or not _is_readable_file(user_file):
        return None, notes
    return _open_config(user_file, str(user_file), home), (*notes, *_empty_file_notes(user_file, str(user_file)))


def _empty_file_notes(path: Path, label: str) -> tuple[str, ...]:
    """Return a note about a configuration of no bytes: a full disk leaves such files."""
    is_empty = _is_readable_file(path) and not path.stat().st_size
    return (f"{label} is an empty file, so the built-in defaults are used",) if is_empty else ()


def _is_our_output(path: Path) -> bool:
    """Return whether this process writes to the file, which the shell has just made: `discover > config.yaml`."""
    try:
        return os.path.samestat(path.stat(), os.fstat(STDOUT))
    except OSError:  # stdout is closed
        return False


def _is_readable_file(path: Path) -> bool:
    """Return whether a file exists; False in a home directory that we may not read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _open_config(path: Path, label: str, home: Path | None, origin: str = "") -> ConfigFile:
    """Read a configuration. Its mistakes are only collected, since it is not clear yet whether the file is used."""
    diagnostics = Diagnostics(label, path.parent, home)
    try:
        with path.open("rb") as file:
            diagnostics.distrust = distrust(os.fstat(file.fileno()))
            content = file.read(MAX_BYTES + 1)
    except OSError as exc:
        hint = "`triage init` writes a first one" if isinstance(exc, FileNotFoundError) else ""
        raise dm.ConfigError(f"cannot read {label}{origin}: {exc.strerror}", hint=hint) from exc
    try:
        root = parse(content, diagnostics)
    except UnreadableError as exc:
        diagnostics.wrong(exc.line, "", str(exc))
        without_nul = content.replace(b"\0", b"")  # two bytes a letter, as some editors save
        has_triage_key = re.search(
            rb"(?m)^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(" + "|".join(TOP_KEYS).encode() + rb")\s*:", without_nul
        )
        return ConfigFile(path, diagnostics, None, has_triage_key is not None)
    if root.value is None:
        root = Node({}, 1)  # only comments: all defaults
    if not isinstance(root.value, dict):
        items = root.value if isinstance(root.value, list) else []
        is_categories = any(isinstance(item.value, dict) and "name" in item.value for item in items)
        said = "is a list; write categories: above it" if is_categories else "must be a mapping (key: value)"
        diagnostics.wrong(root.line, "", said)
        return ConfigFile(path, diagnostics, None, has_triage_key=is_categories)
    is_ours = any(key in TOP_KEYS or suggestion(str(key), TELLING_KEYS, 0.8) for key in root.value)
    return ConfigFile(path, diagnostics, root, is_ours)


def xdg_folder(env: Mapping[str, str], home: Path | None, variable: str, default_below_home: str) -> Path | None:
    """Return a base directory of XDG; None if it would be in a home that does not exist. A relative one is ignored."""
    value = env.get(variable, "")
    if Path(value).is_absolute():
        return Path(value)
    return home / default_below_home if home else None


def home_folder(env: Mapping[str, str]) -> Path | None:
    """Return the home directory; None if neither HOME nor the system has one, as for a container's user."""
    value = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(value) if Path(value).is_absolute() else None


def typed_path(value: str, origin: str, cwd: Path, home: Path | None) -> Path:
    """Return the absolute path of a flag or variable. Raises `ConfigError` if it needs a home and there is none."""
    try:
        return valid.absolute(value, cwd, home)
    except ConfigValueError as mistake:
        raise dm.ConfigError(f"{origin} {mistake}") from mistake


def _check_unnamed_config(path: Path, opened: str) -> None:
    """Raise `ConfigError` if others can have put a configuration into a folder, where nobody named it.

    `opened` is the reason to distrust the file that was read.
    """
    if reason := opened or distrust(path.lstat()):
        why = f"it {reason}"
    elif reason := distrust(path.parent.stat()):
        why = f"its folder {reason}"
    else:
        return
    raise dm.ConfigError(
        f"./{path.name} is not used, because {why} and could send your tickets and keys anywhere",
        hint=f"if you trust it, name it: --config {path.name}",
    )

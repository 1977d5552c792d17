"""Finds and opens config.yaml: the file that is named, else that of the working directory, else the user's."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from triage_cli.config.sections import TOP_KEYS
from triage_cli.config.validators import absolute
from triage_cli.config.yaml_document import MAX_BYTES, ConfigValueError, Diagnostics, Node, UnreadableError, parse
from triage_cli.domain import ConfigError
from triage_cli.runtime import distrust


class ConfigFile(NamedTuple):
    """An opened configuration file: its parsed content, or the reason why it cannot be read."""

    path: Path
    diagnostics: Diagnostics
    root: Node | None
    has_triage_key: bool


def find_config_file(
    config: str | None, env: Mapping[str, str], cwd: Path, home: Path | None
) -> tuple[ConfigFile | None, tuple[str, ...]]:
    """Return the configuration file in use, and a note about one that was skipped or is empty."""
    named_files = ((config, "--config"), (env.get("TRIAGE_CONFIG"), "TRIAGE_CONFIG"))
    for named_file, origin in named_files:
        if named_file is not None:
            if not named_file.strip():
                kind, advice = ("flag", "leave it out") if origin == "--config" else ("environment", "unset it")
                raise ConfigError(f"{kind} {origin}: is empty", hint=f"name the file, or {advice}")
            path = typed_path(named_file, origin, cwd, home)
            return _open_config(path, named_file, home, f" ({origin})"), _empty_file_notes(path, named_file)
    notes: tuple[str, ...] = ()
    local_file = cwd / "config.yaml"
    if _is_readable_file(local_file):
        config_file = _open_config(local_file, "config.yaml", home)
        if config_file.has_triage_key:
            _check_unnamed_config(local_file, config_file.diagnostics.distrust)
            return config_file, ()
        notes = ("./config.yaml has none of triage's keys and was ignored",)
    config_folder = xdg_folder(env, home, "XDG_CONFIG_HOME", ".config")
    user_file = config_folder / "triage" / "config.yaml" if config_folder else None
    if user_file is None or not _is_readable_file(user_file):
        return None, notes
    return _open_config(user_file, str(user_file), home), (*notes, *_empty_file_notes(user_file, str(user_file)))


def _empty_file_notes(path: Path, label: str) -> tuple[str, ...]:
    """Return a note about a configuration of no bytes: a full disk leaves such files."""
    is_empty = _is_readable_file(path) and not path.stat().st_size
    return (f"{label} is an empty file, so the built-in defaults are used",) if is_empty else ()


def _is_readable_file(path: Path) -> bool:
    """Return whether a file exists; False in a home directory that we may not read."""
    try:
        return path.is_file()
    except OSError:
        return False


def _open_config(config_path: Path, label: str, home: Path | None, origin: str = "") -> ConfigFile:
    """Read a configuration. Its mistakes are only collected, since it is not clear yet whether the file is used."""
    diagnostics = Diagnostics(label, config_path.parent, home)
    try:
        with config_path.open("rb") as file:
            diagnostics.distrust = distrust(os.fstat(file.fileno()))
            config_bytes = file.read(MAX_BYTES + 1)
    except OSError as exc:
        hint = "`triage config init` writes a first one" if isinstance(exc, FileNotFoundError) else ""
        raise ConfigError(f"cannot read {label}{origin}: {exc.strerror}", hint=hint) from exc
    try:
        root_node = parse(config_bytes, diagnostics)
    except UnreadableError as exc:
        diagnostics.wrong(exc.line, "", str(exc))
        without_nul = config_bytes.replace(b"\0", b"")  # two bytes a letter, as some editors save
        has_triage_key = re.search(
            rb"(?m)^(?:\xef\xbb\xbf|\xff\xfe|\xfe\xff)?(" + "|".join(TOP_KEYS).encode() + rb")\s*:", without_nul
        )
        return ConfigFile(config_path, diagnostics, None, has_triage_key is not None)
    if root_node.value is None:
        root_node = Node({}, 1)  # only comments: all defaults
    if not isinstance(root_node.value, dict):
        diagnostics.wrong(root_node.line, "", "must be a mapping (key: value)")
        return ConfigFile(config_path, diagnostics, None, has_triage_key=False)
    return ConfigFile(config_path, diagnostics, root_node, any(key in TOP_KEYS for key in root_node.value))


def xdg_folder(env: Mapping[str, str], home: Path | None, variable: str, default_below_home: str) -> Path | None:
    """Return a base directory of XDG; None if it would be in a home that does not exist. A relative one is ignored."""
    xdg_value = env.get(variable, "")
    if Path(xdg_value).is_absolute():
        return Path(xdg_value)
    return home / default_below_home if home else None


def home_folder(env: Mapping[str, str]) -> Path | None:
    """Return the home directory; None if neither HOME nor the system has one, as for a container's user."""
    home_value = env.get("HOME") or os.path.expanduser("~")  # noqa: PTH111 - Path.home() raises where there is none
    return Path(home_value) if Path(home_value).is_absolute() else None


def typed_path(value: str, origin: str, cwd: Path, home: Path | None) -> Path:
    """Return the absolute path of a flag or variable. Raises `ConfigError` if it needs a home and there is none."""
    try:
        return absolute(value, cwd, home)
    except ConfigValueError as mistake:
        raise ConfigError(f"{origin} {mistake}") from mistake


def _check_unnamed_config(config_path: Path, opened: str) -> None:
    """Raise `ConfigError` if others can have put a configuration into a folder, where nobody named it.

    `opened` is the reason to distrust the file that was read.
    """
    if reason := opened or distrust(config_path.lstat()):
        why = f"it {reason}"
    elif reason := distrust(config_path.parent.stat()):
        why = f"its folder {reason}"
    else:
        return
    raise ConfigError(
        f"./{config_path.name} is not used, because {why} and could send your tickets and keys anywhere",
        hint=f"if you trust it, name it: --config {config_path.name}",
    )

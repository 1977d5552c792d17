"""Tables of the keys that a mapping of config.yaml may have, and the reading of a mapping by its table."""

import re
from collections.abc import Collection, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

from triage_cli.config.yaml_document import Check, ConfigNode

# A key that is named like a secret.
_SECRET_KEY = re.compile(
    r"(?i)(.*[_-])?(api_?key|key|secrets?|token|password|passwd|passphrase|credentials?|authorization)"
)
# The result of a check that has found a mistake.
WRONG = object()


class Field(NamedTuple):
    """A key of a record: its check, the types of record that have it (none: all), and whether it is required."""

    check: Check
    types: tuple[str, ...] = ()
    needed: bool = False


def record(
    setting: ConfigNode,
    key_table: Mapping[str, Field],
    origin_prefix: str,
    *,
    instead: str = "",
    misplaced: Mapping[str, str] = MappingProxyType({}),
) -> dict[str, Any]:
    """Read a mapping by the table of its keys; `origin_prefix` is the key under which its values' origins are recorded.

    `instead` is the key for the name of a secret's variable, for the hint if somebody wrote the secret itself, and
    `misplaced` has messages about keys that belong elsewhere. Mistakes go to the diagnostics; the result has the keys
    without a mistake.
    """
    entries = setting.read(ConfigNode.entries, {})
    record_values: dict[str, Any] = {}
    record_type = entries["type"].read(key_table["type"].check) if "type" in key_table and "type" in entries else None
    for key, key_setting in entries.items():
        if (field := key_table.get(key)) is None:
            key_setting.wrong(misplaced.get(key) or unknown_key(key, key_table, instead))
        elif record_type and field.types and record_type not in field.types:
            key_setting.wrong(f'means nothing to type "{record_type}" (only to {listed(field.types)}); remove it')
        elif key == "type":
            record_values["type"] = record_type
        elif (checked_value := key_setting.read(field.check, WRONG)) is not WRONG:
            record_values[key] = checked_value
        key_setting.origin(f"{origin_prefix}.{key}" if origin_prefix else key)
    for key, field in key_table.items():
        is_required = field.needed and (not field.types or record_type in field.types)
        if is_required and key not in entries and isinstance(setting.value, dict):
            setting.wrong(f"{key} is missing")
    return record_values


def unknown_key(key: str, known_keys: Collection[str], instead: str) -> str:
    """Return the message about a key that is in no table, or that seems to hold a secret itself."""
    if _SECRET_KEY.fullmatch(key) and not suggestion(key, known_keys, 0.9):
        instruction = f" and name the variable in {instead}" if instead else ""
        return f"secrets do not belong in this file; put it into the environment{instruction}"
    return f"unknown key{suggestion(key, known_keys) or '; known are ' + ', '.join(known_keys)}"


def suggestion(word: str, known: Collection[str], cutoff: float = 0.6) -> str:
    """Return a clause that suggests the most similar known key or name, or an empty text."""
    import difflib

    known_by_lower = {key.lower(): key for key in known}
    longer = [key for key in known_by_lower if key.startswith(f"{word.lower()}.")]  # as extra.COLUMN for extra
    nearest = longer or difflib.get_close_matches(word.lower(), known_by_lower, 1, cutoff)
    return f'; did you mean "{known_by_lower[nearest[0]]}"?' if nearest else ""


def listed(items: Collection[str]) -> str:
    """Join keys or choices with commas, and the last one with "or"."""
    *most, last = items
    return f"{', '.join(most)} or {last}" if most else last

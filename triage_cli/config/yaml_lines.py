"""Writes values as lines of YAML: the entry of a kept mapping, for a person to add to config.yaml."""

import json
import re
from typing import Any

from triage_cli import domain as dm
from triage_cli.config.imports import IMPORT

# Words that YAML takes for what they are, and not for yes, no, a number or nothing.
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*")
_YAML_WORDS = frozenset(("y", "yes", "n", "no", "true", "false", "on", "off", "null"))


def import_lines(kept: dm.KeptMapping) -> str:
    """Return a kept mapping as the lines that stand below `imports` in config.yaml: without what is detected."""
    values = {"columns": list(kept.columns), "map": dict(kept.mapping)}
    values |= {key: value for key, value in kept._asdict().items() if key in IMPORT.keys() - {"columns", "map"}}
    entry = {key: values[key] for key in IMPORT if values.get(key) not in (None, {})}
    return "".join([f"  {scalar(kept.name)}:\n", *(f"    {key}: {_flow(value)}\n" for key, value in entry.items())])


def _flow(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {_flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return f"[{', '.join(map(_flow, value))}]"
    return str(value).lower() if isinstance(value, bool) else scalar(value)


def scalar(text: str) -> str:
    """Return a text as YAML reads it again; quoted as in JSON where it is not plainly a word."""
    if _PLAIN_WORD.fullmatch(text) and text.lower() not in _YAML_WORDS:
        return text
    # JSON leaves these as they are, and YAML does not take them.
    quoted = json.dumps(text, ensure_ascii=False)
    return re.sub(r"[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]", lambda match: f"\\u{ord(match[0]):04x}", quoted)

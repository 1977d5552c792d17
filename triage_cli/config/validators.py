"""Checks of single values of config.yaml: texts, names, numbers, durations, addresses, paths."""

import contextlib
import re
import unicodedata
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from triage_cli import domain as dm
from triage_cli.config.key_tables import NAME_SCHEMA, WRONG, accepts, listed, or_null, schema_of, suggestion
from triage_cli.config.yaml_document import Check, ConfigNode, ConfigValueError, UnsupportedScalar, kind, quote_advice

_VARIABLE_NAME = "[A-Za-z_][A-Za-z0-9_]{0,99}"
DURATION = re.compile(r"(\d{1,6})\s*(s|m|h|d|w)")
UNIT_SECONDS: Mapping[str, int] = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
# The JSON Schema of a text, a number, true, false or null.
SCALAR = {"type": ["string", "number", "boolean", "null"]}


@accepts({"type": "string", "pattern": r"\S"})
def text(setting: ConfigNode) -> str:
    """Accept any text that is not empty."""
    value = setting.value
    if isinstance(value, bool | int | float | UnsupportedScalar):
        raise ConfigValueError(quote_advice(setting.node))
    if not isinstance(value, str):
        raise ConfigValueError(f"must be text, not {kind(setting.node)}")
    if not value.strip():
        raise ConfigValueError("is empty")
    return value


def unless(schema: Mapping[str, Any], objection_to: Callable[[str], str]) -> Callable[[ConfigNode], str]:
    """Accept a text unless `objection_to` returns an objection."""

    @accepts(schema)
    def check_text(setting: ConfigNode) -> str:
        value = text(setting)
        if objection := objection_to(value):
            raise ConfigValueError(objection)
        return value

    return check_text


def text_matching(pattern: str, objection: str) -> Callable[[ConfigNode], str]:
    """Accept a text that a pattern matches from its beginning to its end."""
    schema = {"type": "string", "pattern": f"^{pattern}$"}
    return unless(schema, lambda matched_text: "" if re.fullmatch(pattern, matched_text) else objection)


header = text_matching(
    r"[!#$%&'*+.^_`|~0-9A-Za-z-]+",
    "must be the name of an HTTP header: letters, digits and dashes, such as X-Signature",
)


def no_name(name: str) -> str:
    """Return why a text cannot be a name, else an empty text."""
    if hidden_character := dm.first_hidden(name):
        return f"holds U+{ord(hidden_character):04X}, which nobody sees; type it again"
    return _name_objection(name)


def _name_objection(name: str) -> str:
    if not name or name != name.strip():
        return "must not be empty or begin or end with blanks"
    if len(name) > 80:
        return f"is {len(name)} characters long; a name has at most 80"
    if any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name):
        return "holds a control character"
    return ""


label = unless(NAME_SCHEMA, no_name)  # one short line
former = unless(NAME_SCHEMA, _name_objection)  # what was a name once, when more was accepted


def named_entries(setting: ConfigNode) -> dict[str, ConfigNode]:
    """Return the entries of a section whose keys are names."""
    entries = setting.entries()
    for name, entry in entries.items():
        if objection := no_name(name):
            entry.wrong(f"the name {objection}")
    return entries


def same_name(name: str) -> str:
    """Return a form of a name that is equal for names which a person would take for the same."""
    return unicodedata.normalize("NFC", name).casefold()


def one_of(*choices: str) -> Check:
    """Accept a text that is one of these choices."""

    @accepts({"type": "string", "enum": list(choices)})
    def check_choice(setting: ConfigNode) -> str:
        choice = text(setting)
        if choice not in choices:
            raise ConfigValueError(f'"{choice[:80]}" is none of {listed(choices)}{suggestion(choice, choices)}')
        return choice

    return check_choice


def number(low: float, high: float, *, whole: bool = False, unit: str = "") -> Check:
    """Accept a number from low to high; a message names its unit."""
    number_kind = "a whole number" if whole else "a number"

    @accepts({"type": "integer" if whole else "number", "minimum": low, "maximum": high})
    def check_number(setting: ConfigNode) -> float:
        value = setting.value
        if isinstance(value, bool) or not isinstance(value, int | float):
            is_quoted = isinstance(value, str) and value.strip()[-1:].isdigit()
            quote_hint = "; write it without quotes" if is_quoted else ""
            unit_phrase = f" of {unit}, such as {max(low, 1):g}," if unit else ","
            raise ConfigValueError(f"must be {number_kind}{unit_phrase} not {kind(setting.node)}{quote_hint}")
        is_of_kind = isinstance(value, int) or not whole
        if not is_of_kind or not low <= value <= high:  # as NaN is not, and Python can tell of any whole number
            raise ConfigValueError(f"must be {number_kind} from {low:g} to {high:g}, not {setting.node.text[:40]}")
        return value

    return check_number


def share(most: float) -> Check:
    """Accept a share above 0 and up to `most`, as a number or a percentage such as `2%`."""

    @accepts(
        {"anyOf": [{"type": "number", "exclusiveMinimum": 0, "maximum": most}, {"type": "string", "pattern": "%$"}]}
    )
    def check_share(setting: ConfigNode) -> float:
        value = setting.value
        if isinstance(value, str) and (percentage := re.fullmatch(r"(\d{1,3}(?:\.\d{1,6})?) ?%", value.strip())):
            value = float(percentage[1]) / 100
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value <= most:
            raise ConfigValueError(
                f"must be a share above 0% and up to {most:.0%}, such as 2%, not {setting.node.text[:40]}"
            )
        return value

    return check_share


@accepts({"anyOf": [{"type": "string", "pattern": f"^{DURATION.pattern}$"}, {"const": 0}, {"const": "0"}]})
def duration(setting: ConfigNode) -> float:
    """Accept a duration such as 5m or 7d; return its seconds."""
    duration_text = (
        str(setting.value) if isinstance(setting.value, int) and not isinstance(setting.value, bool) else text(setting)
    )
    match = DURATION.fullmatch(duration_text)
    if not match and duration_text != "0":
        raise ConfigValueError("must be a duration such as 30s, 5m, 12h, 7d or 4w")
    return float(int(match[1]) * UNIT_SECONDS[match[2]]) if match else 0.0


@accepts(lambda: schema_of(duration))
def typed_duration(setting: ConfigNode) -> str:
    """Accept a duration, for an option of a command; return it as it is written."""
    duration(setting)
    return str(setting.value)


@accepts({"type": "boolean"})
def truth(setting: ConfigNode) -> bool:
    """Accept true or false."""
    if not isinstance(setting.value, bool):
        raise ConfigValueError(f"must be true or false, not {kind(setting.node)}")
    return setting.value


def optional(check: Check) -> Check:
    """Accept null as well as what the check accepts."""
    return accepts(lambda: or_null(schema_of(check)))(lambda setting: None if setting.value is None else check(setting))


def several(check: Check, *, alone: bool = True, least: int = 0, most: int = 1000) -> Check:
    """Accept a list of what the check accepts, and with `alone` also a single one."""

    def several_schema() -> Mapping[str, Any]:
        item_schema = schema_of(check)
        list_schema = {"type": "array", "items": item_schema, "minItems": least, "maxItems": most}
        return {"anyOf": [item_schema, list_schema]} if alone else list_schema

    @accepts(several_schema)
    def read_list(setting: ConfigNode) -> tuple[Any, ...]:
        settings = [setting] if alone and not isinstance(setting.value, list) else setting.items()
        if not least <= len(settings) <= most:
            raise ConfigValueError(f"needs at least {least}" if len(settings) < least else f"holds more than {most}")
        list_items = [inner.read(check, WRONG) for inner in settings]
        return tuple(list_item for list_item in list_items if list_item is not WRONG)

    return read_list


@accepts(SCALAR)
def plain_value(setting: ConfigNode) -> Any:
    """Accept a text, a number, true, false or null."""
    if isinstance(setting.value, dict | list | UnsupportedScalar):
        raise ConfigValueError(f"must be a text, a number, true, false or null, not {kind(setting.node)}")
    return setting.value


@accepts({"type": "string", "pattern": f"^{_VARIABLE_NAME}$"})
def variable(setting: ConfigNode) -> str:
    """Accept the name of the environment variable that holds a secret.

    A wrong value may be the secret itself, so it is not repeated.
    """
    name = text(setting)
    if not re.fullmatch(_VARIABLE_NAME, name):
        raise ConfigValueError("takes the name of an environment variable, never the secret itself")
    setting.diagnostics.variables.add(name)
    return name


def no_url(url: str) -> str:
    """Return why an address is invalid, else an empty text. The address is not repeated: it may hold a secret."""
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").encode("idna").decode("idna"), parts.port
    except ValueError:  # also for a part of the name that is empty, or longer than 63 characters
        return "is not a valid URL"
    if parts.scheme not in ("http", "https"):
        return "must be a URL that begins with https:// or http://"
    if "@" in parts.netloc:
        return "holds a user name or password; secrets do not belong in a URL"
    is_wrong_ip = re.fullmatch(r"\d+(\.\d+){3}", host) and {*host.split(".")} - {*map(str, range(256))}
    if not host or is_wrong_ip or port == 0 or re.search(r"[\s\x00-\x1f\x7f\\]", url):
        return "is not a valid URL"
    return ""


# A web address without a user name and password.
url = unless({"type": "string", "pattern": r"^[hH][tT][tT][pP][sS]?://[^\s/?#@\\]+([/?#][^\s\\]*)?$"}, no_url)


@accepts(schema_of(text))
def path(setting: ConfigNode) -> Path:
    """Accept the path of a file, which need not exist."""
    path_text = absolute(text(setting), setting.diagnostics.folder, setting.diagnostics.home)
    with contextlib.suppress(OSError):
        if path_text.is_dir():
            raise ConfigValueError(f"{path_text} is a directory; name a file")
    return path_text


def absolute(path: str, folder: Path, home: Path | None) -> Path:
    """Return the absolute path: `~` is the home directory; a relative path is relative to the folder."""
    if path == "~" or path.startswith("~/"):
        if home is None:
            raise ConfigValueError("begins with ~, and there is no home directory; write the whole path")
        return home / path[2:]
    return folder / path


@accepts(lambda: schema_of(several(text, alone=False, least=1)))
def command(setting: ConfigNode) -> tuple[str, ...]:
    """Accept a command as a list; a program given with a slash is found beside the file."""
    if isinstance(setting.value, str):
        raise ConfigValueError("must be a list, since no shell is used: [program, argument]")
    argv: tuple[str, ...] = several(text, alone=False, least=1)(setting)
    if argv and ("/" in argv[0] or argv[0].startswith("~")):
        return (str(absolute(argv[0], setting.diagnostics.folder, setting.diagnostics.home)), *argv[1:])
    return argv

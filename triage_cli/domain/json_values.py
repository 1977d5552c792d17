"""JSON values: how they are read, written and stored, and dotted paths to what is in them, such as `issues.0.key`."""

import json
import math
import re
import sys
from collections.abc import Callable, Mapping
from typing import Any

quoted = json.encoder.encode_basestring


def json_writer(**options: Any) -> Callable[[Any], str]:
    """Return what writes values, which hold no references to themselves, as `json.JSONEncoder` with these options does.

    That makes its encoder in C anew for each value, which takes as long as to write a small one.
    """
    encoder = json.JSONEncoder(ensure_ascii=False, **options)
    make_encoder = getattr(json.encoder, "c_make_encoder", None)
    if make_encoder is None:  # a Python without it
        return encoder.encode
    separators = encoder.key_separator, encoder.item_separator
    rules = encoder.sort_keys, encoder.skipkeys, encoder.allow_nan
    encoded_parts = make_encoder(None, encoder.default, quoted, None, *separators, *rules)
    return lambda value: "".join(encoded_parts(value, 0))


# NaN and Infinity, which are no JSON, are already refused on input; `allow_nan=False` is the last guard.
to_json = json_writer(allow_nan=False)
compact = json_writer(allow_nan=False, separators=(",", ":"))

# Levels of lists and objects in a ticket. Python reads a thousand, but what is read near the bottom of a short stack
# could not be written from a deep one.
DEEPEST = 100
# Where an object has the text of a label: GitHub has a name, Jira's options have a value.
LABEL_KEYS = ("name", "value", "title")
# An escape that stands for a whole character, or (as a group) for half of one.
_ESCAPES = re.compile(r"\\u[dD][89abAB]\w{2}\\u[dD][c-fC-F]\w{2}|\\(u[dD][89a-fA-F][0-9a-fA-F]{2})|\\.")
_DIGITS = sys.int_info.default_max_str_digits


def is_record(kind: Any) -> bool:
    """Return whether a type hint is a record."""
    return isinstance(kind, type) and issubclass(kind, tuple) and hasattr(kind, "_fields")


def as_record(value: Any) -> Any:
    """Return a record, or a list of some, as JSON has it: also the records in it are objects."""
    if not isinstance(value, tuple | list):
        return value
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return {field: as_record(each) for field, each in zip(value._fields, value, strict=True)}
    return [as_record(each) for each in value]


def json_number(text: str) -> float | str:
    """Return a JSON number as a float; one that is too large for a float (1e999) stays a text."""
    value = float(text)
    return value if math.isfinite(value) else text


def integer(text: str) -> int | str:
    """Return a JSON integer as an int; one with more digits than Python parses stays a text."""
    return int(text) if len(text) <= _DIGITS else text


# All values that are read can be written as JSON again; NaN and Infinity become None.
_JSON_READING: Mapping[str, Any] = {"parse_constant": lambda _: None, "parse_float": json_number, "parse_int": integer}
DECODER = json.JSONDecoder(**_JSON_READING)
from_json = DECODER.decode


def foreign(document: str | bytes) -> Any:
    """Return the value of a JSON document of another program, read as by `DECODER`. Raises `ValueError`."""
    try:
        return json.loads(document, **_JSON_READING)
    except RecursionError as exc:
        raise ValueError("nested too deeply") from exc


def is_too_deep(json_value: Any) -> bool:
    """Return whether a JSON value has more than `DEEPEST` levels of lists and objects."""
    level = [json_value]
    for _ in range(DEEPEST):
        level = [
            each
            for value in level
            for each in (value.values() if isinstance(value, Mapping) else value)
            if isinstance(each, list | dict)
        ]
        if not level:
            return False
    return True


def encodable(text: str) -> str:
    """Return a text that can be encoded as UTF-8: lone surrogates become question marks."""
    return text.encode("utf-8", "replace").decode()


def writable_text(text: str) -> str:
    r"""Return a text that can be encoded as UTF-8: lone surrogates become escapes such as \ud83d, as JSON has them."""
    return text.encode("utf-8", "backslashreplace").decode()


def without_lone_surrogates(document: str) -> str:
    """Return a JSON document in which escapes of half a character stand for the replacement character.

    Strict readers take a document with such an escape for no JSON at all.
    """
    return _ESCAPES.sub(lambda escape: "\\ufffd" if escape[1] else escape[0], document)


def storable_text(text: str) -> str:
    """Return a text that every database keeps as it is: without lone surrogates and NUL characters."""
    return encodable(text).replace("\0", "\ufffd")


def storable_or_none(text: str | None) -> str | None:
    """Return a text without surrounding blanks, as every database keeps it; None if nothing remains."""
    return storable_text(text or "").strip() or None


def all_encodable(json_value: Any) -> Any:
    """Return a JSON value with `encodable` applied to all texts in it."""
    if isinstance(json_value, str):
        return encodable(json_value)
    if isinstance(json_value, Mapping):
        return {all_encodable(key): all_encodable(each) for key, each in json_value.items()}
    return [all_encodable(each) for each in json_value] if isinstance(json_value, list | tuple) else json_value


# A place in a list: from its beginning, or with a minus from its end.
INDEX = re.compile(r"-?\d{1,5}", re.ASCII)


def lookup(value: Any, path: str) -> Any:
    """Return the value at a dotted path, None if there is none.

    In a list, a number is an index, and one below 0 counts from the end. If it is out of range or no number, it
    selects the object with that `id`, as in `custom_fields.360012.value`. A key may hold dots itself, as
    `System.Title` of Azure DevOps.
    """
    if isinstance(value, dict) and "." not in path:  # as most are, and a pull looks up ten an item
        return value.get(path)
    path_keys = path.split(".")
    while path_keys:
        key, *path_keys = path_keys
        if isinstance(value, Mapping):
            if key not in value:
                key, path_keys = _with_dots(value, key, path_keys)
            value = value.get(key)
        elif isinstance(value, list) and INDEX.fullmatch(key) and -len(value) <= int(key) < len(value):
            value = value[int(key)]
        elif isinstance(value, list):
            value = next((each for each in value if isinstance(each, Mapping) and str(each.get("id")) == key), None)
        else:
            return None
    return value


def _with_dots(value: Mapping[str, Any], key: str, later_keys: list[str]) -> tuple[str, list[str]]:
    """Return a key with as few later ones as make it a dotted key of these, and the others; itself if none does."""
    dotted_key = key
    for number, part in enumerate(later_keys, 1):
        dotted_key += f".{part}"
        if dotted_key in value:
            return dotted_key, later_keys[number:]
    return key, later_keys


def label_text(value: Any) -> str:
    """Return the text of an element of a list of labels, which some systems write as objects; else an empty text."""
    if isinstance(value, Mapping):
        value = next((value[key] for key in LABEL_KEYS if isinstance(value.get(key), str)), None)
    return value if isinstance(value, str) else ""


def has_place(value: Any, path: str) -> bool:
    """Return whether a value has this path, also if it holds null there; a list has every index."""
    path_keys = path.split(".")
    for number in range(len(path_keys) - 1, -1, -1):  # the last key of the path, which may hold dots itself
        inside = lookup(value, ".".join(path_keys[:number])) if number else value
        if isinstance(inside, Mapping) and ".".join(path_keys[number:]) in inside:
            return True
        if isinstance(inside, list) and number == len(path_keys) - 1:
            return True
    return False


def placed(tree: Any, path: str, value: Any) -> Any:
    """Return a tree of mappings with a value at a dotted path."""
    key, _, rest_of_path = path.partition(".")
    inside: Mapping[str, Any] = tree if isinstance(tree, Mapping) else {}
    return {**inside, key: placed(inside.get(key), rest_of_path, value) if rest_of_path else value}

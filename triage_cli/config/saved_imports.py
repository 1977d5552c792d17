"""Adds a kept mapping to config.yaml: the rest of the file, with its comments, stays as it is."""

import json
import os
import re
import stat
from contextlib import suppress
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config.imports import IMPORT
from triage_cli.config.yaml_document import Diagnostics, Node, UnreadableError, parse
from triage_cli.runtime import distrust

_HEADER = "# The configuration of triage. What is not given here has its default: triage config show\n\n"
# Words that YAML takes for what they are, and not for yes, no, a number or nothing.
_PLAIN_WORD = re.compile(r"[A-Za-z][A-Za-z_-]*")
_YAML_WORDS = frozenset(("y", "yes", "n", "no", "true", "false", "on", "off", "null"))


class SavedImport(NamedTuple):
    """A file that keeps a mapping, as it will be: `before` is what it holds now (None: it is not there)."""

    path: Path
    before: bytes | None
    after: bytes

    def write(self) -> None:
        """Replace the file, at once or not at all. Raises `ConfigError`."""
        if self.before == self.after:
            return
        target = Path(os.path.realpath(self.path))
        part = None
        try:
            if _content(target) != self.before:
                raise dm.ConfigError(f"{self.path} was changed meanwhile", hint=dm.Step.AGAIN)
            with NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as file:  # private
                part = Path(file.name)
                if self.before is not None:
                    status = target.stat()
                    with suppress(OSError):  # of another user, where this one is not root
                        os.fchown(file.fileno(), status.st_uid, status.st_gid)
                    os.fchmod(file.fileno(), stat.S_IMODE(status.st_mode))
                file.write(self.after)
                file.flush()
                os.fsync(file.fileno())
            part.replace(target)
        except OSError as error:
            raise dm.ConfigError(f"cannot write {self.path}: {error.strerror}", hint="check its rights") from error
        finally:
            if part is not None:
                part.unlink(missing_ok=True)


def with_import(path: Path | None, folder: Path, kept: dm.KeptMapping) -> SavedImport:
    """Return the configuration file with one more kept mapping; without a file, `config.yaml` in a folder.

    Nothing is written. Raises `ConfigError` where the file cannot be written or added to, or keeps another mapping
    under this name.
    """
    place = path or folder / "config.yaml"
    before = _content(place)
    if path is None:
        _check_new_file(place, before)
    if not os.access(place if before is not None else place.parent, os.W_OK) or not os.access(
        Path(os.path.realpath(place)).parent, os.W_OK | os.X_OK
    ):
        raise dm.ConfigError(f"cannot write {place}, which would keep the mapping", hint="check its rights")
    entry = _entry(kept)
    text = _HEADER if before is None else before.decode("utf-8")
    bom, text = ("\ufeff", text[1:]) if text.startswith("\ufeff") else ("", text)
    line_end = "\r\n" if "\r\n" in text else "\n"
    known = _plain(text).get("imports") or {}
    if kept.name in known:
        if known[kept.name] == entry:
            return SavedImport(place, before, before or b"")
        raise dm.ConfigError(
            f"imports.{kept.name} is in {place} already, and says something else",
            hint="give another name, or change it there",
        )
    added = bom + _added(text, kept.name, entry, line_end)
    expected = _plain(text) | {"imports": {**known, kept.name: entry}}
    with suppress(UnreadableError, UnicodeEncodeError):
        if _plain(added.removeprefix(bom)) == expected:
            return SavedImport(place, before, added.encode())
    lines = json.dumps({kept.name: entry}, ensure_ascii=False)
    raise dm.ConfigError(f"{place} is written in a way that nothing can be added to", hint=f"add to imports: {lines}")


def _content(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise dm.ConfigError(f"cannot read {path}: {error.strerror}", hint="check its name and its rights") from error


def _check_new_file(place: Path, content: bytes | None) -> None:
    """Raise `ConfigError` if a new file would be none of triage's, or would not be trusted by the next command."""
    if content is not None:
        raise dm.ConfigError(f"{place} has none of triage's keys", hint="name the configuration with --config")
    if reason := distrust(place.parent.stat()):
        raise dm.ConfigError(
            f"a configuration in {place.parent} would not be used, because this folder {reason}",
            hint="make one elsewhere with triage config init PATH, and name it with --config",
        )


def _entry(kept: dm.KeptMapping) -> dict[str, Any]:
    """Return a kept mapping as it stands in the file: without what is detected."""
    values = {"columns": list(kept.columns), "map": dict(kept.mapping)}
    values |= {key: value for key, value in kept._asdict().items() if key in IMPORT.keys() - {"columns", "map"}}
    return {key: values[key] for key in IMPORT if values.get(key) not in (None, {})}


def _plain(text: str) -> dict[str, Any]:
    """Return the values of a configuration, each as it is written. Raises `UnreadableError`."""

    def plain(node: Node) -> Any:
        if isinstance(node.value, dict):
            return {key: plain(inner) for key, inner in node.value.items()}
        if isinstance(node.value, list):
            return [plain(inner) for inner in node.value]
        is_as_written = node.value is None or (isinstance(node.value, bool) and node.text in ("true", "false"))
        return node.value if is_as_written else node.text

    values = plain(parse(text.encode(), Diagnostics()))
    return values if isinstance(values, dict) else {}


def _added(text: str, name: str, entry: dict[str, Any], line_end: str) -> str:
    """Return the text of a configuration with one more entry of `imports`."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    imports = None
    for key_node, value_node in root.value if isinstance(root, yaml.MappingNode) else ():
        if key_node.value == "imports":
            imports = key_node, value_node
    if imports is None and isinstance(root, yaml.MappingNode) and root.flow_style:
        return _in_flow(text, root, f"imports: {{{_in_line(name, entry)}}}")
    if imports is None:
        indent = root.start_mark.column if isinstance(root, yaml.MappingNode) else 0
        gap = "" if not text or text.endswith("\n") else line_end
        blank = line_end if root is not None else ""
        return f"{text}{gap}{blank}{_lines('imports', indent, line_end)}{_block(name, entry, indent + 2, line_end)}"
    key_node, value_node = imports
    if isinstance(value_node, yaml.MappingNode) and value_node.flow_style:
        return _in_flow(text, value_node, _in_line(name, entry))
    if isinstance(value_node, yaml.MappingNode):
        indent, last = value_node.value[0][0].start_mark.column, _last_leaf(value_node)
    else:  # a key without a value
        indent, last = key_node.start_mark.column + 2, key_node
    end = text.find("\n", last.end_mark.index - (text[last.end_mark.index - 1] == "\n"))
    head, tail = (text + line_end, "") if end < 0 else (text[: end + 1], text[end + 1 :])
    return head + _block(name, entry, indent, line_end) + tail


def _last_leaf(node: Any) -> Any:
    """Return what stands last in a block mapping; its own end is behind the comments that follow it."""
    while node.id in ("mapping", "sequence") and not node.flow_style and node.value:
        node = node.value[-1][1] if node.id == "mapping" else node.value[-1]
    return node


def _in_flow(text: str, node: Any, added: str) -> str:
    """Return the text with one more entry behind the last one of a mapping in braces."""
    if not node.value:
        at = node.end_mark.index - 1
        return f"{text[:at]}{added}{text[at:]}"
    at = node.value[-1][1].end_mark.index
    return f"{text[:at]}, {added}{text[at:]}"


def _in_line(name: str, entry: dict[str, Any]) -> str:
    return f"{scalar(name)}: {_flow(entry)}"


def _block(name: str, entry: dict[str, Any], indent: int, line_end: str) -> str:
    """Return an entry as lines."""
    keys = "".join(f"{' ' * (indent + 2)}{key}: {_flow(value)}{line_end}" for key, value in entry.items())
    return _lines(scalar(name), indent, line_end) + keys


def _lines(key: str, indent: int, line_end: str) -> str:
    return f"{' ' * indent}{key}:{line_end}"


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

"""YAML as a tree in which every value has its line, without tags and objects, and with bounded aliases."""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

MAX_BYTES = 1_000_000
MAX_VALUES = 20_000  # a value that an alias repeats counts each time
MAX_DEPTH = 20
YAML_TAG = "tag:yaml.org,2002:"
_NO_TEXT = re.compile("[\0\ud800-\udfff]")


class UnreadableError(Exception):
    """The text is no YAML whose keys could be checked."""

    def __init__(self, text: str, line: int = 1) -> None:
        super().__init__(text)
        self.line = line


class ConfigValueError(Exception):
    """One value is wrong for its key; the message continues a sentence that begins with the key."""


class Node(NamedTuple):
    """A YAML value, the line of its key, and for a scalar how it was written.

    `value` is a dict or list of nodes, a str, int, float, bool or None, or an `UnsupportedScalar`.
    """

    value: Any
    line: int
    text: str = ""


class UnsupportedScalar(NamedTuple):
    """A scalar of a YAML type that no key accepts, such as a date or a time."""

    text: str


class Diagnostics:
    """The results of reading the file: its mistakes, the origins of its values, the `variables` that hold secrets."""

    def __init__(self, label: str = "", folder: Path | None = None, home: Path | None = None) -> None:
        self.label = label
        self.folder = folder or Path()
        self.home = home
        self.distrust = ""  # why others can have written the file
        self.is_sent = False  # by somebody who may not read the files of this machine
        self.variables: set[str] = set()
        self.origins: dict[str, str] = {}
        self._problems: list[tuple[int, str]] = []
        self._other_files: list[Diagnostics] = []

    def of_other_file(self, label: str, folder: Path) -> "Diagnostics":
        """Return the diagnostics of a file that this one names; its mistakes are told behind the others."""
        other = Diagnostics(label, folder, self.home)
        other.variables, other.origins = self.variables, self.origins
        self._other_files.append(other)
        return other

    @property
    def mistaken_files(self) -> list[str]:
        """Return the labels of the files that have mistakes."""
        labels = [self.label, *(other.label for other in self._other_files)]
        return [label for label in labels if any(problem.startswith(f"{label}:") for problem in self.problems)]

    def wrong(self, line: int, path: str, text: str) -> None:
        """Record a mistake in a line of the file."""
        file_line = f"{self.label}:{line}: {path}" if path else f"{self.label}:{line}"
        self._problems.append((line, f"{file_line}: {text}"))

    def misplaced(self, origin: str, text: str) -> None:
        """Record a mistake that is not in the file."""
        self._problems.append((0, f"{origin}: {text}"))

    @property
    def problems(self) -> tuple[str, ...]:
        """Every mistake once, in the order of the lines."""
        own = (text for _, text in sorted(self._problems, key=lambda problem: problem[0]))
        return tuple(dict.fromkeys([*own, *(text for other in self._other_files for text in other.problems)]))


class ConfigNode(NamedTuple):
    """A node and its path in the file: the argument of a check."""

    node: Node
    path: str
    diagnostics: Diagnostics

    @property
    def value(self) -> Any:
        """The YAML value of this setting."""
        return self.node.value

    def wrong(self, text: str) -> None:
        """Record a mistake in this setting, with its line."""
        self.diagnostics.wrong(self.node.line, self.path, text)

    def refuse_command(self) -> None:
        """Record a mistake if others can have written the file: no program is started for them."""
        if reason := self.diagnostics.distrust:
            self.wrong(f"commands run only from a file that others cannot write, and this one {reason}; copy it")

    def read(self, check: "Check", default: Any = None) -> Any:
        """Return the checked value of this setting; after a mistake, record it and return the default."""
        try:
            return check(self)
        except ConfigValueError as mistake:
            self.wrong(str(mistake))
            return default

    def origin(self, key: str) -> None:
        """Record this place as the origin of the value that is shown under a key."""
        self.diagnostics.origins[key] = f"{self.diagnostics.label}:{self.node.line}"

    def entries(self) -> dict[str, "ConfigNode"]:
        """Return the settings inside of a YAML mapping."""
        if not isinstance(self.value, dict):
            raise ConfigValueError(f"must be a mapping (key: value), not {kind(self.node)}")
        return {
            key: ConfigNode(node, f"{self.path}.{key}" if self.path else key, self.diagnostics)
            for key, node in self.value.items()
        }

    def items(self) -> list["ConfigNode"]:
        """Return the settings inside of a YAML list."""
        if not isinstance(self.value, list):
            raise ConfigValueError(f"must be a list, not {kind(self.node)}")
        return [ConfigNode(node, f"{self.path}[{number}]", self.diagnostics) for number, node in enumerate(self.value)]


Check = Callable[[ConfigNode], Any]
KINDS: Mapping[type, str] = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    bool: "a yes or no",
    int: "a number",
    float: "a number",
    UnsupportedScalar: "a date or time",
    type(None): "nothing",
}


def kind(node: Node) -> str:
    """Name the YAML type of a node's value."""
    return KINDS[type(node.value)]


def quote_advice(node: Node) -> str:
    """Return the message about a value that YAML does not read as the text that was meant."""
    return f'is {kind(node)} to YAML; quote it: "{node.text}"'


def parse(encoded: bytes, diagnostics: Diagnostics) -> Node:
    """Read YAML. Mistakes in it go to the diagnostics; an unreadable text raises `UnreadableError`."""
    if len(encoded) > MAX_BYTES:
        raise UnreadableError("larger than 1 MB, which no configuration needs")
    try:
        text = encoded.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        line = encoded.count(b"\n", 0, exc.start) + 1
        raise UnreadableError(f"byte 0x{encoded[exc.start]:02x} is not UTF-8; save the file as UTF-8", line) from exc
    root = _compose(text)
    return Node(None, 1) if root is None else _NodeReader(diagnostics).node(root, root.start_mark.line + 1, "", 0)


def _compose(text: str) -> Any:
    """Return PyYAML's node tree. Raises `UnreadableError`, with each error of PyYAML as one sentence.

    Where PyYAML has its parser in C, that reads it in a tenth of the time. The one in Python tells what is wrong, and
    refuses tabs between values.
    """
    import yaml

    if yaml.__with_libyaml__ and "\t" not in text:
        with suppress(yaml.YAMLError, ValueError, OverflowError, RecursionError):
            return yaml.compose(text, Loader=yaml.CSafeLoader)
    try:
        return yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.reader.ReaderError as exc:
        line = text.count("\n", 0, exc.position) + 1
        raise UnreadableError(f"the character U+{int(exc.character):04X} is not allowed in YAML", line) from exc
    except yaml.MarkedYAMLError as exc:
        mark = exc.problem_mark or exc.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        problem = ", ".join(part for part in (exc.context, exc.problem) if part)
        advice = "; indent with spaces" if r"'\t'" in problem else ""
        raise UnreadableError(f"column {column}: not valid YAML: {problem}{advice}", line) from exc
    except RecursionError as exc:
        raise UnreadableError("nested too deeply") from exc
    except (ValueError, OverflowError) as exc:  # an escape beyond Unicode, a %YAML directive that is no number
        raise UnreadableError(f"not valid YAML: {exc}") from exc


class _NodeReader:
    """Converts PyYAML's nodes to ours, with their lines, and counts them."""

    def __init__(self, diagnostics: Diagnostics) -> None:
        self.diagnostics = diagnostics
        self.count = 0

    def node(self, node: Any, line: int, path: str, depth: int) -> Node:
        self.count += 1
        if self.count > MAX_VALUES:
            raise UnreadableError(f"holds more than {MAX_VALUES:,} values, repeated aliases counted", line)
        if depth > MAX_DEPTH:
            raise UnreadableError("nested too deeply", line)
        if node.id == "scalar":
            return self._scalar(node, line, path)
        if node.tag not in (YAML_TAG + "map", YAML_TAG + "seq"):
            self.diagnostics.wrong(line, path, f"the tag {_short_tag(node.tag)} is not understood here; leave it out")
        if node.id == "mapping":
            return Node(self._mapping(node, path, depth), line)
        item_nodes = [
            self.node(item, item.start_mark.line + 1, f"{path}[{number}]", depth + 1)
            for number, item in enumerate(node.value)
        ]
        return Node(item_nodes, line)

    def _mapping(self, node: Any, path: str, depth: int) -> dict[str, Node]:
        nodes: dict[str, Node] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            key = key_node.value
            if key_node.id != "scalar":
                self.diagnostics.wrong(line, path, "a key must be plain text")
                continue
            key_path = f"{path}.{key}" if path else key
            if key_node.tag == YAML_TAG + "merge":
                self.diagnostics.wrong(line, key_path, "merging is not supported; write the keys out")
            elif key_node.tag != YAML_TAG + "str":
                self.diagnostics.wrong(line, key_path, f'a key must be text; quote it: "{key}"')
            elif key in nodes:
                self.diagnostics.wrong(line, key_path, f"stands twice, first in line {nodes[key].line}; remove one")
            elif self._check_characters(key, line, path):
                nodes[key] = self.node(value_node, line, key_path, depth + 1)
        return nodes

    def _scalar(self, node: Any, line: int, path: str) -> Node:
        text, tag = node.value, node.tag.removeprefix(YAML_TAG)
        value: Any = text
        if tag in _SCALAR_READERS:
            try:
                value = _SCALAR_READERS[tag](text)
            except ValueError:  # a time such as 12:30, which YAML reads in base 60; more digits than a number has
                value = UnsupportedScalar(text)
        elif tag in ("timestamp", "binary"):
            value = UnsupportedScalar(text)
        elif tag not in ("str", "value", "merge"):
            self.diagnostics.wrong(line, path, f"the tag {_short_tag(node.tag)} is not understood here; leave it out")
        self._check_characters(text, line, path)
        return Node(value, line, text)

    def _check_characters(self, text: str, line: int, path: str) -> bool:
        if _NO_TEXT.search(text):
            self.diagnostics.wrong(line, path, "holds a character that is no text")
            return False
        return True


def _short_tag(tag: str) -> str:
    return "!!" + tag.removeprefix(YAML_TAG) if tag.startswith(YAML_TAG) else tag


def _yaml_integer(text: str) -> int:
    """Read a whole number as YAML 1.1 does, except for base 60, which nobody means."""
    digits = text.replace("_", "").lower()
    if re.fullmatch(r"[-+]?0[0-7]+", digits):
        return int(digits, 8)
    return int(digits, 0)


_SCALAR_READERS: Mapping[str, Callable[[str], Any]] = {
    "null": lambda _: None,
    "bool": lambda text: text.lower() in ("yes", "true", "on"),
    "int": _yaml_integer,
    "float": lambda text: float(re.sub(r"\.(inf|nan)$", r"\1", text.replace("_", "").lower())),
}

"""Changes the categories of a configuration's text: what it no longer says becomes a comment, and comments stay."""

from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config.starter import category_lines
from triage_cli.config.yaml_lines import scalar

RULE_SECTIONS = ("routes", "escalations")


class _Edit(NamedTuple):
    """A span of the text, and what takes its place."""

    start: int
    end: int
    text: str


def changed_categories(
    values: Sequence[dm.Category], changes: Sequence[dm.CategoryChange]
) -> dict[str, list[dm.Category]]:
    """Return what takes the place of each category that changes, by its name.

    Raises `UsageError` if two changes are about one category, and not both of them merge it.
    """
    named, others = {value.name: value for value in values}, [c for c in changes if c.kind is not dm.ChangeKind.MERGE]
    merged: list[list[str]] = []
    for change in changes:
        if change.kind is dm.ChangeKind.MERGE:
            touching = [group for group in merged if not set(group).isdisjoint(change.categories)]
            merged = [group for group in merged if group not in touching]
            merged.append(list(dict.fromkeys(name for group in (*touching, change.categories) for name in group)))
    changed: dict[str, list[dm.Category]] = {}
    for group in merged:
        changed |= {name: [] for name in group} | {group[0]: [_merged([named[name] for name in group])]}
    for change in others:
        [name] = change.categories
        if name in changed:
            raise dm.UsageError(f'two of these proposals change "{name}"', hint="apply one of them, then look again")
        if change.kind is dm.ChangeKind.SHARPEN:
            changed[name] = [dm.sharpened(named[name], change.texts)]
        else:
            changed[name] = [dm.Category(*part) for part in zip(change.parts, change.texts, strict=False) if part[0]]
    return changed


def _merged(group: Sequence[dm.Category]) -> dm.Category:
    name = reduce(dm.merged_name, [category.name for category in group])
    former = dict.fromkeys(was for category in group for was in (category.name, *category.was) if was != name)
    description = "; ".join(category.description for category in group if category.description)
    return dm.Category(name, description, tuple(each for c in group for each in c.examples), tuple(former))


def with_changes(
    text: str, values: Sequence[dm.Category], changed: Mapping[str, Sequence[dm.Category]], question: str
) -> str:
    """Return the text of a configuration in which categories, or the values of a question, are changed."""
    import yaml

    root = yaml.compose(text, Loader=yaml.SafeLoader)
    path = ("categories",) if question == dm.CATEGORY else ("questions", question, "values")
    listed = reduce(_below, path, root)
    result = [each for value in values for each in changed.get(value.name, [value])]
    if listed is None:
        return text + ("" if text.endswith("\n") or not text else "\n") + "categories:\n" + _lines(result, 2)
    edits = [*_list_edits(text, listed, changed, result)]
    for section in RULE_SECTIONS:
        edits += _rule_edits(text, _below(root, section), changed, question)
    for edit in sorted(edits, reverse=True):
        text = text[: edit.start] + edit.text + text[edit.end :]
    return text


def _list_edits(
    text: str, listed: Any, changed: Mapping[str, Sequence[dm.Category]], result: Sequence[dm.Category]
) -> Iterator[_Edit]:
    if listed.flow_style:
        line = _line_of(text, listed.start_mark.index)
        column = len(line) - len(line.lstrip())
        start = len(text[: listed.start_mark.index].rstrip(" "))
        yield _Edit(start, listed.end_mark.index, "\n" + _lines(result, column + 2).rstrip("\n"))
        return
    for item in listed.value:
        name = item if item.id == "scalar" else _below(item, "name")
        if name is not None and name.value in changed:
            dash = text.rindex("-", 0, item.start_mark.index)
            column = dash - (text.rfind("\n", 0, dash) + 1)
            yield _commented(text, dash, item, _lines(changed[name.value], column))


def _rule_edits(text: str, rules: Any, changed: Mapping[str, Sequence[dm.Category]], question: str) -> Iterator[_Edit]:
    """Yield what becomes of rules that name a category: former names are understood, others are not."""
    gone = {name: [each.name for each in those] for name, those in changed.items() if not _is_known(name, changed)}
    condition = "category" if question == dm.CATEGORY else question
    if rules is not None and rules.id == "mapping" and question == dm.CATEGORY:
        routed: set[str] = set()
        for key, value in rules.value:
            current = next((c.name for those in changed.values() for c in those if key.value in c.was), key.value)
            if key.value in gone or current in routed:
                entry = text[key.end_mark.index : _last_leaf(value).end_mark.index]
                column = key.start_mark.column
                copies = "".join(f"{' ' * column}{scalar(name)}{entry}\n" for name in gone.get(key.value, ()))
                yield _commented(text, key.start_mark.index, value, copies)
            routed.add(current)
    for rule in rules.value if rules is not None and rules.id == "sequence" else ():
        named = reduce(_below, ("when", condition), rule)
        if named is None or named.id == "mapping":
            continue
        names = [each.value for each in (named.value if named.id == "sequence" else [named])]
        kept = [each for name in names for each in gone.get(name, [name])]
        if not kept:
            yield _commented(text, text.rindex("-", 0, rule.start_mark.index), rule, "")
        elif kept != names:
            replaced = f"[{', '.join(map(scalar, kept))}]"
            yield _Edit(named.start_mark.index, _last_leaf(named).end_mark.index, replaced)


def _is_known(name: str, changed: Mapping[str, Sequence[dm.Category]]) -> bool:
    """Return whether a name is still one of a category, present or former."""
    return any(name == each.name or name in each.was for those in changed.values() for each in those)


def _below(node: Any, key: str) -> Any:
    """Return what a mapping has for a key; None if it is none, or has none."""
    pairs = node.value if node is not None and node.id == "mapping" else ()
    return next((value for key_node, value in pairs if key_node.value == key), None)


def _commented(text: str, start: int, node: Any, instead: str) -> _Edit:
    """Return the edit that makes comments of the lines from a place to the end of a node, with others behind them."""
    begin, last = text.rfind("\n", 0, start) + 1, _last_leaf(node).end_mark.index
    end = text.find("\n", last - (text[last - 1] == "\n"))
    lines = text[begin:] if end < 0 else text[begin:end]
    column = start - begin
    kept = "\n".join(f"{line[:column]}# {line[column:]}" if line.strip() else line for line in lines.split("\n"))
    return _Edit(begin, len(text) if end < 0 else end + 1, f"{kept}\n{instead}")


def _last_leaf(node: Any) -> Any:
    """Return what stands last in a block; its own end is behind the comments that follow it."""
    while node.id in ("mapping", "sequence") and not node.flow_style and node.value:
        node = node.value[-1][1] if node.id == "mapping" else node.value[-1]
    return node


def _line_of(text: str, index: int) -> str:
    return text[text.rfind("\n", 0, index) + 1 : index]


def _lines(categories: Sequence[dm.Category], column: int) -> str:
    return "".join(" " * column + line[2:] for line in category_lines(categories))

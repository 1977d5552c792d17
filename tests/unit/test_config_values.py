"""Each key of the configuration with values of each kind: it holds, or it is a mistake with its line and key."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support.config_files import EXAMPLE
from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import configuration_warnings
from triage_cli.config import load_config, shown

SCALARS: tuple[Any, ...] = (None, True, 7, "text", "", ">100")
VALUES: tuple[Any, ...] = (*SCALARS, [], [200], [{}], {}, {"x": 1})
PLACE = re.compile(r"\S+config\.yaml:1(: [^\s:]+)?: ")  # the configurations here have one line
# Sections whose entries are read one by one; the others are small.
NAMED = ("destinations", "sources", "classifiers", "webhooks")
# What else a configuration with a section has, since it is named there.
NEEDED = {
    "classifier": ["classifiers"],
    "classifiers": ["classifiers"],
    "routes": ["categories", "calendars"],
    "escalations": ["categories", "calendars"],
    "spikes": ["destinations"],
}
Place = tuple[str | int, ...]


@cache
def example() -> dict[str, Any]:
    """Return the example with every key, times in it as texts."""
    read: dict[str, Any] = json.loads(json.dumps(yaml.safe_load(EXAMPLE.read_text(encoding="utf-8")), default=str))
    return read


def places(tree: Any, at: Place = ()) -> Iterator[Place]:
    """Yield the place of each value in a tree."""
    yield at
    entries = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, inner in entries:
        yield from places(inner, (*at, key))


def replaced(tree: Any, place: Place, value: Any) -> Any:
    """Return a tree with another value at a place."""
    if not place:
        return value
    key, *rest = place
    changed: Any = dict(tree) if isinstance(tree, Mapping) else list(tree)
    changed[key] = replaced(tree[key], tuple(rest), value)
    return changed


def sections(name: str) -> Iterator[tuple[Place, Any, dict[str, Any]]]:
    """Yield the parts of a section, each with its place and in a configuration, as small as one can be."""
    section = example()[name]
    needed = {key: example()[key] for key in NEEDED.get(name, ())}
    if name in NAMED:
        for entry_name, entry in section.items():
            yield (name, entry_name), entry, {name: {entry_name: entry}, **needed}
    elif name in ("routes", "escalations"):
        queue = {"type": "file", "path": "queue.jsonl"}
        for rule in section:
            named = [rule["to"]] if isinstance(rule["to"], str) else rule["to"]
            destinations = {destination: queue for destination in named if "://" not in destination}
            yield (name, 0), rule, {name: [rule], "destinations": destinations, **needed}
    else:
        yield (name,), section, {name: section, **needed}


def check(folder: Path, document: Any) -> None:
    """Do what `config check` and `config show` do. Raises `ConfigError`."""
    config_file = folder / "config.yaml"
    config_file.write_text(json.dumps(document))
    config_file.chmod(0o600)
    config = load_config(config=str(config_file), env={"HOME": str(folder)}, cwd=folder)
    wiring.destinations.check_templates(config)
    wiring.sources.check_source_templates(config)
    for category in config.categories:
        dm.routing_rules.reach(config.routes, category.name)
    assert list(shown(config))
    list(configuration_warnings(config))


@pytest.mark.slow
@pytest.mark.parametrize("name", example())
def test_each_key_takes_a_value_of_each_kind_or_says_what_is_wrong(tmp_path: Path, name: str) -> None:
    refused = 0
    for top, part, document in sections(name):
        check(tmp_path, document)
        for place in places(part):
            for value in VALUES:
                try:
                    check(tmp_path, replaced(document, (*top, *place), value))
                except dm.ConfigError as error:
                    refused += 1
                    unplaced = [problem for problem in error.problems if not PLACE.match(problem)]
                    assert not unplaced, ((*top, *place), value)
                except (AttributeError, TypeError, ValueError, LookupError, RecursionError) as error:
                    error.add_note(f"{'.'.join(map(str, (*top, *place)))}: {json.dumps(value)}")
                    raise
    assert refused

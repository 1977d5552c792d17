"""Example tickets of the default categories, `built_in_examples.txt`, all of them invented."""

from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path

from triage_cli import domain as dm

EXAMPLES_FILE = Path(__file__).with_name("built_in_examples.txt")

# Beside a category with only a description, more built-in examples would draw its tickets away (measured: a share of
# 0.57 to 0.88 of sure answers was right with all examples, 0.78 to 0.93 with these).
_EXAMPLES_BESIDE_BARE = 8


@cache
def _built_in_examples() -> Mapping[str, tuple[str, ...]]:
    """Return the built-in examples by the category's name in lower case."""
    examples_by_category: dict[str, list[str]] = {}
    for line in EXAMPLES_FILE.read_text(encoding="utf-8").splitlines():
        if line.startswith("["):
            examples = examples_by_category.setdefault(line.strip("[]"), [])
        elif line and not line.startswith("#"):
            examples.append(line)
    return {name: tuple(examples) for name, examples in examples_by_category.items()}


def _built_in_examples_of(category: dm.Category) -> tuple[str, ...]:
    return _built_in_examples().get((category.root or category.name).casefold(), ())


def examples_of(categories: Sequence[dm.Category]) -> list[tuple[str, ...]]:
    """Return the examples of each category: its own, or the built-in ones of a default category."""
    examples_of_each = [category.examples or _built_in_examples_of(category) for category in categories]
    if all(examples_of_each):
        return examples_of_each
    return [
        category.examples or examples[:_EXAMPLES_BESIDE_BARE]
        for category, examples in zip(categories, examples_of_each, strict=True)
    ]


def are_built_in(categories: Sequence[dm.Category]) -> bool:
    """Return whether all categories have the built-in examples."""
    return all(not category.examples and _built_in_examples_of(category) for category in categories)

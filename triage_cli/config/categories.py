"""Categories in config.yaml: a name or a mapping each, and the default ones."""

import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping

from triage_cli import domain as dm
from triage_cli.config import validators as valid
from triage_cli.config.key_tables import Field, accepts, record, record_schema, schema_of
from triage_cli.config.yaml_document import ConfigNode

DEFAULT_CATEGORIES = (
    dm.Category("Billing", "Invoices, charges, payments, refunds, subscriptions"),
    dm.Category("Technical", "Errors, bugs, logins, outages, performance, integrations"),
    dm.Category("General", "Everything else: questions, feedback, orders, accounts, how-tos"),
)


@accepts(lambda: {"anyOf": [schema_of(valid.label), record_schema(CATEGORY)]})
def _category(setting: ConfigNode, section: str = "categories") -> dm.Category | None:
    """Read a category, or a value of a question: a mapping, or only a name."""
    if not isinstance(setting.value, dict | list):
        name = valid.label(setting)
        setting.origin(f"{section}.{name}")
        return dm.Category(name)
    name_node = setting.value.get("name") if isinstance(setting.value, dict) else None
    values = record(setting, CATEGORY, f"{section}.{name_node.value if name_node else ''}")
    return dm.Category(**values) if "name" in values else None


@accepts(lambda: {"type": "array", "items": schema_of(_category), "minItems": 2, "maxItems": 255})
def read_categories(
    setting: ConfigNode, section: str = "categories", objection: Callable[[str], str] = lambda _: ""
) -> tuple[dm.Category, ...]:
    """Return the categories of a list; their former names must be free, and their names without `objection`."""
    checked: list[dm.Category] = []
    first_paths: dict[str, str] = {}
    renamed_to: dict[str, str] = {}
    read = [(inner, inner.read(lambda each: _category(each, section))) for inner in setting.items()]
    pairs = [(inner, category) for inner, category in read if category is not None]
    current_names = [category.name for _, category in pairs]
    for category_setting, category in pairs:
        first = first_paths.setdefault(valid.same_name(category.name), category_setting.path)
        if first != category_setting.path:
            category_setting.wrong(f'"{category.name}" is the category of {first} again')
            continue
        if why := objection(category.name):
            category_setting.wrong(why)
        for former_name in category.was:
            if former_name in current_names:
                category_setting.wrong(f'was: "{former_name}" is a category still; a former name must be free')
            elif renamed_to.setdefault(former_name, category.name) != category.name:
                category_setting.wrong(f'was: "{former_name}" is a former name of "{renamed_to[former_name]}" already')
        checked.append(category)
    if not 2 <= len(setting.value) <= 255:
        setting.wrong(f"needs 2 to 255 categories, not {len(setting.value)}")
    return tuple(checked)


def in_levels(categories: tuple[dm.Category, ...]) -> tuple[dm.Category, ...]:
    """Return categories with their parents; a former name of a parent is one of its children's, too."""
    parents = dm.parents_of(category.name for category in categories)
    if not parents:
        return categories
    taken = {name for category in categories for name in (category.name, *category.was)}
    former_names = {category.name: category.was for category in categories}
    for name in sorted(parents, key=len):  # a parent before its children
        parent = parents[name]
        moved = tuple(was + name.removeprefix(parent) for was in former_names[parent])
        former_names[name] += tuple(was for was in moved if was not in taken)
        taken.update(moved)
    return tuple(c._replace(parent=parents.get(c.name, ""), was=former_names[c.name]) for c in categories)


# Capital and small letters of Cyrillic, then of Greek, that are drawn as those of Latin below them.
_FOREIGN_LETTERS = (
    "\u0410\u0412\u0415\u0405\u0406\u0408\u041a\u041c\u041d\u041e\u0420\u0421\u0422\u0423\u0425"
    "\u0430\u0441\u0435\u043e\u0455\u0456\u0458\u0440\u0443\u0445\u04bb\u0501\u051b\u051d"
    "\u0391\u0392\u0395\u0396\u0397\u0399\u039a\u039c\u039d\u039f\u03a1\u03a4\u03a5\u03a7\u03bf\u03bd\u03b9\u03c5"
)
_LATIN_LETTERS = "ABESIJKMHOPCTYXaceosijpyxhdqwABEZHIKMNOPTYXoviu"


def look_alikes(names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield the pairs of names that a reader cannot tell apart: by letters of another script, by width or by blanks."""
    letters, seen = str.maketrans(_FOREIGN_LETTERS, _LATIN_LETTERS), dict[str, str]()
    for name in names:
        drawn = " ".join(unicodedata.normalize("NFKC", name).translate(letters).casefold().split())
        if (first := seen.setdefault(drawn, name)) != name:
            yield first, name


CATEGORY: Mapping[str, Field] = {
    "name": Field(valid.label, needed=True),
    "description": Field(valid.text),
    "examples": Field(valid.several(valid.text)),
    "was": Field(valid.several(valid.former)),
}

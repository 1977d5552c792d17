"""Categories in config.yaml: a name or a mapping each, and the default ones."""

from collections.abc import Mapping

from triage_cli.config.json_schema import accepts, record_schema, schema_of
from triage_cli.config.key_tables import Field, record
from triage_cli.config.validators import former, label, same_name, several, text
from triage_cli.config.yaml_document import ConfigNode
from triage_cli.domain.tickets import Category

DEFAULT_CATEGORIES = (
    Category("Billing", "Invoices, charges, payments, refunds, subscriptions"),
    Category("Technical", "Errors, bugs, logins, outages, performance, integrations"),
    Category("General", "Everything else: questions, feedback, orders, accounts, how-tos"),
)


@accepts(lambda: {"anyOf": [schema_of(label), record_schema(CATEGORY)]})
def _category(setting: ConfigNode) -> Category | None:
    """Read a category: a mapping, or only a name."""
    if not isinstance(setting.value, dict | list):
        name = label(setting)
        setting.origin(f"categories.{name}")
        return Category(name)
    named = setting.value.get("name") if isinstance(setting.value, dict) else None
    values = record(setting, CATEGORY, f"categories.{named.value if named else ''}")
    return Category(**values) if "name" in values else None


@accepts(lambda: {"type": "array", "items": schema_of(_category), "minItems": 2, "maxItems": 255})
def read_categories(setting: ConfigNode) -> tuple[Category, ...]:
    """Return the categories; former names must be free."""
    checked_categories: list[Category] = []
    taken: dict[str, str] = {}
    heirs: dict[str, str] = {}
    read = [
        (inner_setting, category) for inner_setting in setting.items() if (category := inner_setting.read(_category))
    ]
    current = [category.name for _, category in read]
    for inner_setting, category in read:
        first = taken.setdefault(same_name(category.name), inner_setting.path)
        if first != inner_setting.path:
            inner_setting.wrong(f'"{category.name}" is the category of {first} again')
            continue
        for old in category.was:
            if old in current:
                inner_setting.wrong(f'was: "{old}" is a category still; a former name must be free')
            elif heirs.setdefault(old, category.name) != category.name:
                inner_setting.wrong(f'was: "{old}" is a former name of "{heirs[old]}" already')
        checked_categories.append(category)
    if not 2 <= len(setting.value) <= 255:
        setting.wrong(f"needs 2 to 255 categories, not {len(setting.value)}")
    return tuple(checked_categories)


CATEGORY: Mapping[str, Field] = {
    "name": Field(label, needed=True),
    "description": Field(text),
    "examples": Field(several(text)),
    "was": Field(several(former)),
}

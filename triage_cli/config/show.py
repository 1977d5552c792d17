"""The configuration as lines of key, value and origin."""

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

from triage_cli import domain as dm
from triage_cli.config.categories import CATEGORY
from triage_cli.config.classifiers import CLASSIFIER, ClassifierSpec, Price
from triage_cli.config.configuration import Config
from triage_cli.config.database_address import without_password
from triage_cli.config.destinations import DESTINATION, DestinationSpec
from triage_cli.config.http_destination import LIMITS
from triage_cli.config.imports import IMPORT
from triage_cli.config.key_tables import Field
from triage_cli.config.webhooks import WEBHOOK, HookSpec


def shown(config: Config) -> Iterator[tuple[str, object, str]]:
    """Yield dotted key, value and origin of every setting, as `config show` prints them."""
    for key, value in _settings(config):
        yield key, value, config.origins.get(key, "default")


def _settings(config: Config) -> Iterator[tuple[str, object]]:
    yield "database", without_password(config.database)
    yield from _category_settings(config)
    yield from _question_settings(config)
    yield "classifier", config.classifier
    for name, classifier in config.classifiers.items():
        yield from _record_settings(f"classifiers.{name}", classifier, CLASSIFIER)
        yield from ((f"classifiers.{name}.{key}", value) for key, value in classifier.settings.items())
    yield "labelled_texts.keep", config.texts_kept
    yield "budget.per_day", config.per_day
    for name, destination in config.destinations.items():
        yield from _destination_settings(name, destination)
    for rule in (*config.routes, *config.before, *config.escalations):
        yield from _rule_settings(rule)
    yield from _reading_settings(config)
    yield "server.requests_per_minute", config.requests_per_minute
    if config.cors_origins:
        yield "server.cors_origins", _json_value(config.cors_origins)
    if config.app:
        yield "server.app", config.app
    if config.oidc:
        oidc = config.oidc._asdict()
        roles = {"claim": oidc.pop("claim"), "map": oidc.pop("roles")}
        yield from ((f"server.oidc.{key}", _json_value(value)) for key, value in oidc.items())
        yield from ((f"server.oidc.roles.{key}", _json_value(value)) for key, value in roles.items())
    for name, hook in config.webhooks.items():
        yield from _record_settings(f"webhooks.{name}", hook, WEBHOOK)
    for name, source in config.sources.items():
        yield from (
            (f"sources.{name}.{key}", _json_value(value))
            for key, value in (source._replace(settings={})._asdict() | dict(source.settings)).items()
            if value and key != "name"
        )
    yield from chain.from_iterable(map(_import_settings, config.imports.values()))
    if config.spikes_to is not None:
        yield "spikes.to", config.spikes_to
    yield from ((f"nightly.{key}", value) for key, value in config.nightly.items())
    yield from (("nightly.heartbeat.url_env", variable) for variable in (config.heartbeat_env,) if variable)
    yield from config.added.items()
    yield "remote", config.remote
    yield "offline", config.offline


def _category_settings(config: Config) -> Iterator[tuple[str, object]]:
    for category in config.categories:
        yield from _record_settings(f"categories.{category.name}", category, CATEGORY)
    if "levels" in config.origins or any(category.parent for category in config.categories):
        yield "levels", config.levels


def _question_settings(config: Config) -> Iterator[tuple[str, object]]:
    for question in config.questions:
        section = f"questions.{question.name}"
        given = question._replace(values=())._asdict()
        for key, value in given.items():
            if key != "name" and value not in (None, "", (), {}):
                yield f"{section}.{key}", value.configured if isinstance(value, dm.MaxError) else _json_value(value)
        for value in question.values:
            yield from _record_settings(f"{section}.{value.name}", value, CATEGORY)


def _reading_settings(config: Config) -> Iterator[tuple[str, object]]:
    """Yield the settings of what rules read: hours and fields."""
    for name, calendar in config.calendars.items():
        yield from ((f"calendars.{name}.{key}", value) for key, value in _calendar_settings(calendar))
    yield from ((f"fields.{name}", pattern) for name, pattern in config.fields.items())


def _destination_settings(name: str, destination: DestinationSpec) -> Iterator[tuple[str, object]]:
    has_own_table = destination.http or destination.mail
    yield from _record_settings(f"destinations.{name}", destination, LIMITS if has_own_table else DESTINATION)
    yield from ((f"destinations.{name}.{key}", value) for key, value in destination.settings.items())
    if destination.http:
        values = {**destination.http._asdict(), **destination.http.given, "given": None}
        yield from ((f"destinations.{name}.{key}", _json_value(value)) for key, value in values.items() if value)
    if destination.mail:
        mail_values = {"from" if key == "sender" else key: value for key, value in destination.mail._asdict().items()}
        yield from ((f"destinations.{name}.{key}", _json_value(value)) for key, value in mail_values.items())


def _import_settings(kept: dm.KeptMapping) -> Iterator[tuple[str, object]]:
    section, plain_keys = f"imports.{kept.name}", IMPORT.keys() - {"columns", "map"}
    yield f"{section}.columns", list(kept.columns)
    yield from ((f"{section}.map.{field}", column) for field, column in kept.mapping.items())
    given_values = {key: value for key, value in kept._asdict().items() if value is not None}
    yield from ((f"{section}.{key}", value) for key, value in given_values.items() if key in plain_keys)


def _rule_settings(rule: dm.Rule) -> Iterator[tuple[str, object]]:
    yield from ((f"{rule.name}.when.{key}", _shown_condition(values)) for key, values in rule.when.items())
    promised = rule.max_error.configured if rule.max_error else None
    compared_conditions = (("min_confidence", rule.min_confidence), ("max_error", promised))
    yield from ((f"{rule.name}.when.{key}", value) for key, value in compared_conditions if value is not None)
    yield f"{rule.name}.to", list(rule.to)


def _calendar_settings(calendar: dm.Calendar) -> Iterator[tuple[str, object]]:
    yield "zone", calendar.zone
    yield "days", [dm.DAY_NAMES[day] for day in calendar.days]
    yield "hours", [f"{_clock(begin)}-{_clock(end)}" for begin, end in calendar.spans]
    yield "closed", list(calendar.closed)


def _clock(minutes: int) -> str:
    return f"{minutes // 60:02}:{minutes % 60:02}"


def _shown_condition(condition: dm.Condition) -> object:
    """Return a condition as it stands in the configuration."""
    if isinstance(condition, dm.Words):
        return list(condition.words)
    if isinstance(condition, dm.Age):
        calendar = {"in": condition.calendar.name} if condition.calendar else {}
        return {"over": f"{condition.over:g}s", **calendar}
    if isinstance(condition, dm.Hours):
        return {"outside": condition.calendar.name} if condition.outside else condition.calendar.name
    return _json_value(condition)


def _record_settings(
    section: str, record: dm.Category | ClassifierSpec | DestinationSpec | HookSpec, table: Mapping[str, Field]
) -> Iterator[tuple[str, object]]:
    """Yield the settings of a record that apply to its type, as dotted keys and values."""
    type_name = getattr(record, "type", "")
    for key, value in record._asdict().items():
        if key == "name" or key not in table or (table[key].types and type_name not in table[key].types):
            continue
        if isinstance(value, dm.MaxError):
            yield f"{section}.{key}", value.configured
        elif isinstance(value, Price):
            yield from ((f"{section}.{key}.{inner}", price) for inner, price in value._asdict().items())
        elif isinstance(value, Mapping):
            yield from ((f"{section}.{key}.{inner}", list(paths)) for inner, paths in value.items())
        else:
            yield f"{section}.{key}", list(value) if isinstance(value, tuple) else value


def _json_value(value: Any) -> Any:
    """Return a configured value as a JSON value to be shown."""
    if isinstance(value, Mapping):
        return {key: _json_value(inner) for key, inner in value.items()}
    if hasattr(value, "_asdict"):
        return {key: _json_value(inner) for key, inner in value._asdict().items() if inner not in (None, (), "", {})}
    return [_json_value(inner) for inner in value] if isinstance(value, list | tuple) else value

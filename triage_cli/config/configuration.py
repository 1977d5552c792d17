"""The checked configuration, and which files are triage's own. It holds no secrets, only names of variables."""

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from triage_cli import domain as dm
from triage_cli.config.classifiers import KEY_VARIABLES, ClassifierSpec
from triage_cli.config.database_address import is_postgres
from triage_cli.config.destinations import DestinationSpec, MailSpec
from triage_cli.config.sections import OidcSpec
from triage_cli.config.sources import SourceSpec
from triage_cli.config.webhooks import HookSpec

# The database, the files that SQLite keeps beside it, and the head of its audit log.
DATABASE_SUFFIXES = ("", "-wal", "-shm", "-journal", ".head")

# Keys of a rule, with their defaults, that rules did not have at first.
LATER_DEFAULTS = (("max_error", None),)

AnyPath = str | os.PathLike[str]


class Config(NamedTuple):
    """The checked configuration; `origins` maps a dotted key to the origin of its value.

    `secret_variables` are those of the environment that it names as holding a secret, set or not.
    """

    path: Path | None
    database: str
    categories: tuple[dm.Category, ...]
    classifier: str
    classifiers: Mapping[str, ClassifierSpec]
    destinations: Mapping[str, DestinationSpec]
    routes: tuple[dm.Rule, ...]
    per_day: float | None
    remote: str | None
    offline: bool
    origins: Mapping[str, str]
    notes: tuple[str, ...] = ()
    webhooks: Mapping[str, HookSpec] = {}
    requests_per_minute: int | None = 6000
    secret_variables: frozenset[str] = frozenset(KEY_VARIABLES.values())
    sources: Mapping[str, SourceSpec] = {}
    oidc: OidcSpec | None = None
    spikes_to: str | None = None  # the destination of spikes
    nightly: Mapping[str, str | int | None] = {}  # the limits of a night, by the names of options
    heartbeat_env: str | None = None  # the variable with the address that a good night asks
    cors_origins: tuple[str, ...] = ()  # of pages that may call the API from a browser
    app: bool = False  # whether the server has a page for people at /app
    imports: Mapping[str, dm.KeptMapping] = {}
    routes_path: Path | None = None  # of the routing map, if it has a file of its own
    calendars: Mapping[str, dm.Calendar] = {}
    before: tuple[dm.Rule, ...] = ()  # rules that send before the classification
    escalations: tuple[dm.Rule, ...] = ()
    questions: tuple[dm.Question, ...] = ()  # that tickets are asked beside that for their category
    levels: bool = True  # whether names with slashes may be below others
    texts_kept: int = 50_000  # of the labelled texts, how many of the newest teach
    fields: Mapping[str, str] = {}  # by the name of a column, the pattern that finds it in texts
    added: Mapping[str, Any] = {}  # by key, the values that plug-ins check

    @property
    def asked(self) -> tuple[dm.Question, ...]:
        """Return all questions that tickets are asked, that for the category first."""
        return (dm.Question(dm.CATEGORY, self.categories), *self.questions)

    def question(self, name: str) -> dm.Question:
        """Return the question of a name. Raises `UsageError` if there is none."""
        for question in self.asked:
            if question.name == name:
                return question
        names = [question.name for question in self.questions]
        hint = f"the questions are {', '.join(names)}" if names else "name questions below `questions` in the config"
        if parts := dm.parts_of(name, names):
            hint = f"each of its values is a question: {', '.join(parts.values())}"
        raise dm.UsageError(f'no question "{name}"', hint=hint)

    def routing_hash(self) -> str:
        """Return a hash of routes and destinations, 16 characters, so that a decision can name its routing map."""
        import hashlib
        import json

        hashed = [
            # Left out if it is not given, so that older maps keep their hash.
            [{k: v for k, v in rule._asdict().items() if (k, v) not in LATER_DEFAULTS} for rule in self.routes],
            [
                {k: v for k, v in _as_hashed(spec).items() if (k, v) != ("on_change", "ignore")}
                for _, spec in sorted(self.destinations.items())
            ],
        ]
        text = json.dumps(hashed, sort_keys=True, ensure_ascii=False, default=str)
        return hashlib.sha256(text.encode()).hexdigest()[:16]


def _as_hashed(spec: DestinationSpec) -> dict[str, Any]:
    """Return the values of a destination for the hash; what came later is left out where it is not given."""
    hashed = spec._asdict()
    if not spec.settings:
        del hashed["settings"]
    if spec.mail is not None and spec.mail.auth is None:
        hashed["mail"] = spec.mail[: MailSpec._fields.index("auth")]
    return hashed


def raise_template_mistakes(config: Config, section: str, mistakes: Mapping[str, Iterable[tuple[str, str]]]) -> None:
    """Raise one `ConfigError` with all mistakes of a section, by the entry's name: each the setting, and why."""
    problems = []
    for name, entry_mistakes in mistakes.items():
        for setting, reason in entry_mistakes:
            key = f"{section}.{name}.{setting}"
            origin = config.origins.get(key) or config.origins.get(f"{section}.{name}.type", "the configuration")
            problems.append(f"{origin}: {key}: {reason}")
    if problems:
        raise mistakes_error(str(config.path or "the configuration"), problems)


def mistakes_error(label: str, problems: Sequence[str], hint: str = "") -> dm.ConfigError:
    """Return one error with all mistakes of the configuration; `label` names the file."""
    count = "1 mistake" if len(problems) == 1 else f"{len(problems)} mistakes"
    return dm.ConfigError(f"{label} has {count}", hint=hint, problems=tuple(problems))


def own_files(database: str, *config_files: AnyPath | None) -> tuple[AnyPath, ...]:
    """Return the paths of the configuration's and of the database's files, existing or not."""
    database_files = () if is_postgres(database) else tuple(f"{database}{suffix}" for suffix in DATABASE_SUFFIXES)
    return (*database_files, *(file for file in config_files if file))


def is_own(path: AnyPath, config: Config) -> bool:
    """Return whether a path is that of the configuration, the database or a destination."""
    queue_files = (spec.path for spec in config.destinations.values() if spec.path is not None)
    return is_among(path, (*own_files(config.database, config.path, config.routes_path), *queue_files))


def is_among(path: AnyPath, files: Iterable[AnyPath]) -> bool:
    """Return whether a path is one of these files, existing or not, under any of its names."""
    real_path = os.path.realpath(path)
    return any(real_path == os.path.realpath(each) or _is_same_file(path, each) for each in files)


def _is_same_file(path: AnyPath, other: AnyPath) -> bool:
    try:
        return os.path.samefile(path, other)  # noqa: PTH121 - both may be names
    except OSError:
        return False

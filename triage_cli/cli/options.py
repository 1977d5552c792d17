"""Options that several commands have, alone or in groups, and what people type for them: times, durations, statuses."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from itertools import chain
from pathlib import Path
from typing import Annotated, ClassVar

from triage_cli import domain as dm
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import argument, flag, option
from triage_cli.readers import ReadOptions, cell_values, dates

# How times are typed as the values of options.
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h|d|w)")
DAYS_AGO = {"now": 0, "today": 0, "yesterday": 1}
PERIODS = {"a second": timedelta(seconds=1), "a week": timedelta(weeks=1), "ten years": timedelta(days=3653)}
AGE_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
MOST = 2**53 - 1  # the largest value of an option: the largest integer that JSON carries to a remote
Files = Annotated[
    list[str] | None, argument("[FILE...|-]", "CSV, TSV, JSON, JSON Lines, or mail: .eml, .mbox, a Maildir.")
]
Ids = Annotated[
    list[str] | None,
    argument("[ID...|-]", "External ids, ticket ids or their last 6 or more characters; - reads them from stdin."),
]
Routes = Annotated[str | None, option("--routes", "FILE", "The routing map, instead of the configuration's.")]
QuestionName = Annotated[str, option("--question", "NAME", "The question that this is about; the category without it.")]
Limit = Annotated[int | None, option("N", "At most N.", min=0, max=MOST)]
Since = Annotated[
    str | None, option("TIME", "Stored from then on: a date or time (UTC), today, yesterday, or an age such as 7d.")
]
Priority = Annotated[str | None, option("P", "low, normal, high or urgent.")]
PriorityFilter = Annotated[list[str] | None, option("--priority", "P", "low, normal, high or urgent.")]
Search = Annotated[list[str] | None, option("TEXT", "Tickets with this text in subject or description.")]
Until = Annotated[str | None, option("TIME", "Up to then, written as for --since.")]

Workers = Annotated[int | None, option("N", "Requests at the same time; without it, as configured.", min=1)]
ROWS = "Rows"  # the heading of options for which rows are taken
Ask = Annotated[
    bool,
    flag("--ask", "With --dry-run: ask for answers that are not stored, at a cost; store these answers.", heading=ROWS),
]
MaxCost = Annotated[float | None, option("USD", "Stop before more than this is spent (exit code 7).", min=0)]
InBatches = Annotated[
    bool, flag("--batch", "Use batches, at half the price within a day: collect what is ready, submit the rest.")
]
Deadline = Annotated[str | None, option("DURATION", "Begin nothing new after so long, such as 10m (exit code 6).")]
Statuses = Annotated[
    list[str] | None, option("--status", "STATUS", f"{', '.join(dm.STATUSES)}; repeat it, or write a,b.")
]
MaxWait = Annotated[str, option("DURATION", "How long to wait for a provider that is down.")]


def languages(typed: Sequence[str] | None) -> tuple[str, ...]:
    """Return the codes that the values of `--language` mean. Raises `UsageError`."""
    codes = tuple(code.lower() for code in typed or ())
    if unknown := [code for code in codes if code not in dm.LANGUAGES]:
        raise dm.UsageError(f'no language "{unknown[0]}"', hint=f"the languages are {', '.join(dm.LANGUAGES)}")
    return codes


def typed_priority(typed: str | None) -> str | None:
    """Return the priority that the value of `--priority` means."""
    known_priority = cell_values.priority(typed or "", {})
    if typed is not None and known_priority is None:
        raise dm.UsageError(f'no priority "{typed}"', hint=f"the priorities are {', '.join(dm.PRIORITIES)}")
    return known_priority


def typed_moment(typed: str | None) -> str | None:
    """Return the time that an option such as `--since` names: a date, a time, a day's name or an age such as `7d`.

    A typed time without a zone is UTC, so that a command means the same on a terminal and in a cron job.
    """
    if typed is None:
        return None
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if typed.strip() in DAYS_AGO:
        option_time = datetime.now(UTC) if typed.strip() == "now" else today - timedelta(days=DAYS_AGO[typed.strip()])
    elif match := AGE.fullmatch(typed.strip()):
        try:
            option_time = datetime.now(UTC) - timedelta(**{AGE_UNITS[match[2]]: float(match[1])})
        except OverflowError as error:
            raise dm.UsageError(f'"{typed}" is before all time', hint="write 7d or 2026-11-24") from error
    else:
        try:
            time_as_in_a_file = dates.moment(typed)  # such as 24.11.2026
            option_time = datetime.fromisoformat(time_as_in_a_file or typed.strip())
            option_time = option_time.astimezone(UTC) if option_time.tzinfo else option_time.replace(tzinfo=UTC)
        except (ValueError, OverflowError) as error:
            hint = "write 2026-11-24, 2026-11-24T08:00Z, yesterday or 7d"
            raise dm.UsageError(f'"{typed}" is no time', hint=hint) from error
    return dm.timestamp(option_time)


def single(option: str, typed: Sequence[str] | None) -> str | None:
    """Return the value of an option that takes one. Raises `UsageError` for several: the last would hide the others."""
    if typed and len(typed) > 1:
        raise dm.UsageError(f"{option} takes one value, not {' and '.join(typed)}", hint="ask once for each")
    return typed[0] if typed else None


def typed_values(typed: Sequence[str] | None) -> list[str]:
    """Return the values of a repeatable option; each comes in an option of its own, or several with commas."""
    return [value.strip() for values in typed or () for value in values.split(",")]


def check_known(what: str, typed: str | None, known_values: Sequence[str]) -> None:
    """Raise `UsageError` for a typed value of an option that is not among the known ones."""
    if typed is not None and typed not in known_values:
        near_values = get_close_matches(typed, known_values, 1)
        hint = f"did you mean {near_values[0]}?" if near_values else f"one of {', '.join(known_values)}"
        raise dm.UsageError(f'no {what} "{typed}"', hint=hint)


def past(age: str | None) -> str | None:
    """Return the time an option's age, such as `4h`, ago."""
    if age is not None and not AGE.fullmatch(age.strip()):
        raise dm.UsageError(f'"{age}" is no age', hint="write 30m, 4h or 7d")
    return typed_moment(age)


def seconds(typed: str, hint: str = "write 30s, 2m or 1h") -> float:
    """Return the seconds of an option's duration, such as `2m`."""
    match = AGE.fullmatch(typed.strip())
    if not match:
        raise dm.UsageError(f'"{typed}" is no duration', hint=hint)
    try:
        return timedelta(**{AGE_UNITS[match[2]]: float(match[1])}).total_seconds()
    except OverflowError as error:
        raise dm.UsageError(f'"{typed}" is longer than any run', hint=hint) from error


def typed_seconds(typed: str | None) -> float | None:
    """Return the seconds of an option's duration; None if none was typed."""
    return None if typed is None else seconds(typed)


def period(option: str, typed: str, least: str, most: str, example: str) -> timedelta:
    """Return the period of an option, such as `7d`. Raises `UsageError` if it is not between two of `PERIODS`."""
    typed_period = timedelta(seconds=seconds(typed, f"write {example}"))
    if not PERIODS[least] <= typed_period <= PERIODS[most]:
        raise dm.UsageError(f"{option} {typed} is not between {least} and {most}", hint=f"write {example}")
    return typed_period


def sort(typed: str | None) -> str:
    """Return the sort order that `--sort` names; empty if none was typed."""
    field, _, direction = (typed or "").partition(":")
    if typed is None or (field in dm.SORTS and direction in ("", "asc", "desc")):
        return typed or ""
    if field not in dm.SORTS:
        raise dm.UsageError(f'nothing is sorted by "{field}"', hint=f"the fields are {', '.join(dm.SORTS)}")
    raise dm.UsageError(f'"{direction}" is no direction', hint=f"write --sort {field}:desc or {field}:asc")


def stats_keys(typed: Sequence[str] | None, questions: Sequence[str] = ()) -> tuple[str, ...]:
    """Return the keys that `--by` names, for grouping counts; the names of questions are keys, too."""
    spelled = (dm.parts_of(key, questions).values() or [key] for key in typed_values(typed))
    typed_keys = tuple(dict.fromkeys(chain.from_iterable(spelled)))
    unknown_keys = [key for key in typed_keys if key not in (*dm.STATS_KEYS, *questions)]
    if unknown_keys:
        known = dict.fromkeys((*dm.STATS_KEYS, *dm.whole_names(questions), *questions))
        near = get_close_matches(unknown_keys[0], known, 1, 0.65)
        hint = f"did you mean {near[0]}?" if near else f"the keys are {', '.join(known)}"
        raise dm.UsageError(f'nothing is counted by "{unknown_keys[0]}"', hint=hint)
    return typed_keys


def named_answers(typed: Sequence[str] | None, questions: Sequence[str]) -> tuple[str, ...]:
    """Return what `--answer` names: values of questions. Raises `UsageError` where a question is none."""
    named: list[str] = []
    for each in typed or ():
        question, equals, value = each.partition("=")
        if not equals or question not in (*questions, *dm.whole_names(questions)):
            hint = f"write --answer {questions[0]}=VALUE" if questions else "the configuration has no questions"
            raise dm.UsageError(f'--answer takes QUESTION=VALUE, and "{each}" is none', hint=hint)
        named += dm.answers_meant(question, value, questions)
    return tuple(named)


def statuses(names: Sequence[str] | None) -> frozenset[str]:
    """Return the statuses that `--status` names."""
    typed_statuses = typed_values(names)
    unknown_statuses = [name for name in typed_statuses if name not in dm.STATUSES]
    if unknown_statuses:
        words = {dm.status_words(status): status for status in dm.STATUSES}
        near = get_close_matches(unknown_statuses[0].casefold().replace("_", " "), words, 1)
        hint = f"did you mean {words[near[0]]}?" if near else f"a ticket is one of {', '.join(dm.STATUSES)}"
        raise dm.UsageError(f'no status "{unknown_statuses[0]}"', hint=hint)
    return frozenset(typed_statuses)


@dataclass(frozen=True)
class FileOptions:
    """The options that say how the columns and texts of a file are read."""

    heading: ClassVar = "Reading"
    mapped: Annotated[
        list[str] | None,
        option(
            "--map",
            "FIELD=COLUMN",
            "Which column holds subject, description, customer_id, priority, created_at, external_id or verdict, "
            'as in subject="Issue title".',
        ),
    ] = None
    file_format: Annotated[
        str | None,
        option("--format", "NAME", "csv, tsv, json, jsonl, eml, mbox; without it, detected. lines: a ticket a line."),
    ] = None
    encoding: Annotated[str | None, option("NAME", "Such as cp1252; without it, detected.")] = None
    delimiter: Annotated[str | None, option("CHAR", "Such as ';'; without it, detected.")] = None
    no_header: Annotated[bool, flag("--no-header", "The first row is data; its columns are named 1, 2, 3, …")] = False
    html: Annotated[
        bool | None,
        flag(
            "--html/--no-html",
            "Descriptions with HTML are taken as text, or as they are; without it, as text where most are HTML.",
        ),
    ] = None

    def read_options(self) -> ReadOptions:
        """Return these options as those of a reader. Raises `UsageError`."""
        column_mapping = {}
        for mapped_pair in self.mapped or ():
            field, equals_sign, column = mapped_pair.partition("=")
            if not equals_sign:
                raise dm.UsageError(f'--map "{mapped_pair}" has no "="', hint='write it as --map subject="Issue title"')
            column_mapping[field.strip()] = column
        file_options = self.file_format, self.encoding, self.delimiter
        return ReadOptions(column_mapping, None, *file_options, not self.no_header, html=self.html)


@dataclass(frozen=True)
class InputOptions(FileOptions):
    """The options of `create` and `run` for reading inputs and for rejected rows."""

    source: Annotated[
        str | None,
        option("NAME", "The system that the ids come from, such as zendesk; without it, as recognised, or import."),
    ] = None
    same_tickets: Annotated[
        bool,
        flag(
            "--same-tickets", "Known ids get the new texts, also where most of them look like those of other tickets."
        ),
    ] = False
    limit: Annotated[int | None, option("N", "At most N rows.", min=0, max=MOST, heading=ROWS)] = None
    dry_run: Annotated[
        bool,
        flag(
            "--dry-run",
            "Read all and show how; run also shows what would follow. Store and send nothing.",
            heading=ROWS,
        ),
    ] = False
    strict: Annotated[bool, flag("--strict", "Stop at the first rejected row.", heading=ROWS)] = False
    rejects: Annotated[Path | None, option("FILE", "Write rejected rows to this file, unchanged.", heading=ROWS)] = None
    max_rejects: Annotated[str, option("N|N%", "Exit with code 3 if more rows are rejected.", heading=ROWS)] = "0"

    def read_options(self) -> ReadOptions:
        """Return these options as those of a reader. Raises `UsageError`."""
        source = self.source
        if source is not None and (dm.encodable(source) != source or not re.fullmatch(dm.SOURCE_NAME, source)):
            raise dm.UsageError(f'"{source}" is no name for a source', hint=f"use {dm.SOURCE_RULE}")
        return super().read_options()._replace(source=source, limit=self.limit)


@dataclass(frozen=True)
class ClassifyOptions:
    """The options of commands that ask a classifier about tickets."""

    heading: ClassVar = "Asking a classifier"
    classifier: Annotated[
        str | None, option("NAME", "A classifier of the configuration; without it, the default one.")
    ] = None
    workers: Workers = None
    max_cost: MaxCost = None
    max_wait: MaxWait = "2m"
    deadline: Deadline = None

    def plan(self, context: CommandContext, *, force: bool = False, batch: bool = False) -> dm.ClassifyPlan:
        """Return these options as the plan of a classification. Raises `UsageError`."""
        if batch:
            context.only_here("--batch")
        classifiers = context.config.classifiers
        if self.classifier is not None and not context.is_remote and self.classifier not in classifiers:
            raise dm.UsageError(f'no classifier "{self.classifier}"', hint=f"the config has {', '.join(classifiers)}")
        max_wait, deadline = seconds(self.max_wait), typed_seconds(self.deadline)
        return dm.ClassifyPlan(self.classifier, force, self.workers, self.max_cost, max_wait, deadline, batch)

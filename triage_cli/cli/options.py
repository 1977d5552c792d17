"""Options that several commands have, alone or in groups."""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from triage_cli.cli import option_values
from triage_cli.cli.context import CommandContext
from triage_cli.domain.decisions import ClassifyPlan
from triage_cli.domain.errors import UsageError
from triage_cli.domain.tickets import STATUSES
from triage_cli.readers import ReadOptions

MOST = 2**63 - 1  # what a database takes
Files = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE...|-]", help="CSV, TSV, JSON, JSON Lines, or mail: .eml, .mbox, a Maildir.", show_default=False
    ),
]
Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID...|-]",
        help="External ids, ticket ids or their last 6 or more characters; - reads them from stdin.",
        show_default=False,
    ),
]
Mapped = Annotated[
    list[str] | None,
    typer.Option("--map", metavar="FIELD=COLUMN", help='Which column holds a field, as in subject="Issue title".'),
]
Source = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="The system that the ids are from, such as zendesk; else recognised, or import.",
        show_default=False,
    ),
]
Kind = Annotated[
    str | None,
    typer.Option(
        "--format", metavar="NAME", help="csv, tsv, json, jsonl, eml or mbox; detected without it.", show_default=False
    ),
]
Encoding = Annotated[str | None, typer.Option(metavar="NAME", help="Detected without it.", show_default=False)]
Delimiter = Annotated[str | None, typer.Option(metavar="CHAR", help="Detected without it.", show_default=False)]
NoHeader = Annotated[bool, typer.Option("--no-header", help="The first row is data; its columns are named 1, 2, 3, …")]
Limit = Annotated[int | None, typer.Option(min=0, max=MOST, metavar="N", help="At most N.", show_default=False)]
Strict = Annotated[bool, typer.Option("--strict", help="Stop at the first rejected row.")]
Rejects = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Write rejected rows to this file, unchanged.", show_default=False)
]
DryRun = Annotated[
    bool, typer.Option("--dry-run", help="Read all, show the mapping and the first three tickets; store nothing.")
]
MaxRejects = Annotated[str, typer.Option(metavar="N|N%", help="Exit with code 3 if more rows are rejected.")]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME",
        help="From then on: a date or time (UTC), today, yesterday, or an age such as 7d.",
        show_default=False,
    ),
]
Priority = Annotated[str | None, typer.Option(metavar="P", help="low, normal, high or urgent.", show_default=False)]
Search = Annotated[
    str | None,
    typer.Option(metavar="TEXT", help="Tickets with this text in subject or description.", show_default=False),
]
Until = Annotated[
    str | None, typer.Option(metavar="TIME", help="Up to then, written as for --since.", show_default=False)
]

Classifier = Annotated[
    str | None,
    typer.Option(metavar="NAME", help="A classifier of the configuration; its default without it.", show_default=False),
]
Workers = Annotated[
    int | None,
    typer.Option(min=1, metavar="N", help="Requests at the same time; as configured without it.", show_default=False),
]
MaxCost = Annotated[
    float | None,
    typer.Option(min=0, metavar="USD", help="Stop before more than this is spent (exit code 7).", show_default=False),
]
InBatches = Annotated[
    bool,
    typer.Option(
        "--batch", help="Use batches, at half the price within a day: collect what is ready, submit the rest."
    ),
]
Deadline = Annotated[
    str | None,
    typer.Option(
        metavar="DURATION", help="Begin nothing new after so long, such as 10m (exit code 6).", show_default=False
    ),
]
Statuses = Annotated[
    list[str] | None,
    typer.Option(
        "--status", metavar="STATUS", help=f"{', '.join(STATUSES)}; repeat it, or write a,b.", show_default=False
    ),
]
MaxWait = Annotated[str, typer.Option(metavar="DURATION", help="Wait so long for a provider that is down.")]

SOURCE = re.compile(r"[A-Za-z][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True)
class InputOptions:
    """The options of `create` and `run`: how inputs are read, and what becomes of rows that are rejected."""

    mapped: Mapped = None
    source: Source = None
    kind: Kind = None
    encoding: Encoding = None
    delimiter: Delimiter = None
    no_header: NoHeader = False
    limit: Limit = None
    dry_run: DryRun = False
    strict: Strict = False
    rejects: Rejects = None
    max_rejects: MaxRejects = "0"

    def reading(self) -> ReadOptions:
        """Return how an input is to be read. Raises `UsageError`."""
        mapping = {}
        for pair in self.mapped or ():
            field, sign, column = pair.partition("=")
            if not sign:
                raise UsageError(f'--map "{pair}" has no "="', hint='write it as --map subject="Issue title"')
            mapping[field.strip()] = column
        if self.source is not None and not SOURCE.fullmatch(self.source):
            raise UsageError(f'"{self.source}" is no name for a source', hint="use letters, digits, dots and dashes")
        has_header = not self.no_header
        return ReadOptions(mapping, self.source, self.kind, self.encoding, self.delimiter, has_header, self.limit)


@dataclass(frozen=True)
class ClassifyOptions:
    """The options of commands that ask a classifier about tickets."""

    classifier: Classifier = None
    workers: Workers = None
    max_cost: MaxCost = None
    max_wait: MaxWait = "2m"
    deadline: Deadline = None

    def plan(self, session: CommandContext, *, force: bool = False, batch: bool = False) -> ClassifyPlan:
        """Return how to classify. Raises `UsageError`."""
        if batch:
            session.only_here("--batch")
        known = session.config.classifiers
        if self.classifier is not None and not session.is_remote and self.classifier not in known:
            raise UsageError(f'no classifier "{self.classifier}"', hint=f"the config has {', '.join(known)}")
        ends = None if self.deadline is None else option_values.seconds(self.deadline)
        max_wait = option_values.seconds(self.max_wait)
        return ClassifyPlan(self.classifier, force, self.workers, self.max_cost, max_wait, ends, batch)

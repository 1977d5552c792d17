"""`triage init`: makes a configuration and a model out of an export that says where each ticket went."""

import heapq
import os
import re
import shlex
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile, TemporaryDirectory
from typing import Annotated, Any, Literal

from triage_cli import domain as dm
from triage_cli import wiring
from triage_cli.cli import input_tables, labelled_files, messages, options
from triage_cli.cli.command import local_command, makes_database
from triage_cli.cli.commands.config import write_starter
from triage_cli.cli.context import CommandContext
from triage_cli.cli.declared import flag, option
from triage_cli.cli.output import Printer
from triage_cli.cli.progress import elapsed_line, parts_line
from triage_cli.config import learned_configuration, load_config
from triage_cli.readers import LEAST_TICKETS, LabelColumn, candidate_columns, label_column, listing, open_table
from triage_cli.runtime import private

NEWEST = 62_500  # labelled rows that are taken: 50,000 to teach, and a fifth of all to prove
MOST_TRIED = 5  # columns of which it is tried whether texts tell them
MOST_NAMED = 5  # values that a message names
SHARES = (0.05, 0.1)
PERCENTAGE = re.compile(r"(\d{1,2}(?:\.\d{1,4})?) ?%?")


@local_command
@makes_database
def init(
    context: CommandContext,
    files: options.Files = None,
    label: Annotated[
        str | None, option("--label", "COLUMN", "The column that says where tickets went; without it, found.")
    ] = None,
    max_error: Annotated[
        str | None, option("--max-error", "N%", "The share of sure answers that may be wrong; without it, 10%.")
    ] = None,
    to: Annotated[Path, option("--to", "FILE", "The configuration to write; an existing one is never touched.")] = Path(
        "config.yaml"
    ),
    yes: Annotated[bool, flag("--yes", "Do not ask first.")] = False,
    output: Annotated[Literal["json"] | None, option("-o", "--output", "FORMAT", "json: what to expect.")] = None,
    *,
    reading: options.FileOptions,
) -> int:
    """Make a configuration and a model out of an export that says where each ticket went.

    The values of a column (group, queue, team, component, category, tag) become the categories. The model learns from
    all but the last fifth of the tickets, and is proven on that: it says which share would be sent, and how much of
    that is wrong. No ticket is stored. Without FILE it writes a short configuration, as config init does.

    \b
    triage init export.csv
    triage init export.csv --label "Assignment group" --max-error 5% --yes
    triage init export.csv --to desk/config.yaml -o json
    """
    _check(context, files, to, label)
    if not files:
        write_starter(context, to)
        return dm.ExitCode.OK
    share = _share(max_error or "10%")
    with input_tables.streams(files) as streams, elapsed_line("reading", shown=context.guides):
        drafts = _newest_rows(context, streams, reading)
    if context.stopper.code:
        raise KeyboardInterrupt
    column = _chosen(context, drafts, label)
    rows = [
        labelled_files.labelled_row(row, value)._replace(source="history")
        for row in drafts
        if (value := column.label_of(row.extra.get(column.name)))
    ]
    history = dm.split_history(rows, column.names)
    if not yes and context.can_ask and not _agreed(context, column, history, share, to):
        context.say("nothing was written")
        return dm.ExitCode.OK
    made = _made(context, column, history, share, to)
    if output:
        Printer("json").one(made, lambda _: "", ())
    is_proven = next(each["proven"] for each in made["promises"] if each["max_error"] == share)
    return dm.ExitCode.CHECK_FAILED if max_error and not is_proven else dm.ExitCode.OK


def _check(context: CommandContext, files: list[str] | None, to: Path, label: str | None) -> None:
    """Raise `UsageError` or `ConfigError` for what was typed, before anything is read."""
    if context.global_options.remote:
        hint = "that has a configuration of its own: triage learn FILE --label COLUMN teaches there"
        raise dm.UsageError("init writes a configuration here, and flag --remote names a remote", hint=hint)
    for name in files or ():
        if Path(name).suffix in (".yaml", ".yml"):
            hint = f"triage init --to {shlex.quote(name)} writes one there"
            raise dm.UsageError(f"{name} is no export but a configuration", hint=hint)
    if label is not None and not files:
        raise dm.UsageError("--label is for an export, and none is named", hint="name it, or - for stdin")
    if files and os.path.lexists(to):
        raise dm.ConfigError(f"{to} exists already", hint="name another path with --to")
    if files and not to.parent.is_dir():
        raise dm.ConfigError(f"no folder {to.parent} for {to.name}", hint="make it, or name another path with --to")


def _share(text: str) -> float:
    match = PERCENTAGE.fullmatch(text.strip())
    share = float(match[1]) / 100 if match else 0.0
    if not 0 < share <= 0.5:
        raise dm.UsageError(f"--max-error {text} is no share above 0% and up to 50%", hint="write --max-error 10%")
    return share


def _newest_rows(
    context: CommandContext, streams: Sequence[input_tables.NamedInput], reading: options.FileOptions
) -> list[dm.TicketDraft]:
    """Return the rows of inputs, oldest first; of very many the newest."""
    newest: list[tuple[str, int, dm.TicketDraft]] = []
    numbers, rejected, read_options = count(), 0, reading.read_options()
    for name, stream in streams:
        table = open_table(stream, name, read_options)
        context.say(table.taken)
        for note in table.notes:
            context.say(f"note: {note}")
        for row in context.stopper.interruptible(table.rows):
            if isinstance(row, dm.Rejected):
                rejected += 1
                continue
            entry = (row.created_at or "", next(numbers), row)
            if len(newest) < NEWEST:
                heapq.heappush(newest, entry)
            else:
                heapq.heappushpop(newest, entry)
        for remark in messages.remarks([table]):
            context.say(remark)
    number = next(numbers)
    if rejected:
        context.say(f"note: {messages.plural(rejected, 'rows')} could not be read and are left out")
    if number > len(newest):
        context.say(f"note: of {number:,} rows the newest {len(newest):,} are taken")
    return [row for _, _, row in sorted(newest)]


def _chosen(context: CommandContext, drafts: Sequence[dm.TicketDraft], label: str | None) -> LabelColumn:
    """Return the column that says where tickets went. Raises `UsageError` if there is none that can be used."""
    cells = [row.extra for row in drafts]
    if label is not None:
        names = {name for row in cells for name in row}
        if label not in names:
            hint = f"the columns without a field are {listing(sorted(names))}" if names else "there is no such column"
            raise dm.UsageError(f'no column "{label}"', hint=hint)
        column = label_column(label, cells)
        if column.objection:
            raise dm.UsageError(f"{label} cannot say where tickets went: {column.objection}", hint="name another one")
        return column
    candidates = list(candidate_columns(cells))
    usable = [column for column in candidates if not column.objection][:MOST_TRIED]
    with elapsed_line("looking for the column", shown=context.guides):
        told = [column for column in usable if _is_told(column, drafts)]
    for column in candidates:
        why = column.objection or ("" if column in told else "its texts do not tell its values")
        about = f"{len(column.names):,} categories, {column.empty:,} rows without one"
        context.say(f"column {column.name}: {why or about}")
    if not told:
        hint = "name it with --label COLUMN; triage discover FILE --edit finds topics where there is none"
        raise dm.UsageError("no column says where the tickets went in a way that their texts tell", hint=hint)
    return told[0]


def _is_told(column: LabelColumn, drafts: Sequence[dm.TicketDraft]) -> bool:
    names = {*column.names}
    pairs = [(row.text, value) for row in drafts if (value := column.label_of(row.extra.get(column.name))) in names]
    return wiring.first_models.is_told(pairs)


def _agreed(context: CommandContext, column: LabelColumn, history: dm.LabelHistory, share: float, to: Path) -> bool:
    proving = history.proving
    messages.say(f"{column.name} has {messages.plural(len(column.names), 'categories')}: {listing(column.names, 12)}")
    messages.say(
        f"learn from {len(history.rows) - proving:,} tickets, prove on {proving:,} that at most "
        f"{dm.in_percent(share)} of what is sent is wrong, and write {to}"
    )
    return context.agrees("this takes a minute or a few")


def _made(
    context: CommandContext, column: LabelColumn, history: dm.LabelHistory, share: float, to: Path
) -> dict[str, Any]:
    """Learn, prove, and write the configuration at the end; return what to expect."""
    categories, percent = column.categories, dm.in_percent(share)
    typed = context.global_options.db or os.environ.get("TRIAGE_DB")
    folder = to.absolute().parent
    with TemporaryDirectory(prefix="triage-") as temporary:
        draft = Path(temporary) / "config.yaml"
        with open(draft, "w", encoding="utf-8", opener=private) as file:
            file.write(learned_configuration(categories, column.name, percent, database=None))
        database = wiring.first_models.free_database(draft, folder, typed)
        config = load_config(config=str(draft), db=database, env={}, cwd=folder)
        analyst = wiring.Analyst(*context.signature, context.say, messages.say, context.runs.append)
        analysis = wiring.LocalAnalysis(config, analyst, make=True)
        context.stopper.watch(analysis.stop)
        with parts_line("learning", shown=context.guides) as tell_progress:
            (lesson, *_) = analysis.learn(history.rows, tell_progress)
        expected = wiring.first_models.expected(config, sorted({*SHARES, share}))
    if context.stopper.code:
        raise KeyboardInterrupt
    promised = next(each for each in expected.promises if each.max_error == share)
    missing = 0 if promised.proven else promised.missing
    named = None if typed else Path(database).name
    _write(to, learned_configuration(categories, column.name, percent, database=named, missing=missing))
    made = _record(column, history, lesson, expected, to, database)
    for line in _lines(made):
        context.say(line)
    if named not in (None, "triage.db"):
        context.say(f"note: triage.db there is of other categories, so the new database is {named}")
    return made


def _record(
    column: LabelColumn,
    history: dm.LabelHistory,
    lesson: dm.Lesson,
    expected: dm.Expectation,
    to: Path,
    database: str,
) -> dict[str, Any]:
    names, confused = column.names, expected.confused
    return {
        "column": column.name,
        "categories": {name: column.counts[name] for name in names},
        "left_out": {name: number for name, number in column.counts.items() if name not in names},
        "teaching": lesson.report.labelled,
        "proving": history.proving,
        "by_time": history.by_time,
        "promises": [each._asdict() for each in expected.promises],
        "confused": confused and {key: getattr(confused, key) for key in ("label", "guess", "n", "share")},
        "reason": lesson.report.reason,
        "version": lesson.report.version,
        "config": str(to),
        "database": database,
    }


def _lines(made: dict[str, Any]) -> Iterator[str]:
    """Yield what to expect, in four lines."""
    left_out = listing(list(made["left_out"]), MOST_NAMED)
    few = f"; left out with fewer than {LEAST_TICKETS} tickets: {left_out}" if left_out else ""
    categories = f"{messages.plural(len(made['categories']), 'categories')} of {made['column']}"
    yield f"{categories}, learned from {made['teaching']:,} tickets{few}"
    how = "the last fifth" if made["by_time"] else "a fifth by chance, since few rows have a date"
    proven = "; ".join(map(_promise, made["promises"]))
    others = f"on {made['proving']:,} others ({how}): {proven}"
    yield others if made["version"] else f"nothing is proven: {made['reason']}"
    if confused := made["confused"]:
        share = f"{confused['n']:,} of {confused['label']} look like {confused['guess']} ({confused['share']:.0%})"
        yield f"confused most: {share}"
    yield f"wrote {made['config']}; next: triage run NEXT.csv --dry-run"


def _promise(promise: dict[str, Any]) -> str:
    percent = dm.in_percent(promise["max_error"])
    if not promise["proven"]:
        return f"nothing is proven at {percent} wrong, at least {promise['missing']:,} labels are missing"
    return f"at {percent} wrong {promise['sent']:.0%} would be sent, {promise['wrong']:.1%} of it wrong"


def _write(to: Path, text: str) -> None:
    """Write a new file, whole or not at all; one that is there is never touched."""
    part = None
    try:
        with NamedTemporaryFile("w", dir=to.absolute().parent, prefix=f".{to.name}.", delete=False) as file:
            part = Path(file.name)
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.link(part, to)
    except FileExistsError as error:
        raise dm.ConfigError(f"{to} exists already", hint="name another path with --to") from error
    except OSError as error:
        raise dm.ConfigError(f"cannot write {to}: {error.strerror}", hint="name another path with --to") from error
    finally:
        if part is not None:
            part.unlink(missing_ok=True)
